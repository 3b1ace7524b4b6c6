/* SPDX-License-Identifier: BSD-2-Clause */
/* msw-bench: packed products against a dense BLAS, called in turn in one process.
 *
 *   msw-bench                              a table of usual shapes
 *   msw-bench M K N RxC PRUNED/UNIFIED ... these cells
 *
 * Options before the cells: --isa c|avx2|avx512, --blas FILE (libopenblas.so.0), --rows
 * (rows layout), --seconds S per cell (0.2), --hot (each repeated on its own).
 *
 * Times are medians, of the thread's processor time: a busy machine disturbs that less.
 * The rival is sgemm, or for N = 1 sgemv, on one thread. The error is the largest of 300
 * sampled elements against sums in double precision, as a share of sum |w x|. */
#define _GNU_SOURCE
#include "weights.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 4000, MIN_SAMPLES = 9, ERROR_SAMPLES = 300 };
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void sgemm_function(int, int, int, int, int, int, float, const float *, int,
                            const float *, int, float, float *, int);
typedef void sgemv_function(int, int, int, int, float, const float *, int, const float *,
                            int, float, float *, int);

typedef struct rival {
    sgemm_function *sgemm;
    sgemv_function *sgemv;
    const char *core;
} rival;

typedef struct settings {
    const char *blas, *isa;
    double seconds;
    bool rows, hot;
} settings;

typedef struct cell {
    size_t m, k, n;
    unsigned block_rows, block_columns, pruned, unified;
} cell;

static const cell usual[] = {
    {512, 512, 1024, 8, 8, 0, 100},   {512, 512, 1024, 4, 4, 0, 100},
    {1024, 1024, 256, 8, 8, 0, 100},  {2048, 512, 192, 8, 8, 0, 100},
    {256, 2304, 784, 8, 8, 0, 100},   {64, 576, 3136, 8, 8, 0, 100},
    {512, 512, 768, 8, 8, 50, 40},    {512, 512, 768, 4, 4, 50, 40},
    {512, 512, 768, 8, 8, 75, 20},    {512, 512, 768, 8, 8, 90, 10},
    {512, 512, 768, 8, 8, 50, 0},     {512, 512, 768, 8, 8, 90, 0},
    {512, 512, 16, 8, 8, 0, 100},     {512, 512, 8, 8, 8, 0, 100},
    {512, 512, 4, 8, 8, 0, 100},      {512, 512, 1, 8, 8, 0, 100},
    {512, 512, 1, 4, 4, 0, 100},      {2048, 2048, 1, 8, 8, 0, 100},
    {4096, 4096, 1, 8, 8, 0, 100},    {4096, 4096, 8, 8, 8, 0, 100},
    {2048, 2048, 1, 8, 8, 50, 40},    {2048, 2048, 1, 8, 8, 75, 20},
    {2048, 2048, 8, 8, 8, 50, 40},    {20, 25, 576, 4, 4, 60, 38},
    {50, 500, 64, 10, 8, 60, 38},     {50, 500, 64, 4, 4, 60, 38},
    {500, 800, 1, 4, 8, 60, 38},      {500, 800, 64, 8, 8, 60, 38},
    {10, 500, 1, 4, 4, 60, 38},
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "msw-bench: %s\n", what);
    exit(1);
}

/* dlsym() gives a pointer to an object; ISO C knows no cast to a function. */
static void find(void *function, void *library, const char *name)
{
    void *found = dlsym(library, name);

    memcpy(function, &found, sizeof found);
}

static rival load_rival(const char *file)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const char *(*core)(void);
    void (*set_threads)(int);
    rival r = {0};

    if (!library)
        fail(dlerror());
    find(&r.sgemm, library, "cblas_sgemm");
    find(&r.sgemv, library, "cblas_sgemv");
    find(&core, library, "openblas_get_corename");
    find(&set_threads, library, "openblas_set_num_threads");
    if (!r.sgemm || !r.sgemv)
        fail("no cblas_sgemm in the BLAS");
    if (set_threads)
        set_threads(1);
    r.core = core ? core() : "?";
    return r;
}

