/* SPDX-License-Identifier: BSD-2-Clause */
#include "internal.h"
#include "merge.h"
#include "project.h"
#include "walk.h"

enum {
    OLDEST_OPTIONS = offsetof(msw_projection_options, per_row),
    OLDEST_INFO = offsetof(msw_unified_info, magnitudes)
};

/* How many bytes hold that many signs. */
static size_t sign_bytes(size_t signs)
{
    return signs / 8 + (signs % 8 != 0);
}

/* Where the share of each block row begins. */
static msw_status fill_starts(msw_unified *u)
{
    const msw_plan *p = u->plan;
    const uint8_t *label = u->classes;
    size_t magnitude = 0, sign = 0, free = 0;

    for (size_t i = 0; i < p->block_row_count; i++) {
        u->magnitude_start[i] = magnitude;
        u->sign_start[i] = sign;
        u->free_start[i] = free;
        for (size_t j = 0; j < p->block_column_count; j++, label++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, j);

            if (*label > MSW_CLASS_UNIFIED)
                return MSW_E_INVAL;
            magnitude += *label == MSW_CLASS_UNIFIED;
            sign += *label == MSW_CLASS_UNIFIED ? weights : 0;
            free += *label == MSW_CLASS_FREE ? weights : 0;
        }
    }
    u->magnitude_start[p->block_row_count] = magnitude;
    u->sign_start[p->block_row_count] = sign;
    u->free_start[p->block_row_count] = free;
    return MSW_OK;
}

static msw_status alloc_starts(msw_unified *u)
{
    size_t **starts[] = {&u->magnitude_start, &u->sign_start, &u->free_start};
    msw_status status = MSW_OK;

    for (size_t k = 0; k < sizeof starts / sizeof *starts && !status; k++) {
        void *memory;

        status = msw__calloc(&memory, u->plan->ctx, u->plan->block_row_count + 1,
                             sizeof(size_t));
        *starts[k] = memory;
    }
    return status;
}

static msw_status alloc_values(msw_unified *u)
{
    const size_t end = u->plan->block_row_count;
    msw_context *ctx = u->plan->ctx;
    msw_status status;
    void *memory;

    status = msw__calloc(&memory, ctx, u->magnitude_start[end], sizeof *u->magnitudes);
    u->magnitudes = memory;
    if (!status) {
        status = msw__calloc(&memory, ctx, sign_bytes(u->sign_start[end]), 1);
        u->signs = memory;
    }
    if (!status) {
        status = msw__calloc(&memory, ctx, u->free_start[end], sizeof *u->free_weights);
        u->free_weights = memory;
    }
    return status;
}

msw_status msw__unified_merge(msw_unified *u, const uint8_t *levels)
{
    const msw_plan *p = u->plan;
    msw_status status;
    uint32_t *columns;
    void *memory;

    if (!msw__merge_valid(&u->most_level, p, u->classes, levels))
        return MSW_E_INVAL;
    if (u->most_level == 0)
        return MSW_OK;
    status = msw__alloc(&memory, p->ctx, p->block_count, sizeof *u->levels);
    u->levels = memory;
    if (status)
        return status;
    memcpy(u->levels, levels, p->block_count * sizeof *u->levels);
    status = msw__alloc(&memory, p->ctx, u->magnitude_start[p->block_row_count],
                        sizeof *u->leaders);
    u->leaders = memory;
    if (status)
        return status;
    status = msw__alloc(&memory, p->ctx, p->block_column_count, sizeof *columns);
    if (status)
        return status;
    columns = memory;
    msw__merge_leaders(u->leaders, columns, p, u->classes, levels);
    msw__free(p->ctx, columns, p->block_column_count, sizeof *columns);
    return MSW_OK;
}

msw_status msw__unified_alloc(msw_unified **out, msw_plan *plan, const uint8_t *classes,
                              const uint8_t *levels)
{
    msw_context *ctx = plan->ctx;
    msw_status status;
    msw_unified *u;
    void *memory;

    *out = NULL;
    status = msw__calloc(&memory, ctx, 1, sizeof *u);
    if (status)
        return status;
    u = memory;
    atomic_init(&u->refs, 1);
    u->plan = msw_plan_ref(plan);
    status = msw__alloc(&memory, ctx, plan->block_count, sizeof *u->classes);
    u->classes = memory;
    if (!status) {
        memcpy(u->classes, classes, plan->block_count * sizeof *u->classes);
        status = alloc_starts(u);
    }
    if (!status)
        status = fill_starts(u);
    if (!status && levels)
        status = msw__unified_merge(u, levels);
    if (!status)
        status = alloc_values(u);
    if (status)
        msw_unified_free(u);
    else
        *out = u;
    return status;
}

msw_unified *msw_unified_ref(msw_unified *u)
{
    msw__refs_take(&u->refs);
    return u;
}

