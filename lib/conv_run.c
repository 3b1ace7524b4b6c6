/* SPDX-License-Identifier: BSD-2-Clause */
/* A convolution as products over tiles of output pixels. */
#include "conv.h"

#include <string.h>

enum {
    OLDEST_CALL = sizeof(msw_conv_call),
    OLDEST_INFO = sizeof(msw_gemm_info),
    /* NCHW: images with fewer output pixels share a tile, at the price of copying y. */
    SMALL_IMAGE = 128
};

/* How a call is cut into products. Output pixels are numbered through the batch. */
typedef struct cut {
    size_t pixels;     /* of one image */
    size_t total;
    size_t sequence;   /* a tile does not go beyond a multiple of it: pixels or total */
    size_t tile;
    bool copy_x;       /* im2col; otherwise a tile of x is a matrix as it is */
    bool copy_y;       /* a tile of y may have to be put together */
} cut;

/* Bytes for a call cut like this, and where the parts lie. */
typedef struct workspace {
    size_t x_ld, y_ld;
    size_t y, gemm;    /* offsets of the tile of y and of gemm's workspace */
    size_t gemm_bytes;
    size_t bytes;
} workspace;

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* An array is `channels` runs of `pixels` elements (NCHW) or the other way round (NHWC).
 * Put in the strides that are 0; check that nothing overlaps and that the size does not
 * overflow. The stride of a single run or image does not matter. */
static msw_status resolve_strides(size_t *ld, size_t *batch_stride, uint32_t image,
                                  size_t batch, size_t channels, size_t pixels)
{
    const size_t runs = image == MSW_IMAGE_NCHW ? channels : pixels;
    const size_t run = image == MSW_IMAGE_NCHW ? pixels : channels;
    size_t span, bytes;

    if (!*ld || runs <= 1)
        *ld = run;
    if (*ld < run || !msw__size_mul(&span, runs, *ld))
        return MSW_E_RANGE;
    if (!*batch_stride || batch <= 1)
        *batch_stride = span;
    if (*batch_stride < span - (*ld - run) || !msw__size_mul(&bytes, *batch_stride, batch) ||
        !msw__size_mul(&bytes, bytes, sizeof(float)))
        return MSW_E_RANGE;
    return MSW_OK;
}

/* Whether pixels of consecutive images follow each other like those of one image. */
static bool images_join(uint32_t image, size_t pixels, size_t ld, size_t batch_stride)
{
    return image == MSW_IMAGE_NHWC && batch_stride == pixels * ld;
}

/* x_joins and y_joins: see images_join(). */
static cut cut_call(const msw_conv *c, size_t batch, size_t pixels, bool x_joins,
                    bool y_joins)
{
    cut k = {.pixels = pixels, .total = batch * pixels};
    const bool joined = y_joins && (x_joins || !c->pointwise);
    const bool shared = c->image == MSW_IMAGE_NCHW && batch > 1 && pixels < SMALL_IMAGE;

    k.sequence = joined || shared ? k.total : pixels;
    k.copy_x = !c->pointwise || shared;
    k.copy_y = shared;
    k.tile = k.copy_x ? min(c->tile, k.sequence) : k.sequence;
    return k;
}

/* The most that gemm needs for the tiles of a cut: whole ones and the last. */
static size_t gemm_bytes(const msw_conv *c, const cut *k)
{
    size_t most = 0;

    for (size_t i = 0; i < c->groups; i++) {
        const size_t whole = msw_gemm_workspace(c->gemms[i], k->tile);
        const size_t last = msw_gemm_workspace(c->gemms[i], k->sequence % k->tile);

        most = whole > most ? whole : most;
        most = last > most ? last : most;
    }
    return most;
}

/* *offset += count floats, to the next multiple of the alignment. */
static bool place(size_t *offset, size_t rows, size_t ld)
{
    size_t bytes;

    if (!msw__size_mul(&bytes, rows, ld) || !msw__size_mul(&bytes, bytes, sizeof(float)) ||
        !msw__size_add(offset, *offset, bytes) ||
        !msw__size_add(offset, *offset, MSW__ALIGN - 1))
        return false;
    *offset &= ~(size_t)(MSW__ALIGN - 1);
    return true;
}

