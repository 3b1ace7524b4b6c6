/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "faults.h"

#include <msw/msw.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASES = 400 };
static const double tolerance = 1e-6; /* of the sum of absolute values */
static const float untouched = -12345;

static uint32_t seed = 1;

/* In [low, high]. */
static size_t pick(size_t low, size_t high)
{
    seed = seed * 1664525u + 1013904223u;
    return low + (seed >> 8) % (high - low + 1);
}

static float value(void)
{
    return (float)pick(0, 2000) / 1000 - 1;
}

/* Memory whose last byte is followed by a page nobody may touch. */
typedef struct guarded {
    float *data;
    void *map;
    size_t bytes;
} guarded;

static guarded guarded_new(size_t count)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = (count * sizeof(float) + page - 1) / page * page;
    guarded g = {NULL, NULL, bytes + page};
    char *map = mmap(NULL, g.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0);

    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + bytes, page, PROT_NONE), 0);
    g.map = map;
    g.data = (float *)(void *)(map + bytes) - count;
    return g;
}

static void guarded_free(guarded *g)
{
    munmap(g->map, g->bytes);
}

/* A layer, with the geometry that its convolution is to have. */
typedef struct layer {
    size_t outputs, channels, kernel_h, kernel_w; /* channels of one group */
    size_t groups;
    uint32_t weights;
    msw_unified *u;
    float *dense;              /* as the plan's tensor */
    msw_conv_options options;
    float *bias;
} layer;

static bool is_conv(const layer *l)
{
    return l->weights >= MSW_WEIGHTS_OIHW;
}

static size_t weight_count(const layer *l)
{
    return l->outputs * l->channels * l->kernel_h * l->kernel_w;
}

static float weight(const layer *l, size_t o, size_t i, size_t h, size_t w)
{
    switch (l->weights) {
    case MSW_WEIGHTS_OI:
        return l->dense[o * l->channels + i];
    case MSW_WEIGHTS_IO:
        return l->dense[i * l->outputs + o];
    case MSW_WEIGHTS_OIHW:
        return l->dense[((o * l->channels + i) * l->kernel_h + h) * l->kernel_w + w];
    default:
        return l->dense[((o * l->kernel_h + h) * l->kernel_w + w) * l->channels + i];
    }
}

/* A random order of [0, count), groups staying together. */
static uint32_t *shuffled(size_t count, size_t group)
{
    uint32_t *p = malloc(count * sizeof *p);

    assert_non_null(p);
    for (size_t i = 0; i < count; i++)
        p[i] = (uint32_t)i;
    for (size_t i = 0; i < count; i++) {
        const size_t j = i / group * group + pick(0, i % group);
        const uint32_t t = p[i];
        p[i] = p[j];
        p[j] = t;
    }
    return p;
}

static msw_plan *plan_of(msw_context *ctx, const layer *l, bool permuted)
{
    const size_t shapes[4][4] = {
        {l->outputs, l->channels},
        {l->channels, l->outputs},
        {l->outputs, l->channels, l->kernel_h, l->kernel_w},
        {l->outputs, l->kernel_h, l->kernel_w, l->channels},
    };
    const size_t columns = l->channels * l->kernel_h * l->kernel_w;
    uint32_t *rows = NULL, *cols = NULL;
    msw_plan_options o;
    msw_plan *plan;

    msw_plan_options_init(&o);
    o.weights = l->weights;
    o.groups = (uint32_t)l->groups;
    o.reduction = (uint32_t)pick(0, 1);
    o.block_rows = (uint32_t)pick(1, 9);
    o.block_columns = (uint32_t)pick(1, 9);
    if (permuted) {
        o.row_permutation = rows = shuffled(l->outputs, l->outputs / l->groups);
        o.column_permutation = cols = shuffled(columns, columns);
    }
    assert_int_equal(msw_plan_new(&plan, ctx, shapes[l->weights], is_conv(l) ? 4 : 2, &o),
                     MSW_OK);
    free(rows);
    free(cols);
    return plan;
}

