/* SPDX-License-Identifier: BSD-2-Clause */
/* A budget in the solver: one choice for the blocks of all layers in every projection.
 *
 * The Z step minimises sum over layers of rho_l ||V - Z||^2, and so a choice that scales
 * the costs of a layer is that step only if the penalty has the same scale: rho_l is rho of
 * the schedule times the layer's own factor, here and in the penalty. */
#include "admm.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LEAST_FACTOR 1e-6
#define MOST_FACTOR 1e6

/* Setting it */

static msw_status before_beginning(msw_admm *admm, const char *what)
{
    return msw__admm_started(admm)
               ? msw__admm_fail(admm, MSW_E_STATE, "%s comes before everything but the layers",
                                what)
               : MSW_OK;
}

static bool target_valid(double target)
{
    return target > 0 && isfinite(target);
}

/* Whether all layers whose blocks may be merged can be in it. */
static msw_status check_merging(msw_admm *admm, const msw_budget_options *o,
                                const msw_store_options *store)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        const msw__layer *l = &admm->layers[i];

        status = msw__layer_merges(admm, l, o, l->budget.own_store ? &l->budget.store : store,
                                   &l->budget.options);
    }
    return status;
}

static msw_status set_budget(msw_admm *admm, double target,
                             const msw_budget_options *options)
{
    msw_budget_options o;
    msw_store_options store;
    msw_status status = before_beginning(admm, "a budget");

    if (!status)
        status = msw__budget_take_options(&o, &store, options);
    if (!status && target != 0 && !target_valid(target))
        status = msw__admm_fail(admm, MSW_E_INVAL, "a budget of %g", target);
    if (!status && target != 0 && admm->options.relaxation == MSW_RELAXATION_ENVELOPE)
        status = msw__admm_fail(admm, MSW_E_INVAL, "the group envelope takes no budget");
    if (!status && target != 0)
        status = check_merging(admm, &o, &store);
    if (status)
        return status;
    admm->budget.options = o;
    admm->budget.store = store;
    admm->budget.target = target;
    return MSW_OK;
}

msw_status msw_admm_set_budget(msw_admm *admm, double target,
                               const msw_budget_options *options)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, set_budget(admm, target, options));
}

static msw_status set_budget_layer(msw_admm *admm, uint32_t layer,
                                   const msw_budget_layer *options)
{
    msw_status status = before_beginning(admm, "a layer's part in a budget");
    msw_store_options store;
    msw_budget_layer o;
    msw__layer *l;

    if (!status && layer != MSW_ALL_LAYERS)
        status = msw__admm_layer(&l, admm, layer);
    if (!status)
        status = msw__budget_take_layer(&o, &store, options);
    if (!status && o.importance)
        status = msw__admm_fail(admm, MSW_E_INVAL, "msw_admm_set_importance() is for that");
    if (!status && o.levels)
        status = msw__admm_fail(admm, MSW_E_INVAL, "levels are options of a layer");
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (layer == i || layer == MSW_ALL_LAYERS)
            status = msw__layer_merges(admm, &admm->layers[i], &admm->budget.options,
                                       options && options->store ? &store
                                                                 : &admm->budget.store, &o);
    if (status)
        return status;
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (layer == i || layer == MSW_ALL_LAYERS) {
            msw__layer_budget *b = &admm->layers[i].budget;

            b->options = o;
            b->own_store = options && options->store;
            b->store = store;
        }
    return MSW_OK;
}

msw_status msw_admm_set_budget_layer(msw_admm *admm, uint32_t layer,
                                     const msw_budget_layer *options)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status
                  : msw__admm_leave(admm, set_budget_layer(admm, layer, options));
}

msw_status msw_admm_set_target(msw_admm *admm, double target)
{
    enum msw__admm_state from;
    msw_status status = msw__admm_enter_setter(admm, &from);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM || !admm->budget.target)
        status = msw__admm_fail(admm, MSW_E_STATE, "no target without a budget or once frozen");
    else if (!target_valid(target))
        status = msw__admm_fail(admm, MSW_E_INVAL, "a budget of %g", target);
    else
        admm->budget.target = target;
    return msw__admm_leave_to(admm, from, status);
}

void msw__layer_budget_init(msw__layer_budget *b)
{
    const msw_status never = msw__budget_take_layer(&b->options, &b->store, NULL);

    (void)never;
    b->own_store = false;
    b->factor = 1;
}

/* Beginning: factors and amounts */

