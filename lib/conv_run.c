/* SPDX-License-Identifier: BSD-2-Clause */
/* A convolution as products over bands of output pixels: some rows of an image, or some
 * images. */
#include "conv.h"
#include "gemm.h"

#include <string.h>

enum {
    OLDEST_CALL = sizeof(msw_conv_call),
    OLDEST_INFO = sizeof(msw_gemm_info),
    /* What a band copies should stay in the second-level cache; but it should be wide
     * enough for a product to share out. */
    BAND_BYTES = 1024 * 1024,
    MIN_PIXELS = 128,
    /* NCHW: images with fewer output pixels share a band, at the price of copying y. */
    SMALL_IMAGE = 128,
    COPY_PIXELS = 64,        /* of y, in one go */
    TASK_BYTES = 64 * 1024   /* copying less is not worth a task */
};

/* A call, checked, with its strides filled in. */
typedef struct job {
    const msw_conv *conv;
    msw_conv_call call;
    msw__images x;
    size_t pixels;           /* of an image of y */
} job;

/* How a call is cut into bands, and what of them has to be copied. */
typedef struct cut {
    size_t images, rows;     /* of a band; the last one may have fewer */
    bool copy_y;             /* y of a band is put together, then copied */
    msw__planes planes;
} cut;

/* The workspace: offsets in bytes. */
typedef struct layout {
    size_t rows;             /* where each row of X is in the planes */
    size_t planes;
    size_t matrix;           /* X, where a product wants it as a matrix */
    size_t y, y_ld;          /* all outputs of a band */
    size_t gemm, gemm_bytes;
    size_t bytes;
} layout;

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* The call */

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

/* Sizes of x and y; strides as they are in the call. */
static msw_status open_job(job *j, const msw_conv *c, const msw_conv_call *call)
{
    msw_conv_call *a = &j->call;
    size_t pixels_x;
    msw_status status;

    j->conv = c;
    *a = *call;
    status = msw_conv_get_output(&j->x.out_height, &j->x.out_width, c, a->height, a->width);
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
    j->x.width = a->width;
    j->x.ld = a->ldx;
    j->x.batch_stride = a->batch_stride_x;
    j->x.nhwc = c->image == MSW_IMAGE_NHWC;
    return status;
}

/* Cutting */

/* A 1x1 convolution that reads x as it is. */
static bool is_matrix(const msw_conv *c, const cut *k)
{
    return k->planes.in_place && k->images == 1 && c->window.h.kernel == 1 &&
           c->window.w.kernel == 1;
}

/* Does the product of a band of n pixels want X as a matrix that is not there? */
static bool wants_matrix(const msw_conv *c, const cut *k, size_t n)
{
    if (n == 0 || is_matrix(c, k))
        return false;
    for (size_t i = 0; i < c->groups; i++)
        if (msw__gemm_choice(c->gemms[i], n).kind != MSW__GEMM_WIDE)
            return true;
    return false;
}

/* Bytes that a band copies for each row of y. */
static double row_bytes(const job *j, const cut *k, bool matrix)
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

    return divide_up(total, divide_up(total, part));
}

static bool cut_job(cut *k, const job *j, bool matrix)
{
    const size_t height = j->x.out_height, batch = j->call.batch;
    const bool shared = batch > 1 && (j->x.nhwc || j->pixels < SMALL_IMAGE);
    double bytes, rows;

    k->copy_y = j->x.nhwc || shared;
    k->images = k->rows = 1;
    if (!msw__planes_init(&k->planes, &j->conv->window, &j->x, 1, height))
        return false;
    bytes = row_bytes(j, k, matrix);
    rows = BAND_BYTES / (bytes + 1);
    if (rows < (double)height || !shared)
        k->rows = even(height, rows * (double)j->x.out_width < MIN_PIXELS
                                   ? (double)divide_up(MIN_PIXELS, j->x.out_width) : rows);
    else
        k->rows = height;
    if (k->rows == height && shared)
        k->images = even(batch, rows / (double)height);
    return msw__planes_init(&k->planes, &j->conv->window, &j->x, k->images, k->rows);
}

/* Pixels of a whole band, and of the last one. */
static size_t whole_band(const job *j, const cut *k)
{
    return k->images * k->rows * j->x.out_width;
}

static size_t last_band(const job *j, const cut *k)
{
    return k->rows == j->x.out_height
               ? j->call.batch % k->images * j->pixels
               : j->x.out_height % k->rows * j->x.out_width;
}

