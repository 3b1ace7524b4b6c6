/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and asking; conv_run.c runs. */
#include "conv.h"
#include "gemm.h"
#include "sizes.h"

#include <string.h>

enum {
    OLDEST_OPTIONS = offsetof(msw_conv_options, wisdom),
    USUAL_PIXELS = 1024, /* many columns for a product */
    FEW_OUTPUTS = 4      /* of a group: not worth a product */
};

static size_t or_one(uint32_t value)
{
    return value ? value : 1;
}

/* Less than the stride or the dilation, and none where nothing is transposed. */
static bool is_output_pad(const msw_conv_options *o)
{
    if (!o->transposed)
        return !o->output_pad_h && !o->output_pad_w;
    return o->output_pad_h < msw__max(or_one(o->stride_h), or_one(o->dilation_h)) &&
           o->output_pad_w < msw__max(or_one(o->stride_w), or_one(o->dilation_w));
}

msw_status msw__conv_take_options(msw_conv_options *o, const msw_conv_options *options,
                                  const msw_plan *plan)
{
    msw_conv_options_init(o);
    if (options) {
        const msw_status status =
            msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);

        if (status)
            return status;
    }
    if (o->reserved)
        return MSW_E_VERSION;
    if (o->image > MSW_IMAGE_NHWC || o->activation > MSW_ACTIVATION_RELU6 ||
        o->fallback > MSW_FALLBACK_BLAS || o->tune > 1 || o->transposed > 1 ||
        !is_output_pad(o) ||
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
    c->transposed = o->transposed;
    c->output_pad_h = o->output_pad_h;
    c->output_pad_w = o->output_pad_w;
}

msw_status msw__conv_bytes(uint64_t *out, const msw_conv *c)
{
    msw_status status = MSW_OK;

    *out = c->kind == MSW__CONV_DIRECT      ? msw__direct_bytes(&c->direct)
           : c->kind == MSW__CONV_DEPTHWISE ? msw__depthwise_bytes(&c->depthwise)
                                            : 0;
    for (size_t i = 0; c->gemms && i < c->groups && !status; i++) {
        msw_gemm_info info;

        if (!c->gemms[i])
            break;
        msw_gemm_info_init(&info);
        status = msw_gemm_get_info(&info, c->gemms[i], 1);
        *out += info.bytes_packed + info.bytes_dense;
    }
    return status;
}

/* x may be the matrix of the products. */
static bool reads_matrix(const msw_conv *c)
{
    const msw__axis *h = &c->window.h, *w = &c->window.w;

    return c->image == MSW_IMAGE_NCHW && h->kernel == 1 && w->kernel == 1 &&
           h->stride == 1 && w->stride == 1 && !h->before && !h->after && !w->before &&
           !w->after;
}

/* The part of w that is a group; its plan, and weights, are new. */
static msw_status cut_group(msw__weights *part, msw_plan **plan, msw_unified **u,
                            const msw__weights *w, size_t group)
{
    msw_status status;

    *plan = NULL;
    *u = NULL;
    *part = *w;
    if (w->u) {
        status = msw__unified_group(u, w->u, group);
        if (!status)
            part->plan = (*u)->plan;
        part->u = *u;
        return status;
    }
    status = msw__group_plan(plan, w->plan, group);
    if (status)
        return status;
    part->plan = *plan;
    part->packs = w->packs + group * MSW__GEMM_BLAS;
    if (w->classes)
        part->classes = w->classes + group * (*plan)->block_count;
    return MSW_OK;
}

static msw_status make_group(msw_conv *c, const msw__weights *w, size_t group,
                             const msw_gemm_options *options)
{
    const bool gathers = !reads_matrix(c);
    msw__weights part;
    msw_unified *slice;
    msw_plan *plan;
    msw_status status;

    if (c->groups == 1)
        return msw__gemm_new(&c->gemms[0], c->ctx, w, options, gathers, c->ctx->cpu);
    status = cut_group(&part, &plan, &slice, w, group);
    if (!status)
        status = msw__gemm_new(&c->gemms[group], c->ctx, &part, options, gathers,
                               c->ctx->cpu);
    msw_unified_free(slice);
    msw_plan_free(plan);
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

/* After trying to make the first group's product. Which kernel is faster does not depend
 * on the bound, and so if that failed for the bound, it is made to be compared, only. */
static bool prefers_direct(msw_status *status, msw_conv *c, const msw__weights *w,
                           const msw_gemm_options *options)
{
    msw_gemm_options o = *options;
    bool direct;

    if (!w->u)
        return false;
    if (*status == MSW_OK)
        return direct_is_faster(c, w->u, o.expected_n);
    if (*status != MSW_E_LIMIT || !o.max_bytes)
        return false;
    o.max_bytes = 0;
    o.fallback = MSW_FALLBACK_NEVER;
    o.tune = 0;
    if (make_group(c, w, 0, &o))
        return false;
    direct = direct_is_faster(c, w->u, o.expected_n);
    if (direct)
        *status = MSW_OK;
    return direct;
}

static msw_status make_gemms(msw_conv *c, const msw__weights *w, const msw_conv_options *o)
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
    g.wisdom = o->wisdom;
    for (size_t i = 0; i < c->groups && !status; i++) {
        g.bias = o->bias ? o->bias + i * c->outputs : NULL;
        g.bias_count = o->bias ? c->outputs : 0;
        status = make_group(c, w, i, &g);
        if (i == 0 && prefers_direct(&status, c, w, &g)) {
            c->kind = MSW__CONV_DIRECT;
            break;
        }
        if (status || !o->max_bytes || i + 1 == c->groups)
            continue;
        status = msw__conv_bytes(&used, c);
        if (!status && used >= o->max_bytes)
            status = MSW_E_LIMIT; /* the other groups need some, too */
        g.max_bytes = o->max_bytes - used;
    }
    return status;
}

