/* SPDX-License-Identifier: BSD-2-Clause */
#include "view.h"

#include <string.h>

/* Offsets of the columns before permutation: reduction element (h, w, i) or (i, h, w)
 * of a convolution, or input i of a fully connected layer. */
static size_t column_offset(const msw_plan *p, const msw_tensor *t, size_t column)
{
    const bool oihw = p->weights == MSW_WEIGHTS_OIHW;
    const uint32_t ai = oihw ? 1 : 3, ah = oihw ? 2 : 1, aw = oihw ? 3 : 2;
    size_t i, position;

    if (p->weights == MSW_WEIGHTS_OI)
        return column * t->stride[1];
    if (p->weights == MSW_WEIGHTS_IO)
        return column * t->stride[0];
    if (p->reduction == MSW_REDUCTION_CHANNELS) {
        i = column % t->shape[ai];
        position = column / t->shape[ai];
    } else {
        i = column / (t->shape[ah] * t->shape[aw]);
        position = column % (t->shape[ah] * t->shape[aw]);
    }
    return i * t->stride[ai] + position / t->shape[aw] * t->stride[ah] +
           position % t->shape[aw] * t->stride[aw];
}

/* The common stride of all columns, 0 when there is none. */
static size_t uniform_stride(const size_t *columns, size_t count)
{
    const size_t stride = count > 1 ? columns[1] : 1;

    for (size_t c = 0; c < count; c++)
        if (columns[c] != c * stride)
            return 0;
    return stride;
}

void msw__view_fill(msw__view *out, const msw_plan *plan, const msw_tensor *t,
                    size_t *columns)
{
    out->ctx = plan->ctx;
    out->data = t->data;
    out->row_stride = t->stride[plan->weights == MSW_WEIGHTS_IO ? 1 : 0];
    out->row_permutation = plan->row_permutation;
    out->columns = columns;
    out->column_count = plan->columns;
    for (size_t c = 0; c < plan->columns; c++)
        out->columns[c] = column_offset(
            plan, t, plan->column_permutation ? plan->column_permutation[c] : c);
    out->column_stride = uniform_stride(out->columns, plan->columns);
}

msw_status msw__view_new(msw__view *out, const msw_plan *plan, const msw_tensor *t)
{
    msw_status status;
    void *memory;

    if (!msw__plan_fits(plan, t))
        return MSW_E_INVAL;
    status = msw__alloc(&memory, plan->ctx, plan->columns, sizeof(size_t));
    if (!status)
        msw__view_fill(out, plan, t, memory);
    return status;
}

void msw__view_free(msw__view *view)
{
    msw__free(view->ctx, view->columns, view->column_count, sizeof(size_t));
    view->columns = NULL;
}

/* Rows of the view lie side by side: take a column at a time, each from one or two cache
 * lines, where a row at a time would come back to every line for each row. */
static bool rows_adjacent(const msw__view *v)
{
    return v->row_stride == 1 && v->column_stride != 1;
}

void msw__view_gather(float *dst, size_t ld, const msw__view *v, size_t row, size_t rows,
                      size_t column, size_t columns)
{
    if (rows_adjacent(v)) {
        for (size_t c = 0; c < columns; c++) {
            const float *from = v->data + v->columns[column + c];

            for (size_t r = 0; r < rows; r++)
                dst[r * ld + c] = from[msw__view_row(v, row + r)];
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        const float *from = v->data + msw__view_row(v, row + r);
        float *to = dst + r * ld;

        if (v->column_stride == 1)
            memcpy(to, from + column, columns * sizeof *to);
        else
            for (size_t c = 0; c < columns; c++)
                to[c] = from[v->columns[column + c]];
    }
}

void msw__view_scatter(const msw__view *v, size_t row, size_t rows, size_t column,
                       size_t columns, const float *src, size_t ld)
{
    if (rows_adjacent(v)) {
        for (size_t c = 0; c < columns; c++) {
            float *to = v->data + v->columns[column + c];

            for (size_t r = 0; r < rows; r++)
                to[msw__view_row(v, row + r)] = src[r * ld + c];
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        float *to = v->data + msw__view_row(v, row + r);
        const float *from = src + r * ld;

        if (v->column_stride == 1)
            memcpy(to + column, from, columns * sizeof *to);
        else
            for (size_t c = 0; c < columns; c++)
                to[v->columns[column + c]] = from[c];
    }
}
