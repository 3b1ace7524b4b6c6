/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers that may be cut into blocks in several ways: which, the budget decides. */
#include "admm.h"

#include <float.h>
#include <string.h>

/* Candidates */

static msw_status grow_plans(msw_admm *admm, msw__layer *l)
{
    const uint32_t count = l->plan_count ? l->plan_count : 1;
    msw_plan **plans;
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, admm->ctx, count + 1, sizeof *plans);
    if (status)
        return status;
    plans = memory;
    if (l->plan_count)
        memcpy(plans, l->plans, count * sizeof *plans);
    else
        plans[0] = msw_plan_ref(l->plan);
    msw__free(admm->ctx, l->plans, l->plan_count, sizeof *l->plans);
    plans[count] = NULL;
    l->plans = plans;
    l->plan_count = count + 1;
    return MSW_OK;
}

static msw_status add_plan(msw_admm *admm, uint32_t layer, msw_plan *plan)
{
    msw__layer *l;
    msw_status status = msw__admm_layer(&l, admm, layer);

    if (status)
        return status;
    if (msw__admm_started(admm))
        return msw__admm_fail(admm, MSW_E_STATE, "plans come before everything else");
    if (!plan || !l->plan || !msw__plan_fits(plan, l->weights))
        return msw__admm_fail(admm, MSW_E_INVAL,
                              "\"%s\": no plan, or not of the shape of its weights", l->name);
    status = grow_plans(admm, l);
    if (!status)
        l->plans[l->plan_count - 1] = msw_plan_ref(plan);
    return status;
}

msw_status msw_admm_add_plan(msw_admm *admm, uint32_t layer, msw_plan *plan)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, add_plan(admm, layer, plan));
}

void msw__layer_free_plans(msw_admm *admm, msw__layer *l)
{
    for (uint32_t i = 0; i < l->plan_count; i++)
        msw_plan_free(l->plans[i]);
    msw__free(admm->ctx, l->plans, l->plan_count, sizeof *l->plans);
    l->plans = NULL;
    l->plan_count = 0;
}

static void set_plan(msw__layer *l, msw_plan *plan)
{
    msw_plan_ref(plan);
    msw_plan_free(l->plan);
    l->plan = plan;
}

void msw__admm_first_plans(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].plan_count)
            set_plan(&admm->layers[i], admm->layers[i].plans[0]);
}

/* Picking */

/* A budget of its own over all candidates does it. */
static msw_status add_to_budget(msw_budget *b, const msw__layer *l)
{
    msw_plan *const only[] = {l->plan};
    msw_budget_layer o = l->budget.options;
    msw_store_options store = l->budget.store;

    o.exclude |= l->exclude;
    o.importance = l->importance;
    o.levels = l->merging ? l->quadtree.levels : 0;
    if (l->budget.own_store)
        o.store = &store;
    if (o.exclude & MSW_EXCLUDE_PRUNE)
        o.prune_min = 0;
    if (o.exclude & MSW_EXCLUDE_UNIFY)
        o.unify_min = 0;
    return l->plan_count ? msw_budget_add_any(b, l->plans, l->plan_count, l->weights, &o)
                         : msw_budget_add_any(b, only, 1, l->weights, &o);
}

static msw_status fill_budget(msw_budget **out, msw_admm *admm)
{
    msw_budget_options o = admm->budget.options;
    msw_status status;

    o.store = &admm->budget.store;
    status = msw_budget_new(out, admm->ctx, &o);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        const msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        status = msw__admm_check(admm, l, l->weights, FLT_MAX, "weight");
        if (!status)
            status = add_to_budget(*out, l);
    }
    return status;
}

static bool has_choice(const msw_admm *admm)
{
    bool choice = false;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        choice = choice || admm->layers[i].plan_count;
    return choice && admm->budget.target;
}

msw_status msw__admm_pick_plans(msw_admm *admm)
{
    msw_budget *b = NULL;
    msw_status status;
    uint32_t part = 0;

    if (!has_choice(admm))
        return MSW_OK;
    status = fill_budget(&b, admm);
    if (!status)
        status = msw_budget_choose(b, admm->budget.target);
    if (status == MSW_E_RANGE)
        status = MSW_OK; /* the first projection says so */
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            set_plan(&admm->layers[i], msw_budget_plan(b, part++));
    msw_budget_free(b);
    return status;
}
