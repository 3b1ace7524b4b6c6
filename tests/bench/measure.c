/* SPDX-License-Identifier: BSD-2-Clause */
/* One cell: ours and the rivals'. */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 4000, MIN_SAMPLES = 5, ERROR_SAMPLES = 300, CONTESTANTS = MAX_RIVALS + 1 };

typedef struct bench {
    const settings *s;
    problem p;
    msw_gemm *g;
    float *y;
    void *workspace;
    size_t workspace_bytes;
    const rival *rivals;
    size_t count;
    void *states[MAX_RIVALS]; /* NULL: not for this one */
} bench;

_Noreturn void fail(const char *what)
{
    fprintf(stderr, "msw-bench: %s\n", what);
    exit(1);
}

void *checked(void *memory)
{
    if (!memory)
        fail("no memory");
    return memory;
}

double now(bool wall)
{
    struct timespec t;

    clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double median(double *t, size_t n)
{
    qsort(t, n, sizeof *t, compare);
    return t[n / 2];
}

static void run_msw(bench *b)
{
    const cell *c = b->p.c;
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = b->p.x;
    call.y = b->y;
    call.n = c->n;
    call.ldx = b->p.rows ? c->k : c->n;
    call.ldy = b->p.rows ? c->m : c->n;
    call.layout = b->p.rows ? MSW_LAYOUT_ROWS : MSW_LAYOUT_COLUMNS;
    call.workspace = b->workspace;
    call.workspace_bytes = b->workspace_bytes;
    if (msw_gemm_run(b->g, &call))
        fail("msw_gemm_run");
}

/* Contestant 0 is ours. */
static void repeat(bench *b, size_t who, int calls)
{
    for (int i = 0; i < calls; i++) {
        if (who == 0)
            run_msw(b);
        else
            b->rivals[who - 1].run(b->states[who - 1], &b->p);
    }
}

static double sample(bench *b, size_t who, int calls)
{
    const bool wall = b->s->threads > 1;
    double begin;

    if (b->s->warm)
        repeat(b, who, 1);
    begin = now(wall);
    repeat(b, who, calls);
    return (now(wall) - begin) / calls;
}

/* As many calls as take 50 us, so that the clock does not matter. */
static int calls_for(bench *b, size_t who)
{
    sample(b, who, 1);
    return 1 + (int)(50e-6 / (sample(b, who, 2) + 1e-9));
}

/* Medians: in turn, or hot, each for itself. */
static void measure(bench *b, double medians[CONTESTANTS])
{
    static double t[CONTESTANTS][MAX_SAMPLES];
    const size_t all = b->count + 1;
    int calls[CONTESTANTS] = {0};

    for (size_t i = 0; i < all; i++)
        calls[i] = i && !b->states[i - 1] ? 0 : calls_for(b, i);
    for (size_t first = 0; first < all; first += b->s->hot ? 1 : all) {
        const size_t end_of_turn = b->s->hot ? first + 1 : all;
        const double end = now(true) + b->s->seconds;
        size_t n = 0;

        for (; n < MAX_SAMPLES && (n < MIN_SAMPLES || now(true) < end); n++)
            for (size_t i = first; i < end_of_turn; i++)
                t[i][n] = calls[i] ? sample(b, i, calls[i]) : 0;
        for (size_t i = first; i < end_of_turn; i++)
            medians[i] = calls[i] ? median(t[i], n) : HUGE_VAL;
    }
}

static double error_of(const bench *b)
{
    const cell *c = b->p.c;
    uint32_t seed = 5;
    double worst = 0;

    for (int i = 0; i < ERROR_SAMPLES; i++) {
        const size_t m = random_below(&seed, (uint32_t)c->m);
        const size_t n = random_below(&seed, (uint32_t)c->n);
        double sum = 0, scale = 1e-30, e;

        for (size_t k = 0; k < c->k; k++) {
            const float x = b->p.x[b->p.rows ? n * c->k + k : k * c->n + n];
            const double product = (double)b->p.w[m * c->k + k] * (double)x;
            sum += product;
            scale += fabs(product);
        }
        e = (double)b->y[b->p.rows ? n * c->m + m : m * c->n + n];
        e = fabs(e - sum) / scale;
        worst = e <= worst ? worst : e;
    }
    return worst;
}

static float *array(size_t count)
{
    const size_t bytes = (count * sizeof(float) + 4095) / 4096 * 4096;
    float *p = checked(aligned_alloc(4096, bytes + 4096));

    memset(p, 0, bytes);
    return p;
}

static uint32_t mask_of(const char *isa)
{
    return !strcmp(isa, "c")      ? MSW_CPU_C
           : !strcmp(isa, "avx2") ? MSW_CPU_AVX2
                                  : MSW_CPU_AVX2 | MSW_CPU_AVX512;
}

msw_context *make_context(const settings *s, uint32_t threads)
{
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.cpu_mask = mask_of(s->isa);
    o.threads = threads;
    if (msw_context_new(&ctx, &o))
        fail("msw_context_new");
    return ctx;
}

static void make_gemm(bench *b, msw_context *ctx, const weights *w)
{
    msw_gemm_options o;

    msw_gemm_options_init(&o);
    o.fallback = b->s->fallback ? MSW_FALLBACK_BLAS : MSW_FALLBACK_NEVER;
    o.tune = b->s->tune;
    o.expected_n = b->p.c->n;
    if (msw_gemm_new(&b->g, ctx, w->u, &o))
        fail("msw_gemm_new");
    b->workspace_bytes = msw_gemm_workspace(b->g, b->p.c->n);
    b->workspace = array(b->workspace_bytes / sizeof(float) + 1);
}

static result summary(const bench *b, const double medians[CONTESTANTS])
{
    result r = {.own = medians[0], .rival = HUGE_VAL, .error = error_of(b)};
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    if (msw_gemm_get_info(&info, b->g, b->p.c->n))
        fail("msw_gemm_get_info");
    r.model = info.predicted;
    snprintf(r.kernel, sizeof r.kernel, "%s", info.kernel);
    for (size_t i = 0; i < b->count; i++) {
        r.rivals[i] = medians[i + 1];
        if (medians[i + 1] < r.rival) {
            r.rival = medians[i + 1];
            snprintf(r.rival_name, sizeof r.rival_name, "%s", b->rivals[i].name);
        }
    }
    return r;
}

result measure_cell(msw_context *ctx, const settings *s, const cell *c, const rival *rivals,
                    size_t count)
{
    const weights_spec spec = {.rows = c->m, .columns = c->k, .block_rows = c->block_rows,
                               .block_columns = c->block_columns, .pruned = c->pruned,
                               .unified = c->unified, .seed = 1};
    float *x = array(c->k * c->n), *y = array(c->m * c->n);
    bench b = {.s = s, .p = {.c = c, .rows = s->rows, .x = x, .y = y}, .rivals = rivals,
               .count = count};
    double medians[CONTESTANTS] = {0};
    uint32_t seed = 3;
    weights w;
    result r;

    weights_make(&w, ctx, &spec);
    b.p.w = w.dense;
    b.y = array(c->m * c->n);
    for (size_t i = 0; i < c->k * c->n; i++)
        x[i] = random_float(&seed);
    make_gemm(&b, ctx, &w);
    for (size_t i = 0; i < count; i++)
        b.states[i] = rivals[i].prepare(&rivals[i], &b.p);
    measure(&b, medians);
    r = summary(&b, medians);
    for (size_t i = 0; i < count; i++)
        if (b.states[i])
            rivals[i].release(b.states[i]);
    msw_gemm_free(b.g);
    weights_free(&w);
    free(x);
    free(y);
    free(b.y);
    free(b.workspace);
    return r;
}