/* The most that gemm needs. */
static size_t gemm_bytes(const job *j, const cut *k)
{
    const msw_conv *c = j->conv;
    size_t most = 0;

    for (size_t i = 0; i < c->groups; i++) {
        most = max(most, msw_gemm_workspace(c->gemms[i], whole_band(j, k)));
        most = max(most, msw_gemm_workspace(c->gemms[i], last_band(j, k)));
    }
    return most;
}

/* *at: the place for count times size bytes. *end moves behind it, to the next multiple of
 * the alignment. */
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

    return (divide_up(floats, LINE) | 1) * LINE;
}

static msw_status lay_out(layout *w, const job *j, const cut *k)
{
    const msw_conv *c = j->conv;
    const size_t whole = whole_band(j, k), last = last_band(j, k);
    const size_t matrix = wants_matrix(c, k, whole)  ? whole
                          : wants_matrix(c, k, last) ? last : 0;
    size_t end = 0, floats;

    w->y_ld = odd_lines(whole);
    w->gemm_bytes = gemm_bytes(j, k);
    if (w->gemm_bytes == SIZE_MAX || !place(&w->rows, &end, c->elements, sizeof(size_t)) ||
        !place(&w->planes, &end, msw__planes_size(&k->planes, k->images), sizeof(float)) ||
        !msw__size_mul(&floats, c->elements, matrix) ||
        !place(&w->matrix, &end, floats, sizeof(float)) ||
        !msw__size_mul(&floats, c->groups * c->outputs, k->copy_y ? w->y_ld : 0) ||
        !place(&w->y, &end, floats, sizeof(float)) ||
        !place(&w->gemm, &end, w->gemm_bytes, 1))
        return MSW_E_RANGE;
    w->bytes = end;
    return MSW_OK;
}

static msw_status plan_job(cut *k, layout *w, const job *j)
{
    if (!cut_job(k, j, false) ||
        (wants_matrix(j->conv, k, whole_band(j, k)) && !cut_job(k, j, true)))
        return MSW_E_RANGE;
    return lay_out(w, j, k);
}

/* Copying */

typedef struct copying {
    const job *j;
    const cut *k;
    const msw__band *band;
    float *planes, *y;
    size_t y_ld;
    bool back;               /* y: to the caller's */
    void (*unit)(const struct copying *c, size_t unit);
    size_t units, tasks;
} copying;

static void copy_task(size_t index, void *arg)
{
    const copying *c = arg;
    const size_t share = divide_up(c->units, c->tasks);
    const size_t end = min((index + 1) * share, c->units);

    for (size_t i = index * share; i < end; i++)
        c->unit(c, i);
}

static msw_status run_copying(copying *c, size_t floats)
{
    c->tasks = max(1, min(c->units, floats / (TASK_BYTES / sizeof(float))));
    return msw__parallel(c->j->conv->ctx, c->tasks, copy_task, c);
}

static void planes_unit(const copying *c, size_t unit)
{
    const msw_conv *conv = c->j->conv;

    msw__planes_fill(c->planes, &c->k->planes, &conv->window, &c->j->x, c->band,
                     conv->transpose, unit);
}

static msw_status fill_planes(const job *j, const cut *k, const msw__band *band,
                              float *planes)
{
    copying c = {.j = j, .k = k, .band = band, .planes = planes, .unit = planes_unit};

    c.units = msw__planes_units(&k->planes, &j->x, band);
    return c.units ? run_copying(&c, msw__planes_size(&k->planes, band->images)) : MSW_OK;
}

static size_t band_pixels(const job *j, const msw__band *b)
{
    return b->rows * j->x.out_width; /* of one image */
}

/* Output `unit` of all images of the band. */
static void y_unit_nchw(const copying *c, size_t unit)
{
    const msw_conv_call *call = &c->j->call;
    const size_t pixels = band_pixels(c->j, c->band);

    for (size_t i = 0; i < c->band->images; i++) {
        float *y = call->y + (c->band->image + i) * call->batch_stride_y +
                   unit * call->ldy + c->band->row * c->j->x.out_width;
        float *tile = c->y + unit * c->y_ld + i * pixels;

        memcpy(c->back ? y : tile, c->back ? tile : y, pixels * sizeof *y);
    }
}