static msw_status lay_out(workspace *w, const msw_conv *c, const cut *k)
{
    const bool nchw = c->image == MSW_IMAGE_NCHW;
    size_t end = 0;

    w->x_ld = nchw ? k->tile : c->elements;
    w->y_ld = k->tile; /* only NCHW copies y */
    if (k->copy_x && !place(&end, nchw ? c->elements : k->tile, w->x_ld))
        return MSW_E_RANGE;
    w->y = end;
    if (k->copy_y && !place(&end, c->outputs, w->y_ld))
        return MSW_E_RANGE;
    w->gemm = end;
    w->gemm_bytes = gemm_bytes(c, k);
    if (w->gemm_bytes == SIZE_MAX || !msw__size_add(&w->bytes, end, w->gemm_bytes))
        return MSW_E_RANGE;
    return MSW_OK;
}

/* The y of a tile that spans images, to its dense copy or back. */
static void copy_y(float *tile, size_t ld, float *y, const msw_conv_call *call,
                   const cut *k, size_t outputs, size_t first, size_t count, bool back)
{
    for (size_t done = 0; done < count;) {
        const size_t column = (first + done) % k->pixels;
        const size_t run = min(k->pixels - column, count - done);
        float *image = y + (first + done) / k->pixels * call->batch_stride_y + column;

        for (size_t o = 0; o < outputs; o++) {
            float *there = image + o * call->ldy, *here = tile + o * ld + done;
            memcpy(back ? there : here, back ? here : there, run * sizeof *here);
        }
        done += run;
    }
}

/* One product: output pixels first ... first + count - 1 of one group. */
static msw_status run_tile(const msw_conv *c, const msw_conv_call *call, const cut *k,
                           const workspace *w, const msw__images *x, float *y,
                           const msw_gemm *gemm, size_t first, size_t count)
{
    const bool nchw = c->image == MSW_IMAGE_NCHW;
    const size_t image = first / k->pixels, pixel = first % k->pixels;
    const size_t pixel_x = nchw ? 1 : x->ld, pixel_y = nchw ? 1 : call->ldy;
    const bool gather = k->copy_y && pixel + count > k->pixels;
    unsigned char *space = call->workspace;
    float *x_tile = call->workspace, *y_tile = (float *)(void *)(space + w->y);
    msw_gemm_call g;
    msw_status status;

    msw_gemm_call_init(&g);
    g.layout = nchw ? MSW_LAYOUT_COLUMNS : MSW_LAYOUT_ROWS;
    g.n = count;
    g.beta = call->beta;
    g.workspace = space + w->gemm;
    g.workspace_bytes = w->gemm_bytes;
    if (!k->copy_x) {
        g.x = x->data + image * x->batch_stride + pixel * pixel_x;
        g.ldx = x->ld;
    } else {
        (nchw ? msw__im2col_nchw : msw__im2col_nhwc)(x_tile, w->x_ld, &c->window, x, first,
                                                     count);
        g.x = x_tile;
        g.ldx = w->x_ld;
    }
    if (!gather) {
        g.y = y + image * call->batch_stride_y + pixel * pixel_y;
        g.ldy = call->ldy;
        return msw_gemm_run(gemm, &g);
    }
    g.y = y_tile;
    g.ldy = w->y_ld;
    if (call->beta)
        copy_y(y_tile, w->y_ld, y, call, k, c->outputs, first, count, false);
    status = msw_gemm_run(gemm, &g);
    if (!status)
        copy_y(y_tile, w->y_ld, y, call, k, c->outputs, first, count, true);
    return status;
}

static msw_status run_group(const msw_conv *c, const msw_conv_call *call, const cut *k,
                            const workspace *w, const msw__images *images, size_t group)
{
    const bool nchw = c->image == MSW_IMAGE_NCHW;
    msw__images x = *images;
    float *y = call->y + group * c->outputs * (nchw ? call->ldy : 1);
    msw_status status = MSW_OK;
    size_t count;

    x.data += group * c->window.channels * (nchw ? x.ld : 1);
    for (size_t first = 0; first < k->total && !status; first += count) {
        count = min(k->tile, k->sequence - first % k->sequence);
        status = run_tile(c, call, k, w, &x, y, c->gemms[group], first, count);
    }
    return status;
}

static msw_status run_groups(const msw_conv *c, const msw_conv_call *call, const cut *k,
                             const workspace *w, const msw__images *x)
{
    msw_status status = MSW_OK;

    for (size_t group = 0; group < c->groups && !status; group++)
        status = run_group(c, call, k, w, x, group);
    return status;
}