/* Weights of random classes, as an object and dense. */
static void make_weights(msw_context *ctx, layer *l, bool permuted)
{
    msw_plan *plan = plan_of(ctx, l, permuted);
    msw_tensor *t;
    msw_plan_info info;
    uint8_t *classes;

    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    classes = malloc(info.block_count);
    l->dense = malloc(weight_count(l) * sizeof(float));
    assert_non_null(classes);
    assert_non_null(l->dense);
    for (size_t b = 0; b < info.block_count; b++)
        classes[b] = (uint8_t)pick(0, 2);
    for (size_t i = 0; i < weight_count(l); i++)
        l->dense[i] = value();
    assert_int_equal(msw_tensor_borrow(&t, ctx, l->dense, info.shape, NULL, info.rank),
                     MSW_OK);
    assert_int_equal(msw_unified_new(&l->u, plan, t, classes, info.block_count), MSW_OK);
    assert_int_equal(msw_unified_to_dense(t, l->u), MSW_OK);
    msw_tensor_free(t);
    msw_plan_free(plan);
    free(classes);
}

static void make_options(layer *l, bool plain)
{
    msw_conv_options *o = &l->options;

    msw_conv_options_init(o);
    o->image = (uint32_t)pick(0, 1);
    if (!plain) {
        o->stride_h = (uint32_t)pick(0, 3);
        o->stride_w = (uint32_t)pick(0, 3);
        o->dilation_h = (uint32_t)pick(0, 3);
        o->dilation_w = (uint32_t)pick(0, 3);
        o->pad_top = (uint32_t)pick(0, 3);
        o->pad_bottom = (uint32_t)pick(0, 3);
        o->pad_left = (uint32_t)pick(0, 3);
        o->pad_right = (uint32_t)pick(0, 3);
    }
    o->activation = (uint32_t)pick(0, 2);
    o->fallback = (uint32_t)pick(0, 1);
    o->expected_pixels = pick(0, 1) * pick(1, 100);
    l->bias = NULL;
    if (pick(0, 1)) {
        l->bias = malloc(l->outputs * sizeof(float));
        assert_non_null(l->bias);
        for (size_t i = 0; i < l->outputs; i++)
            l->bias[i] = value();
        o->bias = l->bias;
        o->bias_count = l->outputs;
    }
}

static layer random_layer(msw_context *ctx)
{
    const bool depthwise = pick(0, 5) == 0;
    layer l = {.weights = (uint32_t)pick(0, 3)};

    l.groups = depthwise ? pick(1, 12) : pick(0, 2) ? 1 : pick(1, 4);
    l.outputs = l.groups * (depthwise ? pick(1, 2) : pick(1, 20));
    l.channels = depthwise ? 1 : pick(1, 9);
    l.kernel_h = is_conv(&l) ? pick(1, 4) : 1;
    l.kernel_w = is_conv(&l) ? pick(1, 4) : 1;
    make_weights(ctx, &l, pick(0, 1));
    make_options(&l, pick(0, 2) == 0);
    return l;
}

static void layer_free(layer *l)
{
    msw_unified_free(l->u);
    free(l->dense);
    free(l->bias);
}

/* An array of images in guarded memory, sliced out of a larger one. */
typedef struct images {
    size_t batch, channels, height, width, ld, batch_stride, count;
    bool nchw;
    guarded memory;
} images;

static images images_new(size_t batch, size_t channels, size_t height, size_t width,
                         bool nchw, bool sliced)
{
    images m = {batch, channels, height, width, 0, 0, 0, nchw, {NULL, NULL, 0}};
    const size_t area = height * width;
    const size_t runs = nchw ? channels : area, run = nchw ? area : channels;

    m.ld = run + (sliced ? pick(0, 5) : 0);
    m.batch_stride = runs * m.ld + (sliced ? pick(0, 5) : 0);
    m.count = batch ? (batch - 1) * m.batch_stride + (runs - 1) * m.ld + run : 0;
    m.memory = guarded_new(m.count);
    return m;
}

static size_t at(const images *m, size_t b, size_t c, size_t y, size_t x)
{
    const size_t pixel = y * m->width + x;

    return b * m->batch_stride + (m->nchw ? c * m->ld + pixel : pixel * m->ld + c);
}

static size_t or_one(uint32_t v)
{
    return v ? v : 1;
}

