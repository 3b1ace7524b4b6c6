/* SPDX-License-Identifier: BSD-2-Clause */
/* A convolution band by band: x into planes, products or direct sums, y out of its
 * tile. */
#include "conv.h"
#include "gemm.h"
#include "sizes.h"

#include <string.h>

enum {
    OLDEST_CALL = sizeof(msw_conv_call),
    COPY_PIXELS = 64,        /* of y, in one go */
    TASK_BYTES = 64 * 1024,  /* copying less is not worth a task */
    DIRECT_TASKS = 64        /* at most, however many blocks there are */
};

/* One band. */
typedef struct run {
    const msw__conv_job *job;
    const msw__conv_cut *cut;
    const msw__conv_layout *layout;
    msw__band band;
    size_t pixels;           /* of one image */
    const float *x;          /* where its planes begin */
    const size_t *places;
    float *planes, *matrix, *tile; /* in the workspace */
    float *y;                /* where its outputs begin: the tile, or the caller's */
    size_t ldy;
} run;

/* Work in independent units, some to a task. */

typedef void unit_function(const run *r, size_t unit);

typedef struct work {
    const run *r;
    unit_function *unit;
    size_t units, tasks;
} work;

static void work_task(size_t index, void *arg)
{
    const work *w = arg;
    const size_t share = msw__divide_up(w->units, w->tasks);
    const size_t end = msw__min((index + 1) * share, w->units);

    for (size_t i = index * share; i < end; i++)
        w->unit(w->r, i);
}

static msw_status run_units(const run *r, unit_function *unit, size_t units, size_t tasks)
{
    work w = {r, unit, units, msw__max(1, msw__min(units, tasks))};

    return msw__parallel(r->job->conv->ctx, w.tasks, work_task, &w);
}

static size_t copy_tasks(size_t floats)
{
    return floats / (TASK_BYTES / sizeof(float));
}

/* x -> planes */

static void fill_unit(const run *r, size_t unit)
{
    const msw_conv *c = r->job->conv;

    msw__planes_fill(r->planes, &r->cut->planes, &c->window, &r->job->x, &r->band,
                     c->transpose, unit);
}

static msw_status fill_planes(const run *r)
{
    const msw__planes *p = &r->cut->planes;

    if (p->in_place)
        return MSW_OK;
    return run_units(r, fill_unit, msw__planes_units(p, &r->job->x, &r->band),
                     copy_tasks(msw__planes_size(p, r->band.images)));
}

/* The tile of y, to the caller's y or from there */

static size_t all_outputs(const run *r)
{
    return r->job->conv->groups * r->job->conv->outputs;
}

/* The pixels of a band fall into lines that lie in y as they do in the tile, but for the
 * distance from one pixel to the next: rows, or all of an image. */
typedef struct lines {
    size_t count, length;
} lines;

static lines lines_of(const run *r)
{
    const msw__conv_job *j = r->job;

    if (j->column == 1 && j->row == j->x.out_width)
        return (lines){1, r->pixels};
    return (lines){r->band.rows, j->x.out_width};
}

/* Where line @p line of image @p image of the band begins in y, for output 0. */
static float *line_of_y(const run *r, size_t image, size_t line)
{
    const msw__conv_job *j = r->job;
    const size_t pixel = j->first + (r->band.row + line) * j->row;

    return j->call.y + (r->band.image + image) * j->call.batch_stride_y +
           pixel * (j->x.nhwc ? j->call.ldy : 1);
}

static void copy_line(float *y, float *tile, size_t length, size_t step, bool back)
{
    if (step == 1)
        memcpy(back ? y : tile, back ? tile : y, length * sizeof *y);
    else if (back)
        for (size_t i = 0; i < length; i++)
            y[i * step] = tile[i];
    else
        for (size_t i = 0; i < length; i++)
            tile[i] = y[i * step];
}

/* Output `unit` of all images of the band. */
static void copy_nchw(const run *r, size_t unit, bool back)
{
    const lines l = lines_of(r);
    float *tile = r->tile + unit * r->ldy;

    for (size_t i = 0; i < r->band.images; i++)
        for (size_t n = 0; n < l.count; n++, tile += l.length)
            copy_line(line_of_y(r, i, n) + unit * r->job->call.ldy, tile, l.length,
                      r->job->column, back);
}

/* All outputs of some pixels of a line. */
static void copy_nhwc(const run *r, size_t unit, bool back)
{
    const lines l = lines_of(r);
    const size_t units = msw__divide_up(l.length, COPY_PIXELS);
    const size_t line = unit / units, first = unit % units * COPY_PIXELS;
    const size_t count = msw__min(l.length - first, COPY_PIXELS);
    const size_t step = r->job->column * r->job->call.ldy;
    float *y = line_of_y(r, line / l.count, line % l.count) + first * step;
    float *tile = r->tile + line * l.length + first;

    if (back)
        r->job->conv->transpose(y, step, tile, r->ldy, all_outputs(r), count);
    else
        r->job->conv->transpose(tile, r->ldy, y, step, count, all_outputs(r));
}