/* With the caller's workspace, or with one of our own. */
static msw_status run_in_workspace(const msw_conv *c, msw_conv_call *call, const cut *k,
                                   const msw__images *x)
{
    workspace w;
    msw_status status = lay_out(&w, c, k);

    if (status)
        return status;
    if (call->workspace) {
        if (call->workspace_bytes < w.bytes)
            return MSW_E_RANGE;
        return run_groups(c, call, k, &w, x);
    }
    status = msw__alloc(&call->workspace, c->ctx, w.bytes, 1);
    if (!status)
        status = run_groups(c, call, k, &w, x);
    msw__free(c->ctx, call->workspace, w.bytes, 1);
    return status;
}

msw_status msw_conv_run(const msw_conv *conv, const msw_conv_call *call)
{
    msw_conv_call a;
    msw__images x;
    size_t pixels_x, pixels_y;
    msw_status status;
    cut k;

    if (!conv || !call)
        return MSW_E_INVAL;
    status = msw__take_options(&a, sizeof a, OLDEST_CALL, call);
    if (status)
        return status;
    if (a.reserved)
        return MSW_E_VERSION;
    if (a.beta > 1 || ((!a.x || !a.y) && a.batch) || (uintptr_t)a.workspace % MSW__ALIGN)
        return MSW_E_INVAL;
    status = msw_conv_get_output(&x.out_height, &x.out_width, conv, a.height, a.width);
    if (status)
        return status;
    if (!msw__size_mul(&pixels_x, a.height, a.width) ||
        !msw__size_mul(&pixels_y, x.out_height, x.out_width))
        return MSW_E_RANGE;
    status = resolve_strides(&a.ldx, &a.batch_stride_x, conv->image, a.batch,
                             conv->groups * conv->window.channels, pixels_x);
    if (!status)
        status = resolve_strides(&a.ldy, &a.batch_stride_y, conv->image, a.batch,
                                 conv->groups * conv->outputs, pixels_y);
    if (status || !a.batch)
        return status;
    x.data = a.x;
    x.height = a.height;
    x.width = a.width;
    x.ld = a.ldx;
    x.batch_stride = a.batch_stride_x;
    k = cut_call(conv, a.batch, pixels_y,
                 images_join(conv->image, pixels_x, a.ldx, a.batch_stride_x),
                 images_join(conv->image, pixels_y, a.ldy, a.batch_stride_y));
    return run_in_workspace(conv, &a, &k, &x);
}

/* Output pixels of one image; false when the kernel does not fit or it all overflows. */
static bool output_pixels(size_t *out, const msw_conv *conv, size_t batch, size_t height,
                          size_t width)
{
    size_t h, w, total;

    return !msw_conv_get_output(&h, &w, conv, height, width) && msw__size_mul(out, h, w) &&
           msw__size_mul(&total, *out, batch);
}

size_t msw_conv_workspace(const msw_conv *conv, size_t batch, size_t height, size_t width)
{
    size_t most = 0, pixels;

    if (!conv || !output_pixels(&pixels, conv, batch, height, width))
        return SIZE_MAX;
    for (int joins = 0; joins < 2 && batch; joins++) { /* strides are not known yet */
        const cut k = cut_call(conv, batch, pixels, joins, joins);
        workspace w;

        if (lay_out(&w, conv, &k))
            return SIZE_MAX;
        most = w.bytes > most ? w.bytes : most;
    }
    return most;
}

msw_status msw_conv_get_info(msw_gemm_info *out, const msw_conv *conv, size_t batch,
                             size_t height, size_t width)
{
    const bool joins = conv && conv->image == MSW_IMAGE_NHWC;
    msw_gemm_info all, one;
    size_t pixels;
    msw_status status;
    cut k;

    if (!out || !conv)
        return MSW_E_INVAL;
    if (!output_pixels(&pixels, conv, batch, height, width))
        return MSW_E_RANGE;
    k = cut_call(conv, batch, pixels, joins, joins);
    msw_gemm_info_init(&all);
    status = msw_gemm_get_info(&all, conv->gemms[0], k.tile);
    for (size_t i = 1; i < conv->groups && !status; i++) {
        msw_gemm_info_init(&one);
        status = msw_gemm_get_info(&one, conv->gemms[i], k.tile);
        all.bytes_packed += one.bytes_packed;
        all.bytes_dense += one.bytes_dense;
        all.deterministic &= one.deterministic;
    }
    if (status)
        return status;
    all.predicted = all.measured = all.dense = 0;
    return msw__give_output(out, &all, sizeof all, OLDEST_INFO);
}
