/* SPDX-License-Identifier: BSD-2-Clause */
/* What an update does to every strip of a layer. */
#include "strip.h"

#include <math.h>

/* Costs */

typedef struct rating {
    float v[MSW__STRIP], h[MSW__STRIP];
    msw__column_sums sums;
    double magnitude[MSW__RUN], spread[MSW__RUN]; /* per column */
} rating;

/* NULL: none. */
static const float *gather_importance(rating *x, const msw__strip *s,
                                      const msw__update_job *j)
{
    if (!j->h.data)
        return NULL;
    for (size_t r = 0; r < s->rows; r++) {
        float *h = x->h + r * s->ld;

        msw__view_gather(h, s->ld, &j->h, s->row + r, 1, s->column, s->columns);
        for (size_t c = s->columns; c < s->ld; c++)
            h[c] = 0;
    }
    return x->h;
}

static void gather_v(float *v, msw__strip *s, const msw__update_job *j)
{
    for (size_t r = 0; r < s->rows; r++) {
        const float *w = msw__strip_row(s, &j->w, r, s->w);
        const float *d = msw__strip_row(s, &j->d, r, s->d);
        const msw__z_row old = msw__strip_z(s, j, r, d);

        j->lanes->v(v + r * s->ld, w, &old, s->ld);
    }
}

