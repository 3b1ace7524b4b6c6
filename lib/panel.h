/* SPDX-License-Identifier: BSD-2-Clause */
/* Panels: a few whole blocks of one block row, as a dense matrix. */
#ifndef MSW_LIB_PANEL_H
#define MSW_LIB_PANEL_H

#include "view.h"

/* The largest block, and so the smallest panel; 16 KiB: fit for the stack. */
enum { MSW__PANEL_SIZE = MSW_MAX_BLOCK * MSW_MAX_BLOCK };

typedef struct msw__panel {
    float *v;               /* element (r, c) is v[r * ld + c] */
    size_t ld;
    size_t row, rows;       /* place in the GEMM view */
    size_t column, columns;
    bool copied;            /* v is the buffer, not the tensor */
} msw__panel;

/* Columns of a panel: as many whole blocks as fit. */
static inline size_t msw__panel_columns(const msw_plan *plan)
{
    return MSW__PANEL_SIZE / plan->block_rows / plan->block_columns * plan->block_columns;
}

/* Whether panels of the view need no buffer. */
static inline bool msw__panel_in_place(const msw__view *view)
{
    return view->column_stride == 1 && !view->row_permutation;
}

/* The panel of block row i whose first column is @p column: in place where the tensor
 * has its elements side by side, else in @p buffer; read false leaves that unset. */
static inline msw__panel msw__panel_open(const msw__view *view, const msw_plan *plan,
                                         size_t i, size_t column, float *buffer, bool read)
{
    const size_t left = plan->columns - column, most = msw__panel_columns(plan);
    msw__panel p = {
        .row = msw__plan_row(plan, i), .rows = msw__plan_rows(plan, i),
        .column = column, .columns = left < most ? left : most,
        .copied = !msw__panel_in_place(view),
    };

    if (p.copied) {
        p.v = buffer;
        p.ld = p.columns;
        if (read)
            msw__view_gather(buffer, p.ld, view, p.row, p.rows, column, p.columns);
    } else {
        p.v = view->data + msw__view_row(view, p.row) + column;
        p.ld = view->row_stride;
    }
    return p;
}

/* What was written to the panel, into the tensor. */
static inline void msw__panel_write(const msw__panel *p, const msw__view *view)
{
    if (p->copied)
        msw__view_scatter(view, p->row, p->rows, p->column, p->columns, p->v, p->ld);
}

#endif /* MSW_LIB_PANEL_H */