static void load_unit(const run *r, size_t unit)
{
    (r->job->x.nhwc ? copy_nhwc : copy_nchw)(r, unit, false);
}

static void store_unit(const run *r, size_t unit)
{
    (r->job->x.nhwc ? copy_nhwc : copy_nchw)(r, unit, true);
}

static msw_status copy_tile(const run *r, unit_function *unit)
{
    const lines l = lines_of(r);
    const size_t units = r->job->x.nhwc ? r->band.images * l.count *
                                              msw__divide_up(l.length, COPY_PIXELS)
                                        : all_outputs(r);

    return run_units(r, unit, units,
                     copy_tasks(all_outputs(r) * r->band.images * r->pixels));
}

/* Products */

/* X as a matrix, from the planes. */
static void spell_out(float *matrix, size_t rows, size_t n, const msw__gather *g)
{
    for (size_t k = 0; k < rows; k++)
        for (size_t i = 0; i < n; i += g->run, matrix += g->run)
            memcpy(matrix, g->x + g->row[k] + msw__gather_column(g, i),
                   g->run * sizeof *matrix);
}

/* A group's outputs; @p x is its X, and @p g the call but for it. */
static msw_status run_product(const run *r, const msw__gather *x, msw_gemm_call *g,
                              const msw_gemm *gemm)
{
    if (msw__conv_is_matrix(r->job->conv, r->cut)) {
        g->x = x->x;
        g->ldx = r->cut->planes.channel;
        return msw_gemm_run(gemm, g);
    }
    if (msw__gemm_kind_for(gemm, g->n) == MSW__GEMM_WIDE)
        return msw__gemm_run_gathered(gemm, x, g);
    spell_out(r->matrix, r->job->conv->elements, g->n, x);
    g->x = r->matrix;
    g->ldx = g->n;
    return msw_gemm_run(gemm, g);
}

/* The columns of X in the planes. */
static msw__gather gather(const run *r)
{
    const msw__planes *p = &r->cut->planes;
    msw__gather g = {.x = r->x, .row = r->places, .run = r->job->x.out_width,
                     .pitch = p->pitch, .runs = r->band.rows, .image = p->image};

    if (g.run == g.pitch) { /* all rows of an image lie together */
        g.run *= r->band.rows;
        g.runs = 1;
    }
    return g;
}

static msw_status run_products(const run *r)
{
    const msw_conv *c = r->job->conv;
    msw__gather x = gather(r);
    msw_gemm_call g;
    msw_status status = MSW_OK;

    msw_gemm_call_init(&g);
    g.layout = MSW_LAYOUT_COLUMNS;
    g.y = r->y;
    g.ldy = r->ldy;
    g.n = r->band.images * r->pixels;
    g.beta = r->job->call.beta;
    g.workspace = (char *)r->job->call.workspace + r->layout->gemm;
    g.workspace_bytes = r->layout->gemm_bytes;
    for (size_t i = 0; i < c->groups && !status; i++) {
        status = run_product(r, &x, &g, c->gemms[i]);
        x.x += c->window.channels * r->cut->planes.channel;
        g.y += c->outputs * g.ldy;
    }
    return status;
}

/* Direct sums: one block of outputs of one image */

static void direct_unit(const run *r, size_t unit)
{
    const msw_conv *c = r->job->conv;
    const msw__direct *d = &c->direct;
    const msw__planes *p = &r->cut->planes;
    const size_t image = unit / d->blocks, block = unit % d->blocks;
    const size_t blocks = d->blocks / d->groups, group = block / blocks;
    msw__direct_unit u = {.place = r->places, .height = r->band.rows,
                          .width = r->job->x.out_width, .pitch = p->pitch,
                          .ldy = r->ldy, .beta = r->job->call.beta == 1};

    u.x = r->x + image * p->image + group * c->window.channels * p->channel;
    u.y = r->y + image * r->pixels +
          (group * c->outputs + block % blocks * d->rows) * u.ldy;
    if (u.width == u.pitch) { /* all rows in one */
        u.width *= u.height;
        u.height = 1;
    }
    msw__direct_run(d, block, &u);
}

/* Bands */

static msw_status run_band(const run *r)
{
    const msw_conv *c = r->job->conv;
    msw_status status = fill_planes(r);

    if (!status && r->cut->copy_y && r->job->call.beta)
        status = copy_tile(r, load_unit);
    if (!status && c->kind == MSW__CONV_DIRECT)
        status = run_units(r, direct_unit, r->band.images * c->direct.blocks,
                           DIRECT_TASKS);
    else if (!status)
        status = run_products(r);
    if (!status && r->cut->copy_y)
        status = copy_tile(r, store_unit);
    return status;
}

