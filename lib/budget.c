/* SPDX-License-Identifier: BSD-2-Clause */
#include "budget.h"

#include <math.h>
#include <string.h>

enum {
    OLDEST_OPTIONS = sizeof(msw_budget_options),
    OLDEST_LAYER = sizeof(msw_budget_layer),
    OLDEST_STORE = offsetof(msw_store_options, expected_n),
    OLDEST_INFO = sizeof(msw_budget_info),
    FIRST_ROOM = 8, /* layers */
    ATTEMPTS = 12,
    MOST_FLOAT_BITS = 64
};

/* Of the target: what the next attempt aims at, and what no further one is made for. */
#define AIM 0.9975
#define CLOSE 0.995

/* Options */

static bool not_negative(double x)
{
    return x >= 0 && isfinite(x);
}

static msw_status take_store(msw_store_options *out, const msw_store_options *store)
{
    return store ? msw__take_options(out, sizeof *out, OLDEST_STORE, store) : MSW_OK;
}

msw_status msw__budget_take_options(msw_budget_options *o, msw_store_options *store,
                                    const msw_budget_options *options)
{
    msw_status status = MSW_OK;

    msw_budget_options_init(o);
    msw_store_options_init(store);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_OPTIONS, options);
    if (!status)
        status = take_store(store, o->store);
    o->store = NULL;
    if (status)
        return status;
    return o->resource <= MSW_RESOURCE_SECONDS && o->scale <= MSW_SCALE_NONE &&
                   not_negative(o->rest)
               ? MSW_OK
               : MSW_E_INVAL;
}

/* Bounds that can be kept, up to the rounding of shares such as 0.7 and 0.3. */
static bool bounds_valid(const msw_budget_layer *o)
{
    return msw__shares_valid(o->prune_min, o->unify_min) && o->prune_max <= 1 &&
           o->unify_max <= 1 && o->prune_min <= o->prune_max && o->unify_min <= o->unify_max;
}

msw_status msw__budget_take_layer(msw_budget_layer *o, msw_store_options *store,
                                  const msw_budget_layer *options)
{
    msw_status status = MSW_OK;

    msw_budget_layer_init(o);
    if (options)
        status = msw__take_options(o, sizeof *o, OLDEST_LAYER, options);
    if (!status)
        status = take_store(store, o->store);
    o->store = NULL;
    if (status)
        return status;
    if (o->exclude & ~(MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY))
        return MSW_E_VERSION;
    o->weight = o->weight == 0 ? 1 : o->weight;
    o->prune_max = o->prune_max == 0 ? 1 : o->prune_max;
    o->unify_max = o->unify_max == 0 ? 1 : o->unify_max;
    o->columns = o->columns ? o->columns : 1;
    if ((o->exclude & MSW_EXCLUDE_PRUNE && o->prune_min > 0) ||
        (o->exclude & MSW_EXCLUDE_UNIFY && o->unify_min > 0))
        return MSW_E_INVAL;
    return bounds_valid(o) && o->weight > 0 && isfinite(o->weight) &&
                   o->float_bits <= MOST_FLOAT_BITS
               ? MSW_OK
               : MSW_E_INVAL;
}

void msw__budget_bounds(msw__share *s, const msw_budget_layer *o, double part)
{
    const size_t blocks = s->plan->block_count;
    size_t prune, unify;

    msw__shares_count(&prune, &unify, part * o->prune_min, part * o->unify_min, blocks);
    s->least[MSW_CLASS_PRUNED] = prune;
    s->least[MSW_CLASS_UNIFIED] = unify;
    msw__shares_count(&prune, &unify, o->prune_max, o->unify_max, blocks);
    s->most[MSW_CLASS_PRUNED] = o->exclude & MSW_EXCLUDE_PRUNE ? 0 : prune;
    s->most[MSW_CLASS_UNIFIED] = o->exclude & MSW_EXCLUDE_UNIFY ? 0 : unify;
}

double msw__mean_square(const msw_tensor *t)
{
    const size_t length = t->shape[t->rank - 1], stride = t->stride[t->rank - 1];
    double sum = 0;

    for (size_t outer = 0; outer < t->count / length; outer++) {
        const float *run = msw__tensor_run(t, outer);

        for (size_t i = 0; i < length; i++)
            sum += (double)run[i * stride] * (double)run[i * stride];
    }
    return sum / (double)t->count;
}

/* The choice with its measuring */

/* Everything but the weights' own: the frame counts once. */
static double surroundings(const msw__budget_part *parts, size_t count, double rest)
{
    return count ? rest + msw__resource_frame(parts[0].resource.resource) : rest;
}

static msw_status make_shares(msw__share **shares, void **spare, size_t *spare_size,
                              msw_context *ctx, const msw__budget_part *parts, size_t count)
{
    msw_status status;
    void *memory;

    *spare = NULL;
    *spare_size = 0;
    status = msw__alloc(&memory, ctx, count, sizeof **shares);
    *shares = memory;
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        const size_t blocks = parts[i].plan->block_count;

        (*shares)[i] = parts[i].share;
        if (msw__share_bounded(&parts[i].share) && *spare_size < blocks)
            *spare_size = blocks;
    }
    status = msw__alloc(spare, ctx, *spare_size, MSW__SPARE_BYTES);
    if (status)
        msw__free(ctx, *shares, count, sizeof **shares);
    return status;
}

