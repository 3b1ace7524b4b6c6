/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "conv_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const double tolerance = 1e-6; /* of the sum of absolute values */

static uint32_t seed = 1;

/* In [low, high]. */
size_t pick(size_t low, size_t high)
{
    seed = seed * 1664525u + 1013904223u;
    return low + (seed >> 8) % (high - low + 1);
}

float value(void)
{
    return (float)pick(0, 2000) / 1000 - 1;
}

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

/* l->u from these classes; l->dense becomes what it holds. */
static void unify(msw_context *ctx, layer *l, msw_plan *plan, const uint8_t *classes)
{
    msw_plan_info info;
    msw_tensor *t;

    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t, ctx, l->dense, info.shape, NULL, info.rank),
                     MSW_OK);
    assert_int_equal(msw_unified_new(&l->u, plan, t, classes, info.block_count), MSW_OK);
    assert_int_equal(msw_unified_to_dense(t, l->u), MSW_OK);
    msw_tensor_free(t);
}

static size_t block_count(const msw_plan *plan)
{
    msw_plan_info info;

    msw_plan_info_init(&info);
    assert_int_equal(msw_plan_get_info(&info, plan), MSW_OK);
    return info.block_count;
}

void layer_make_weights(msw_context *ctx, layer *l, bool permuted)
{
    msw_plan *plan = plan_of(ctx, l, permuted);
    const size_t blocks = block_count(plan);
    uint8_t *classes = malloc(blocks);

    l->dense = malloc(weight_count(l) * sizeof(float));
    assert_non_null(classes);
    assert_non_null(l->dense);
    for (size_t b = 0; b < blocks; b++)
        classes[b] = (uint8_t)pick(0, 2);
    for (size_t i = 0; i < weight_count(l); i++)
        l->dense[i] = value();
    unify(ctx, l, plan, classes);
    msw_plan_free(plan);
    free(classes);
}

void layer_prune(msw_context *ctx, layer *l)
{
    msw_plan *plan = plan_of(ctx, l, false);
    const size_t blocks = block_count(plan);
    uint8_t *classes = malloc(blocks);

    assert_non_null(classes);
    memset(classes, MSW_CLASS_PRUNED, blocks);
    msw_unified_free(l->u);
    unify(ctx, l, plan, classes);
    msw_plan_free(plan);
    free(classes);
}

static size_t or_one(uint32_t v)
{
    return v ? v : 1;
}

static size_t larger(uint32_t a, uint32_t b)
{
    return or_one(a > b ? a : b);
}

void layer_make_options(layer *l, bool plain)
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
    if (!plain && pick(0, 2) == 0) {
        o->transposed = 1;
        o->output_pad_h = (uint32_t)pick(0, larger(o->stride_h, o->dilation_h) - 1);
        o->output_pad_w = (uint32_t)pick(0, larger(o->stride_w, o->dilation_w) - 1);
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

layer layer_random(msw_context *ctx)
{
    const bool depthwise = pick(0, 5) == 0;
    layer l = {.weights = (uint32_t)pick(0, 3)};

    l.groups = depthwise ? pick(1, 12) : pick(0, 2) ? 1 : pick(1, 4);
    l.outputs = l.groups * (depthwise ? pick(1, 2) : pick(1, 20));
    l.channels = depthwise ? 1 : pick(1, 9);
    l.kernel_h = is_conv(&l) ? pick(1, 4) : 1;
    l.kernel_w = is_conv(&l) ? pick(1, 4) : 1;
    layer_make_weights(ctx, &l, pick(0, 1));
    layer_make_options(&l, pick(0, 2) == 0);
    return l;
}

void layer_free(layer *l)
{
    msw_unified_free(l->u);
    free(l->dense);
    free(l->bias);
}

/* Between two pages that nobody may touch, next to one of them. */
static void allocate(images *m, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = m->count * sizeof(float);
    const size_t inner = (bytes + page - 1) / page * page;
    char *map = mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(map + page + inner, page, PROT_NONE), 0);
    m->map = map;
    m->map_bytes = inner + 2 * page;
    m->data = (float *)(void *)(map + page + (at_end ? inner - bytes : 0));
}

