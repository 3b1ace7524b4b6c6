/* SPDX-License-Identifier: BSD-2-Clause */
/* The object. */
#include "budget.h"

#include <math.h>
#include <string.h>

enum { OLDEST_INFO = sizeof(msw_budget_info), FIRST_ROOM = 8 /* layers */ };

struct msw_budget {
    msw_context *ctx;
    msw_budget_options options;
    msw_store_options store;
    msw__budget_part *parts;  /* one for each plan of each layer, one layer behind another */
    msw_tensor **weights;     /* of each part, retained; NULL: not needed any more */
    size_t part_count, part_room;
    size_t *first, *picked;   /* parts of each layer; first has one entry more than there
                                 are layers */
    uint32_t count, room;     /* layers */
    double target;
    msw__outcome outcome;
};

msw_status msw_budget_new(msw_budget **out, msw_context *ctx,
                          const msw_budget_options *options)
{
    msw_budget_options o;
    msw_store_options store;
    msw_status status;
    msw_budget *b;
    void *memory;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!ctx)
        return MSW_E_INVAL;
    status = msw__budget_take_options(&o, &store, options);
    if (status)
        msw__log(ctx, MSW_LOG_ERROR, "budget: %s in its options", msw_status_text(status));
    if (!status)
        status = msw__calloc(&memory, ctx, 1, sizeof *b);
    if (status)
        return status;
    b = memory;
    b->ctx = msw_context_ref(ctx);
    b->options = o;
    b->store = store;
    *out = b;
    return MSW_OK;
}

/* The arrays of a tree that are not those of its share. */
static void free_tree(msw_context *ctx, msw__share *s)
{
    const size_t blocks = s->plan->block_count;

    if (!s->tree)
        return;
    msw__free(ctx, s->tree->means, blocks, sizeof *s->tree->means);
    msw__free(ctx, s->tree->weights, blocks, sizeof *s->tree->weights);
    msw__free(ctx, s->tree->levels, blocks, 1);
    msw__free(ctx, s->tree, 1, sizeof *s->tree);
}

static void free_part(msw_context *ctx, msw__budget_part *p)
{
    const size_t blocks = p->plan->block_count;

    free_tree(ctx, &p->share);
    msw__free(ctx, p->share.candidates, blocks, sizeof *p->share.candidates);
    msw__free(ctx, p->share.classes, blocks, 1);
    msw_plan_free(p->plan);
}

void msw_budget_free(msw_budget *b)
{
    msw_context *ctx;

    if (!b)
        return;
    ctx = b->ctx;
    for (size_t i = 0; i < b->part_count; i++) {
        free_part(ctx, &b->parts[i]);
        msw_tensor_free(b->weights[i]);
    }
    msw__free(ctx, b->parts, b->part_room, sizeof *b->parts);
    msw__free(ctx, b->weights, b->part_room, sizeof *b->weights);
    msw__free(ctx, b->first, b->room, sizeof *b->first);
    msw__free(ctx, b->picked, b->room, sizeof *b->picked);
    msw__free(ctx, b, 1, sizeof *b);
    msw_context_free(ctx);
}

/* Two arrays of as many entries as each other, together or not at all. */
static msw_status grow(msw_context *ctx, void **one, size_t one_size, void **other,
                       size_t other_size, size_t used, size_t room, size_t wanted)
{
    void *new_one, *new_other;
    msw_status status = msw__calloc(&new_one, ctx, wanted, one_size);

    if (status)
        return status;
    status = msw__calloc(&new_other, ctx, wanted, other_size);
    if (status) {
        msw__free(ctx, new_one, wanted, one_size);
        return status;
    }
    if (used) {
        memcpy(new_one, *one, used * one_size);
        memcpy(new_other, *other, used * other_size);
    }
    msw__free(ctx, *one, room, one_size);
    msw__free(ctx, *other, room, other_size);
    *one = new_one;
    *other = new_other;
    return MSW_OK;
}

static msw_status grow_parts(msw_budget *b, size_t more)
{
    size_t wanted = b->part_room ? b->part_room : FIRST_ROOM;
    void *parts = b->parts, *weights = b->weights;
    msw_status status;

    while (wanted < b->part_count + more)
        wanted *= 2;
    if (wanted == b->part_room)
        return MSW_OK;
    status = grow(b->ctx, &parts, sizeof *b->parts, &weights, sizeof *b->weights,
                  b->part_count, b->part_room, wanted);
    if (status)
        return status;
    b->parts = parts;
    b->weights = weights;
    b->part_room = wanted;
    return MSW_OK;
}