void msw_unified_free(msw_unified *u)
{
    msw_context *ctx;
    size_t rows;

    if (!u || !msw__refs_drop(&u->refs))
        return;
    ctx = u->plan->ctx;
    rows = u->plan->block_row_count;
    if (u->free_start) { /* the last of the starts */
        msw__free(ctx, u->magnitudes, u->magnitude_start[rows], sizeof *u->magnitudes);
        msw__free(ctx, u->leaders, u->magnitude_start[rows], sizeof *u->leaders);
        msw__free(ctx, u->signs, sign_bytes(u->sign_start[rows]), 1);
        msw__free(ctx, u->free_weights, u->free_start[rows], sizeof *u->free_weights);
    }
    msw__free(ctx, u->magnitude_start, rows + 1, sizeof *u->magnitude_start);
    msw__free(ctx, u->sign_start, rows + 1, sizeof *u->sign_start);
    msw__free(ctx, u->free_start, rows + 1, sizeof *u->free_start);
    msw__free(ctx, u->classes, u->plan->block_count, sizeof *u->classes);
    msw__free(ctx, u->levels, u->plan->block_count, sizeof *u->levels);
    msw_plan_free(u->plan);
    msw__free(ctx, u, 1, sizeof *u);
}

static void copy_signs(const msw__cell *cell, uint8_t *signs)
{
    size_t at = cell->sign;

    for (size_t r = 0; r < cell->rows; r++, at += cell->columns) {
        const float *v = cell->v + r * cell->ld;
        uint64_t word = 0;

        for (size_t c = 0; c < cell->columns; c++)
            word |= (uint64_t)msw__negative(v[c]) << c;
        msw__signs_store(signs, at, cell->columns, word);
    }
}

typedef struct taking {
    msw_unified *u;
    msw__block_sum *sums; /* of unified blocks, where some are merged */
} taking;

static void take_block(const msw__cell *cell, void *arg)
{
    const taking *t = arg;
    msw_unified *u = t->u;

    if (cell->label == MSW_CLASS_FREE) {
        msw__cell_copy(u->free_weights + cell->free, cell);
    } else if (cell->label == MSW_CLASS_UNIFIED) {
        const msw__block_sum s = msw__block_sum_of(cell->v, cell->ld, cell->h, cell->ld_h,
                                                   cell->rows, cell->columns);

        if (t->sums)
            t->sums[cell->magnitude] = s;
        else
            u->magnitudes[cell->magnitude] = (float)(s.sum / s.weight);
        copy_signs(cell, u->signs);
    }
}

static msw_status take(msw_unified *u, const msw_tensor *weights,
                       const msw__importance *importance)
{
    const size_t count = u->magnitude_start[u->plan->block_row_count];
    taking t = {u, NULL};
    msw_status status = MSW_OK;
    void *memory;

    if (u->leaders) {
        status = msw__alloc(&memory, u->plan->ctx, count, sizeof *t.sums);
        t.sums = memory;
    }
    if (!status)
        status = msw__walk_blocks(&(msw__walk){
            .plan = u->plan, .u = u, .tensor = weights, .importance = importance,
            .access = MSW__READ, .visit = take_block, .arg = &t,
        });
    if (t.sums && !status) {
        msw__merge_means(t.sums, u);
        for (size_t k = 0; k < count; k++)
            u->magnitudes[k] = (float)t.sums[k].sum;
    }
    msw__free(u->plan->ctx, t.sums, count, sizeof *t.sums);
    return status;
}

msw_status msw__unified_take(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                             const msw__importance *importance, const uint8_t *classes,
                             const uint8_t *levels)
{
    msw_status status = msw__unified_alloc(out, plan, classes, levels);

    if (status)
        return status;
    status = take(*out, weights, importance);
    if (status) {
        msw_unified_free(*out);
        *out = NULL;
    }
    return status;
}

static void rate_block(const msw__cell *cell, void *arg)
{
    const msw__block_costs costs = msw__block_cost(cell->v, cell->ld, cell->h, cell->ld_h,
                                                   cell->rows, cell->columns);
    msw__candidate *candidates = arg;

    candidates[cell->block] = msw__candidate_of((uint32_t)cell->block, &costs);
}

msw_status msw__unified_rate(msw__candidate *candidates, const msw_plan *plan,
                             const msw_tensor *weights, const msw__importance *importance)
{
    return msw__walk_blocks(&(msw__walk){
        .plan = plan, .tensor = weights, .importance = importance, .access = MSW__READ,
        .visit = rate_block, .arg = candidates,
    });
}

/* Choose the classes of finite weights. */
static msw_status choose_classes(uint8_t *classes, const msw_plan *plan,
                                 const msw_tensor *weights,
                                 const msw__importance *importance,
                                 const msw__shares *shares)
{
    msw__candidate *candidates;
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, plan->ctx, plan->block_count, sizeof *candidates);
    if (status)
        return status;
    candidates = memory;
    status = msw__unified_rate(candidates, plan, weights, importance);
    if (!status)
        msw__project_shares(classes, candidates, plan, shares);
    msw__free(plan->ctx, candidates, plan->block_count, sizeof *candidates);
    return status;
}

