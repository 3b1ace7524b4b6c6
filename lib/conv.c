/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and asking; conv_run.c runs. */
#include "conv.h"
#include "gemm.h"

enum {
    OLDEST_OPTIONS = sizeof(msw_conv_options),
    USUAL_PIXELS = 1024, /* many columns for a product */
    FEW_OUTPUTS = 4      /* of a group: not worth a product */
};

static size_t or_one(uint32_t value)
{
    return value ? value : 1;
}

static msw_status take_options(msw_conv_options *o, const msw_conv_options *options,
                               const msw_plan *plan)
{
    msw_conv_options_init(o);
    if (options) {
        const msw_status status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
        if (status)
            return status;
    }
    if (o->image > MSW_IMAGE_NHWC || o->activation > MSW_ACTIVATION_RELU6 ||
        o->fallback > MSW_FALLBACK_BLAS || o->tune > 1 ||
        (o->bias && o->bias_count != plan->rows))
        return MSW_E_INVAL;
    return MSW_OK;
}

/* Fully connected weights are a 1x1 convolution. */
static void set_geometry(msw_conv *c, const msw_plan *p, const msw_conv_options *o)
{
    const bool oihw = p->weights == MSW_WEIGHTS_OIHW;
    const bool conv = oihw || p->weights == MSW_WEIGHTS_OHWI;
    msw__window *w = &c->window;

    w->h = (msw__axis){conv ? p->shape[oihw ? 2 : 1] : 1, or_one(o->stride_h),
                       or_one(o->dilation_h), o->pad_top, o->pad_bottom};
    w->w = (msw__axis){conv ? p->shape[oihw ? 3 : 2] : 1, or_one(o->stride_w),
                       or_one(o->dilation_w), o->pad_left, o->pad_right};
    w->channels = p->columns / (w->h.kernel * w->w.kernel);
    w->channels_fastest = p->reduction == MSW_REDUCTION_CHANNELS;
    c->groups = p->groups;
    c->outputs = p->group_rows;
    c->elements = p->columns;
    c->image = o->image;
    c->transpose = msw__transpose_choose(c->ctx->cpu);
}

/* Bytes of a kernel that count against max_bytes. */
static msw_status bytes_of(uint64_t *out, const msw_gemm *gemm)
{
    msw_gemm_info info;
    msw_status status;

    msw_gemm_info_init(&info);
    status = msw_gemm_get_info(&info, gemm, 1);
    *out = info.bytes_packed + info.bytes_dense;
    return status;
}

static msw_status make_group(msw_conv *c, const msw_unified *u, size_t group,
                             const msw_gemm_options *options)
{
    msw_unified *slice;
    msw_status status;

    if (c->groups == 1)
        return msw_gemm_new(&c->gemms[0], c->ctx, u, options);
    status = msw__unified_group(&slice, u, group);
    if (status)
        return status;
    status = msw_gemm_new(&c->gemms[group], c->ctx, slice, options);
    msw_unified_free(slice);
    return status;
}

static size_t expected_columns(const msw_conv_options *o)
{
    return o->expected_pixels && o->expected_pixels < USUAL_PIXELS ? o->expected_pixels
                                                                   : USUAL_PIXELS;
}

/* Rather than products for n columns, of which that of the first group is there. */
static bool direct_is_faster(const msw_conv *c, const msw_unified *u, size_t n)
{
    const double product = msw__gemm_choice(c->gemms[0], n).predicted;

    return (double)n * msw__direct_cost(u) < (double)c->groups * product;
}

