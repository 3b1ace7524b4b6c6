/* SPDX-License-Identifier: BSD-2-Clause */
/* A tensor's elements by row and column of its plan's GEMM view. */
#ifndef MSW_LIB_VIEW_H
#define MSW_LIB_VIEW_H

#include "internal.h"

/* Element (r, c) of the view, permutations included, is
 * data[row_offset(r) + columns[c]]. Read-only after msw__view_new(), so tasks may
 * share one. */
typedef struct msw__view {
    msw_context *ctx;
    float *data;
    size_t row_stride;
    const uint32_t *row_permutation; /* NULL: none */
    size_t *columns;                 /* offset of each column */
    size_t column_count;
    size_t column_stride;            /* columns[c] == c * column_stride; 0: not so */
} msw__view;

/* MSW_E_INVAL when the tensor does not have the plan's shape. On success release with
 * msw__view_free(). */
msw_status msw__view_new(msw__view *out, const msw_plan *plan,
                         const msw_tensor *t) MSW_NODISCARD;
void msw__view_free(msw__view *view);
/* The same of a tensor that fits, in memory of the caller's for one size_t per column of
 * the plan: nothing to fail, nothing to free. */
void msw__view_fill(msw__view *out, const msw_plan *plan, const msw_tensor *t,
                    size_t *columns);

static inline size_t msw__view_row(const msw__view *v, size_t row)
{
    return (v->row_permutation ? v->row_permutation[row] : row) * v->row_stride;
}

/* Copy rows x columns elements from (row, column) on to a dense dst with ld elements
 * between its rows, or back. */
void msw__view_gather(float *dst, size_t ld, const msw__view *v, size_t row, size_t rows,
                      size_t column, size_t columns);
void msw__view_scatter(const msw__view *v, size_t row, size_t rows, size_t column,
                       size_t columns, const float *src, size_t ld);

#endif /* MSW_LIB_VIEW_H */
