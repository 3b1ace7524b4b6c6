/* SPDX-License-Identifier: BSD-2-Clause */
#include "dnnl_rival.h"

#include <dnnl.h>
#include <stdlib.h>

enum { SRC, WEIGHTS, BIAS, DST, ARRAYS };
static const int args[ARRAYS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                                 DNNL_ARG_DST};

struct dnnl_rival {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_t own[ARRAYS];    /* as the primitive wants them */
    dnnl_exec_arg_t exec[ARRAYS];
};

static dnnl_memory_desc_t describe(int rank, const dnnl_dim_t *dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t d = {0};

    dnnl_memory_desc_init_by_tag(&d, rank, dims, dnnl_f32, tag);
    return d;
}

static dnnl_memory_desc_t image(const dnnl_shape *s, size_t channels, size_t height,
                                size_t width, bool any)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)s->batch, (dnnl_dim_t)channels,
                              (dnnl_dim_t)height, (dnnl_dim_t)width};

    return describe(4, dims, any ? dnnl_format_tag_any : s->nhwc ? dnnl_nhwc : dnnl_nchw);
}

static dnnl_memory_desc_t kernels(const dnnl_shape *s, bool any)
{
    const dnnl_dim_t g = (dnnl_dim_t)s->groups, k = (dnnl_dim_t)s->kernel;
    const dnnl_dim_t outputs = (dnnl_dim_t)s->outputs / g;
    const dnnl_dim_t channels = (dnnl_dim_t)s->channels / g;
    const dnnl_dims_t one = {outputs, channels, k, k}, many = {g, outputs, channels, k, k};

    if (s->groups == 1)
        return describe(4, one, any ? dnnl_format_tag_any : dnnl_oihw);
    return describe(5, many, any ? dnnl_format_tag_any : dnnl_goihw);
}

static dnnl_memory_desc_t biases(const dnnl_shape *s)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)s->outputs};

    return describe(1, dims, dnnl_x);
}

static bool choose(dnnl_rival *r, const dnnl_shape *s)
{
    const dnnl_memory_desc_t x = image(s, s->channels, s->height, s->width, !s->plain);
    const dnnl_memory_desc_t y =
        image(s, s->outputs, s->out_height, s->out_width, !s->plain);
    const dnnl_memory_desc_t w = kernels(s, true), b = biases(s);
    const dnnl_dims_t stride = {(dnnl_dim_t)s->stride, (dnnl_dim_t)s->stride};
    const dnnl_dims_t pad = {(dnnl_dim_t)s->pad, (dnnl_dim_t)s->pad};
    const dnnl_dim_t gap = (dnnl_dim_t)s->dilation - 1;
    const dnnl_dims_t dilation = {gap, gap};
    dnnl_convolution_desc_t d;

    return !dnnl_dilated_convolution_forward_desc_init(
               &d, dnnl_forward_inference, dnnl_convolution_auto, &x, &w, &b, &y, stride,
               dilation, pad, pad) &&
           !dnnl_primitive_desc_create(&r->description, &d, NULL, r->engine, NULL) &&
           !dnnl_primitive_create(&r->primitive, r->description);
}

/* An array of the primitive's: the caller's, or a copy in its own layout. */
static bool bind(dnnl_rival *r, int i, const dnnl_memory_desc_t *users, void *data)
{
    const dnnl_memory_desc_t *d =
        dnnl_primitive_desc_query_md(r->description, dnnl_query_exec_arg_md, args[i]);
    const bool same = dnnl_memory_desc_equal(users, d);
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t reorder = NULL;
    bool good = !dnnl_memory_create(&r->own[i], d, r->engine,
                                    same ? data : DNNL_MEMORY_ALLOCATE);

    r->exec[i] = (dnnl_exec_arg_t){args[i], r->own[i]};
    if (same || i == DST || !good)
        return good;
    good = !dnnl_memory_create(&from, users, r->engine, data) &&
           !dnnl_reorder_primitive_desc_create(&description, users, r->engine, d, r->engine,
                                               NULL) &&
           !dnnl_primitive_create(&reorder, description);
    if (good) {
        const dnnl_exec_arg_t exec[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, r->own[i]}};

        good = !dnnl_primitive_execute(reorder, r->stream, 2, exec) &&
               !dnnl_stream_wait(r->stream);
    }
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(from);
    return good;
}

static bool bind_all(dnnl_rival *r, const dnnl_shape *s, float *weights, float *bias,
                     float *x, float *y)
{
    const dnnl_memory_desc_t users[ARRAYS] = {
        image(s, s->channels, s->height, s->width, false), kernels(s, false), biases(s),
        image(s, s->outputs, s->out_height, s->out_width, false)};
    void *const data[ARRAYS] = {x, weights, bias, y};

    for (int i = 0; i < ARRAYS; i++)
        if (!bind(r, i, &users[i], data[i]))
            return false;
    return true;
}

dnnl_rival *dnnl_rival_new(const dnnl_shape *s, float *weights, float *bias, float *x,
                           float *y)
{
    dnnl_rival *r = calloc(1, sizeof *r);

    if (r && (dnnl_engine_create(&r->engine, dnnl_cpu, 0) ||
              dnnl_stream_create(&r->stream, r->engine, dnnl_stream_default_flags) ||
              !choose(r, s) || !bind_all(r, s, weights, bias, x, y))) {
        dnnl_rival_free(r);
        r = NULL;
    }
    return r;
}

void dnnl_rival_run(dnnl_rival *r)
{
    dnnl_primitive_execute(r->primitive, r->stream, ARRAYS, r->exec);
    dnnl_stream_wait(r->stream);
}

void dnnl_rival_free(dnnl_rival *r)
{
    if (!r)
        return;
    for (int i = 0; i < ARRAYS; i++)
        dnnl_memory_destroy(r->own[i]);
    dnnl_primitive_destroy(r->primitive);
    dnnl_primitive_desc_destroy(r->description);
    dnnl_stream_destroy(r->stream);
    dnnl_engine_destroy(r->engine);
    free(r);
}
