/* SPDX-License-Identifier: BSD-2-Clause */
/* Products and convolutions when memory fails; see oom.h. */
#include "oom.h"

/* Products and convolutions */

static msw_status new_gemm(world *w)
{
    float bias[ROWS];
    msw_gemm_options o;

    oom_fill(bias, ROWS, 4);
    msw_gemm_options_init(&o);
    o.bias = bias;
    o.bias_count = ROWS;
    o.activation = MSW_ACTIVATION_RELU;
    o.fallback = MSW_FALLBACK_NEVER;
    w->status = msw_gemm_new(&w->gemm, w->ctx, w->u, &o);
    return oom_made(w, w->gemm);
}

static msw_status new_gemm_blas(world *w)
{
    msw_gemm_options o;

    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_BLAS;
    o.tune = 1;
    w->status = msw_gemm_new(&w->gemm, w->ctx, w->u, &o);
    return oom_made(w, w->gemm);
}

static msw_status run_gemm(world *w)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = w->extra;
    call.ldx = N;
    call.y = w->y;
    call.ldy = N;
    call.n = N;
    return msw_gemm_run(w->gemm, &call);
}

static uint64_t digest_gemm(world *w)
{
    return run_gemm(w) ? 0 : oom_digest_y(w);
}

static msw_status set_up_gemm(world *w)
{
    const msw_status status = oom_set_up_unified(w);

    return status ? status : new_gemm(w);
}

/* 4 x 3 x 3 kernels of 4 channels on the same numbers */
static msw_status set_up_conv(world *w)
{
    static const size_t shape[4] = {ROWS, 4, 3, 3};
    msw_plan_options o;
    msw_projection_options shares;
    msw_tensor *kernels;
    msw_status status;

    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OIHW;
    o.block_rows = o.block_columns = 4;
    o.groups = 2;
    msw_projection_options_init(&shares);
    shares.unify = 0.5;
    status = msw_tensor_borrow(&kernels, w->ctx, w->w, shape, NULL, 4);
    if (!status)
        status = msw_plan_new(&w->made_plan, w->ctx, shape, 4, &o);
    if (!status)
        status = msw_unified_from(&w->u, w->made_plan, kernels, &shares);
    msw_tensor_free(kernels);
    return status;
}

/* A group for each row: sums of their own, by channels. */
static msw_status set_up_depthwise(world *w)
{
    static const size_t shape[4] = {ROWS, 1, 3, 3};
    msw_plan_options o;
    msw_tensor *kernels;
    msw_status status;

    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OIHW;
    o.block_rows = o.block_columns = 4;
    o.groups = ROWS;
    status = msw_tensor_borrow(&kernels, w->ctx, w->w, shape, NULL, 4);
    if (!status)
        status = msw_plan_new(&w->made_plan, w->ctx, shape, 4, &o);
    if (!status)
        status = msw_unified_from(&w->u, w->made_plan, kernels, NULL);
    msw_tensor_free(kernels);
    return status;
}

static msw_status new_sums(world *w, uint32_t image)
{
    msw_conv_options o;
    float bias[ROWS];

    oom_fill(bias, ROWS, 4);
    msw_conv_options_init(&o);
    o.bias = bias;
    o.bias_count = ROWS;
    o.image = image;
    w->status = msw_conv_new(&w->conv, w->ctx, w->u, &o);
    return oom_made(w, w->conv);
}

static msw_status new_depthwise(world *w)
{
    return new_sums(w, MSW_IMAGE_NHWC);
}

static msw_status new_direct(world *w)
{
    return new_sums(w, MSW_IMAGE_NCHW);
}

static msw_status make_conv(world *w, uint32_t transposed)
{
    msw_conv_options o;
    float bias[ROWS];

    oom_fill(bias, ROWS, 4);
    msw_conv_options_init(&o);
    o.bias = bias;
    o.bias_count = ROWS;
    o.pad_left = o.pad_top = 1;
    o.fallback = MSW_FALLBACK_NEVER;
    o.transposed = transposed;
    w->status = msw_conv_new(&w->conv, w->ctx, w->u, &o);
    return oom_made(w, w->conv);
}

static msw_status new_conv(world *w)
{
    return make_conv(w, 0);
}

static msw_status new_transposed(world *w)
{
    return make_conv(w, 1);
}

static msw_status run_conv(world *w)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = w->extra;
    call.y = w->y;
    call.batch = 1;
    call.height = 9;
    call.width = 7;
    return msw_conv_run(w->conv, &call);
}

static uint64_t digest_conv(world *w)
{
    return run_conv(w) ? 0 : oom_digest_y(w);
}

static msw_status set_up_conv_run(world *w)
{
    const msw_status status = set_up_conv(w);

    return status ? status : new_conv(w);
}

static const scenario scenarios[] = {
    {"gemm_new", oom_set_up_unified, new_gemm, digest_gemm},
    {"gemm_new blas", oom_set_up_unified, new_gemm_blas, NULL},
    {"gemm_run", set_up_gemm, run_gemm, oom_digest_y},
    {"conv_new", set_up_conv, new_conv, digest_conv},
    {"conv_new transposed", set_up_conv, new_transposed, NULL},
    {"conv_new depthwise", set_up_depthwise, new_depthwise, NULL},
    {"conv_new direct", set_up_depthwise, new_direct, NULL},
    {"conv_run", set_up_conv_run, run_conv, oom_digest_y},
};

int main(void)
{
    return oom_main(scenarios, sizeof scenarios / sizeof *scenarios);
}
