/* SPDX-License-Identifier: BSD-2-Clause */
/* conv-bench: packed convolutions against dense ones, called in turn in one process.
 *
 *   conv-bench                 a table of usual layers
 *   conv-bench NAME ...        those whose names contain one of these
 *
 * Options before the names: --isa c|avx2|avx512, --blas FILE (libopenblas.so.0),
 * --batch N (1), --nchw or --nhwc (both), --mix PRUNED/UNIFIED (of all layers),
 * --fallback (allow the BLAS), --seconds S per line (0.2).
 *
 * Rivals: im2col of the whole image and sgemm; oneDNN on x and y as they are, and in
 * whichever layout it likes best ("any"). Times are medians of this thread's processor
 * time. The ratio is that of the best rival to libmsw. The error is the largest of 300
 * sampled elements against sums in double precision, as a share of sum |w x|. */
#define _GNU_SOURCE
#include "im2col.h"
#include "weights.h"
#ifdef HAVE_DNNL
#include "dnnl_rival.h"
#endif

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 2000, MIN_SAMPLES = 7, ERROR_SAMPLES = 300 };
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void sgemm_function(int, int, int, int, int, int, float, const float *, int,
                            const float *, int, float, float *, int);

typedef struct settings {
    const char *blas, *isa;
    sgemm_function *sgemm;
    size_t batch;
    double seconds;
    unsigned pruned, unified;
    bool nchw, nhwc, mix, fallback;
} settings;

/* Square in every respect. */
typedef struct shape {
    const char *name;
    size_t outputs, channels, groups, size, kernel, stride, pad, dilation;
    unsigned block, pruned, unified;
} shape;

static const shape shapes[] = {
    {"resnet 3x3 7", 512, 512, 1, 14, 3, 1, 1, 1, 8, 0, 100},
    {"resnet 3x3 28", 256, 256, 1, 28, 3, 1, 1, 1, 8, 0, 100},
    {"resnet 3x3 56", 64, 64, 1, 56, 3, 1, 1, 1, 8, 0, 100},
    {"resnet 3x3 56 mixed", 64, 64, 1, 56, 3, 1, 1, 1, 8, 50, 40},
    {"resnet 3x3 28 pruned", 256, 256, 1, 28, 3, 1, 1, 1, 8, 75, 20},
    {"resnet 3x3/2", 128, 128, 1, 56, 3, 2, 1, 1, 8, 0, 100},
    {"resnet 1x1 56", 256, 64, 1, 56, 1, 1, 0, 1, 8, 0, 100},
    {"resnet 1x1 14", 256, 1024, 1, 14, 1, 1, 0, 1, 8, 0, 100},
    {"resnet 1x1/2", 512, 256, 1, 56, 1, 2, 0, 1, 8, 0, 100},
    {"resnet 7x7/2", 64, 3, 1, 224, 7, 2, 3, 1, 4, 0, 100},
    {"dilated 3x3", 256, 256, 1, 28, 3, 1, 2, 2, 8, 0, 100},
    {"grouped 3x3 32", 256, 256, 32, 28, 3, 1, 1, 1, 8, 0, 100},
    {"grouped 3x3 4", 256, 256, 4, 28, 3, 1, 1, 1, 8, 0, 100},
    {"depthwise 3x3 112", 32, 32, 32, 112, 3, 1, 1, 1, 1, 0, 100},
    {"depthwise 3x3 14", 512, 512, 512, 14, 3, 1, 1, 1, 1, 0, 100},
    {"depthwise 3x3/2", 128, 128, 128, 56, 3, 2, 1, 1, 1, 0, 100},
    {"depthwise 5x5", 240, 240, 240, 14, 5, 1, 2, 1, 1, 0, 100},
    {"lenet conv1", 20, 1, 1, 28, 5, 1, 0, 1, 4, 60, 38},
    {"lenet conv1 free", 20, 1, 1, 28, 5, 1, 0, 1, 4, 0, 0},
    {"lenet conv2", 50, 20, 1, 12, 5, 1, 0, 1, 4, 60, 38},
};

enum { MSW, IM2COL, DNNL_PLAIN, DNNL_ANY, WAYS };

