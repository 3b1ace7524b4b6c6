/* SPDX-License-Identifier: BSD-2-Clause */
/* How a call is cut into bands, and what workspace that takes. */
#include "conv.h"
#include "gemm.h"
#include "sizes.h"

enum {
    OLDEST_INFO = offsetof(msw_gemm_info, bytes_mapped),
    /* What a band copies should stay in the second-level cache; but it should be wide
     * enough for a product to share out. */
    BAND_BYTES = 1024 * 1024,
    DIRECT_BAND_BYTES = 256 * 1024,
    NHWC_BAND_BYTES = 384 * 1024, /* y is copied, too */
    MIN_PIXELS = 128,
    /* NCHW: images with fewer output pixels share a band, at the price of copying y. */
    SMALL_IMAGE = 128
};

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
    if (*batch_stride < span - (*ld - run) ||
        !msw__size_mul(&bytes, *batch_stride, batch) ||
        !msw__size_mul(&bytes, bytes, sizeof(float)))
        return MSW_E_RANGE;
    return MSW_OK;
}

msw_status msw__conv_open(msw__conv_job *j, const msw_conv *c, const msw_conv_call *call)
{
    msw_conv_call *a = &j->call;
    size_t pixels_x;
    msw_status status;

    j->conv = c;
    *a = *call;
    status = msw_conv_get_output(&j->x.out_height, &j->x.out_width, c, a->height,
                                 a->width);
    if (status)
        return status;
    if (!msw__size_mul(&pixels_x, a->height, a->width) ||
        !msw__size_mul(&j->pixels, j->x.out_height, j->x.out_width))
        return MSW_E_RANGE;
    j->x.channels = c->groups * c->window.channels;
    status = resolve_strides(&a->ldx, &a->batch_stride_x, c->image, a->batch,
                             j->x.channels, pixels_x);
    if (!status)
        status = resolve_strides(&a->ldy, &a->batch_stride_y, c->image, a->batch,
                                 c->groups * c->outputs, j->pixels);
    j->x.data = a->x;
    j->x.height = a->height;
    j->x.width = j->x.pitch = a->width;
    j->x.ld = a->ldx;
    j->x.batch_stride = a->batch_stride_x;
    j->x.nhwc = c->image == MSW_IMAGE_NHWC;
    j->first = 0;
    j->row = j->x.out_width;
    j->column = 1;
    return status;
}

bool msw__conv_is_matrix(const msw_conv *c, const msw__conv_cut *k)
{
    return k->planes.in_place && k->planes.pitch == k->planes.width && k->images == 1 &&
           c->window.h.kernel == 1 && c->window.w.kernel == 1;
}

/* Does the product of a band of n pixels want X as a matrix that is not there? */
static bool wants_matrix(const msw_conv *c, const msw__conv_cut *k, size_t n)
{
    if (n == 0 || c->kind != MSW__CONV_PRODUCTS || msw__conv_is_matrix(c, k))
        return false;
    for (size_t i = 0; i < c->groups; i++)
        if (msw__gemm_kind_for(c->gemms[i], n) != MSW__GEMM_WIDE)
            return true;
    return false;
}

/* Bytes that a band copies for each row of y. */
static double row_bytes(const msw__conv_job *j, const msw__conv_cut *k, bool matrix)
{
    const msw_conv *c = j->conv;
    const msw__planes *p = &k->planes;
    double floats = 0;

    if (!p->in_place)
        floats += (double)j->x.channels * (double)(p->phases_h * p->phases_w) *
                  (double)p->width;
    if (k->copy_y)
        floats += (double)(c->groups * c->outputs) * (double)j->x.out_width;
    if (matrix)
        floats += (double)c->elements * (double)j->x.out_width;
    return sizeof(float) * floats;
}

/* Bands of equal size, as far as that is possible. */
static size_t even(size_t total, double most)
{
    const size_t part = most >= (double)total ? total : most < 1 ? 1 : (size_t)most;

    return msw__divide_up(total, msw__divide_up(total, part));
}

/* Not every so many rows and columns of it. */
static bool y_is_whole(const msw__conv_job *j)
{
    return j->row == j->x.out_width && j->column == 1;
}