static void place_band(run *r, const msw__band *band)
{
    const msw__conv_job *j = r->job;
    const msw__planes *p = &r->cut->planes;

    r->band = *band;
    r->pixels = band->rows * j->x.out_width;
    r->x = p->in_place ? msw__planes_place(p, &j->x, band) : r->planes;
    r->y = r->cut->copy_y ? r->tile
                          : j->call.y + band->image * j->call.batch_stride_y +
                                band->row * j->x.out_width;
    r->ldy = r->cut->copy_y ? r->layout->y_ld : j->call.ldy;
}

static msw_status run_bands(const msw__conv_job *j, const msw__conv_cut *k,
                            const msw__conv_layout *w)
{
    const size_t batch = j->call.batch, height = j->x.out_height;
    char *space = j->call.workspace;
    size_t *places = (size_t *)(void *)(space + w->places);
    run r = {.job = j, .cut = k, .layout = w, .places = places,
             .planes = (float *)(void *)(space + w->planes),
             .matrix = (float *)(void *)(space + w->matrix),
             .tile = (float *)(void *)(space + w->y)};
    msw_status status = MSW_OK;

    msw__planes_elements(places, &k->planes, &j->conv->window);
    for (size_t image = 0; image < batch && !status; image += k->images)
        for (size_t row = 0; row < height && !status; row += k->rows) {
            const msw__band band = {image, msw__min(k->images, batch - image), row,
                                    msw__min(k->rows, height - row)};

            place_band(&r, &band);
            status = run_band(&r);
        }
    return status;
}

/* Depthwise on NHWC: an output row of an image */

static void depthwise_unit(const run *r, size_t unit)
{
    const msw__conv_job *j = r->job;
    const size_t image = unit / j->x.out_height, row = unit % j->x.out_height;
    float *y = j->call.y + image * j->call.batch_stride_y +
               (j->first + row * j->row) * j->call.ldy;

    msw__depthwise_run(&j->conv->depthwise, &j->conv->window, &j->x, image, row, y,
                       j->column * j->call.ldy, j->call.beta == 1);
}

/* With the caller's workspace, or with one of our own. */
static msw_status run_in_bands(msw__conv_job *j)
{
    msw_context *ctx = j->conv->ctx;
    msw__conv_layout w;
    msw__conv_cut k;
    msw_status status = msw__conv_plan(&k, &w, j);

    if (status)
        return status;
    if (j->call.workspace)
        return j->call.workspace_bytes < w.bytes ? MSW_E_RANGE : run_bands(j, &k, &w);
    status = msw__alloc(&j->call.workspace, ctx, w.bytes, 1);
    if (!status)
        status = run_bands(j, &k, &w);
    msw__free(ctx, j->call.workspace, w.bytes, 1);
    return status;
}

static msw_status run_job(msw__conv_job *j)
{
    const run rows = {.job = j};

    if (j->conv->kind == MSW__CONV_DEPTHWISE)
        return run_units(&rows, depthwise_unit, j->call.batch * j->x.out_height,
                         DIRECT_TASKS);
    return run_in_bands(j);
}

static msw_status run_phases(const msw__conv_job *j)
{
    const msw_conv *c = j->conv;
    msw_status status = MSW_OK;

    msw__conv_fill_gaps(j);
    for (size_t i = 0; i < c->phase_count && !status; i++) {
        msw__conv_job part;

        if (msw__conv_open_phase(&part, j, &c->phases[i]))
            status = run_job(&part);
    }
    return status;
}

/* One workspace for all phases, so that y is as it was where there is none. */
static msw_status run_transposed(msw__conv_job *j)
{
    msw_context *ctx = j->conv->ctx;
    size_t bytes;
    msw_status status = msw__conv_space(&bytes, j);

    if (status)
        return status;
    if (j->call.workspace)
        return j->call.workspace_bytes < bytes ? MSW_E_RANGE : run_phases(j);
    j->call.workspace_bytes = bytes;
    status = msw__alloc(&j->call.workspace, ctx, bytes, 1);
    if (!status)
        status = run_phases(j);
    msw__free(ctx, j->call.workspace, bytes, 1);
    return status;
}

msw_status msw_conv_run(const msw_conv *conv, const msw_conv_call *call)
{
    msw_conv_call a;
    msw__conv_job j;
    msw_status status;

    if (!conv || !call)
        return MSW_E_INVAL;
    status = msw__take_options(&a, sizeof a, OLDEST_CALL, call);
    if (status)
        return status;
    if (a.reserved)
        return MSW_E_VERSION;
    if (a.beta > 1 || ((!a.x || !a.y) && a.batch) || (uintptr_t)a.workspace % MSW__ALIGN)
        return MSW_E_INVAL;
    status = msw__conv_open(&j, conv, &a);
    if (status || !a.batch)
        return status;
    return conv->transposed ? run_transposed(&j) : run_job(&j);
}
