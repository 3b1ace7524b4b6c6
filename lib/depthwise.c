/* SPDX-License-Identifier: BSD-2-Clause */
#include "depthwise.h"
#include "direct.h"
#include "sizes.h"
#if defined(__x86_64__)
#include "x86/direct.h"
#endif

/* The kernel in C */

static float clamp(float v, float low, float high)
{
    v = v < low ? low : v; /* such that NaN stays */
    return v > high ? high : v;
}

static float sum_of(const msw__depthwise_unit *u, const float *x, size_t channel)
{
    float sum = 0;

    for (size_t h = 0; h < u->count_h; h++)
        for (size_t w = 0; w < u->count_w; w++)
            sum += u->weights[h * u->row + w * u->channels + channel] *
                   x[h * u->step_h + w * u->step_w + channel];
    return sum;
}

void msw__depthwise_c(const msw__depthwise_unit *u)
{
    for (size_t i = 0; i < u->pixels; i++)
        for (size_t c = 0; c < u->channels; c++) {
            const float v = sum_of(u, u->x + i * u->step_x, c) + u->bias[c];
            float *y = u->y + i * u->step_y + c;

            *y = clamp(u->beta ? v + *y : v, u->low, u->high);
        }
}

const char *msw__depthwise_name(uint32_t cpu)
{
    return cpu & MSW_CPU_AVX512 ? "depthwise avx512"
           : cpu & MSW_CPU_AVX2 ? "depthwise avx2" : "depthwise c";
}

/* Packing */

static void pack(msw__depthwise *d, const msw_plan *p, const float *dense,
                 const float *bias)
{
    for (size_t c = 0; c < d->channels; c++) {
        for (size_t k = 0; k < d->positions; k++)
            d->weights[k * d->channels + c] = msw__dense_weight(p, dense, c, k);
        d->bias[c] = bias ? bias[c] : 0;
    }
}

msw_status msw__depthwise_init(msw__depthwise *d, msw_context *ctx, const msw_unified *u,
                               const float *bias, uint32_t activation)
{
    const msw_plan *p = u->plan;
    msw_tensor *dense;
    void *memory;
    msw_status status;

    *d = (msw__depthwise){.kernel = msw__depthwise_c, .channels = p->rows,
                          .positions = p->columns};
#if defined(__x86_64__)
    depthwise_choose_x86(d, ctx->cpu);
#endif
    msw__activation_range(&d->low, &d->high, activation);
    status = msw_tensor_new(&dense, ctx, p->shape, p->rank);
    if (!status)
        status = msw_unified_to_dense(dense, u);
    if (!status) {
        status = msw__alloc(&memory, ctx, d->channels * d->positions, sizeof(float));
        d->weights = memory;
    }
    if (!status) {
        status = msw__alloc(&memory, ctx, d->channels, sizeof(float));
        d->bias = memory;
    }
    if (!status)
        pack(d, p, dense->data, bias);
    msw_tensor_free(dense);
    if (status)
        msw__depthwise_free(d, ctx);
    return status;
}

void msw__depthwise_free(msw__depthwise *d, msw_context *ctx)
{
    msw__free(ctx, d->weights, d->channels * d->positions, sizeof(float));
    msw__free(ctx, d->bias, d->channels, sizeof(float));
    *d = (msw__depthwise){0};
}

uint64_t msw__depthwise_bytes(const msw__depthwise *d)
{
    return (uint64_t)d->channels * (d->positions + 1) * sizeof(float);
}

/* Running */

/* Kernel positions that lie in the image for an output whose window begins at padded
 * position @p start. */
typedef struct range {
    size_t first, end;
} range;

static range inside(const msw__axis *a, size_t start, size_t size)
{
    const size_t left = start < a->before ? a->before - start : 0;
    const size_t right = start < a->before + size ? a->before + size - start : 0;
    range r = {msw__min(msw__divide_up(left, a->dilation), a->kernel),
               msw__min(msw__divide_up(right, a->dilation), a->kernel)};

    r.first = msw__min(r.first, r.end);
    return r;
}

/* Outputs that all kernel positions reach. */
static range interior(const msw__axis *a, size_t out, size_t size)
{
    const size_t span = (a->kernel - 1) * a->dilation, end = a->before + size;
    range r = {msw__min(msw__divide_up(a->before, a->stride), out), 0};

    if (end > span)
        r.end = msw__min(msw__divide_up(end - span, a->stride), out);
    r.end = msw__max(r.first, r.end);
    return r;
}

void msw__depthwise_run(const msw__depthwise *d, const msw__window *w,
                        const msw__images *x, size_t image, size_t row, float *y,
                        size_t step_y, bool beta)
{
    const msw__axis *a = &w->w;
    const size_t top = row * w->h.stride;
    const range h = inside(&w->h, top, x->height);
    const range inner = interior(a, x->out_width, x->width);
    msw__depthwise_unit u = {
        .step_x = a->stride * x->ld, .step_h = w->h.dilation * x->pitch * x->ld,
        .step_w = a->dilation * x->ld, .count_h = h.end - h.first,
        .row = a->kernel * d->channels, .bias = d->bias, .channels = d->channels,
        .step_y = step_y, .low = d->low, .high = d->high, .beta = beta};

    for (size_t q = 0; q < x->out_width; q += u.pixels, y += u.pixels * step_y) {
        const range v = inside(a, q * a->stride, x->width);
        const size_t from_h = top + h.first * w->h.dilation - w->h.before;
        const size_t from_w = q * a->stride + v.first * a->dilation - a->before;

        u.pixels = q == inner.first && inner.end > q ? inner.end - q : 1;
        u.count_w = v.end - v.first;
        u.weights = d->weights + h.first * u.row + v.first * d->channels;
        u.x = x->data + image * x->batch_stride;
        if (u.count_h && u.count_w)
            u.x += (from_h * x->pitch + from_w) * x->ld;
        u.y = y;
        d->kernel(&u);
    }
}