static bool cut_job(msw__conv_cut *k, const msw__conv_job *j, bool matrix)
{
    const size_t height = j->x.out_height, batch = j->call.batch;
    const bool small = j->pixels < SMALL_IMAGE && j->conv->kind == MSW__CONV_PRODUCTS;
    const bool shared = batch > 1 && (j->x.nhwc || small);
    const double least = (double)msw__divide_up(MIN_PIXELS, j->x.out_width);
    double rows;

    k->copy_y = j->x.nhwc || shared || !y_is_whole(j);
    k->images = k->rows = 1;
    if (!msw__planes_init(&k->planes, &j->conv->window, &j->x, 1, height))
        return false;
    rows = (j->conv->kind == MSW__CONV_DIRECT ? DIRECT_BAND_BYTES
            : j->x.nhwc                       ? NHWC_BAND_BYTES
                                              : BAND_BYTES) /
           (row_bytes(j, k, matrix) + 1);
    if (rows < (double)height || !shared)
        k->rows = even(height, rows > least ? rows : least);
    else
        k->rows = height;
    if (k->rows == height && shared)
        k->images = even(batch, rows / (double)height);
    return msw__planes_init(&k->planes, &j->conv->window, &j->x, k->images, k->rows);
}

/* Pixels of a whole band, and of the last one. */
static size_t whole_band(const msw__conv_job *j, const msw__conv_cut *k)
{
    return k->images * k->rows * j->x.out_width;
}

static size_t last_band(const msw__conv_job *j, const msw__conv_cut *k)
{
    return k->rows == j->x.out_height
               ? j->call.batch % k->images * j->pixels
               : j->x.out_height % k->rows * j->x.out_width;
}

/* The most that gemm needs: fewer columns, as in the last band, never need more. */
static size_t gemm_bytes(const msw__conv_job *j, const msw__conv_cut *k)
{
    const msw_conv *c = j->conv;
    size_t most = 0;

    for (size_t i = 0; c->gemms && i < c->groups; i++)
        most = msw__max(most, msw_gemm_workspace(c->gemms[i], whole_band(j, k)));
    return most;
}

/* *at: the place for count times size bytes. *end moves behind it, to the next multiple
 * of the alignment. */
static bool place(size_t *at, size_t *end, size_t count, size_t size)
{
    size_t bytes;

    *at = *end;
    if (!msw__size_mul(&bytes, count, size) || !msw__size_add(end, *end, bytes) ||
        !msw__size_add(end, *end, MSW__ALIGN - 1))
        return false;
    *end &= ~(size_t)(MSW__ALIGN - 1);
    return true;
}

/* Rows of a tile whose beginnings do not share a few sets of the cache. */
static size_t odd_lines(size_t floats)
{
    enum { LINE = MSW__ALIGN / sizeof(float) };

    return (msw__divide_up(floats, LINE) | 1) * LINE;
}

static msw_status lay_out(msw__conv_layout *w, const msw__conv_job *j,
                          const msw__conv_cut *k)
{
    const msw_conv *c = j->conv;
    const size_t whole = whole_band(j, k), last = last_band(j, k);
    const size_t matrix = wants_matrix(c, k, whole)  ? whole
                          : wants_matrix(c, k, last) ? last : 0;
    size_t end = 0, floats;

    w->y_ld = odd_lines(whole);
    w->gemm_bytes = gemm_bytes(j, k);
    floats = msw__planes_size(&k->planes, k->images);
    if (w->gemm_bytes == SIZE_MAX ||
        !place(&w->places, &end, c->elements, sizeof(size_t)) ||
        !place(&w->planes, &end, floats, sizeof(float)) ||
        !msw__size_mul(&floats, c->elements, matrix) ||
        !place(&w->matrix, &end, floats, sizeof(float)) ||
        !msw__size_mul(&floats, c->groups * c->outputs, k->copy_y ? w->y_ld : 0) ||
        !place(&w->y, &end, floats, sizeof(float)) ||
        !place(&w->gemm, &end, w->gemm_bytes, 1))
        return MSW_E_RANGE;
    w->bytes = end;
    return MSW_OK;
}

msw_status msw__conv_plan(msw__conv_cut *k, msw__conv_layout *w, const msw__conv_job *j)
{
    if (!cut_job(k, j, false) ||
        (wants_matrix(j->conv, k, whole_band(j, k)) && !cut_job(k, j, true)))
        return MSW_E_RANGE;
    return lay_out(w, j, k);
}

/* Asking */