/* All outputs of some pixels of an image. */
static void y_unit_nhwc(const copying *c, size_t unit)
{
    const msw_conv *conv = c->j->conv;
    const msw_conv_call *call = &c->j->call;
    const size_t outputs = conv->groups * conv->outputs;
    const size_t pixels = band_pixels(c->j, c->band);
    const size_t units = divide_up(pixels, COPY_PIXELS);
    const size_t image = unit / units, first = unit % units * COPY_PIXELS;
    const size_t count = min(pixels - first, COPY_PIXELS);
    float *y = call->y + (c->band->image + image) * call->batch_stride_y +
               (c->band->row * c->j->x.out_width + first) * call->ldy;
    float *tile = c->y + image * pixels + first;

    if (c->back)
        conv->transpose(y, call->ldy, tile, c->y_ld, outputs, count);
    else
        conv->transpose(tile, c->y_ld, y, call->ldy, count, outputs);
}

static msw_status copy_y(const job *j, const cut *k, const msw__band *band, float *y,
                         size_t y_ld, bool back)
{
    const size_t outputs = j->conv->groups * j->conv->outputs;
    const size_t pixels = band_pixels(j, band);
    copying c = {.j = j, .k = k, .band = band, .y = y, .y_ld = y_ld, .back = back};

    c.unit = j->x.nhwc ? y_unit_nhwc : y_unit_nchw;
    c.units = j->x.nhwc ? band->images * divide_up(pixels, COPY_PIXELS) : outputs;
    return run_copying(&c, outputs * band->images * pixels);
}

/* X as a matrix, from the planes */

static void spell_out(float *matrix, size_t rows, size_t n, const msw__gather *g)
{
    for (size_t k = 0; k < rows; k++)
        for (size_t i = 0; i < n; i += g->run, matrix += g->run)
            memcpy(matrix, g->x + g->row[k] + msw__gather_column(g, i),
                   g->run * sizeof *matrix);
}

/* Products */

/* One product: a group's outputs of a band. */
static msw_status run_product(const job *j, const cut *k, const layout *w,
                              const msw__gather *x, size_t n, msw_gemm_call *g,
                              const msw_gemm *gemm)
{
    const msw_conv *c = j->conv;
    char *space = j->call.workspace;
    float *matrix = (float *)(void *)(space + w->matrix);

    g->n = n;
    g->beta = j->call.beta;
    g->workspace = space + w->gemm;
    g->workspace_bytes = w->gemm_bytes;
    if (is_matrix(c, k)) {
        g->x = x->x;
        g->ldx = k->planes.channel;
        return msw_gemm_run(gemm, g);
    }
    if (msw__gemm_choice(gemm, n).kind == MSW__GEMM_WIDE)
        return msw__gemm_run_gathered(gemm, x, g);
    spell_out(matrix, c->elements, n, x);
    g->x = matrix;
    g->ldx = n;
    return msw_gemm_run(gemm, g);
}

/* The columns of X in the planes of a band. */
static msw__gather gather(const job *j, const cut *k, const layout *w,
                          const msw__band *band)
{
    const msw__planes *p = &k->planes;
    char *space = j->call.workspace;
    msw__gather g = {.x = p->in_place ? msw__planes_place(p, &j->x, band)
                                      : (const float *)(void *)(space + w->planes),
                     .row = (const size_t *)(void *)(space + w->rows),
                     .run = j->x.out_width, .pitch = p->width,
                     .runs = band->rows, .image = p->image};

    if (g.run == g.pitch) { /* all rows of an image */
        g.run *= band->rows;
        g.runs = 1;
    }
    return g;
}

static msw_status run_products(const job *j, const cut *k, const layout *w,
                               const msw__band *band)
{
    const msw_conv *c = j->conv;
    const msw_conv_call *call = &j->call;
    msw__gather x = gather(j, k, w, band);
    msw_gemm_call g;
    msw_status status = MSW_OK;

    msw_gemm_call_init(&g);
    g.layout = MSW_LAYOUT_COLUMNS;
    g.ldy = k->copy_y ? w->y_ld : call->ldy;
    g.y = k->copy_y ? (float *)(void *)((char *)call->workspace + w->y)
                    : call->y + band->image * call->batch_stride_y +
                          band->row * j->x.out_width;
    for (size_t i = 0; i < c->groups && !status; i++) {
        status = run_product(j, k, w, &x, band->images * band_pixels(j, band), &g,
                             c->gemms[i]);
        x.x += c->window.channels * k->planes.channel;
        g.y += c->outputs * g.ldy;
    }
    return status;
}