/* One output by the definition, and the sum of absolute values for the tolerance. */
static double convolve(double *sum, const layer *l, const images *x, size_t b, size_t o,
                       size_t p, size_t q)
{
    const msw_conv_options *k = &l->options;
    const size_t first = o / (l->outputs / l->groups) * l->channels;
    double y = l->bias ? (double)l->bias[o] : 0;

    *sum = fabs(y);
    for (size_t i = 0; i < l->channels; i++)
        for (size_t h = 0; h < l->kernel_h; h++)
            for (size_t w = 0; w < l->kernel_w; w++) {
                const size_t r = p * or_one(k->stride_h) + h * or_one(k->dilation_h);
                const size_t c = q * or_one(k->stride_w) + w * or_one(k->dilation_w);
                double term;

                if (r < k->pad_top || r - k->pad_top >= x->height || c < k->pad_left ||
                    c - k->pad_left >= x->width)
                    continue;
                term = (double)weight(l, o, i, h, w) *
                       (double)x->memory.data[at(x, b, first + i, r - k->pad_top,
                                                 c - k->pad_left)];
                y += term;
                *sum += fabs(term);
            }
    return y;
}

static double activate(double y, uint32_t activation)
{
    if (activation != MSW_ACTIVATION_NONE && y < 0)
        return 0;
    return activation == MSW_ACTIVATION_RELU6 && y > 6 ? 6 : y;
}

/* Every element of y, and everything between. `before`: y before the call. */
static void check(const layer *l, const images *x, const images *y, const float *before,
                  uint32_t beta)
{
    const float *got = y->memory.data;
    bool *seen = calloc(y->count + 1, sizeof *seen);

    assert_non_null(seen);
    for (size_t b = 0; b < y->batch; b++)
        for (size_t o = 0; o < l->outputs; o++)
            for (size_t p = 0; p < y->height; p++)
                for (size_t q = 0; q < y->width; q++) {
                    const size_t i = at(y, b, o, p, q);
                    double sum, want = convolve(&sum, l, x, b, o, p, q);

                    want += beta ? (double)before[i] : 0;
                    sum += beta ? fabs((double)before[i]) : 0;
                    want = activate(want, l->options.activation);
                    if (!(fabs((double)got[i] - want) <= tolerance * sum + 1e-30))
                        fail_msg("y[%zu][%zu][%zu][%zu] is %g, not %g", b, o, p, q,
                                 (double)got[i], want);
                    seen[i] = true;
                }
    for (size_t i = 0; i < y->count; i++)
        assert_true(seen[i] || got[i] == before[i]);
    free(seen);
}

static msw_conv_call call_of(const images *x, const images *y, bool contiguous)
{
    msw_conv_call c;

    msw_conv_call_init(&c);
    c.x = x->memory.data;
    c.y = y->memory.data;
    c.batch = x->batch;
    c.height = x->height;
    c.width = x->width;
    if (!contiguous) {
        c.ldx = x->ld;
        c.ldy = y->ld;
        c.batch_stride_x = x->batch_stride;
        c.batch_stride_y = y->batch_stride;
    }
    return c;
}

static void fill(images *m)
{
    for (size_t i = 0; i < m->count; i++)
        m->memory.data[i] = value();
}

/* Run with and without a workspace: the same bits, and right. */
static void check_run(const layer *l, const msw_conv *conv, size_t batch, size_t height,
                      size_t width)
{
    const bool nchw = l->options.image == MSW_IMAGE_NCHW, sliced = pick(0, 1);
    const size_t bytes = msw_conv_workspace(conv, batch, height, width);
    size_t out_height, out_width;
    images x, y;
    msw_conv_call c;
    float *before, *after;

    assert_int_equal(msw_conv_get_output(&out_height, &out_width, conv, height, width),
                     MSW_OK);
    x = images_new(batch, l->groups * l->channels, height, width, nchw, sliced);
    y = images_new(batch, l->outputs, out_height, out_width, nchw, sliced);
    before = malloc((y.count + 1) * sizeof *before);
    after = malloc((y.count + 1) * sizeof *after);
    assert_non_null(before);
    assert_non_null(after);
    c = call_of(&x, &y, !sliced);
    c.beta = (uint32_t)pick(0, 1);
    fill(&x);
    for (size_t i = 0; i < y.count; i++)
        before[i] = c.beta ? value() : untouched;
    memcpy(y.memory.data, before, y.count * sizeof *before);
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    check(l, &x, &y, before, c.beta);
    memcpy(after, y.memory.data, y.count * sizeof *after);

    memcpy(y.memory.data, before, y.count * sizeof *before);
    assert_true(bytes != SIZE_MAX);
    c.workspace = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    c.workspace_bytes = bytes;
    assert_non_null(c.workspace);
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    assert_memory_equal(after, y.memory.data, y.count * sizeof *after);
    free(c.workspace);
    free(before);
    free(after);
    guarded_free(&x.memory);
    guarded_free(&y.memory);
}