static void free_gemms(msw_conv *c)
{
    for (size_t i = 0; c->gemms && i < c->groups; i++)
        msw_gemm_free(c->gemms[i]);
    msw__free(c->ctx, c->gemms, c->groups, sizeof *c->gemms);
    c->gemms = NULL;
}

static msw_status make_transposed(msw_conv *c, const msw_unified *u,
                                  const msw_conv_options *o)
{
    const size_t outputs = c->groups * c->outputs;
    void *memory;
    msw_status status = MSW_OK;

    msw__activation_range(&c->low, &c->high, o->activation);
    if (o->bias) {
        status = msw__alloc(&memory, c->ctx, outputs, sizeof *c->bias);
        c->bias = memory;
    }
    if (status)
        return status;
    if (o->bias)
        memcpy(c->bias, o->bias, outputs * sizeof *c->bias);
    return msw__conv_make_phases(c, u, o);
}

/* Where it does not depend on costs. */
static msw__conv_kind kind_of(const msw_conv *c)
{
    if (c->image == MSW_IMAGE_NHWC && c->window.channels == 1 && c->outputs == 1)
        return MSW__CONV_DEPTHWISE;
    return c->outputs <= FEW_OUTPUTS ? MSW__CONV_DIRECT : MSW__CONV_PRODUCTS;
}

static msw_status check_bytes(const msw_conv *c, uint64_t max_bytes)
{
    uint64_t bytes;
    const msw_status status = msw__conv_bytes(&bytes, c);

    return !status && max_bytes && bytes > max_bytes ? MSW_E_LIMIT : status;
}

static msw_status make_kernels(msw_conv *c, const msw__weights *w,
                               const msw_conv_options *o)
{
    msw_status status = MSW_OK;

    if (c->transposed)
        return make_transposed(c, w->u, o);
    c->kind = kind_of(c);
    c->reason = c->kind == MSW__CONV_PRODUCTS ? "cost model" : "few outputs to a group";
    if (c->kind == MSW__CONV_PRODUCTS)
        status = make_gemms(c, w, o);
    if (status || c->kind == MSW__CONV_PRODUCTS)
        return status;
    free_gemms(c); /* there is one when the cost model changed the kind */
    if (c->kind == MSW__CONV_DEPTHWISE)
        status = msw__depthwise_init(&c->depthwise, c->ctx, w->u, o->bias, o->activation);
    else
        status = msw__direct_init(&c->direct, c->ctx, w->u, o->bias, o->activation);
    return status ? status : check_bytes(c, o->max_bytes);
}

bool msw__conv_runs_packings(const msw_plan *plan, const msw_conv_options *o)
{
    msw_conv c = {0};

    if (o->transposed || o->fallback == MSW_FALLBACK_BLAS)
        return false;
    set_geometry(&c, plan, o);
    return kind_of(&c) == MSW__CONV_PRODUCTS;
}

msw_status msw__conv_new(msw_conv **out, msw_context *ctx, const msw__weights *w,
                         const msw_conv_options *options)
{
    msw_conv_options o;
    msw_conv *c;
    void *memory;
    msw_status status;

    *out = NULL;
    status = msw__conv_take_options(&o, options, w->plan);
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *c);
    if (status)
        return status;
    c = memory;
    atomic_init(&c->refs, 1);
    c->ctx = msw_context_ref(ctx);
    c->placement = w->placement;
    c->placement_reason = w->placement_reason;
    set_geometry(c, w->plan, &o);
    c->transpose = msw__transpose_choose(ctx->cpu);
    status = make_kernels(c, w, &o);
    if (status)
        msw_conv_free(c);
    else
        *out = c;
    return status;
}

msw_status msw_conv_new(msw_conv **out, msw_context *ctx, const msw_unified *u,
                        const msw_conv_options *options)
{
    msw__weights w;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx || !u)
        return MSW_E_INVAL;
    w = msw__weights_of(u);
    return msw__conv_new(out, ctx, &w, options);
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
    msw__depthwise_free(&conv->depthwise, ctx);
    for (size_t i = 0; conv->phases && i < conv->phase_count; i++)
        msw_conv_free(conv->phases[i].conv);
    msw__free(ctx, conv->phases, conv->phase_count, sizeof *conv->phases);
    msw__free(ctx, conv->bias, conv->groups * conv->outputs, sizeof *conv->bias);
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

static msw_status axis_size(size_t *out, const msw_conv *c, const msw__axis *a,
                            size_t size, size_t output_pad)
{
    if (!c->transposed)
        return output_size(out, a, size);
    return msw__conv_transposed_size(out, a, size, output_pad) ? MSW_OK : MSW_E_RANGE;
}

msw_status msw_conv_get_output(size_t *out_height, size_t *out_width, const msw_conv *conv,
                               size_t height, size_t width)
{
    const msw_conv *c = conv;
    size_t h, w;
    msw_status status;

    if (!out_height || !out_width || !conv)
        return MSW_E_INVAL;
    status = axis_size(&h, c, &c->window.h, height, c->output_pad_h);
    if (!status)
        status = axis_size(&w, c, &c->window.w, width, c->output_pad_w);
    if (status)
        return status;
    *out_height = h;
    *out_width = w;
    return MSW_OK;
}