typedef struct bench {
    const settings *s;
    const shape *l;
    bool nhwc;
    size_t out_size;
    msw_unified *u;
    msw_conv *conv;
    float *dense, *dense_ohwi; /* OIHW and OHWI */
    float *x, *y, *y_rival, *matrix, *bias;
    void *workspace;
    size_t workspace_bytes;
#ifdef HAVE_DNNL
    dnnl_rival *dnnl[2]; /* plain, any; NULL: oneDNN cannot */
#endif
    double seconds[WAYS]; /* 0: not there */
} bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "conv-bench: %s\n", what);
    exit(1);
}

static float *array(size_t count)
{
    float *p = aligned_alloc(4096, (count * sizeof *p + 4095) / 4096 * 4096 + 4096);

    if (!p)
        fail("no memory");
    memset(p, 0, count * sizeof *p);
    return p;
}

/* dlsym() gives a pointer to an object; ISO C knows no cast to a function. */
static void find(void *function, void *library, const char *name)
{
    void *found = dlsym(library, name);

    memcpy(function, &found, sizeof found);
}

/* The BLAS that we load, that which libmsw is linked with, and oneDNN's OpenMP. */
static void use_one_thread(void *library)
{
    static const char *const names[] = {"openblas_set_num_threads", "omp_set_num_threads"};
    void (*set)(int);

    for (int i = 0; i < 2; i++) {
        find(&set, library, names[i]);
        if (set)
            set(1);
        find(&set, RTLD_DEFAULT, names[i]);
        if (set)
            set(1);
    }
}

static void load_blas(settings *s)
{
    void *library = dlopen(s->blas, RTLD_NOW | RTLD_LOCAL);
    const char *(*core)(void);

    if (!library)
        fail(dlerror());
    find(&s->sgemm, library, "cblas_sgemm");
    if (!s->sgemm)
        fail("no cblas_sgemm in the BLAS");
    use_one_thread(library);
    find(&core, library, "openblas_get_corename");
    printf("# rival %s core %s\n", s->blas, core ? core() : "?");
    if (getenv("OPENBLAS_CORETYPE") || getenv("OPENBLAS_L2_SIZE"))
        printf("# OPENBLAS_CORETYPE or OPENBLAS_L2_SIZE is set: this is not its best\n");
}

/* The layer */

static void make_weights(bench *b, msw_context *ctx)
{
    const shape *l = b->l;
    const size_t channels = l->channels / l->groups;
    const size_t dims[4] = {l->outputs, channels, l->kernel, l->kernel};
    const size_t window = l->kernel * l->kernel, count = l->outputs * channels * window;
    uint32_t seed = 7;
    uint8_t *classes;
    msw_plan_options o;
    msw_plan *plan;
    msw_plan_info info;
    msw_tensor *t;

    b->dense = array(count);
    b->dense_ohwi = array(count);
    for (size_t i = 0; i < count; i++)
        b->dense[i] = random_float(&seed);
    msw_plan_options_init(&o);
    msw_plan_info_init(&info);
    o.weights = MSW_WEIGHTS_OIHW;
    o.groups = (uint32_t)l->groups;
    o.block_rows = l->outputs / l->groups < l->block ? 1 : l->block;
    o.block_columns = l->block;
    if (msw_plan_new(&plan, ctx, dims, 4, &o) || msw_plan_get_info(&info, plan) ||
        msw_tensor_borrow(&t, ctx, b->dense, dims, NULL, 4))
        fail("msw_plan_new");
    classes = malloc(info.block_count);
    for (size_t i = 0; i < info.block_count; i++) {
        const unsigned draw = random_below(&seed, 100);
        const unsigned pruned = b->s->mix ? b->s->pruned : l->pruned;
        const unsigned unified = b->s->mix ? b->s->unified : l->unified;

        classes[i] = draw < pruned             ? MSW_CLASS_PRUNED
                     : draw < pruned + unified ? MSW_CLASS_UNIFIED
                                               : MSW_CLASS_FREE;
    }
    if (msw_unified_new(&b->u, plan, t, classes, info.block_count) ||
        msw_unified_to_dense(t, b->u))
        fail("msw_unified_new");
    for (size_t i = 0; i < count; i++) {
        const size_t o_ = i / (channels * window), c = i / window % channels;

        b->dense_ohwi[(o_ * window + i % window) * channels + c] = b->dense[i];
    }
    free(classes);
    msw_tensor_free(t);
    msw_plan_free(plan);
}