static void print_machine(const rival *r, const msw_context *ctx, const char *file)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10)) {
            printf("# %s", line);
            break;
        }
    if (f)
        fclose(f);
    printf("# isa %s, rival %s core %s, 1 thread\n", msw_context_isa(ctx), file, r->core);
    if (getenv("OPENBLAS_CORETYPE") || getenv("OPENBLAS_L2_SIZE"))
        printf("# OPENBLAS_CORETYPE or OPENBLAS_L2_SIZE is set: this is not its best\n");
    printf("%-16s %-6s %-9s %-20s %10s %10s %6s %7s %s\n", "M K N", "block", "mix", "kernel",
           "msw us", "rival us", "ratio", "GF/s", "error");
}

/* One cell */

typedef struct bench {
    const settings *s;
    const rival *r;
    const cell *c;
    weights w;
    msw_gemm *g;
    float *x, *y, *y_rival;
    void *workspace;
    size_t workspace_bytes;
} bench;

static void run_msw(bench *b)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = b->x;
    call.y = b->y;
    call.n = b->c->n;
    call.ldx = b->s->rows ? b->c->k : b->c->n;
    call.ldy = b->s->rows ? b->c->m : b->c->n;
    call.layout = b->s->rows ? MSW_LAYOUT_ROWS : MSW_LAYOUT_COLUMNS;
    call.workspace = b->workspace;
    call.workspace_bytes = b->workspace_bytes;
    if (msw_gemm_run(b->g, &call))
        fail("msw_gemm_run");
}

static void run_rival(bench *b)
{
    const int m = (int)b->c->m, k = (int)b->c->k, n = (int)b->c->n;

    if (n == 1)
        b->r->sgemv(ROW_MAJOR, NO_TRANS, m, k, 1, b->w.dense, k, b->x, 1, 0, b->y_rival, 1);
    else if (b->s->rows)
        b->r->sgemm(ROW_MAJOR, NO_TRANS, TRANS, n, m, k, 1, b->x, k, b->w.dense, k, 0,
                    b->y_rival, m);
    else
        b->r->sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, m, n, k, 1, b->w.dense, k, b->x, n, 0,
                    b->y_rival, n);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double sample(void (*f)(bench *), bench *b, int calls)
{
    const double begin = now();

    for (int i = 0; i < calls; i++)
        f(b);
    return (now() - begin) / calls;
}

/* As many calls as take 50 us, so that the clock does not matter. */
static int calls_for(void (*f)(bench *), bench *b)
{
    f(b);
    return 1 + (int)(50e-6 / (sample(f, b, 2) + 1e-9));
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, compare);
    return t[n / 2];
}

/* Medians of ours and the rival's: in turn, or hot, each for itself. */
static void measure(bench *b, double medians[2])
{
    static double t[2][MAX_SAMPLES];
    void (*const f[2])(bench *) = {run_msw, run_rival};
    const int calls[2] = {calls_for(run_msw, b), calls_for(run_rival, b)};

    for (int first = 0; first < 2; first += b->s->hot ? 1 : 2) {
        const int last = b->s->hot ? first : 1;
        const double end = now() + b->s->seconds;
        int n = 0;

        for (; n < MAX_SAMPLES && (n < MIN_SAMPLES || now() < end); n++)
            for (int i = first; i <= last; i++)
                t[i][n] = sample(f[i], b, calls[i]);
        for (int i = first; i <= last; i++)
            medians[i] = median(t[i], n);
    }
}

static double error_of(const bench *b)
{
    uint32_t seed = 5;
    double worst = 0;

    for (int i = 0; i < ERROR_SAMPLES; i++) {
        const size_t m = random_below(&seed, (uint32_t)b->c->m);
        const size_t n = random_below(&seed, (uint32_t)b->c->n);
        double sum = 0, scale = 1e-30, e;

        for (size_t k = 0; k < b->c->k; k++) {
            const float x = b->x[b->s->rows ? n * b->c->k + k : k * b->c->n + n];
            const double p = (double)b->w.dense[m * b->c->k + k] * (double)x;
            sum += p;
            scale += fabs(p);
        }
        e = (double)b->y[b->s->rows ? n * b->c->m + m : m * b->c->n + n];
        e = fabs(e - sum) / scale;
        worst = e <= worst ? worst : e;
    }
    return worst;
}

static float *array(size_t count)
{
    float *p = aligned_alloc(4096, (count * sizeof *p + 4095) / 4096 * 4096);

    if (!p)
        fail("no memory");
    memset(p, 0, count * sizeof *p);
    return p;
}

