/* SPDX-License-Identifier: BSD-2-Clause */
#include "internal.h"

#include <string.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_plan_options),
    OLDEST_BLOCK = sizeof(msw_block),
    OLDEST_INFO = sizeof(msw_plan_info),
    DEFAULT_BLOCK = 8
};

static msw_status take_options(msw_plan_options *o, const msw_plan_options *options)
{
    msw_plan_options_init(o);
    if (options) {
        const msw_status status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
        if (status)
            return status;
    }
    if (!o->block_rows)
        o->block_rows = DEFAULT_BLOCK;
    if (!o->block_columns)
        o->block_columns = DEFAULT_BLOCK;
    if (!o->groups)
        o->groups = 1;
    if (o->weights > MSW_WEIGHTS_OHWI || o->reduction > MSW_REDUCTION_KERNEL ||
        o->block_rows > MSW_MAX_BLOCK || o->block_columns > MSW_MAX_BLOCK)
        return MSW_E_INVAL;
    return o->reserved ? MSW_E_VERSION : MSW_OK;
}

/* Rows and columns of the GEMM view. */
static msw_status view_size(size_t *rows, size_t *columns, const size_t *shape,
                            uint32_t rank, uint32_t weights)
{
    const uint32_t output = weights == MSW_WEIGHTS_IO ? 1 : 0;

    if (!shape || rank != (weights >= MSW_WEIGHTS_OIHW ? 4u : 2u))
        return MSW_E_INVAL;
    *columns = 1;
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] == 0)
            return MSW_E_INVAL;
    for (uint32_t i = 0; i < rank; i++)
        if (i != output && !msw__size_mul(columns, *columns, shape[i]))
            return MSW_E_RANGE;
    *rows = shape[output];
    return *rows > UINT32_MAX || *columns > UINT32_MAX ? MSW_E_RANGE : MSW_OK;
}

static msw_status partition(msw_plan *p)
{
    size_t bytes;

    if (p->rows % p->groups)
        return MSW_E_INVAL;
    p->group_rows = p->rows / p->groups;
    p->group_block_rows = (p->group_rows + p->block_rows - 1) / p->block_rows;
    p->block_row_count = p->group_block_rows * p->groups;
    p->block_column_count = (p->columns + p->block_columns - 1) / p->block_columns;
    if (!msw__size_mul(&p->block_count, p->block_row_count, p->block_column_count) ||
        p->block_count > UINT32_MAX || !msw__size_mul(&bytes, p->rows, p->columns) ||
        !msw__size_mul(&bytes, bytes, sizeof(float)))
        return MSW_E_RANGE;
    return MSW_OK;
}

/* Copy a permutation of [0, count), each group of `group` entries onto itself. */
static msw_status copy_permutation(uint32_t **out, msw_context *ctx, const uint32_t *from,
                                   size_t count, size_t group)
{
    uint8_t *seen;
    void *memory;
    msw_status status;

    if (!from)
        return MSW_OK;
    status = msw__calloc(&memory, ctx, count, 1);
    if (status)
        return status;
    seen = memory;
    for (size_t i = 0; i < count && !status; i++) {
        if (from[i] >= count || from[i] / group != i / group || seen[from[i]])
            status = MSW_E_INVAL;
        else
            seen[from[i]] = 1;
    }
    msw__free(ctx, seen, count, 1);
    if (status)
        return status;
    status = msw__alloc(&memory, ctx, count, sizeof **out);
    if (!status) {
        *out = memory;
        memcpy(*out, from, count * sizeof **out);
    }
    return status;
}

static msw_status make(msw_plan *p, const size_t *shape, const msw_plan_options *o)
{
    msw_status status;

    memcpy(p->shape, shape, p->rank * sizeof *shape);
    p->weights = o->weights;
    p->reduction = o->reduction;
    p->block_rows = o->block_rows;
    p->block_columns = o->block_columns;
    p->groups = o->groups;
    status = partition(p);
    if (!status)
        status = copy_permutation(&p->row_permutation, p->ctx, o->row_permutation, p->rows,
                                  p->group_rows);
    if (!status)
        status = copy_permutation(&p->column_permutation, p->ctx, o->column_permutation,
                                  p->columns, p->columns);
    return status;
}

msw_status msw_plan_new(msw_plan **out, msw_context *ctx, const size_t *shape,
                        uint32_t rank, const msw_plan_options *options)
{
    msw_plan_options o;
    size_t rows, columns;
    msw_status status;
    msw_plan *p;
    void *memory;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = take_options(&o, options);
    if (!status)
        status = view_size(&rows, &columns, shape, rank, o.weights);
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *p);
    if (status)
        return status;
    p = memory;
    atomic_init(&p->refs, 1);
    p->ctx = msw_context_ref(ctx);
    p->rank = rank;
    p->rows = rows;
    p->columns = columns;
    status = make(p, shape, &o);
    if (status)
        msw_plan_free(p);
    else
        *out = p;
    return status;
}

msw_plan *msw_plan_ref(msw_plan *plan)
{
    msw__refs_take(&plan->refs);
    return plan;
}

void msw_plan_free(msw_plan *plan)
{
    msw_context *ctx;

    if (!plan || !msw__refs_drop(&plan->refs))
        return;
    ctx = plan->ctx;
    msw__free(ctx, plan->row_permutation, plan->rows, sizeof *plan->row_permutation);
    msw__free(ctx, plan->column_permutation, plan->columns,
              sizeof *plan->column_permutation);
    msw__free(ctx, plan, 1, sizeof *plan);
    msw_context_free(ctx);
}

bool msw__plan_fits(const msw_plan *plan, const msw_tensor *t)
{
    return t->rank == plan->rank &&
           !memcmp(t->shape, plan->shape, plan->rank * sizeof *plan->shape);
}

msw_status msw_plan_get_info(msw_plan_info *out, const msw_plan *plan)
{
    msw_plan_info info;

    if (!out || !plan)
        return MSW_E_INVAL;
    msw_plan_info_init(&info);
    info.rows = plan->rows;
    info.columns = plan->columns;
    info.block_count = plan->block_count;
    info.block_row_count = plan->block_row_count;
    info.block_column_count = plan->block_column_count;
    memcpy(info.shape, plan->shape, sizeof info.shape);
    info.rank = plan->rank;
    info.weights = plan->weights;
    info.reduction = plan->reduction;
    info.block_rows = plan->block_rows;
    info.block_columns = plan->block_columns;
    info.groups = plan->groups;
    info.row_permuted = plan->row_permutation != NULL;
    info.column_permuted = plan->column_permutation != NULL;
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}

msw_status msw_plan_get_block(msw_block *out, const msw_plan *plan, size_t block)
{
    msw_block b;
    size_t i, j;

    if (!out || !plan)
        return MSW_E_INVAL;
    if (block >= plan->block_count)
        return MSW_E_RANGE;
    i = block / plan->block_column_count;
    j = block % plan->block_column_count;
    msw_block_init(&b);
    b.row = msw__plan_row(plan, i);
    b.column = j * plan->block_columns;
    b.rows = msw__plan_rows(plan, i);
    b.columns = msw__plan_columns(plan, j);
    return msw__give_output(out, &b, sizeof b, OLDEST_BLOCK);
}

const uint32_t *msw_plan_row_permutation(const msw_plan *plan)
{
    return plan->row_permutation;
}

const uint32_t *msw_plan_column_permutation(const msw_plan *plan)
{
    return plan->column_permutation;
}
