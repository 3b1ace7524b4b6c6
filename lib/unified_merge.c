/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights in adaptive blocks: rating, choosing the tree, taking the values. */
#include "packing.h"
#include "quadtree.h"
#include "walk.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { OLDEST_OPTIONS = offsetof(msw_quadtree_options, class_bits), FLOAT_BITS = 32 };
#define CLASS_BITS 1.6
#define SPLIT_BITS 1.0

/* 0: the standard; < 0: none. */
static double bits_or(double bits, double standard)
{
    return bits > 0 ? bits : bits < 0 ? 0 : standard;
}

static msw__node_amounts bits_of(const msw_quadtree_options *o)
{
    msw__node_amounts a = {
        .free = bits_or(o->free_bits, FLOAT_BITS), .sign = 1,
        .magnitude = bits_or(o->magnitude_bits, FLOAT_BITS),
    };

    for (size_t l = 0; l < MSW__LEVELS; l++) {
        a.split[l][0] = a.split[l][1] = bits_or(o->split_bits, SPLIT_BITS);
        for (size_t k = 0; k < MSW__CLASSES; k++)
            a.label[l][k] = bits_or(o->class_bits, CLASS_BITS);
    }
    return a;
}

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
        !(o.free_bits >= 0 && o.free_bits <= FLOAT_BITS) || !(o.class_bits <= FLOAT_BITS) ||
        !(o.split_bits <= FLOAT_BITS))
        return MSW_E_INVAL;
    *importance = o.importance;
    *out = (msw__quadtree){.levels = o.levels, .exclude = o.exclude, .price = o.price,
                           .bits = bits_of(&o)};
    return MSW_OK;
}

/* Mean of h v^2: what the price is in units of. */
static double mean_square(const msw__candidate *candidates, const msw_plan *p)
{
    double sum = 0;

    for (size_t b = 0; b < p->block_count; b++)
        sum += (double)candidates[b].prune * (double)candidates[b].prune;
    return sum / ((double)p->rows * (double)p->columns);
}

void msw__quadtree_project(msw__tree *t, const msw__quadtree *q, double part)
{
    t->most = q->levels;
    t->exclude = q->exclude;
    t->scale = 1;
    t->amounts = q->bits;
    memset(t->classes, 0, t->plan->block_count);
    memset(t->levels, 0, t->plan->block_count);
    /* A price of infinity would make bits that cost nothing count. */
    msw__tree_project(t, fmin(part * q->price * mean_square(t->candidates, t->plan),
                              DBL_MAX / 1e30), MSW__FITS);
    msw__tree_keep_fitting(t);
}

/* What is known of each block, and what is chosen for it. */
typedef struct rating {
    msw__candidate *candidates;
    float *means, *weights;
    uint8_t *classes, *levels;
} rating;

static void rate_block(const msw__cell *cell, void *arg)
{
    const msw__block_costs costs = msw__block_cost(cell->v, cell->ld, cell->h, cell->ld_h,
                                                   cell->rows, cell->columns);
    const rating *r = arg;

    r->candidates[cell->block] = msw__candidate_of((uint32_t)cell->block, &costs);
    r->means[cell->block] = (float)costs.magnitude;
    r->weights[cell->block] = (float)costs.weight;
}

msw_status msw__unified_rate_nodes(msw__candidate *candidates, float *means, float *weights,
                                   const msw_plan *plan, const msw_tensor *tensor,
                                   const msw__importance *importance)
{
    rating r = {.candidates = candidates, .means = means, .weights = weights};

    return msw__walk_blocks(&(msw__walk){
        .plan = plan, .tensor = tensor, .importance = importance, .access = MSW__READ,
        .visit = rate_block, .arg = &r,
    });
}

static void close_rating(rating *r, const msw_plan *p)
{
    msw__free(p->ctx, r->candidates, p->block_count, sizeof *r->candidates);
    msw__free(p->ctx, r->means, p->block_count, sizeof *r->means);
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
        s = msw__alloc_array(&r->means, p->ctx, blocks, sizeof *r->means);
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
                                     const msw__quadtree *quadtree, double part)
{
    rating r = {0};
    msw_status status = open_rating(&r, plan);

    *out = NULL;
    if (!status)
        status = msw__unified_rate_nodes(r.candidates, r.means, r.weights, plan, weights,
                                         importance);
    if (!status) {
        msw__tree t = {.plan = plan, .candidates = r.candidates, .means = r.means,
                       .weights = r.weights, .classes = r.classes, .levels = r.levels};

        msw__quadtree_project(&t, quadtree, part);
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
    return msw__unified_fit_quadtree(out, plan, weights, &importance, &quadtree, 1);
}