static msw_status make_gemms(msw_conv *c, const msw_unified *u, const msw_conv_options *o)
{
    msw_gemm_options g;
    uint64_t used;
    void *memory;
    msw_status status = msw__calloc(&memory, c->ctx, c->groups, sizeof(msw_gemm *));

    c->gemms = memory;
    msw_gemm_options_init(&g);
    g.expected_n = expected_columns(o);
    g.max_bytes = o->max_bytes;
    g.activation = o->activation;
    g.fallback = o->fallback;
    g.tune = o->tune;
    for (size_t i = 0; i < c->groups && !status; i++) {
        g.bias = o->bias ? o->bias + i * c->outputs : NULL;
        g.bias_count = o->bias ? c->outputs : 0;
        status = make_group(c, u, i, &g);
        if (!status && i == 0 && direct_is_faster(c, u, g.expected_n)) {
            c->is_direct = true;
            break;
        }
        if (status || !o->max_bytes || i + 1 == c->groups)
            continue;
        status = bytes_of(&used, c->gemms[i]);
        if (!status && used >= g.max_bytes)
            status = MSW_E_LIMIT; /* the other groups need some, too */
        g.max_bytes -= used;
    }
    return status;
}

static msw_status make_direct(msw_conv *c, const msw_unified *u, const msw_conv_options *o)
{
    msw_status status = msw__direct_init(&c->direct, c->ctx, u, o->bias, o->activation);

    if (!status && o->max_bytes && msw__direct_bytes(&c->direct) > o->max_bytes)
        status = MSW_E_LIMIT;
    return status;
}

static void free_gemms(msw_conv *c)
{
    for (size_t i = 0; c->gemms && i < c->groups; i++)
        msw_gemm_free(c->gemms[i]);
    msw__free(c->ctx, c->gemms, c->groups, sizeof *c->gemms);
    c->gemms = NULL;
}

static msw_status make_kernels(msw_conv *c, const msw_unified *u, const msw_conv_options *o)
{
    msw_status status = MSW_OK;

    c->is_direct = c->outputs <= FEW_OUTPUTS;
    c->reason = c->is_direct ? "few outputs to a group" : "cost model";
    if (!c->is_direct)
        status = make_gemms(c, u, o);
    if (!status && c->is_direct) {
        free_gemms(c);
        status = make_direct(c, u, o);
    }
    return status;
}

msw_status msw_conv_new(msw_conv **out, msw_context *ctx, const msw_unified *u,
                        const msw_conv_options *options)
{
    msw_conv_options o;
    msw_conv *c;
    void *memory;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx || !u)
        return MSW_E_INVAL;
    status = take_options(&o, options, u->plan);
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *c);
    if (status)
        return status;
    c = memory;
    atomic_init(&c->refs, 1);
    c->ctx = msw_context_ref(ctx);
    set_geometry(c, u->plan, &o);
    status = make_kernels(c, u, &o);
    if (status)
        msw_conv_free(c);
    else
        *out = c;
    return status;
}

msw_conv *msw_conv_ref(msw_conv *conv)
{
    msw__refs_take(&conv->refs);
    return conv;
}

void msw_conv_free(msw_conv *conv)
{
    msw_context *ctx;

    if (!conv || !msw__refs_drop(&conv->refs))
        return;
    ctx = conv->ctx;
    free_gemms(conv);
    msw__direct_free(&conv->direct, ctx);
    msw__free(ctx, conv, 1, sizeof *conv);
    msw_context_free(ctx);
}

/* One axis: floor((size + pads - dilation (kernel - 1) - 1) / stride) + 1. */
static msw_status output_size(size_t *out, const msw__axis *a, size_t size)
{
    size_t padded, span;

    if (!msw__size_add(&padded, size, a->before) ||
        !msw__size_add(&padded, padded, a->after) ||
        !msw__size_mul(&span, a->kernel - 1, a->dilation) || span >= padded)
        return MSW_E_RANGE;
    *out = (padded - span - 1) / a->stride + 1;
    return MSW_OK;
}

msw_status msw_conv_get_output(size_t *out_height, size_t *out_width, const msw_conv *conv,
                               size_t height, size_t width)
{
    size_t h, w;
    msw_status status;

    if (!out_height || !out_width || !conv)
        return MSW_E_INVAL;
    status = output_size(&h, &conv->window.h, height);
    if (!status)
        status = output_size(&w, &conv->window.w, width);
    if (status)
        return status;
    *out_height = h;
    *out_width = w;
    return MSW_OK;
}