static msw_status grow_layers(msw_budget *b)
{
    const uint32_t wanted = b->room ? 2 * b->room : FIRST_ROOM;
    void *first = b->first, *picked = b->picked;
    msw_status status;

    if (b->count + 1 < b->room)
        return MSW_OK;
    if (wanted < b->room)
        return MSW_E_RANGE;
    status = grow(b->ctx, &first, sizeof *b->first, &picked, sizeof *b->picked,
                  b->room ? b->count + 1 : 0, b->room, wanted);
    if (status)
        return status;
    b->first = first;
    b->picked = picked;
    b->room = wanted;
    return MSW_OK;
}

static msw_status rate(msw__budget_part *p, const msw_tensor *weights,
                       const msw_budget_layer *o)
{
    msw__importance importance;
    const msw__tree *t = p->share.tree;
    msw_status status = msw__importance_of(&importance, o->importance);

    if (status)
        return status;
    return t ? msw__unified_rate_nodes(p->share.candidates, t->means,
                                       t->weights, p->plan, weights, &importance)
             : msw__unified_rate(p->share.candidates, p->plan, weights, &importance);
}

/* Half-made on failure. */
static msw_status make_tree(msw__share *s, msw_context *ctx, const msw_budget_layer *o)
{
    const size_t blocks = s->plan->block_count;
    msw__tree *t;
    msw_status status;
    void *memory;

    if (!o->levels)
        return MSW_OK;
    status = msw__calloc(&memory, ctx, 1, sizeof *t);
    if (status)
        return status;
    s->tree = t = memory;
    *t = (msw__tree){.plan = s->plan, .candidates = s->candidates, .classes = s->classes,
                     .most = o->levels, .exclude = o->exclude};
    status = msw__alloc(&memory, ctx, blocks, sizeof *t->means);
    t->means = memory;
    if (!status) {
        status = msw__alloc(&memory, ctx, blocks, sizeof *t->weights);
        t->weights = memory;
    }
    if (!status) {
        status = msw__calloc(&memory, ctx, blocks, 1);
        t->levels = memory;
    }
    return status;
}

/* Measuring them is for blocks that are not merged. */
static msw_status find_amounts(msw__budget_part *p, msw_plan *plan,
                               const msw_tensor *weights)
{
    msw__tree *tree = p->share.tree;
    msw_status status;

    p->share.tree = NULL;
    status = msw__resource_amounts(&p->share, &p->resource, plan, weights);
    p->share.tree = tree;
    if (!status && tree)
        msw__resource_nodes(&p->share, &p->resource);
    return status;
}

static msw_status make_part(msw__budget_part *p, msw_budget *b, msw_plan *plan,
                            msw_tensor *weights, const msw_budget_layer *o)
{
    const double square = msw__mean_square(weights);
    msw_status status;
    void *memory;

    p->plan = msw_plan_ref(plan);
    msw__share_init(&p->share, plan, NULL, NULL);
    status = msw__alloc(&memory, b->ctx, plan->block_count, sizeof *p->share.candidates);
    p->share.candidates = memory;
    if (!status) {
        status = msw__calloc(&memory, b->ctx, plan->block_count, 1); /* all free */
        p->share.classes = memory;
    }
    if (!status)
        status = make_tree(&p->share, b->ctx, o);
    if (!status)
        status = rate(p, weights, o);
    if (status)
        return status;
    p->share.scale = o->weight;
    if (b->options.scale == MSW_SCALE_RMS && square > 0)
        p->share.scale /= square;
    msw__budget_bounds(&p->share, o, 1);
    status = find_amounts(p, plan, weights);
    if (p->share.tree)
        p->share.tree->scale = p->share.scale;
    return status;
}

static void drop_parts(msw_budget *b, size_t count)
{
    while (b->part_count > count) {
        b->part_count--;
        free_part(b->ctx, &b->parts[b->part_count]);
        msw_tensor_free(b->weights[b->part_count]);
    }
}

/* One part; there is room for it. */
static msw_status add_part(msw_budget *b, const msw__layer_resource *resource,
                           msw_plan *plan, msw_tensor *weights, const msw_budget_layer *o)
{
    msw__budget_part part = {.resource = *resource};
    msw_status status = make_part(&part, b, plan, weights, o);

    if (status) {
        free_part(b->ctx, &part);
        return status;
    }
    part.weights = msw__resource_measured(&part.resource) ? msw_tensor_ref(weights) : NULL;
    b->weights[b->part_count] = part.weights ? weights : NULL;
    b->parts[b->part_count++] = part;
    return MSW_OK;
}

static bool plans_fit(msw_plan *const *plans, size_t count, const msw_tensor *t)
{
    for (size_t i = 0; i < count; i++)
        if (!plans[i] || !msw__plan_fits(plans[i], t))
            return false;
    return count > 0;
}