static msw_status measure_all(double *out, const msw__budget_part *parts, size_t count)
{
    msw_status status = MSW_OK;

    *out = 0;
    for (size_t i = 0; i < count && !status; i++) {
        double amount;

        status = msw__resource_measure(&amount, &parts[i].share, &parts[i].resource,
                                       parts[i].plan, parts[i].weights);
        *out += amount;
    }
    return status;
}

static bool any_measured(const msw__budget_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (msw__resource_measured(&parts[i].resource))
            return true;
    return false;
}

/* What is really taken by what fits a room, as a function of the room, brought close below
 * the target: between the largest room found to be small enough and the smallest one found
 * to be too large, first by what was taken too much or too little. */
static msw_status solve_measured(msw__outcome *out, msw__budget_part *parts,
                                 msw__share *shares, size_t count, double target,
                                 void *spare)
{
    double low = 0, high = HUGE_VAL, room = target, best = -1, best_amount = 0;
    msw_status status = MSW_OK;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        double amount;

        *out = msw__share_out(shares, count, room, spare);
        status = measure_all(&amount, parts, count);
        if (status)
            return status;
        if (amount <= target) {
            low = room;
            if (amount >= best_amount) {
                best = room;
                best_amount = amount;
            }
            if (amount >= CLOSE * target || out->price == 0)
                break;
        } else if (!out->reached) {
            break; /* this is the least */
        } else {
            high = out->amount; /* more room than that gives the same or more */
        }
        room = out->amount + (AIM * target - amount);
        if (!(room > low && room < high))
            room = isfinite(high) ? (low + high) / 2 : 2 * low;
    }
    if (best >= 0) {
        *out = msw__share_out(shares, count, best, spare);
        out->reached = true;
        out->amount = best_amount;
    } else {
        *out = msw__share_out(shares, count, 0, spare);
        status = measure_all(&out->amount, parts, count);
        out->reached = out->amount <= target;
    }
    return status;
}

msw_status msw__budget_solve(msw__outcome *out, msw_context *ctx, msw__budget_part *parts,
                             size_t count, double target, double rest)
{
    const double around = surroundings(parts, count, rest), room = target - around;
    msw__share *shares;
    size_t spare_size;
    msw_status status;
    void *spare;

    status = make_shares(&shares, &spare, &spare_size, ctx, parts, count);
    if (status)
        return status;
    if (any_measured(parts, count) && room > 0)
        status = solve_measured(out, parts, shares, count, room, spare);
    else
        *out = msw__share_out(shares, count, room, spare);
    out->amount += around;
    msw__free(ctx, spare, spare_size, MSW__SPARE_BYTES);
    msw__free(ctx, shares, count, sizeof *shares);
    return status;
}

msw_status msw__budget_pick(size_t *picked, msw_context *ctx, const msw__budget_part *parts,
                            const size_t *first, size_t layers, double target, double rest)
{
    msw__share *shares;
    size_t spare_size;
    msw_status status;
    void *spare;

    status = make_shares(&shares, &spare, &spare_size, ctx, parts, first[layers]);
    if (status)
        return status;
    msw__share_pick(picked, shares, first, layers,
                    target - surroundings(parts, first[layers], rest), spare);
    msw__free(ctx, spare, spare_size, MSW__SPARE_BYTES);
    msw__free(ctx, shares, first[layers], sizeof *shares);
    return MSW_OK;
}

/* The object */

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

static void free_part(msw_context *ctx, msw__budget_part *p)
{
    const size_t blocks = p->plan->block_count;

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
    msw_status status = msw__importance_of(&importance, o->importance);

    if (!status)
        status = msw__unified_rate(p->share.candidates, p->plan, weights, &importance);
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
        status = rate(p, weights, o);
    if (status)
        return status;
    p->share.scale = o->weight;
    if (b->options.scale == MSW_SCALE_RMS && square > 0)
        p->share.scale /= square;
    msw__budget_bounds(&p->share, o, 1);
    return msw__resource_amounts(&p->share, &p->resource, plan, weights);
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
    if (!msw__tensor_finite(weights))
        return MSW_E_NUMERIC;
    resource.resource = b->options.resource;
    resource.float_bits = o.float_bits;
    resource.columns = o.columns;
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
    for (size_t i = 0; i < b->part_count; i++)
        memset(b->parts[i].share.classes, MSW_CLASS_FREE, b->parts[i].plan->block_count);
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
    double amount = surroundings(b->parts, b->count, b->options.rest);

    for (uint32_t i = 0; i < b->count; i++) {
        const msw__share *s = &part_of(b, i)->share;

        amount += s->fixed;
        for (size_t block = 0; block < s->plan->block_count; block++)
            amount += s->amount[msw__share_block_kind(s, block)][MSW_CLASS_FREE];
    }
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

msw_plan *msw_budget_plan(const msw_budget *b, uint32_t layer)
{
    const msw__budget_part *p = part_of(b, layer);

    return p ? p->plan : NULL;
}