images images_new(size_t batch, size_t channels, size_t height, size_t width, bool nchw,
                  bool sliced)
{
    images m = {batch, channels, height, width, 0, 0, 0, nchw, NULL, NULL, 0};
    const size_t area = height * width;
    const size_t runs = nchw ? channels : area, run = nchw ? area : channels;

    m.ld = run + (sliced ? pick(0, 5) : 0);
    m.batch_stride = runs * m.ld + (sliced ? pick(0, 5) : 0);
    m.count = batch ? (batch - 1) * m.batch_stride + (runs - 1) * m.ld + run : 0;
    allocate(&m, pick(0, 1));
    return m;
}

void images_free(images *m)
{
    munmap(m->map, m->map_bytes);
}

static size_t at(const images *m, size_t b, size_t c, size_t y, size_t x)
{
    const size_t pixel = y * m->width + x;

    return b * m->batch_stride + (m->nchw ? c * m->ld + pixel : pixel * m->ld + c);
}

/* Along one axis, the place in x that kernel position @p h multiplies for output @p p;
 * false: none. */
static bool meets(size_t *at, const msw_conv_options *o, size_t p, size_t h, size_t stride,
                  size_t dilation, size_t pad, size_t size)
{
    if (!o->transposed) {
        *at = p * stride + h * dilation - pad;
        return p * stride + h * dilation >= pad && *at < size;
    }
    *at = (p + pad - h * dilation) / stride;
    return p + pad >= h * dilation && (p + pad - h * dilation) % stride == 0 && *at < size;
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
                size_t r, c;
                double term;

                if (!meets(&r, k, p, h, or_one(k->stride_h), or_one(k->dilation_h),
                           k->pad_top, x->height) ||
                    !meets(&c, k, q, w, or_one(k->stride_w), or_one(k->dilation_w),
                           k->pad_left, x->width))
                    continue;
                term = (double)weight(l, o, i, h, w) *
                       (double)x->data[at(x, b, first + i, r, c)];
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
    const float *got = y->data;
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

msw_conv_call images_call(const images *x, const images *y, bool contiguous)
{
    msw_conv_call c;

    msw_conv_call_init(&c);
    c.x = x->data;
    c.y = y->data;
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

/* Between the elements: NaN, which spreads where it is used. */
void images_fill(images *m)
{
    for (size_t i = 0; i < m->count; i++)
        m->data[i] = NAN;
    for (size_t b = 0; b < m->batch; b++)
        for (size_t c = 0; c < m->channels; c++)
            for (size_t y = 0; y < m->height; y++)
                for (size_t x = 0; x < m->width; x++)
                    m->data[at(m, b, c, y, x)] = value();
}

void check_run(const layer *l, const msw_conv *conv, size_t batch, size_t height,
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
    c = images_call(&x, &y, !sliced);
    c.beta = (uint32_t)pick(0, 1);
    images_fill(&x);
    for (size_t i = 0; i < y.count; i++)
        before[i] = c.beta ? value() : UNTOUCHED;
    memcpy(y.data, before, y.count * sizeof *before);
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    check(l, &x, &y, before, c.beta);
    memcpy(after, y.data, y.count * sizeof *after);

    memcpy(y.data, before, y.count * sizeof *before);
    assert_true(bytes != SIZE_MAX);
    c.workspace = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    c.workspace_bytes = bytes;
    assert_non_null(c.workspace);
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    assert_memory_equal(after, y.data, y.count * sizeof *after);
    free(c.workspace);
    free(before);
    free(after);
    images_free(&x);
    images_free(&y);
}

msw_conv *layer_conv(msw_context *ctx, const layer *l)
{
    msw_conv *conv;

    assert_int_equal(msw_conv_new(&conv, ctx, l->u, &l->options), MSW_OK);
    return conv;
}

layer layer_small(msw_context *ctx, size_t groups)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 6, .channels = 4 / groups,
               .kernel_h = 3, .kernel_w = 3, .groups = groups};

    layer_make_weights(ctx, &l, true);
    layer_make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    return l;
}

int conv_set_up(void **state)
{
    msw_context *ctx = NULL;
    const msw_status status = msw_context_new(&ctx, NULL);

    *state = ctx;
    return status;
}

int conv_tear_down(void **state)
{
    msw_context_free(*state);
    return 0;
}
