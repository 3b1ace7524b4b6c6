/* SPDX-License-Identifier: BSD-2-Clause */
/* Z and U step of a layer, a strip at a time: the rows of a block row by some columns of
 * the GEMM view, few enough to stay in the first-level cache.
 *
 *   V = W + U = W + (Z - D)      in FREE blocks U = 0, so V = W
 *   Z' = projection of V
 *   U' = (V - Z') rho / rho'     rho * U is kept when rho changes
 *   D' = Z' - U'
 */
#ifndef MSW_LIB_STRIP_H
#define MSW_LIB_STRIP_H

#include "admm.h"
#include "lanes.h"

enum { MSW__STRIP = MSW_MAX_BLOCK * MSW_MAX_BLOCK };

typedef struct msw__update_job {
    const msw__lane_kernels *lanes;
    msw__layer *layer;
    const msw_plan *plan;
    msw__view w, d, h, h_old; /* those of h: data NULL for none */
    size_t task_rows;         /* block rows of one task */
    size_t strip;             /* columns of one strip */
    double ratio;             /* U' = ratio * U */
    msw__candidate *candidates;
    float *magnitudes;        /* one per block: what unifying it takes */
    float *weights;           /* one per block: sum of h; NULL: not wanted */
    const uint8_t *classes;   /* those of Z' */
    msw__admm_sums *sums;     /* one per task */
} msw__update_job;

typedef struct msw__strip {
    size_t block_row, block, blocks;   /* number of its first block */
    size_t row, rows, column, columns; /* where in the view */
    size_t ld;                         /* columns, rounded up to lanes */
    msw__columns old;                  /* Z before, */
    msw__sign_row signs;               /* and its signs in one row */
    float w[MSW__RUN], d[MSW__RUN];    /* one row, where it cannot be used in place;
                                          beyond `columns` they stay 0 */
} msw__strip;

/* All but the memory of a job and its ratio. */
void msw__update_job_fill(msw__update_job *job, const msw_context *ctx, msw__layer *layer);

/* Run @p work on every strip of a task's block rows, the old Z filled in. */
void msw__each_strip(size_t task, msw__update_job *job,
                     void (*work)(msw__strip *s, msw__update_job *job, size_t task));

/* Columns of the strip's block b. */
static inline size_t msw__strip_width(const msw__strip *s, const msw__update_job *j, size_t b)
{
    const size_t c = j->plan->block_columns, left = s->columns - b * c;

    return left < c ? left : c;
}

void msw__strip_spread(msw__columns *to, const msw__strip *s, const msw__update_job *job,
                       const uint8_t *classes, const float *magnitudes);

/* Row r of the view in the strip's columns: in place, or a copy in @p buffer. */
float *msw__strip_row(const msw__strip *s, const msw__view *view, size_t r, float *buffer);
/* After writing to a row: back into the view if it is a copy. */
void msw__strip_row_written(const msw__strip *s, const msw__view *view, size_t r,
                            const float *row, const float *buffer);
/* Row r of the old Z, given that of D. */
msw__z_row msw__strip_z(msw__strip *s, const msw__update_job *job, size_t r, const float *d);
/* s->signs, become those of Z', into the layer. */
void msw__strip_signs_written(const msw__strip *s, const msw__update_job *job, size_t r);

/* Passes over a layer, as tasks of an msw__update_job. */

/* What pruning and unifying each block of V would cost: candidates and magnitudes. */
void msw__rate_task(size_t task, void *job);
/* Z' and D' of the classes and magnitudes, and the sums. */
void msw__project_task(size_t task, void *job);
/* U *= ratio * h_old / h; the sums' bound alone. */
void msw__rescale_task(size_t task, void *job);
/* The squared norm of U, to the sums' dual. */
void msw__norm_task(size_t task, void *job);
/* Z to w, which stands in for the weights. */
void msw__write_z_task(size_t task, void *job);

#endif /* MSW_LIB_STRIP_H */