static msw_conv *conv_of(msw_context *ctx, const layer *l)
{
    msw_conv *conv;

    assert_int_equal(msw_conv_new(&conv, ctx, l->u, &l->options), MSW_OK);
    return conv;
}

static void test_random_geometries(void **state)
{
    for (int n = 0; n < CASES; n++) {
        layer l = random_layer(*state);
        msw_conv *conv = conv_of(*state, &l);
        const size_t smallest = 10; /* 4 with a dilation of 3 */

        check_run(&l, conv, pick(0, 3), pick(smallest, 14), pick(smallest, 14));
        if (n % 16 == 0) /* several tiles of one image */
            check_run(&l, conv, 2, pick(40, 60), pick(40, 60));
        if (n % 16 == 1) /* small images that share a tile, or several */
            check_run(&l, conv, pick(30, 200), smallest, smallest);
        msw_conv_free(conv);
        layer_free(&l);
    }
}

/* Every kind of layer, plain and on small images, where a tile spans many. */
static void test_shared_tiles(void **state)
{
    for (uint32_t image = 0; image <= 1; image++)
        for (int pointwise = 0; pointwise < 2; pointwise++) {
            layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 20, .channels = 6,
                       .groups = 1};
            msw_conv *conv;

            l.kernel_h = l.kernel_w = pointwise ? 1 : 3;
            make_weights(*state, &l, false);
            make_options(&l, true);
            l.options.image = image;
            conv = conv_of(*state, &l);
            for (size_t side = 3; side < 10; side++)
                check_run(&l, conv, 70, side, side);
            msw_conv_free(conv);
            layer_free(&l);
        }
}

/* An image of no rows, all padding. */
static void test_padding_only(void **state)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 5, .channels = 2, .kernel_h = 3,
               .kernel_w = 3, .groups = 1};
    msw_conv *conv;

    make_weights(*state, &l, false);
    make_options(&l, true);
    l.options.pad_top = l.options.pad_bottom = 2;
    conv = conv_of(*state, &l);
    check_run(&l, conv, 1, 1, 4);
    msw_conv_free(conv);
    layer_free(&l);
}

/* The same bits whatever runs the tasks. */
static void test_pools(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 70, .channels = 20, .kernel_h = 3,
               .kernel_w = 3, .groups = 1};
    images x = images_new(3, 20, 21, 21, true, false);
    images y = images_new(3, 70, 19, 19, true, false);
    float *first = malloc(y.count * sizeof *first);

    assert_non_null(first);
    fill(&x);
    make_weights(*state, &l, false);
    make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    l.options.fallback = MSW_FALLBACK_NEVER;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        pool p = {.mode = modes[i]};
        const msw_conv_call c = call_of(&x, &y, true);
        msw_context_options o;
        msw_context *ctx;
        msw_conv *conv;

        msw_context_options_init(&o);
        o.parallel_for = pool_run;
        o.parallel_user = &p;
        assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
        conv = conv_of(ctx, &l);
        assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
        if (i == 0)
            memcpy(first, y.memory.data, y.count * sizeof *first);
        assert_memory_equal(first, y.memory.data, y.count * sizeof *first);
        msw_conv_free(conv);
        msw_context_free(ctx);
    }
    free(first);
    guarded_free(&x.memory);
    guarded_free(&y.memory);
    layer_free(&l);
}

/* A 3x3 layer of 4 channels and 6 outputs, for what follows. */
static layer small_layer(msw_context *ctx, size_t groups)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 6, .channels = 4 / groups,
               .kernel_h = 3, .kernel_w = 3, .groups = groups};

    make_weights(ctx, &l, true);
    make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    return l;
}