msw_status msw__unified_fit(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                            const msw__importance *importance, const msw__shares *shares)
{
    msw_status status;
    void *classes;

    *out = NULL;
    status = msw__calloc(&classes, plan->ctx, plan->block_count, 1); /* all free */
    if (status)
        return status;
    if (shares->prune > 0 || shares->unify > 0)
        status = choose_classes(classes, plan, weights, importance, shares);
    if (!status)
        status = msw__unified_take(out, plan, weights, importance, classes, NULL);
    msw__free(plan->ctx, classes, plan->block_count, 1);
    return status;
}

msw_status msw_unified_from(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                            const msw_projection_options *options)
{
    msw__importance importance;
    msw_projection_options o;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!plan || !weights || !msw__plan_fits(plan, weights))
        return MSW_E_INVAL;
    msw_projection_options_init(&o);
    status = options ? msw__take_options(&o, sizeof o, OLDEST_OPTIONS, options) : MSW_OK;
    if (status)
        return status;
    if (o.reserved)
        return MSW_E_VERSION;
    if (!msw__shares_valid(o.prune, o.unify) || o.per_row > 1 ||
        (o.importance && !msw__plan_fits(plan, o.importance)))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    status = msw__importance_of(&importance, o.importance);
    if (status)
        return status;
    return msw__unified_fit(out, plan, weights, &importance,
                            &(msw__shares){o.prune, o.unify, o.per_row});
}

msw_status msw_unified_new_merged(msw_unified **out, msw_plan *plan,
                                  const msw_tensor *weights, const uint8_t *classes,
                                  const uint8_t *levels, size_t block_count)
{
    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!plan || !weights || !classes || block_count != plan->block_count ||
        !msw__plan_fits(plan, weights))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    return msw__unified_take(out, plan, weights, NULL, classes, levels);
}

msw_status msw_unified_new(msw_unified **out, msw_plan *plan, const msw_tensor *weights,
                           const uint8_t *classes, size_t class_count)
{
    return msw_unified_new_merged(out, plan, weights, classes, NULL, class_count);
}

/* Multiplications and additions of a product by one column. */
static void count_arithmetic(msw_unified_info *info, const msw_unified *u)
{
    info->additions = info->free_weights + info->unified_weights;
    info->multiplications = info->free_weights;
    for (size_t i = 0; i < u->plan->block_row_count; i++)
        info->multiplications +=
            (uint64_t)(u->magnitude_start[i + 1] - u->magnitude_start[i]) *
            msw__plan_rows(u->plan, i);
}

msw_status msw_unified_get_info(msw_unified_info *out, const msw_unified *u)
{
    msw_unified_info info;
    size_t end;

    if (!out || !u)
        return MSW_E_INVAL;
    end = u->plan->block_row_count;
    msw_unified_info_init(&info);
    info.rows = u->plan->rows;
    info.columns = u->plan->columns;
    info.blocks = u->plan->block_count;
    info.unified_blocks = u->magnitude_start[end];
    for (size_t b = 0; b < u->plan->block_count; b++)
        info.free_blocks += u->classes[b] == MSW_CLASS_FREE;
    info.pruned_blocks = info.blocks - info.free_blocks - info.unified_blocks;
    info.weights = (uint64_t)info.rows * info.columns;
    info.free_weights = u->free_start[end];
    info.unified_weights = u->sign_start[end];
    info.pruned_weights = info.weights - info.free_weights - info.unified_weights;
    info.magnitudes = msw__node_magnitude_count(u);
    msw__node_level_counts(info.nodes, u->plan, u->levels);
    info.bytes = (2 * info.blocks + info.unified_weights +
                  32 * (info.magnitudes + info.free_weights) + 7) / 8;
    info.bytes_dense = 4 * info.weights;
    info.bits_per_weight = 8 * (double)info.bytes / (double)info.weights;
    count_arithmetic(&info, u);
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}

msw_plan *msw_unified_plan(const msw_unified *u)
{
    return u->plan;
}

const uint8_t *msw_unified_classes(const msw_unified *u)
{
    return u->classes;
}

const uint8_t *msw_unified_merge_levels(const msw_unified *u)
{
    return u->levels;
}

float msw_unified_magnitude(const msw_unified *u, size_t block)
{
    size_t row, at;

    if (block >= u->plan->block_count || u->classes[block] != MSW_CLASS_UNIFIED)
        return 0;
    row = block / u->plan->block_column_count;
    at = u->magnitude_start[row];
    for (size_t b = row * u->plan->block_column_count; b < block; b++)
        at += u->classes[b] == MSW_CLASS_UNIFIED;
    return u->magnitudes[at];
}
