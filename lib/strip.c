/* SPDX-License-Identifier: BSD-2-Clause */
#include "bytes.h"
#include "strip.h"

#include <string.h>

enum {
    STRIP_AIM = 2048, /* weights of a strip, unless a block has more */
    TASK_WEIGHTS = 1 << 15
};

static inline size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whole blocks side by side. */
static size_t strip_columns(const msw_plan *p)
{
    const size_t c = p->block_columns;
    const size_t aim = at_most(STRIP_AIM / p->block_rows, MSW__RUN);

    return aim < c ? c : aim / c * c;
}

static size_t task_rows(const msw_plan *p)
{
    const size_t row = p->block_rows * p->columns;

    return row < TASK_WEIGHTS ? TASK_WEIGHTS / row : 1;
}

size_t msw__update_tasks(const msw_plan *p)
{
    const size_t rows = task_rows(p);

    return (p->block_row_count + rows - 1) / rows;
}

void msw__update_job_fill(msw__update_job *j, const msw_context *ctx, msw__layer *layer)
{
    *j = (msw__update_job){.lanes = msw__lanes(ctx->cpu),
                           .layer = layer,
                           .plan = layer->plan,
                           .task_rows = task_rows(layer->plan),
                           .strip = strip_columns(layer->plan)};
}

/* Some more than asked for, which the next block overwrites. */
static inline void spread_block(msw__columns *to, size_t first, size_t end, float magnitude,
                                uint32_t held)
{
    for (size_t c = first; c < end; c += MSW__SPREAD)
        for (size_t k = 0; k < MSW__SPREAD; k++) {
            to->magnitude[c + k] = magnitude;
            to->held[c + k] = held;
        }
}

/* The magnitude where the class is UNIFIED, or 0: classes follow no pattern that a branch
 * could be predicted by. */
static inline float magnitude_of(uint8_t class, const float *magnitude)
{
    float m;

    msw__float_set(&m, msw__float_bits(magnitude) & (0u - (class == MSW_CLASS_UNIFIED)));
    return m;
}

void msw__strip_spread(msw__columns *to, const msw__strip *s, const msw__update_job *j,
                       const uint8_t *classes, const float *magnitudes)
{
    size_t c = 0;

    for (size_t b = 0; b < s->blocks; b++) {
        const size_t end = c + msw__strip_width(s, j, b);

        spread_block(to, c, end, magnitude_of(classes[b], magnitudes + b),
                     0u - (classes[b] != MSW_CLASS_FREE));
        c = end;
    }
    spread_block(to, c, s->ld, 0, 0);
}

static void open_strip(msw__strip *s, const msw__update_job *j, size_t block_row,
                       size_t column)
{
    const msw_plan *p = j->plan;

    s->block_row = block_row;
    s->row = msw__plan_row(p, block_row);
    s->rows = msw__plan_rows(p, block_row);
    s->column = column;
    s->columns = at_most(j->strip, p->columns - column);
    s->ld = msw__lanes_up(s->columns);
    s->block = block_row * p->block_column_count + column / p->block_columns;
    s->blocks = (s->columns + p->block_columns - 1) / p->block_columns;
    for (size_t c = s->columns; c < s->ld; c++)
        s->w[c] = s->d[c] = 0;
    msw__strip_spread(&s->old, s, j, j->layer->classes + s->block,
                      j->layer->magnitudes + s->block);
}

void msw__each_strip(size_t task, msw__update_job *j,
                     void (*work)(msw__strip *s, msw__update_job *job, size_t task))
{
    const size_t first = task * j->task_rows;
    const size_t end = at_most(first + j->task_rows, j->plan->block_row_count);
    msw__strip s;

    for (size_t i = first; i < end; i++)
        for (size_t column = 0; column < j->plan->columns; column += j->strip) {
            open_strip(&s, j, i, column);
            work(&s, j, task);
        }
}

float *msw__strip_row(const msw__strip *s, const msw__view *view, size_t r, float *buffer)
{
    if (view->column_stride == 1 && s->columns == s->ld)
        return view->data + msw__view_row(view, s->row + r) + s->column;
    msw__view_gather(buffer, s->columns, view, s->row + r, 1, s->column, s->columns);
    return buffer;
}

void msw__strip_row_written(const msw__strip *s, const msw__view *view, size_t r,
                            const float *row, const float *buffer)
{
    if (row == buffer)
        msw__view_scatter(view, s->row + r, 1, s->column, s->columns, row, s->columns);
}

/* Signs: of a row from some bit on */

static void load_signs(uint8_t *to, const uint8_t *signs, size_t bit, size_t count)
{
    const uint8_t *p = signs + bit / 8;
    const unsigned shift = bit % 8;
    const size_t bytes = (count + 7) / 8, end = (shift + count + 7) / 8;

    if (!shift) {
        memcpy(to, p, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(p[i] >> shift | (i + 1 < end ? p[i + 1] << (8 - shift) : 0));
}

static void store_bits(uint8_t *p, unsigned shift, unsigned bits, size_t count)
{
    const unsigned mask = ((1u << count) - 1) << shift;

    bits = bits << shift & mask;
    p[0] = (uint8_t)((p[0] & ~mask) | bits);
    if (shift + count > 8)
        p[1] = (uint8_t)((p[1] & ~(mask >> 8)) | bits >> 8);
}

static void store_signs(uint8_t *signs, size_t bit, const uint8_t *from, size_t count)
{
    uint8_t *p = signs + bit / 8;
    size_t i = 0;

    if (bit % 8 == 0)
        memcpy(p, from, i = count / 8);
    for (; 8 * i < count; i++)
        store_bits(p + i, bit % 8, from[i], at_most(8, count - 8 * i));
}

/* Where row r of the strip after this one begins, in this block row or the next. */
static const float *strip_soon(const msw__strip *s, const msw__update_job *j,
                               const msw__view *view, size_t r)
{
    size_t row = s->row + r, column = s->column + j->strip;

    if (column >= j->plan->columns) {
        column = 0;
        row += j->plan->block_rows;
    }
    if (row >= j->plan->rows)
        row = s->row + r;
    return view->data + msw__view_row(view, row) + view->columns[column];
}

msw__z_row msw__strip_z(msw__strip *s, const msw__update_job *j, size_t r, const float *d)
{
    load_signs(s->signs.bits, j->layer->signs,
               msw__sign_bit(j->plan, s->block_row, r) + s->column, s->columns);
    return (msw__z_row){&s->old, &s->signs, d, strip_soon(s, j, &j->w, r),
                        strip_soon(s, j, &j->d, r)};
}

void msw__strip_signs_written(const msw__strip *s, const msw__update_job *j, size_t r)
{
    store_signs(j->layer->signs, msw__sign_bit(j->plan, s->block_row, r) + s->column,
                s->signs.bits, s->columns);
}