static void test_output_size(void **state)
{
    layer l = small_layer(*state, 1);
    msw_conv *conv;
    size_t h = 9, w = 9;

    l.options.stride_h = 2;
    l.options.dilation_w = 2;
    l.options.pad_bottom = 1;
    l.options.pad_left = 3;
    conv = conv_of(*state, &l);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 7, 5), MSW_OK);
    assert_int_equal(h, 3); /* (7 + 1 - 2 - 1) / 2 + 1 */
    assert_int_equal(w, 4); /* 5 + 3 - 4 - 1 + 1 */
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 1, 5), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 7, 1), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, SIZE_MAX, 5), MSW_E_RANGE);
    assert_int_equal(h, 3);
    assert_int_equal(w, 4);
    assert_int_equal(msw_conv_get_output(NULL, &w, conv, 7, 5), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_output(&h, NULL, conv, 7, 5), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_output(&h, &w, NULL, 7, 5), MSW_E_INVAL);
    assert_true(msw_conv_workspace(conv, 1, 1, 5) == SIZE_MAX);
    assert_true(msw_conv_workspace(conv, SIZE_MAX / 2, 9, 9) == SIZE_MAX);
    assert_int_equal(msw_conv_workspace(conv, 0, 9, 9), 0);
    msw_conv_free(conv);
    layer_free(&l);
}

static void test_options(void **state)
{
    layer l = small_layer(*state, 2);
    const float bias[7] = {0};
    msw_conv_options o = l.options;
    msw_conv *conv = (msw_conv *)&o;

    assert_int_equal(msw_conv_new(NULL, *state, l.u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_conv_new(&conv, NULL, l.u, NULL), MSW_E_INVAL);
    assert_null(conv);
    assert_int_equal(msw_conv_new(&conv, *state, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_conv_new(&conv, *state, l.u, NULL), MSW_OK);
    msw_conv_free(msw_conv_ref(conv));
    msw_conv_free(conv);
    msw_conv_free(NULL);
    o.image = MSW_IMAGE_NHWC + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    assert_null(conv);
    o = l.options;
    o.activation = MSW_ACTIVATION_RELU6 + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.fallback = MSW_FALLBACK_BLAS + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.bias = bias;
    o.bias_count = 7;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.size = 8;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    layer_free(&l);
}

/* The bound holds for all groups together. */
static void test_max_bytes(void **state)
{
    layer l = small_layer(*state, 2);
    msw_conv_options o = l.options;
    msw_gemm_info info;
    msw_conv *conv;

    o.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_OK);
    msw_gemm_info_init(&info);
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 9, 9), MSW_OK);
    msw_conv_free(conv);
    assert_true(info.bytes_packed > 0);
    assert_int_equal(info.bytes_dense, 0);
    o.max_bytes = info.bytes_packed;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_OK);
    msw_conv_free(conv);
    while (--o.max_bytes) {
        assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_LIMIT);
        assert_null(conv);
    }
    layer_free(&l);
}

static void test_info(void **state)
{
    layer l = small_layer(*state, 1);
    msw_conv *conv = conv_of(*state, &l);
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    assert_int_equal(msw_conv_get_info(&info, conv, 3, 9, 9), MSW_OK);
    assert_non_null(info.kernel);
    assert_non_null(info.reason);
    assert_non_null(info.isa);
    assert_true(info.predicted == 0 && info.measured == 0 && info.dense == 0);
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 2, 9), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_info(&info, NULL, 1, 9, 9), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_info(NULL, conv, 1, 9, 9), MSW_E_INVAL);
    info.size = 8;
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 9, 9), MSW_E_INVAL);
    msw_conv_free(conv);
    layer_free(&l);
}

