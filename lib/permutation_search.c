/* SPDX-License-Identifier: BSD-2-Clause */
/* The search: classes and magnitudes of given orders, and orders for given classes and
 * magnitudes, in turn. */
#include "permutation.h"
#include "sizes.h"
#include "walk.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_ROUNDS = 20 };

/* A round that gains less is the last one. */
#define LEAST_GAIN 1e-3

/* A layer while a search runs. */
typedef struct work {
    msw__importance importance;
    msw__view weights_view, importance_view; /* without permutations */
    uint32_t *rows, *columns;      /* in order */
    msw__block_costs *costs;       /* of each block in this order, */
    msw__candidate *candidates;
    uint8_t *classes;
    double norm;                   /* sum of h w^2 */
    double given, error, found;    /* of the order as it is, the present and the best one */
} work;

typedef struct search {
    msw_permutation *p;
    work *works;
    msw__lines *lines;      /* two for each layer */
    double value, best;     /* the weighted sum of errors */
} search;

static void close_work(work *w, const msw__order_layer *l)
{
    msw_context *ctx = l->plan->ctx;
    const size_t blocks = l->plan->block_count;

    if (w->weights_view.columns)
        msw__view_free(&w->weights_view);
    if (w->importance_view.columns)
        msw__view_free(&w->importance_view);
    msw__free(ctx, w->rows, l->plan->rows, sizeof *w->rows);
    msw__free(ctx, w->columns, l->plan->columns, sizeof *w->columns);
    msw__free(ctx, w->costs, blocks, sizeof *w->costs);
    msw__free(ctx, w->candidates, blocks, sizeof *w->candidates);
    msw__free(ctx, w->classes, blocks, 1);
}

static msw_status alloc_work(work *w, const msw__order_layer *l)
{
    msw_context *ctx = l->plan->ctx;
    const size_t blocks = l->plan->block_count;
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, ctx, l->plan->rows, sizeof *w->rows);
    w->rows = memory;
    if (!status) {
        status = msw__alloc(&memory, ctx, l->plan->columns, sizeof *w->columns);
        w->columns = memory;
    }
    if (!status) {
        status = msw__alloc(&memory, ctx, blocks, sizeof *w->costs);
        w->costs = memory;
    }
    if (!status) {
        status = msw__alloc(&memory, ctx, blocks, sizeof *w->candidates);
        w->candidates = memory;
    }
    if (!status) {
        status = msw__alloc(&memory, ctx, blocks, 1);
        w->classes = memory;
    }
    return status;
}

static msw_status open_work(work *w, const msw__order_layer *l)
{
    msw_status status;

    if (!msw__tensor_finite(l->weights))
        return MSW_E_NUMERIC;
    status = msw__importance_of(&w->importance, l->importance);
    if (!status)
        status = msw__view_new(&w->weights_view, l->plan, l->weights);
    if (!status && w->importance.h)
        status = msw__view_new(&w->importance_view, l->plan, w->importance.h);
    return status ? status : alloc_work(w, l);
}

/* What a layer is in its present order */

static const uint32_t *order_of(const search *s, const msw__side *side)
{
    return side->axis == MSW__AXIS_NONE ? NULL : s->p->axes[side->axis].order;
}

static size_t length_of(const search *s, const msw__side *side)
{
    return side->axis == MSW__AXIS_NONE ? 0 : s->p->axes[side->axis].length;
}

static void cost_block(const msw__cell *cell, void *arg)
{
    work *w = arg;

    w->costs[cell->block] = msw__block_cost(cell->v, cell->ld, cell->h, cell->ld_h,
                                            cell->rows, cell->columns);
    w->candidates[cell->block] = msw__candidate_of((uint32_t)cell->block,
                                                   &w->costs[cell->block]);
}

static double error_of(const work *w, size_t blocks)
{
    double error = 0;

    for (size_t b = 0; b < blocks; b++)
        error += w->classes[b] == MSW_CLASS_PRUNED    ? w->costs[b].prune
                 : w->classes[b] == MSW_CLASS_UNIFIED ? w->costs[b].unify : 0;
    return w->norm > 0 ? error / w->norm : 0;
}

static double norm_of(const work *w, size_t blocks)
{
    double norm = 0;

    for (size_t b = 0; b < blocks; b++)
        norm += w->costs[b].prune;
    return norm;
}