/* In four lanes; none of the sums is -0. */
static double total(const double *x, size_t n)
{
    double sums[4] = {0};
    size_t i = 0;

    if (n == 4)
        return (x[0] + x[1]) + (x[2] + x[3]);
    if (n == 8)
        return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            sums[k] += x[i + k];
    for (size_t k = 0; i < n; i++, k++)
        sums[k] += x[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* The mean magnitude of each block, in double to all its columns. */
static void block_means(rating *x, const msw__strip *s, const msw__update_job *j)
{
    for (size_t b = 0; b < s->blocks; b++) {
        const size_t first = b * j->plan->block_columns, n = msw__strip_width(s, j, b);
        const double h = j->h.data ? total(x->sums.importance + first, n)
                                   : (double)(s->rows * n);
        const double m = total(x->sums.absolute + first, n) / h;

        for (size_t c = first; c < first + n; c++)
            x->magnitude[c] = m;
        j->magnitudes[s->block + b] = (float)m;
        if (j->weights)
            j->weights[s->block + b] = (float)h;
    }
    for (size_t c = s->columns; c < s->ld; c++)
        x->magnitude[c] = 0;
}

/* The spread takes a second look: as sum h v^2 - m^2 sum h it would cancel to noise just
 * where training has nearly unified a block. */
static void rate_strip(msw__strip *s, msw__update_job *j, size_t task)
{
    const float *h;
    rating x;

    (void)task;
    h = gather_importance(&x, s, j);
    gather_v(x.v, s, j);
    j->lanes->column_sums(&x.sums, x.v, h, s->ld, s->rows, s->ld);
    block_means(&x, s, j);
    j->lanes->column_spread(x.spread, x.magnitude, x.v, h, s->ld, s->rows, s->ld);
    for (size_t b = 0; b < s->blocks; b++) {
        const size_t first = b * j->plan->block_columns, n = msw__strip_width(s, j, b);
        const double square = total(x.sums.square + first, n);
        const double spread = total(x.spread + first, n);
        const msw__block_costs costs = {square, spread < square ? spread : square,
                                        x.magnitude[first], 0};

        j->candidates[s->block + b] = msw__candidate_of((uint32_t)(s->block + b), &costs);
    }
}

void msw__rate_task(size_t task, void *arg)
{
    msw__each_strip(task, arg, rate_strip);
}

/* Z', D' and the residuals */

static void close_sums(msw__admm_sums *sums, const msw__lane_sums *lanes)
{
    sums->weights += msw__lanes_total(lanes->weights);
    sums->primal += msw__lanes_total(lanes->primal);
    sums->dual += msw__lanes_total(lanes->dual);
    for (size_t k = 0; k < MSW__LANES; k++)
        if (sums->bound < lanes->bound[k])
            sums->bound = lanes->bound[k];
}

static void project_strip(msw__strip *s, msw__update_job *j, size_t task)
{
    msw__lane_sums sums = {{0}, {0}, {0}, {0}};
    msw__columns next;

    msw__strip_spread(&next, s, j, j->classes + s->block, j->magnitudes + s->block);
    for (size_t b = 0; b < s->blocks; b++)
        if (sums.bound[0] < next.magnitude[b * j->plan->block_columns])
            sums.bound[0] = next.magnitude[b * j->plan->block_columns];
    for (size_t r = 0; r < s->rows; r++) {
        const float *w = msw__strip_row(s, &j->w, r, s->w);
        float *d = msw__strip_row(s, &j->d, r, s->d);
        const msw__z_row old = msw__strip_z(s, j, r, d);

        j->lanes->project(d, &s->signs, &sums, w, &old, &next, (float)j->ratio, s->ld);
        msw__strip_signs_written(s, j, r);
        msw__strip_row_written(s, &j->d, r, d, s->d);
    }
    close_sums(&j->sums[task], &sums);
}

void msw__project_task(size_t task, void *arg)
{
    msw__update_job *j = arg;

    j->sums[task] = (msw__admm_sums){0, 0, 0, 0};
    msw__each_strip(task, j, project_strip);
}

/* U alone changes: rho or the importance does. */

/* 1 where there is none. */
static const float *importance_row(const msw__strip *s, const msw__view *h, size_t r,
                                   float *buffer)
{
    if (h->data)
        return msw__strip_row(s, h, r, buffer);
    return buffer;
}

static void rescale_strip(msw__strip *s, msw__update_job *j, size_t task)
{
    float z[MSW__RUN], h_buffer[MSW__RUN], h_old_buffer[MSW__RUN];
    float *bound = &j->sums[task].bound;

    for (size_t c = 0; c < s->ld; c++)
        h_buffer[c] = h_old_buffer[c] = 1;
    for (size_t r = 0; r < s->rows; r++) {
        float *d = msw__strip_row(s, &j->d, r, s->d);
        const msw__z_row old = msw__strip_z(s, j, r, d);
        const float *h = importance_row(s, &j->h, r, h_buffer);
        const float *h_old = importance_row(s, &j->h_old, r, h_old_buffer);

        j->lanes->z(z, &old, s->ld);
        for (size_t c = 0; c < s->columns; c++) {
            const double scale = j->ratio * (double)h_old[c] / (double)h[c];

            d[c] = (float)((double)z[c] - scale * ((double)z[c] - (double)d[c]));
            *bound = fabsf(d[c]) > *bound ? fabsf(d[c]) : *bound;
        }
        msw__strip_row_written(s, &j->d, r, d, s->d);
    }
}

void msw__rescale_task(size_t task, void *arg)
{
    msw__update_job *j = arg;

    j->sums[task] = (msw__admm_sums){0, 0, 0, 0};
    msw__each_strip(task, j, rescale_strip);
}

/* The norm of U */

static void norm_strip(msw__strip *s, msw__update_job *j, size_t task)
{
    double sums[MSW__LANES] = {0};
    float z[MSW__RUN];

    for (size_t r = 0; r < s->rows; r++) {
        const float *d = msw__strip_row(s, &j->d, r, s->d);
        const msw__z_row old = msw__strip_z(s, j, r, d);

        j->lanes->z(z, &old, s->ld);
        for (size_t c = 0; c < s->columns; c++) {
            const double u = (double)z[c] - (double)d[c];

            sums[c % MSW__LANES] += u * u;
        }
    }
    j->sums[task].dual += msw__lanes_total(sums);
}

void msw__norm_task(size_t task, void *arg)
{
    msw__update_job *j = arg;

    j->sums[task] = (msw__admm_sums){0, 0, 0, 0};
    msw__each_strip(task, j, norm_strip);
}

/* Z */

static void write_z_strip(msw__strip *s, msw__update_job *j, size_t task)
{
    float z[MSW__RUN];

    (void)task;
    for (size_t r = 0; r < s->rows; r++) {
        const msw__z_row old = msw__strip_z(s, j, r, msw__strip_row(s, &j->d, r, s->d));

        j->lanes->z(z, &old, s->ld);
        for (size_t c = 0; c < s->columns; c++)
            z[c] += 0; /* no -0 in PRUNED blocks */
        msw__view_scatter(&j->w, s->row + r, 1, s->column, s->columns, z, s->columns);
    }
}

void msw__write_z_task(size_t task, void *arg)
{
    msw__each_strip(task, arg, write_z_strip);
}