static void print_cell(bench *b, const double medians[2])
{
    const double own = medians[0], other = medians[1];
    const cell *c = b->c;
    char shape[40], block[16], mix[16];
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    if (msw_gemm_get_info(&info, b->g, c->n))
        fail("msw_gemm_get_info");
    snprintf(shape, sizeof shape, "%zu %zu %zu", c->m, c->k, c->n);
    snprintf(block, sizeof block, "%ux%u", c->block_rows, c->block_columns);
    snprintf(mix, sizeof mix, "%u/%u/%u", c->pruned, c->unified,
             100 - c->pruned - c->unified);
    printf("%-16s %-6s %-9s %-20s %10.2f %10.2f %6.2f %7.0f %.1e (model %.2f us)\n", shape,
           block, mix, info.kernel, own * 1e6, other * 1e6, other / own,
           2e-9 * (double)c->m * (double)c->k * (double)c->n / own, error_of(b),
           info.predicted * 1e6);
    fflush(stdout);
}

static void run_cell(msw_context *ctx, const settings *s, const rival *r, const cell *c)
{
    const weights_spec spec = {.rows = c->m, .columns = c->k, .block_rows = c->block_rows,
                               .block_columns = c->block_columns, .pruned = c->pruned,
                               .unified = c->unified, .seed = 1};
    bench b = {.s = s, .r = r, .c = c};
    msw_gemm_options o;
    uint32_t seed = 3;
    double medians[2] = {0};

    weights_make(&b.w, ctx, &spec);
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    o.expected_n = c->n;
    if (msw_gemm_new(&b.g, ctx, b.w.u, &o))
        fail("msw_gemm_new");
    b.x = array(c->k * c->n);
    b.y = array(c->m * c->n);
    b.y_rival = array(c->m * c->n);
    for (size_t i = 0; i < c->k * c->n; i++)
        b.x[i] = random_float(&seed);
    b.workspace_bytes = msw_gemm_workspace(b.g, c->n);
    b.workspace = array(b.workspace_bytes / sizeof(float) + 1);
    measure(&b, medians);
    print_cell(&b, medians);
    msw_gemm_free(b.g);
    weights_free(&b.w);
    free(b.x);
    free(b.y);
    free(b.y_rival);
    free(b.workspace);
}

static uint32_t mask_of(const char *isa)
{
    return !strcmp(isa, "c")      ? MSW_CPU_C
           : !strcmp(isa, "avx2") ? MSW_CPU_AVX2
                                  : MSW_CPU_AVX2 | MSW_CPU_AVX512;
}

static int parse_options(settings *s, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--rows"))
            s->rows = true;
        else if (!strcmp(argv[i], "--hot"))
            s->hot = true;
        else if (i + 1 < argc && !strcmp(argv[i], "--isa"))
            s->isa = argv[++i];
        else if (i + 1 < argc && !strcmp(argv[i], "--blas"))
            s->blas = argv[++i];
        else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
            s->seconds = strtod(argv[++i], NULL);
        else
            fail("unknown option");
    }
    return i;
}

static cell parse_cell(char **argv)
{
    cell c = {.m = strtoul(argv[0], NULL, 10), .k = strtoul(argv[1], NULL, 10),
              .n = strtoul(argv[2], NULL, 10)};

    if (!c.m || !c.k || !c.n ||
        sscanf(argv[3], "%ux%u", &c.block_rows, &c.block_columns) != 2 ||
        sscanf(argv[4], "%u/%u", &c.pruned, &c.unified) != 2 || c.pruned + c.unified > 100)
        fail("a cell is: M K N RxC PRUNED/UNIFIED");
    return c;
}

int main(int argc, char **argv)
{
    settings s = {.blas = "libopenblas.so.0", .isa = "avx512", .seconds = 0.2};
    const int first = parse_options(&s, argc, argv);
    const rival r = load_rival(s.blas);
    msw_context_options o;
    msw_context *ctx;

    if ((argc - first) % 5)
        fail("a cell is: M K N RxC PRUNED/UNIFIED");
    msw_context_options_init(&o);
    o.cpu_mask = mask_of(s.isa);
    if (msw_context_new(&ctx, &o))
        fail("msw_context_new");
    print_machine(&r, ctx, s.blas);
    for (int i = first; i < argc; i += 5) {
        const cell c = parse_cell(argv + i);
        run_cell(ctx, &s, &r, &c);
    }
    for (size_t i = 0; first == argc && i < sizeof usual / sizeof *usual; i++)
        run_cell(ctx, &s, &r, &usual[i]);
    msw_context_free(ctx);
    return 0;
}
