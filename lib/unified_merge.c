/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights in adaptive blocks: rating, choosing the tree, taking the values. */
#include "merge.h"
#include "packing.h"
#include "walk.h"

#include <math.h>

enum { OLDEST_OPTIONS = sizeof(msw_quadtree_options), FLOAT_BITS = 32 };

msw_status msw__quadtree_take(msw__quadtree *out, const msw_tensor **importance,
                              const msw_quadtree_options *options)
{
    msw_quadtree_options o;
    msw_status status;

    msw_quadtree_options_init(&o);
    status = msw__take_options(&o, sizeof o, OLDEST_OPTIONS, options);
    if (status)
        return status;
    if (o.exclude & ~(MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY))
        return MSW_E_VERSION;
    if (!(o.price >= 0 && isfinite(o.price)) || o.levels > MSW_MAX_MERGE_LEVELS ||
        !(o.magnitude_bits >= 0 && o.magnitude_bits <= FLOAT_BITS) ||
        !(o.free_bits >= 0 && o.free_bits <= FLOAT_BITS))
        return MSW_E_INVAL;
    *importance = o.importance;
    *out = (msw__quadtree){
        .levels = o.levels, .exclude = o.exclude, .price = o.price,
        .magnitude_bits = o.magnitude_bits > 0 ? o.magnitude_bits : FLOAT_BITS,
        .free_bits = o.free_bits > 0 ? o.free_bits : FLOAT_BITS,
    };
    return MSW_OK;
}

/* What is known of each block, and what is chosen for it. */
typedef struct rating {
    msw__candidate *candidates;
    float *magnitudes, *weights;
    uint8_t *classes, *levels;
} rating;

static void rate_block(const msw__cell *cell, void *arg)
{
    const msw__block_costs costs = msw__block_cost(cell->v, cell->ld, cell->h, cell->ld_h,
                                                   cell->rows, cell->columns);
    const rating *r = arg;

    r->candidates[cell->block] = msw__candidate_of((uint32_t)cell->block, &costs);
    r->magnitudes[cell->block] = (float)costs.magnitude;
    r->weights[cell->block] = (float)costs.weight;
}

static void close_rating(rating *r, const msw_plan *p)
{
    msw__free(p->ctx, r->candidates, p->block_count, sizeof *r->candidates);
    msw__free(p->ctx, r->magnitudes, p->block_count, sizeof *r->magnitudes);
    msw__free(p->ctx, r->weights, p->block_count, sizeof *r->weights);
    msw__free(p->ctx, r->classes, p->block_count, 1);
    msw__free(p->ctx, r->levels, p->block_count, 1);
}

/* Close it also on failure. */
static msw_status open_rating(rating *r, const msw_plan *p)
{
    const size_t blocks = p->block_count;
    msw_status s = msw__alloc_array(&r->candidates, p->ctx, blocks, sizeof *r->candidates);

    if (!s)
        s = msw__alloc_array(&r->magnitudes, p->ctx, blocks, sizeof *r->magnitudes);
    if (!s)
        s = msw__alloc_array(&r->weights, p->ctx, blocks, sizeof *r->weights);
    if (!s)
        s = msw__alloc_array(&r->classes, p->ctx, blocks, 1);
    if (!s)
        s = msw__alloc_array(&r->levels, p->ctx, blocks, 1);
    return s;
}

msw_status msw__unified_fit_quadtree(msw_unified **out, msw_plan *plan,
                                     const msw_tensor *weights,
                                     const msw__importance *importance,
                                     const msw__quadtree *quadtree)
{
    rating r = {0};
    msw_status status = open_rating(&r, plan);

    *out = NULL;
    if (!status)
        status = msw__walk_blocks(&(msw__walk){
            .plan = plan, .tensor = weights, .importance = importance,
            .access = MSW__READ, .visit = rate_block, .arg = &r,
        });
    if (!status) {
        msw__quadtree_project(r.classes, r.levels, r.magnitudes, r.candidates, r.weights,
                              plan, quadtree);
        status = msw__unified_take(out, plan, weights, importance, r.classes, r.levels);
    }
    close_rating(&r, plan);
    return status;
}

msw_status msw_unified_from_quadtree(msw_unified **out, msw_plan *plan,
                                     const msw_tensor *weights,
                                     const msw_quadtree_options *options)
{
    const msw_tensor *h;
    msw__importance importance;
    msw__quadtree quadtree;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!plan || !weights || !options || !msw__plan_fits(plan, weights))
        return MSW_E_INVAL;
    status = msw__quadtree_take(&quadtree, &h, options);
    if (status)
        return status;
    if (h && !msw__plan_fits(plan, h))
        return MSW_E_INVAL;
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    status = msw__importance_of(&importance, h);
    if (status)
        return status;
    return msw__unified_fit_quadtree(out, plan, weights, &importance, &quadtree);
}