/* A call of this size, with nothing but what was given. */
static msw_status open_size(msw__conv_job *j, const msw_conv *c, size_t batch,
                            size_t height, size_t width)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.batch = batch ? batch : 1;
    call.height = height;
    call.width = width;
    return msw__conv_open(j, c, &call);
}

msw_status msw__conv_space(size_t *out, const msw__conv_job *job)
{
    const msw_conv *c = job->conv;
    msw__conv_layout w;
    msw__conv_cut k;
    msw_status status = MSW_OK;

    *out = 0;
    if (c->kind == MSW__CONV_DEPTHWISE)
        return MSW_OK;
    if (!c->transposed) {
        status = msw__conv_plan(&k, &w, job);
        *out = status ? 0 : w.bytes;
    }
    for (size_t i = 0; i < c->phase_count && !status; i++) {
        msw__conv_job part;
        size_t bytes;

        if (!msw__conv_open_phase(&part, job, &c->phases[i]))
            continue;
        status = msw__conv_space(&bytes, &part);
        *out = status ? 0 : msw__max(*out, bytes);
    }
    return status;
}

size_t msw_conv_workspace(const msw_conv *conv, size_t batch, size_t height, size_t width)
{
    size_t bytes;
    msw__conv_job j;

    if (!conv || open_size(&j, conv, batch, height, width) || msw__conv_space(&bytes, &j))
        return SIZE_MAX;
    return batch ? bytes : 0;
}

static msw_status describe_sums(msw_gemm_info *out, const msw_conv *c)
{
    const uint32_t cpu = c->ctx->cpu;

    out->kernel = c->kind == MSW__CONV_DIRECT ? msw__direct_name(cpu)
                                              : msw__depthwise_name(cpu);
    out->reason = c->reason;
    out->isa = msw__cpu_name(cpu);
    out->deterministic = 1;
    out->placement = c->placement;
    out->placement_reason = c->placement_reason;
    return msw__conv_bytes(&out->bytes_packed, c);
}

static msw_status describe_products(msw_gemm_info *out, const msw_conv *c, size_t pixels)
{
    msw_status status = msw_gemm_get_info(out, c->gemms[0], pixels);
    msw_gemm_info one;

    for (size_t i = 1; i < c->groups && !status; i++) {
        msw_gemm_info_init(&one);
        status = msw_gemm_get_info(&one, c->gemms[i], pixels);
        out->bytes_packed += one.bytes_packed;
        out->bytes_dense += one.bytes_dense;
        out->bytes_mapped += one.bytes_mapped;
        out->deterministic &= one.deterministic;
    }
    out->predicted = out->measured = out->dense = 0;
    return status;
}

/* Of a convolution that is not transposed. */
static msw_status describe(msw_gemm_info *out, const msw__conv_job *j)
{
    msw__conv_layout w;
    msw__conv_cut k;
    msw_status status;

    msw_gemm_info_init(out);
    if (j->conv->kind != MSW__CONV_PRODUCTS)
        return describe_sums(out, j->conv);
    status = msw__conv_plan(&k, &w, j);
    return status ? status : describe_products(out, j->conv, whole_band(j, &k));
}

/* The kernel is that of the first phase that there is. */
static msw_status describe_phases(msw_gemm_info *out, const msw__conv_job *j)
{
    const msw_conv *c = j->conv;
    msw_status status = MSW_OK;
    bool any = false;

    for (size_t i = 0; i < c->phase_count && !status; i++) {
        msw__conv_job part;
        msw_gemm_info one;

        if (!msw__conv_open_phase(&part, j, &c->phases[i]))
            continue;
        status = describe(&one, &part);
        if (any) {
            out->bytes_packed += one.bytes_packed;
            out->bytes_dense += one.bytes_dense;
            out->deterministic &= one.deterministic;
        } else {
            *out = one;
        }
        any = true;
    }
    return status;
}

msw_status msw_conv_get_info(msw_gemm_info *out, const msw_conv *conv, size_t batch,
                             size_t height, size_t width)
{
    msw_gemm_info info;
    msw__conv_job j;
    msw_status status;

    if (!out || !conv)
        return MSW_E_INVAL;
    status = open_size(&j, conv, batch, height, width);
    if (!status)
        status = conv->transposed ? describe_phases(&info, &j) : describe(&info, &j);
    if (!status && conv->transposed) {
        info.placement = conv->placement;
        info.placement_reason = conv->placement_reason;
    }
    return status ? status : msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}