static msw_status rate_layer(search *s, uint32_t layer)
{
    const msw__order_layer *l = &s->p->layers[layer];
    work *w = &s->works[layer];
    msw_plan *plan;
    msw_status status;

    msw__side_expand(w->rows, l->plan->rows, &l->rows, order_of(s, &l->rows),
                     length_of(s, &l->rows));
    msw__side_expand(w->columns, l->plan->columns, &l->columns, order_of(s, &l->columns),
                     length_of(s, &l->columns));
    status = msw__permuted_plan(&plan, l->plan, w->rows, w->columns);
    if (status)
        return status;
    status = msw__walk_blocks(&(msw__walk){
        .plan = plan, .tensor = l->weights, .importance = &w->importance,
        .access = MSW__READ, .visit = cost_block, .arg = w,
    });
    if (!status) {
        msw__project_shares(w->classes, w->candidates, plan, &l->shares);
        if (w->norm == 0)
            w->norm = norm_of(w, plan->block_count);
        w->error = error_of(w, plan->block_count);
    }
    msw_plan_free(plan);
    return status;
}

static bool lies_on(const msw__order_layer *l, uint32_t axis)
{
    return l->rows.axis == axis || l->columns.axis == axis;
}

/* The layers of an axis, or with MSW__AXIS_NONE all; then the sum over all. */
static msw_status rate(search *s, uint32_t axis)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < s->p->layer_count && !status; i++)
        if (axis == MSW__AXIS_NONE || lies_on(&s->p->layers[i], axis))
            status = rate_layer(s, i);
    s->value = 0;
    for (uint32_t i = 0; i < s->p->layer_count; i++)
        s->value += s->p->layers[i].weight * s->works[i].error;
    return status;
}

static void keep_best(search *s)
{
    if (!(s->value < s->best))
        return;
    s->best = s->value;
    for (uint32_t i = 0; i < s->p->layer_count; i++)
        s->works[i].found = s->works[i].error;
    for (uint32_t i = 0; i < s->p->axis_count; i++)
        memcpy(s->p->axes[i].found, s->p->axes[i].order,
               s->p->axes[i].length * sizeof(uint32_t));
}

/* Lines */

static msw__tariff tariff_of(const work *w, size_t block)
{
    const double m = w->costs[block].magnitude;

    return w->classes[block] == MSW_CLASS_PRUNED    ? (msw__tariff){1, 0, 0}
           : w->classes[block] == MSW_CLASS_UNIFIED ? (msw__tariff){1, -2 * m, m * m}
                                                    : (msw__tariff){0, 0, 0};
}

static void fill_tariff(msw__tariff *out, const work *w, const msw_plan *plan, bool rows)
{
    for (size_t i = 0; i < plan->block_row_count; i++)
        for (size_t j = 0; j < plan->block_column_count; j++)
            out[rows ? i * plan->block_column_count + j : j * plan->block_row_count + i] =
                tariff_of(w, i * plan->block_column_count + j);
}

static void free_lines(search *s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        msw__free(s->p->ctx, (void *)(uintptr_t)s->lines[i].tariff,
                  s->lines[i].layer->plan->block_count, sizeof(msw__tariff));
}

static msw_status add_lines(search *s, size_t *count, uint32_t layer, bool rows,
                            bool tariffs)
{
    const msw__order_layer *l = &s->p->layers[layer];
    const work *w = &s->works[layer];
    void *tariff = NULL;
    msw_status status = MSW_OK;

    if (tariffs)
        status = msw__alloc(&tariff, s->p->ctx, l->plan->block_count, sizeof(msw__tariff));
    if (status)
        return status;
    if (tariffs)
        fill_tariff(tariff, w, l->plan, rows);
    s->lines[(*count)++] = (msw__lines){
        .layer = l, .side = rows ? &l->rows : &l->columns, .rows = rows,
        .weights = &w->weights_view,
        .importance = w->importance.h ? &w->importance_view : NULL,
        .scale = w->importance.scale, .across = rows ? w->columns : w->rows,
        .tariff = tariff, .factor = w->norm > 0 ? l->weight / w->norm : 0,
    };
    return MSW_OK;
}

/* All lines of an axis. */
static msw_status collect(search *s, size_t *count, uint32_t axis, bool tariffs)
{
    msw_status status = MSW_OK;

    *count = 0;
    for (uint32_t i = 0; i < s->p->layer_count && !status; i++) {
        if (s->p->layers[i].rows.axis == axis)
            status = add_lines(s, count, i, true, tariffs);
        if (!status && s->p->layers[i].columns.axis == axis)
            status = add_lines(s, count, i, false, tariffs);
    }
    return status;
}

/* Starts */

static void start_given(search *s)
{
    for (uint32_t i = 0; i < s->p->axis_count; i++)
        for (size_t e = 0; e < s->p->axes[i].length; e++)
            s->p->axes[i].order[e] = (uint32_t)e;
}