static msw_status run_band(const job *j, const cut *k, const layout *w,
                           const msw__band *band)
{
    char *space = j->call.workspace;
    float *y = (float *)(void *)(space + w->y);
    msw_status status = fill_planes(j, k, band, (float *)(void *)(space + w->planes));

    if (!status && k->copy_y && j->call.beta)
        status = copy_y(j, k, band, y, w->y_ld, false);
    if (!status)
        status = run_products(j, k, w, band);
    if (!status && k->copy_y)
        status = copy_y(j, k, band, y, w->y_ld, true);
    return status;
}

static msw_status run_bands(const job *j, const cut *k, const layout *w)
{
    size_t *rows = (size_t *)(void *)((char *)j->call.workspace + w->rows);
    const size_t batch = j->call.batch, height = j->x.out_height;
    msw_status status = MSW_OK;

    msw__planes_elements(rows, &k->planes, &j->conv->window);
    for (size_t image = 0; image < batch && !status; image += k->images)
        for (size_t row = 0; row < height && !status; row += k->rows) {
            const msw__band band = {image, min(k->images, batch - image), row,
                                    min(k->rows, height - row)};

            status = run_band(j, k, w, &band);
        }
    return status;
}

/* With the caller's workspace, or with one of our own. */
static msw_status run_job(job *j)
{
    msw_context *ctx = j->conv->ctx;
    layout w;
    cut k;
    msw_status status = plan_job(&k, &w, j);

    if (status)
        return status;
    if (j->call.workspace) {
        if (j->call.workspace_bytes < w.bytes)
            return MSW_E_RANGE;
        return run_bands(j, &k, &w);
    }
    status = msw__alloc(&j->call.workspace, ctx, w.bytes, 1);
    if (!status)
        status = run_bands(j, &k, &w);
    msw__free(ctx, j->call.workspace, w.bytes, 1);
    return status;
}

msw_status msw_conv_run(const msw_conv *conv, const msw_conv_call *call)
{
    msw_conv_call a;
    msw_status status;
    job j;

    if (!conv || !call)
        return MSW_E_INVAL;
    status = msw__take_options(&a, sizeof a, OLDEST_CALL, call);
    if (status)
        return status;
    if (a.reserved)
        return MSW_E_VERSION;
    if (a.beta > 1 || ((!a.x || !a.y) && a.batch) || (uintptr_t)a.workspace % MSW__ALIGN)
        return MSW_E_INVAL;
    status = open_job(&j, conv, &a);
    return status || !a.batch ? status : run_job(&j);
}

/* Asking */

/* A call of this size, with nothing but what was given. */
static msw_status plan_size(job *j, cut *k, layout *w, const msw_conv *c, size_t batch,
                            size_t height, size_t width)
{
    msw_conv_call call;
    msw_status status;

    msw_conv_call_init(&call);
    call.batch = batch;
    call.height = height;
    call.width = width;
    status = open_job(j, c, &call);
    return status ? status : plan_job(k, w, j);
}

size_t msw_conv_workspace(const msw_conv *conv, size_t batch, size_t height, size_t width)
{
    layout w;
    cut k;
    job j;

    if (!conv || plan_size(&j, &k, &w, conv, batch ? batch : 1, height, width))
        return SIZE_MAX;
    return batch ? w.bytes : 0;
}

msw_status msw_conv_get_info(msw_gemm_info *out, const msw_conv *conv, size_t batch,
                             size_t height, size_t width)
{
    msw_gemm_info all, one;
    msw_status status;
    layout w;
    cut k;
    job j;

    if (!out || !conv)
        return MSW_E_INVAL;
    status = plan_size(&j, &k, &w, conv, batch ? batch : 1, height, width);
    msw_gemm_info_init(&all);
    if (!status)
        status = msw_gemm_get_info(&all, conv->gemms[0], whole_band(&j, &k));
    for (size_t i = 1; i < conv->groups && !status; i++) {
        msw_gemm_info_init(&one);
        status = msw_gemm_get_info(&one, conv->gemms[i], whole_band(&j, &k));
        all.bytes_packed += one.bytes_packed;
        all.bytes_dense += one.bytes_dense;
        all.deterministic &= one.deterministic;
    }
    if (status)
        return status;
    all.predicted = all.measured = all.dense = 0;
    return msw__give_output(out, &all, sizeof all, OLDEST_INFO);
}