/* Each way to get a call wrong is refused, and y stays as it was. */
static void test_calls(void **state)
{
    layer l = small_layer(*state, 1);
    msw_conv *conv = conv_of(*state, &l);
    static float x[2 * 4 * 5 * 5], y[2 * 6 * 3 * 3];
    _Alignas(64) static unsigned char space[128];
    struct {
        msw_conv_call call;
        msw_status status;
    } cases[18];
    msw_conv_call good;
    size_t count = 0;

    msw_conv_call_init(&good);
    good.x = x;
    good.y = y;
    good.batch = 2;
    good.height = good.width = 5;
#define BAD(status_, change)              \
    do {                                  \
        msw_conv_call *c = &cases[count].call; \
        *c = good;                        \
        change;                           \
        cases[count++].status = status_;  \
    } while (0)
    BAD(MSW_E_INVAL, c->x = NULL);
    BAD(MSW_E_INVAL, c->y = NULL);
    BAD(MSW_E_INVAL, c->beta = 2);
    BAD(MSW_E_INVAL, c->size = 8);
    BAD(MSW_E_VERSION, c->reserved = 1);
    BAD(MSW_E_RANGE, c->height = 2);
    BAD(MSW_E_RANGE, c->width = 2);
    BAD(MSW_E_RANGE, c->ldx = 24);
    BAD(MSW_E_RANGE, c->ldy = 8);
    BAD(MSW_E_RANGE, c->batch_stride_x = 4 * 25 - 1);
    BAD(MSW_E_RANGE, c->batch_stride_y = 6 * 9 - 1);
    BAD(MSW_E_RANGE, c->batch = SIZE_MAX / 8);
    BAD(MSW_E_RANGE, c->height = SIZE_MAX / 2);
    BAD(MSW_E_RANGE, c->ldx = SIZE_MAX / 8);
    BAD(MSW_E_RANGE, c->batch_stride_y = SIZE_MAX / 4);
    BAD(MSW_E_INVAL, c->workspace = space + 4; c->workspace_bytes = SIZE_MAX);
    BAD(MSW_E_RANGE, c->workspace = space; c->workspace_bytes = sizeof space);
    BAD(MSW_E_RANGE, c->height = c->width = (size_t)1 << (sizeof(size_t) * 4));
#undef BAD
    for (size_t i = 0; i < sizeof y / sizeof *y; i++)
        y[i] = untouched;
    assert_int_equal(count, sizeof cases / sizeof *cases);
    for (size_t i = 0; i < count; i++)
        if (msw_conv_run(conv, &cases[i].call) != cases[i].status)
            fail_msg("case %zu gives %s", i,
                     msw_status_text(msw_conv_run(conv, &cases[i].call)));
    assert_int_equal(msw_conv_run(NULL, &good), MSW_E_INVAL);
    assert_int_equal(msw_conv_run(conv, NULL), MSW_E_INVAL);
    for (size_t i = 0; i < sizeof y / sizeof *y; i++)
        assert_true(y[i] == untouched);
    good.batch = 0;
    good.x = NULL;
    good.y = NULL;
    assert_int_equal(msw_conv_run(conv, &good), MSW_OK);
    msw_conv_free(conv);
    layer_free(&l);
}

/* The stride of a single image, or of a single run, is anything. */
static void test_idle_strides(void **state)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 1, .channels = 1, .kernel_h = 1,
               .kernel_w = 1, .groups = 1};
    static float x[25], y[25];
    msw_conv_call c;
    msw_conv *conv;

    make_weights(*state, &l, false);
    make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    conv = conv_of(*state, &l);
    msw_conv_call_init(&c);
    c.x = x;
    c.y = y;
    c.batch = 1;
    c.height = c.width = 5;
    c.ldx = c.ldy = c.batch_stride_x = c.batch_stride_y = 1;
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    msw_conv_free(conv);
    layer_free(&l);
}

/* Refuse each allocation of making and running in turn. */
static void test_out_of_memory(void **state)
{
    images x = images_new(2, 4, 9, 9, true, false), y = images_new(2, 6, 7, 7, true, false);
    const msw_conv_call call = call_of(&x, &y, true);
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_status status = MSW_E_NOMEM;
    uint64_t blocks;
    layer l;

    (void)state;
    assert_non_null(ctx);
    l = small_layer(ctx, 2);
    blocks = f.blocks;
    fill(&x);
    for (uint64_t k = 1; status; k++) {
        msw_conv *conv;

        faults_arm(&f, k, false);
        status = msw_conv_new(&conv, ctx, l.u, &l.options);
        if (status)
            assert_null(conv);
        else
            status = msw_conv_run(conv, &call);
        assert_true(status == MSW_OK || status == MSW_E_NOMEM);
        assert_true(status == MSW_OK || f.failed == 1);
        assert_true(k < 1000);
        faults_arm(&f, 0, false);
        msw_conv_free(conv);
        assert_int_equal(f.blocks, blocks);
    }
    layer_free(&l);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
    guarded_free(&x.memory);
    guarded_free(&y.memory);
}

static int set_up(void **state)
{
    msw_context *ctx = NULL;
    const msw_status status = msw_context_new(&ctx, NULL);

    *state = ctx;
    return status;
}

static int tear_down(void **state)
{
    msw_context_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_geometries),
        cmocka_unit_test(test_shared_tiles),
        cmocka_unit_test(test_padding_only),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_output_size),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_max_bytes),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_idle_strides),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