static void make_conv(bench *b, msw_context *ctx)
{
    const shape *l = b->l;
    msw_conv_options o;

    msw_conv_options_init(&o);
    o.image = b->nhwc ? MSW_IMAGE_NHWC : MSW_IMAGE_NCHW;
    o.stride_h = o.stride_w = (uint32_t)l->stride;
    o.dilation_h = o.dilation_w = (uint32_t)l->dilation;
    o.pad_top = o.pad_bottom = o.pad_left = o.pad_right = (uint32_t)l->pad;
    o.fallback = b->s->fallback ? MSW_FALLBACK_DEFAULT : MSW_FALLBACK_NEVER;
    o.bias = b->bias;
    o.bias_count = l->outputs;
    o.expected_pixels = b->s->batch * b->out_size * b->out_size;
    if (msw_conv_new(&b->conv, ctx, b->u, &o))
        fail("msw_conv_new");
    b->workspace_bytes = msw_conv_workspace(b->conv, b->s->batch, l->size, l->size);
    b->workspace = array(b->workspace_bytes / sizeof(float) + 1);
}

static void make_dnnl(bench *b)
{
#ifdef HAVE_DNNL
    const shape *l = b->l;

    for (int any = 0; any < 2; any++) {
        const dnnl_shape s = {b->s->batch, l->groups, l->outputs, l->channels, l->size,
                              l->size, b->out_size, b->out_size, l->kernel, l->stride,
                              l->pad, l->dilation, b->nhwc, !any};

        b->dnnl[any] = dnnl_rival_new(&s, b->dense, b->bias, b->x, b->y_rival);
    }
#else
    (void)b;
#endif
}

static void make(bench *b, msw_context *ctx)
{
    const shape *l = b->l;
    const size_t x_count = b->s->batch * l->channels * l->size * l->size;
    const size_t span = (l->kernel - 1) * l->dilation + 1;
    uint32_t seed = 3;
    size_t pixels;

    b->out_size = (l->size + 2 * l->pad - span) / l->stride + 1;
    pixels = b->out_size * b->out_size;
    b->x = array(x_count);
    for (size_t i = 0; i < x_count; i++)
        b->x[i] = random_float(&seed);
    b->bias = array(l->outputs);
    for (size_t i = 0; i < l->outputs; i++)
        b->bias[i] = random_float(&seed);
    b->y = array(b->s->batch * l->outputs * pixels);
    b->y_rival = array(b->s->batch * l->outputs * pixels);
    b->matrix = array(l->channels / l->groups * l->kernel * l->kernel * pixels);
    make_weights(b, ctx);
    make_conv(b, ctx);
    make_dnnl(b);
}

static void unmake(bench *b)
{
    msw_conv_free(b->conv);
    msw_unified_free(b->u);
    free(b->dense);
    free(b->dense_ohwi);
    free(b->x);
    free(b->y);
    free(b->y_rival);
    free(b->matrix);
    free(b->bias);
    free(b->workspace);
#ifdef HAVE_DNNL
    dnnl_rival_free(b->dnnl[0]);
    dnnl_rival_free(b->dnnl[1]);
#endif
}

/* The ways */

static void run_msw(bench *b)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = b->x;
    call.y = b->y;
    call.batch = b->s->batch;
    call.height = call.width = b->l->size;
    call.workspace = b->workspace;
    call.workspace_bytes = b->workspace_bytes;
    if (msw_conv_run(b->conv, &call))
        fail("msw_conv_run");
}

