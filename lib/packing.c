/* SPDX-License-Identifier: BSD-2-Clause */
#include "packing.h"

void msw__find_kinds(uint8_t *kinds, const msw_unified *u)
{
    size_t magnitude = 0;

    for (size_t b = 0; b < u->plan->block_count; b++) {
        kinds[b] = MSW__NOTHING;
        if (u->classes[b] == MSW_CLASS_FREE)
            kinds[b] = MSW__PRODUCTS;
        else if (u->classes[b] == MSW_CLASS_UNIFIED && u->magnitudes[magnitude++] != 0)
            kinds[b] = MSW__LOOKUPS;
    }
}

void msw__cursor_advance(msw__block_cursor *c, const msw_unified *u, size_t block_row,
                         uint32_t block_column)
{
    const msw_plan *p = u->plan;
    const uint8_t *classes = u->classes + block_row * p->block_column_count;
    const size_t rows = msw__plan_rows(p, block_row);

    for (; c->block_column < block_column; c->block_column++) {
        const size_t weights = rows * msw__plan_columns(p, c->block_column);

        if (classes[c->block_column] == MSW_CLASS_UNIFIED) {
            c->magnitude++;
            c->sign += weights;
        } else if (classes[c->block_column] == MSW_CLASS_FREE) {
            c->weight += weights;
        }
    }
}

msw_status msw__alloc_array(void *out, msw_context *ctx, size_t count, size_t size)
{
    void *memory;
    const msw_status status = msw__alloc(&memory, ctx, count, size);

    memcpy(out, &memory, sizeof memory);
    return status;
}

msw_status msw__packing_alloc_chunks(msw__packing *w, msw_context *ctx, const msw_plan *plan,
                                     size_t rows)
{
    w->chunk_count = msw__ceil_div(plan->rows, rows);
    if (w->chunk_count > plan->block_row_count)
        w->chunk_count = plan->block_row_count;
    return msw__alloc_array(&w->chunks, ctx, w->chunk_count, sizeof *w->chunks);
}

msw_status msw__packing_alloc(msw__packing *w, msw_context *ctx)
{
    msw_status s = msw__alloc_array(&w->stages, ctx, w->stage_count, sizeof *w->stages);

    if (!s)
        s = msw__alloc_array(&w->column, ctx, w->column_count + MSW__COLUMN_PADDING,
                             sizeof *w->column);
    if (!s)
        s = msw__alloc_array(&w->table, ctx, w->table_count, sizeof *w->table);
    if (!s)
        s = msw__alloc_array(&w->code, ctx, w->code_count + MSW__CODE_PADDING,
                             sizeof *w->code);
    if (!s)
        memset(w->code + w->code_count, 0, MSW__CODE_PADDING * sizeof *w->code);
    return s;
}

void msw__packing_free(msw__packing *w, msw_context *ctx)
{
    if (w->borrowed) {
        memset(w, 0, sizeof *w);
        return;
    }
    msw__free(ctx, w->chunks, w->chunk_count, sizeof *w->chunks);
    msw__free(ctx, w->stages, w->stage_count, sizeof *w->stages);
    msw__free(ctx, w->column, w->column_count + MSW__COLUMN_PADDING, sizeof *w->column);
    msw__free(ctx, w->table, w->table_count, sizeof *w->table);
    msw__free(ctx, w->code, w->code_count + MSW__CODE_PADDING, sizeof *w->code);
    memset(w, 0, sizeof *w);
}

uint64_t msw__packing_bytes(const msw__packing *w)
{
    return (uint64_t)w->chunk_count * sizeof *w->chunks +
           (uint64_t)w->stage_count * sizeof *w->stages +
           ((uint64_t)w->column_count + MSW__COLUMN_PADDING) * sizeof *w->column +
           (uint64_t)w->table_count * sizeof *w->table +
           ((uint64_t)w->code_count + MSW__CODE_PADDING) * sizeof *w->code;
}