/* Heap sort: the smallest weight last; of equals the smallest number first. */
static bool before(const double *weight, uint32_t x, uint32_t y)
{
    return weight[x] > weight[y] || (!(weight[x] < weight[y]) && x < y);
}

static void sift(uint32_t *order, const double *weight, size_t at, size_t end)
{
    for (size_t child = 2 * at + 1; child < end; at = child, child = 2 * at + 1) {
        const uint32_t moved = order[at];

        if (child + 1 < end && before(weight, order[child], order[child + 1]))
            child++;
        if (!before(weight, moved, order[child]))
            return;
        order[at] = order[child];
        order[child] = moved;
    }
}

static void sort_entries(uint32_t *order, const double *weight, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift(order, weight, i, count);
    for (size_t end = count; end-- > 1;) {
        const uint32_t first = order[0];

        order[0] = order[end];
        order[end] = first;
        sift(order, weight, 0, end);
    }
}

static msw_status sort_axis(search *s, uint32_t axis)
{
    msw__axis_order *a = &s->p->axes[axis];
    size_t count;
    void *weight;
    msw_status status = msw__alloc(&weight, s->p->ctx, a->length, sizeof(double));

    if (status)
        return status;
    status = collect(s, &count, axis, false);
    if (!status)
        status = msw__places_weigh(weight, s->p->ctx, a->length, s->lines, count);
    for (size_t e = 0; e < a->length && !status; e += a->group)
        sort_entries(a->order + e, weight, msw__min(a->group, a->length - e));
    msw__free(s->p->ctx, weight, a->length, sizeof(double));
    return status;
}

static msw_status start_sorted(search *s)
{
    msw_status status = MSW_OK;

    start_given(s);
    for (uint32_t i = 0; i < s->p->axis_count && !status; i++)
        status = sort_axis(s, i);
    return status ? status : rate(s, MSW__AXIS_NONE);
}

/* Rounds */

static msw_status improve(search *s, uint32_t axis)
{
    size_t count;
    msw_status status = collect(s, &count, axis, true);

    if (!status)
        status = msw__places_improve(&s->p->axes[axis], s->p->ctx, s->lines, count);
    free_lines(s, count);
    return status ? status : rate(s, axis);
}

static msw_status descend(search *s, uint32_t rounds)
{
    msw_status status = MSW_OK;
    double before = HUGE_VAL;

    keep_best(s);
    for (uint32_t round = 0; round < rounds && !status; round++) {
        if (!(s->value < before * (1 - LEAST_GAIN)))
            break;
        before = s->value;
        for (uint32_t i = 0; i < s->p->axis_count && !status; i++) {
            status = improve(s, i);
            if (!status)
                keep_best(s);
        }
    }
    return status;
}

static msw_status run(search *s, uint32_t rounds)
{
    msw_status status;

    start_given(s);
    status = rate(s, MSW__AXIS_NONE);
    for (uint32_t i = 0; i < s->p->layer_count && !status; i++)
        s->works[i].given = s->works[i].error;
    if (!status)
        status = descend(s, rounds);
    if (!status)
        status = start_sorted(s);
    return status ? status : descend(s, rounds);
}

static void take_results(search *s)
{
    msw_permutation *p = s->p;

    for (uint32_t i = 0; i < p->layer_count; i++) {
        p->layers[i].given = s->works[i].given;
        p->layers[i].found = s->works[i].found;
    }
    for (uint32_t i = 0; i < p->axis_count; i++)
        memcpy(p->axes[i].given, p->axes[i].found, p->axes[i].length * sizeof(uint32_t));
    p->searched = true;
}

msw_status msw_permutation_search(msw_permutation *p, uint32_t rounds)
{
    search s = {.p = p, .best = HUGE_VAL};
    msw_status status;
    void *memory;

    if (!p || !p->layer_count)
        return MSW_E_INVAL;
    status = msw__calloc(&memory, p->ctx, p->layer_count, sizeof *s.works);
    if (status)
        return status;
    s.works = memory;
    status = msw__alloc(&memory, p->ctx, p->layer_count, 2 * sizeof *s.lines);
    s.lines = memory;
    for (uint32_t i = 0; i < p->layer_count && !status; i++)
        status = open_work(&s.works[i], &p->layers[i]);
    if (!status)
        status = run(&s, rounds ? rounds : DEFAULT_ROUNDS);
    if (!status)
        take_results(&s);
    for (uint32_t i = 0; i < p->layer_count; i++)
        close_work(&s.works[i], &p->layers[i]);
    msw__free(p->ctx, s.lines, p->layer_count, 2 * sizeof *s.lines);
    msw__free(p->ctx, s.works, p->layer_count, sizeof *s.works);
    return status;
}