/* One image of one group, without the bias. */
static void run_group(bench *b, size_t image, size_t group)
{
    const shape *l = b->l;
    const size_t channels = l->channels / l->groups, outputs = l->outputs / l->groups;
    const size_t pixels = b->out_size * b->out_size, area = l->size * l->size;
    const size_t elements = channels * l->kernel * l->kernel;
    const bool needed = l->kernel > 1 || l->stride > 1;
    const im2col_window w = {channels, l->kernel, l->kernel, l->stride, l->stride,
                           l->dilation, l->dilation, l->pad, l->pad, b->nhwc};
    im2col_images x = {b->x + image * l->channels * area, l->size, l->size,
                     b->nhwc ? l->channels : area, 0, b->out_size, b->out_size};
    float *y = b->y_rival + image * l->outputs * pixels;
    const float *matrix = b->matrix;
    size_t ld = b->nhwc ? elements : pixels;

    x.data += group * channels * (b->nhwc ? 1 : area);
    y += group * outputs * (b->nhwc ? 1 : pixels);
    if (needed)
        (b->nhwc ? im2col_nhwc : im2col_nchw)(b->matrix, ld, &w, &x, 0, pixels);
    else
        matrix = x.data, ld = x.ld;
    if (b->nhwc)
        b->s->sgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)pixels, (int)outputs, (int)elements,
                    1, matrix, (int)ld, b->dense_ohwi + group * outputs * elements,
                    (int)elements, 0, y, (int)l->outputs);
    else
        b->s->sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, (int)outputs, (int)pixels,
                    (int)elements, 1, b->dense + group * outputs * elements, (int)elements,
                    matrix, (int)ld, 0, y, (int)pixels);
}

static void run_im2col(bench *b)
{
    for (size_t image = 0; image < b->s->batch; image++)
        for (size_t group = 0; group < b->l->groups; group++)
            run_group(b, image, group);
}

#ifdef HAVE_DNNL
static void run_dnnl_plain(bench *b)
{
    dnnl_rival_run(b->dnnl[0]);
}

static void run_dnnl_any(bench *b)
{
    dnnl_rival_run(b->dnnl[1]);
}
#endif

/* Measuring */

typedef void way(bench *b);

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double sample(way *f, bench *b, int calls)
{
    const double begin = now();

    for (int i = 0; i < calls; i++)
        f(b);
    return (now() - begin) / calls;
}

/* As many calls as take 100 us, so that the clock does not matter. */
static int calls_for(way *f, bench *b)
{
    f(b);
    return 1 + (int)(100e-6 / (sample(f, b, 2) + 1e-9));
}

static void measure(bench *b)
{
    static double t[WAYS][MAX_SAMPLES];
    way *f[WAYS] = {run_msw, run_im2col, NULL, NULL};
    int calls[WAYS] = {0}, n = 0;
    double end;

#ifdef HAVE_DNNL
    f[DNNL_PLAIN] = b->dnnl[0] ? run_dnnl_plain : NULL;
    f[DNNL_ANY] = b->dnnl[1] ? run_dnnl_any : NULL;
#endif
    for (int i = 0; i < WAYS; i++)
        calls[i] = f[i] ? calls_for(f[i], b) : 0;
    end = now() + b->s->seconds;
    for (; n < MAX_SAMPLES && (n < MIN_SAMPLES || now() < end); n++)
        for (int i = 0; i < WAYS; i++)
            t[i][n] = f[i] ? sample(f[i], b, calls[i]) : 0;
    for (int i = 0; i < WAYS; i++) {
        qsort(t[i], (size_t)n, sizeof **t, compare);
        b->seconds[i] = t[i][n / 2];
    }
}

/* One output by the definition; *scale: the sum of absolute values. */
static double exact(double *scale, const bench *b, size_t image, size_t o, size_t p,
                    size_t q)
{
    const shape *l = b->l;
    const size_t channels = l->channels / l->groups, window = l->kernel * l->kernel;
    double sum = (double)b->bias[o];

    *scale = fabs(sum);
    for (size_t i = 0; i < channels * window; i++) {
        const size_t c = o / (l->outputs / l->groups) * channels + i / window;
        const size_t row = p * l->stride + i % window / l->kernel * l->dilation - l->pad;
        const size_t column = q * l->stride + i % l->kernel * l->dilation - l->pad;
        size_t at;
        double term;

        if (row >= l->size || column >= l->size) /* wrapped around, too */
            continue;
        at = b->nhwc ? ((image * l->size + row) * l->size + column) * l->channels + c
                     : ((image * l->channels + c) * l->size + row) * l->size + column;
        term = (double)b->dense[o * channels * window + i] * (double)b->x[at];
        sum += term;
        *scale += fabs(term);
    }
    return sum;
}