static void fill_resource(msw__layer_resource *r, const msw_admm *admm, const msw__layer *l)
{
    r->resource = admm->budget.options.resource;
    r->store = l->budget.own_store ? l->budget.store : admm->budget.store;
    r->float_bits = l->budget.options.float_bits;
    r->columns = l->budget.options.columns;
}

/* Geometric mean over all weights of the mean squares of their layers. */
static double mean_square_of_all(const msw_admm *admm)
{
    double sum = 0, count = 0;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        sum += log(fmax(msw__mean_square(l->weights), (double)1e-30f)) *
               (double)l->weights->count;
        count += (double)l->weights->count;
    }
    return count > 0 ? exp(sum / count) : 1;
}

static double factor_of(const msw_admm *admm, const msw__layer *l, double all)
{
    const double square = msw__mean_square(l->weights);
    const double scale =
        admm->budget.options.scale == MSW_SCALE_RMS && square > 0 ? all / square : 1;
    const double factor = l->budget.options.weight * scale;

    /* as far as floats reach together with rho */
    return fmin(fmax(factor, LEAST_FACTOR), MOST_FACTOR);
}

static msw_status check_layers(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        if (l->plan && (l->project || l->per_row))
            return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\": a budget, and %s", l->name,
                                  l->project ? "a projection of the host's own"
                                             : "shares of each block row");
    }
    return check_merging(admm, &admm->budget.options, &admm->budget.store);
}

static msw_status begin_layer(msw_admm *admm, msw__layer *l, double all)
{
    msw__layer_budget *b = &l->budget;
    msw__layer_resource resource;
    msw_status status;
    msw__share share;
    void *classes;

    status = msw__calloc(&classes, admm->ctx, l->plan->block_count, 1);
    if (status)
        return status;
    fill_resource(&resource, admm, l);
    msw__share_init(&share, l->plan, NULL, classes);
    status = msw__resource_amounts(&share, &resource, l->plan, l->weights);
    msw__free(admm->ctx, classes, l->plan->block_count, 1);
    if (status)
        return msw__admm_fail(admm, status, "what \"%s\" takes of the budget: %s", l->name,
                              msw_status_text(status));
    b->factor = factor_of(admm, l, all);
    memcpy(b->amount, share.amount, sizeof b->amount);
    b->fixed = share.fixed;
    return MSW_OK;
}

