/* SPDX-License-Identifier: BSD-2-Clause */
#include "conv.h"
#include "walk.h"

#include <string.h>

/* The rows of the group as a plan: the partition restarts at each group, so it is the
 * same there. */
msw_status msw__group_plan(msw_plan **out, const msw_plan *p, size_t group)
{
    const uint32_t output_axis = p->weights == MSW_WEIGHTS_IO ? 1 : 0;
    const size_t first = group * p->group_rows;
    size_t shape[MSW_MAX_RANK];
    msw_plan_options o;
    uint32_t *rows = NULL;
    msw_status status;

    if (p->row_permutation) {
        void *memory;

        status = msw__alloc(&memory, p->ctx, p->group_rows, sizeof *rows);
        if (status)
            return status;
        rows = memory;
        for (size_t r = 0; r < p->group_rows; r++)
            rows[r] = p->row_permutation[first + r] - (uint32_t)first;
    }
    memcpy(shape, p->shape, sizeof shape);
    shape[output_axis] = p->group_rows;
    msw_plan_options_init(&o);
    o.weights = p->weights;
    o.reduction = p->reduction;
    o.block_rows = p->block_rows;
    o.block_columns = p->block_columns;
    o.row_permutation = rows;
    o.column_permutation = p->column_permutation;
    status = msw_plan_new(out, p->ctx, shape, p->rank, &o);
    msw__free(p->ctx, rows, p->group_rows, sizeof *rows);
    return status;
}

static void copy_floats(float *dst, const float *src, size_t first, size_t end)
{
    if (end > first) /* both may be NULL otherwise */
        memcpy(dst, src + first, (end - first) * sizeof *dst);
}

static void copy_signs(uint8_t *dst, const uint8_t *src, size_t first, size_t end)
{
    enum { WORD = 64 };

    for (size_t i = first; i < end; i += WORD) {
        const size_t count = end - i < WORD ? end - i : WORD;
        msw__signs_store(dst, i - first, count, msw__signs_load(src, i, count));
    }
}

msw_status msw__unified_group(msw_unified **out, const msw_unified *u, size_t group)
{
    const msw_plan *p = u->plan;
    const size_t first = group * p->group_block_rows, end = first + p->group_block_rows;
    msw_unified *slice;
    msw_plan *plan;
    msw_status status;

    *out = NULL;
    status = msw__group_plan(&plan, p, group);
    if (status)
        return status;
    status = msw__unified_alloc(&slice, plan, u->classes + first * p->block_column_count,
                                NULL);
    msw_plan_free(plan);
    if (status)
        return status;
    copy_floats(slice->magnitudes, u->magnitudes, u->magnitude_start[first],
                u->magnitude_start[end]);
    copy_floats(slice->free_weights, u->free_weights, u->free_start[first],
                u->free_start[end]);
    copy_signs(slice->signs, u->signs, u->sign_start[first], u->sign_start[end]);
    *out = slice;
    return MSW_OK;
}