static double error_of(const bench *b)
{
    const shape *l = b->l;
    const uint32_t size = (uint32_t)b->out_size;
    uint32_t seed = 5;
    double worst = 0;

    for (int i = 0; i < ERROR_SAMPLES; i++) {
        const size_t image = random_below(&seed, (uint32_t)b->s->batch);
        const size_t o = random_below(&seed, (uint32_t)l->outputs);
        const size_t p = random_below(&seed, size), q = random_below(&seed, size);
        const size_t pixel = (image * (b->nhwc ? 1 : l->outputs) * size + p) * size + q;
        const size_t at = b->nhwc ? pixel * l->outputs + o : pixel + o * size * size;
        double scale;
        const double want = exact(&scale, b, image, o, p, q);
        const double e = fabs((double)b->y[at] - want) / (scale + 1e-30);

        worst = e <= worst ? worst : e;
    }
    return worst;
}

static void print_time(double seconds)
{
    if (seconds > 0)
        printf(" %9.1f", seconds * 1e6);
    else
        printf(" %9s", "-");
}

static void print_line(const bench *b)
{
    const double own = b->seconds[MSW];
    double best = b->seconds[IM2COL];
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    if (msw_conv_get_info(&info, b->conv, b->s->batch, b->l->size, b->l->size))
        fail("msw_conv_get_info");
    printf("%-21s %s %-20s", b->l->name, b->nhwc ? "nhwc" : "nchw", info.kernel);
    for (int i = 0; i < WAYS; i++) {
        print_time(b->seconds[i]);
        if (i != MSW && b->seconds[i] > 0 && b->seconds[i] < best)
            best = b->seconds[i];
    }
    printf(" %6.2f %7.0f %.1e\n", best / own,
           2e-9 * (double)(b->s->batch * b->out_size * b->out_size * b->l->outputs) *
               (double)(b->l->channels / b->l->groups * b->l->kernel * b->l->kernel) / own,
           error_of(b));
    fflush(stdout);
}

static void run_shape(msw_context *ctx, const settings *s, const shape *l)
{
    for (int nhwc = 0; nhwc < 2; nhwc++) {
        bench b = {.s = s, .l = l, .nhwc = nhwc};

        if (!(nhwc ? s->nhwc : s->nchw))
            continue;
        make(&b, ctx);
        measure(&b);
        print_line(&b);
        unmake(&b);
    }
}

/* The command line */

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
        if (!strcmp(argv[i], "--nchw"))
            s->nhwc = false;
        else if (!strcmp(argv[i], "--nhwc"))
            s->nchw = false;
        else if (!strcmp(argv[i], "--fallback"))
            s->fallback = true;
        else if (i + 1 < argc && !strcmp(argv[i], "--isa"))
            s->isa = argv[++i];
        else if (i + 1 < argc && !strcmp(argv[i], "--blas"))
            s->blas = argv[++i];
        else if (i + 1 < argc && !strcmp(argv[i], "--batch"))
            s->batch = strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
            s->seconds = strtod(argv[++i], NULL);
        else if (i + 1 < argc && !strcmp(argv[i], "--mix") &&
                 sscanf(argv[i + 1], "%u/%u", &s->pruned, &s->unified) == 2)
            s->mix = ++i;
        else
            fail("unknown option");
    }
    if (!s->batch || (!s->nchw && !s->nhwc) || s->pruned + s->unified > 100)
        fail("nothing to do");
    return i;
}

static bool wanted(const shape *l, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strstr(l->name, names[i]))
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    settings s = {.blas = "libopenblas.so.0", .isa = "avx512", .batch = 1, .seconds = 0.2,
                  .nchw = true, .nhwc = true};
    const int first = parse_options(&s, argc, argv);
    msw_context_options o;
    msw_context *ctx;

    msw_context_options_init(&o);
    o.cpu_mask = mask_of(s.isa);
    if (msw_context_new(&ctx, &o))
        fail("msw_context_new");
    load_blas(&s);
    printf("# isa %s, batch %zu, 1 thread, microseconds\n", msw_context_isa(ctx), s.batch);
    printf("%-21s %-4s %-20s %9s %9s %9s %9s %6s %7s %s\n", "layer", "", "kernel", "msw",
           "im2col", "dnnl", "dnnl any", "ratio", "GF/s", "error");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (wanted(&shapes[i], argc - first, argv + first))
            run_shape(ctx, &s, &shapes[i]);
    msw_context_free(ctx);
    return 0;
}