msw_status msw__admm_begin_budget(msw_admm *admm)
{
    const double all = admm->budget.target ? mean_square_of_all(admm) : 1;
    msw_status status = admm->budget.target ? check_layers(admm) : MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        admm->layers[i].budget.factor = 1;
    for (uint32_t i = 0; admm->budget.target && i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            status = begin_layer(admm, &admm->layers[i], all);
    return status;
}

/* Choosing */

static void fill_share(msw__budget_part *to, msw__tree *tree, const msw_admm *admm,
                       const msw__layer *l, double part, double rho)
{
    const msw__admm_scratch *scratch = &admm->scratch;
    msw__share *s = &to->share;
    msw_budget_layer o = l->budget.options;

    o.exclude |= l->exclude;
    msw__share_init(s, l->plan, scratch->candidates + l->scratch_block,
                    scratch->classes + l->scratch_block);
    s->scale = rho * l->budget.factor;
    memcpy(s->amount, l->budget.amount, sizeof s->amount);
    s->fixed = l->budget.fixed;
    msw__budget_bounds(s, &o, part);
    if (!l->merging || !l->quadtree.levels)
        return;
    msw__layer_tree(tree, admm, l);
    tree->exclude = o.exclude;
    tree->scale = s->scale;
    s->tree = tree;
    msw__resource_nodes(s, &to->resource);
}

static msw_status solve(msw_admm *admm, msw__budget_part *parts, size_t count, double part)
{
    const msw__admm_budget *b = &admm->budget;
    double all_free = msw__budget_around(parts, count, b->options.rest), target = b->target;
    msw__outcome outcome;
    msw_status status;

    for (size_t i = 0; i < count; i++)
        all_free += msw__share_all_free(&parts[i].share);
    if (part < 1 && b->target < all_free)
        target = all_free - part * (all_free - b->target);
    status = msw__budget_solve(&outcome, admm->ctx, parts, count, target, b->options.rest);
    if (!status && !outcome.reached)
        status = msw__admm_fail(admm, MSW_E_RANGE, "a budget of %g cannot be met: the least "
                                "is %g", target, outcome.amount);
    if (status)
        return status;
    admm->budget.info.target = target;
    admm->budget.info.amount = outcome.amount;
    admm->budget.info.price = outcome.price;
    admm->budget.info.distance = outcome.distance;
    admm->budget.info.all_free = all_free;
    return MSW_OK;
}

msw_status msw__admm_choose(msw_admm *admm, double part,
                            double (*rho)(const msw_admm *admm, const msw__layer *layer))
{
    msw__budget_part *parts;
    msw__tree *trees;
    size_t count = 0;
    msw_status status;
    void *memory;

    status = msw__calloc(&memory, admm->ctx, admm->layer_count, sizeof *parts);
    if (status)
        return status;
    parts = memory;
    status = msw__alloc(&memory, admm->ctx, admm->layer_count, sizeof *trees);
    trees = memory;
    if (status) {
        msw__free(admm->ctx, parts, admm->layer_count, sizeof *parts);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        parts[count].plan = l->plan;
        parts[count].weights = l->weights;
        fill_resource(&parts[count].resource, admm, l);
        fill_share(&parts[count], &trees[count], admm, l, part, rho(admm, l));
        count++;
    }
    if (count)
        status = solve(admm, parts, count, part);
    msw__free(admm->ctx, trees, admm->layer_count, sizeof *trees);
    msw__free(admm->ctx, parts, admm->layer_count, sizeof *parts);
    return status;
}

/* Freezing */

static double rho_now(const msw_admm *admm, const msw__layer *l)
{
    (void)admm;
    return l->rho;
}

static msw_status rate_layer(msw_admm *admm, msw__layer *l)
{
    const msw__importance h = {.h = l->importance, .scale = 1};
    const msw_status status = msw__admm_check(admm, l, l->weights, FLT_MAX, "weight");

    const msw__admm_scratch *s = &admm->scratch;

    if (!status && l->merging)
        return msw__unified_rate_nodes(s->candidates + l->scratch_block,
                                       s->magnitudes + l->scratch_block,
                                       s->weights + l->scratch_block, l->plan, l->weights,
                                       &h);
    return status ? status : msw__unified_rate(s->candidates + l->scratch_block, l->plan,
                                               l->weights, &h);
}

static msw_status take_classes(msw_admm *admm, msw__layer *l)
{
    const msw__importance h = {.h = l->importance, .scale = 1};

    return msw__unified_take(&l->frozen, l->plan, l->weights, &h,
                             admm->scratch.classes + l->scratch_block,
                             msw__layer_levels(admm, l));
}

static msw_status for_layers(msw_admm *admm,
                             msw_status (*work)(msw_admm *admm, msw__layer *layer))
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            status = work(admm, &admm->layers[i]);
    return status;
}

msw_status msw__admm_fit_budget(msw_admm *admm, double part)
{
    msw_status status = check_layers(admm);

    if (!status)
        status = msw__admm_open_scratch(admm, true);
    if (status)
        return status;
    status = for_layers(admm, rate_layer);
    if (!status && !msw__admm_started(admm))
        status = msw__admm_begin_budget(admm);
    if (!status)
        status = msw__admm_choose(admm, part, rho_now);
    if (!status)
        status = for_layers(admm, take_classes);
    msw__admm_close_scratch(admm);
    return status;
}

/* Getters */

enum { OLDEST_INFO = sizeof(msw_budget_info) };

msw_status msw_admm_get_budget(msw_budget_info *out, const msw_admm *admm)
{
    msw_budget_info info;

    if (!out || !admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    info = admm->budget.info;
    info.size = sizeof info;
    return msw__give_output(out, &info, sizeof info, OLDEST_INFO);
}

uint64_t msw_admm_class_count(const msw_admm *admm, uint32_t layer, msw_class which)
{
    const msw__layer *l = admm && layer < admm->layer_count ? &admm->layers[layer] : NULL;
    const uint8_t *classes = !l          ? NULL
                             : l->frozen ? msw_unified_classes(l->frozen)
                                         : l->classes;
    uint64_t count = 0;

    for (size_t b = 0; classes && b < l->plan->block_count; b++)
        count += classes[b] == (uint8_t)which;
    return count;
}

double msw_admm_rho_factor(const msw_admm *admm, uint32_t layer)
{
    return admm && layer < admm->layer_count ? admm->layers[layer].budget.factor
                                             : (double)NAN;
}
