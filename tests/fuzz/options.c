/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes as the arguments of constructors: shapes, options of any size and with any
 * values, permutations. A status, or an object that is consistent in itself. */
#include "fuzz.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY = 16 << 20, MOST_INDICES = 256, ROOM = 8192, SMALL = 250 };

typedef struct recipe {
    const uint8_t *at, *end;
} recipe;

/* A struct with room for all that the library may look at. */
typedef union argument {
    msw_plan_options plan;
    msw_projection_options projection;
    msw_store_options store;
    uint8_t bytes[ROOM];
} argument;

static void require(int condition)
{
    if (!condition)
        abort();
}

static uint8_t next(recipe *r)
{
    return r->at < r->end ? *r->at++ : 0;
}

/* Mostly a small number, sometimes any. */
static uint64_t next_number(recipe *r)
{
    uint64_t number = next(r);

    if (number >= SMALL)
        for (int i = 0; i < 8; i++)
            number = number << 8 | next(r);
    return number;
}

/* The size rule: mostly our size, otherwise any, and what lies behind ours. */
static void next_size(recipe *r, argument *a, size_t ours)
{
    const uint8_t kind = next(r);
    size_t theirs = ours;

    if (kind >= SMALL)
        theirs = (size_t)next_number(r);
    else if (kind >= SMALL / 2)
        a->bytes[ours + kind % 8u] = next(r), theirs = ours + 8;
    memcpy(a->bytes, &theirs, sizeof theirs);
}

static double next_share(recipe *r)
{
    uint64_t bits = next(r);
    double value = (double)bits / 100;

    if (bits >= SMALL) {
        bits = next_number(r) << 32 | next_number(r);
        memcpy(&value, &bits, sizeof value);
    }
    return value;
}

static void check_plan(const msw_plan *plan, const size_t *shape, uint32_t rank)
{
    msw_plan_info info;
    size_t weights = 1, sum = 0;
    msw_block block;

    msw_plan_info_init(&info);
    msw_block_init(&block);
    require(msw_plan_get_info(&info, plan) == MSW_OK);
    for (uint32_t i = 0; i < rank; i++)
        require(msw__size_mul(&weights, weights, shape[i]));
    require(info.rows * info.columns == weights);
    require(info.block_row_count * info.block_column_count == info.block_count);
    require(msw_plan_get_block(&block, plan, info.block_count) == MSW_E_RANGE);
    for (size_t b = 0; b < info.block_count && info.block_count <= MOST_INDICES; b++) {
        require(msw_plan_get_block(&block, plan, b) == MSW_OK);
        require(block.rows >= 1 && block.rows <= info.block_rows);
        require(block.columns >= 1 && block.columns <= info.block_columns);
        require(block.row + block.rows <= info.rows);
        require(block.column + block.columns <= info.columns);
        sum += block.rows * block.columns;
    }
    require(sum == weights || info.block_count > MOST_INDICES);
}

/* Weights on the plan, projected, stored and read back. */
static void use_plan(recipe *r, msw_context *ctx, msw_plan *plan)
{
    argument projection = {.bytes = {0}}, store = {.bytes = {0}};
    msw_unified *u = NULL;
    msw_tensor *t;
    msw_writer *w;

    projection.projection.prune = next_share(r);
    projection.projection.unify = next_share(r);
    next_size(r, &projection, sizeof projection.projection);
    store.store.magnitudes = (uint32_t)next_number(r);
    store.store.free_weights = (uint32_t)next_number(r);
    store.store.encoding = (uint32_t)next_number(r);
    store.store.magnitude_bits = (uint32_t)next_number(r);
    store.store.free_bits = (uint32_t)next_number(r);
    store.store.magnitude_step = next_share(r);
    store.store.free_step = next_share(r);
    next_size(r, &store, sizeof store.store);
    require(msw_tensor_new(&t, ctx, plan->shape, plan->rank) == MSW_OK);
    require(msw_writer_new(&w, ctx) == MSW_OK);
    for (size_t i = 0; i < t->count; i++)
        t->data[i] = (float)next(r) - 100;
    if (msw_unified_from(&u, plan, t, &projection.projection) == MSW_OK) {
        const msw_status status = msw_writer_add_unified(w, "u", u, &store.store);

        require((status == MSW_OK) == (msw_writer_error(w)[0] == 0));
    }
    if (msw_writer_add_tensor(w, "t", t, &store.store) == MSW_OK)
        require(msw_writer_bytes(w) > 64);
    msw_writer_free(w);
    msw_unified_free(u);
    msw_tensor_free(t);
}

/* Permutations only where they certainly have as many entries as rows or columns. */
static void next_permutations(recipe *r, msw_plan_options *o, uint32_t *indices,
                              const size_t *shape, uint32_t rank)
{
    size_t count = 1;

    for (uint32_t i = 0; i < rank && i < MSW_MAX_RANK; i++)
        if (!msw__size_mul(&count, count, shape[i]) || count > MOST_INDICES)
            return;
    for (size_t i = 0; i < MOST_INDICES; i++)
        indices[i] = (uint32_t)i;
    for (uint8_t swaps = next(r) % 8u; swaps > 0; swaps--) {
        const uint8_t a = next(r), b = next(r);
        const uint32_t index = indices[a];

        indices[a] = swaps == 7 ? b : indices[b];
        indices[b] = index;
    }
    o->row_permutation = next(r) % 2 ? indices : NULL;
    o->column_permutation = next(r) % 2 ? indices : NULL;
}

/* One for all inputs: making one asks the processor what it can, which takes long where
 * that is emulated. */
static msw_context *shared_context(void)
{
    static msw_context *ctx;
    msw_context_options o;

    msw_context_options_init(&o);
    o.memory_limit = MEMORY;
    require(ctx || msw_context_new(&ctx, &o) == MSW_OK);
    return ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recipe r = {data, data + size};
    argument a = {.bytes = {0}};
    uint32_t indices[MOST_INDICES];
    size_t shape[MSW_MAX_RANK];
    msw_context *ctx = shared_context();
    const uint64_t before = msw_context_memory(ctx);
    msw_plan *plan;
    uint32_t rank;

    rank = (uint32_t)next_number(&r);
    for (size_t i = 0; i < MSW_MAX_RANK; i++)
        shape[i] = (size_t)next_number(&r);
    a.plan.weights = (uint32_t)next_number(&r);
    a.plan.reduction = (uint32_t)next_number(&r);
    a.plan.block_rows = (uint32_t)next_number(&r);
    a.plan.block_columns = (uint32_t)next_number(&r);
    a.plan.groups = (uint32_t)next_number(&r);
    a.plan.reserved = next(&r) / SMALL;
    next_permutations(&r, &a.plan, indices, shape, rank);
    next_size(&r, &a, sizeof a.plan);
    if (msw_plan_new(&plan, ctx, shape, rank, &a.plan) == MSW_OK) {
        check_plan(plan, shape, rank);
        if (plan->rows * plan->columns <= MOST_INDICES)
            use_plan(&r, ctx, plan);
        msw_plan_free(plan);
    } else {
        require(plan == NULL);
    }
    require(msw_context_memory(ctx) == before);
    return 0;
}