msw_status msw_budget_add_any(msw_budget *b, msw_plan *const *plans, size_t plan_count,
                              msw_tensor *weights, const msw_budget_layer *options)
{
    msw__layer_resource resource = {0};
    msw_budget_layer o;
    msw_status status;
    size_t before;

    if (!b || !plans || !weights || !plans_fit(plans, plan_count, weights))
        return MSW_E_INVAL;
    resource.store = b->store;
    status = msw__budget_take_layer(&o, &resource.store, options);
    if (status)
        return status;
    if (o.importance && !msw__plan_fits(plans[0], o.importance))
        return MSW_E_INVAL;
    resource.resource = b->options.resource;
    resource.float_bits = o.float_bits;
    resource.columns = o.columns;
    if (o.levels && !msw__resource_merges(&resource)) {
        msw__log(b->ctx, MSW_LOG_ERROR, "budget: merging blocks saves bytes alone, and not "
                 "those of the packed form");
        return MSW_E_INVAL;
    }
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    before = b->part_count;
    status = grow_parts(b, plan_count);
    if (!status)
        status = grow_layers(b);
    for (size_t i = 0; i < plan_count && !status; i++)
        status = add_part(b, &resource, plans[i], weights, &o);
    if (status) {
        drop_parts(b, before);
        return status;
    }
    b->first[b->count] = b->picked[b->count] = before;
    b->first[++b->count] = b->part_count;
    return MSW_OK;
}

msw_status msw_budget_add(msw_budget *b, msw_plan *plan, msw_tensor *weights,
                          const msw_budget_layer *options)
{
    return msw_budget_add_any(b, &plan, 1, weights, options);
}

/* A choice that was cut short is none. */
static void forget(msw_budget *b)
{
    b->outcome = (msw__outcome){0};
    b->target = 0;
    for (size_t i = 0; i < b->part_count; i++) {
        const msw__share *s = &b->parts[i].share;

        memset(s->classes, MSW_CLASS_FREE, s->plan->block_count);
        if (s->tree)
            memset(s->tree->levels, 0, s->plan->block_count);
    }
}

/* The classes of the picked parts. */
static msw_status choose(msw_budget *b, double target)
{
    msw__budget_part *picked;
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, b->ctx, b->count, sizeof *picked);
    if (status)
        return status;
    picked = memory;
    for (uint32_t i = 0; i < b->count; i++)
        picked[i] = b->parts[b->picked[i]];
    status = msw__budget_solve(&b->outcome, b->ctx, picked, b->count, target,
                               b->options.rest);
    msw__free(b->ctx, memory, b->count, sizeof *picked);
    return status;
}

msw_status msw_budget_choose(msw_budget *b, double target)
{
    msw_status status = MSW_OK;

    if (!b || b->count == 0 || !(target > 0 && isfinite(target)))
        return MSW_E_INVAL;
    if (b->part_count > b->count)
        status = msw__budget_pick(b->picked, b->ctx, b->parts, b->first, b->count, target,
                                  b->options.rest);
    if (!status)
        status = choose(b, target);
    b->target = target;
    if (status) {
        forget(b);
        return status;
    }
    return b->outcome.reached ? MSW_OK : MSW_E_RANGE;
}

static const msw__budget_part *part_of(const msw_budget *b, uint32_t layer)
{
    return b && layer < b->count ? &b->parts[b->picked[layer]] : NULL;
}

/* By the amounts of single blocks. */
static double all_free(const msw_budget *b)
{
    double amount = msw__budget_around(b->parts, b->part_count, b->options.rest);

    for (uint32_t i = 0; i < b->count; i++)
        amount += msw__share_all_free(&part_of(b, i)->share);
    return amount;
}

msw_status msw_budget_get_info(msw_budget_info *out, const msw_budget *b)
{
    msw_budget_info info;

    if (!out || !b)
        return MSW_E_INVAL;
    msw_budget_info_init(&info);
    info.target = b->target;
    info.amount = b->outcome.amount;
    info.price = b->outcome.price;
    info.distance = b->outcome.distance;
    info.all_free = all_free(b);
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}

uint32_t msw_budget_layer_count(const msw_budget *b)
{
    return b->count;
}

const uint8_t *msw_budget_classes(const msw_budget *b, uint32_t layer)
{
    const msw__budget_part *p = part_of(b, layer);

    return p ? p->share.classes : NULL;
}

const uint8_t *msw_budget_merge_levels(const msw_budget *b, uint32_t layer)
{
    const msw__budget_part *p = part_of(b, layer);

    return p && p->share.tree ? p->share.tree->levels : NULL;
}

msw_plan *msw_budget_plan(const msw_budget *b, uint32_t layer)
{
    const msw__budget_part *p = part_of(b, layer);

    return p ? p->plan : NULL;
}
