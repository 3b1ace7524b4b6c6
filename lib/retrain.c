/* SPDX-License-Identifier: BSD-2-Clause */
/* Freezing, and what keeps the structure while the host trains on. */
#include "admm.h"
#include "optimiser.h"

#include <float.h>
#include <math.h>

/* Freezing */

static msw_status fit_layer(msw_admm *admm, msw__layer *l, double share)
{
    const msw__importance importance = {.h = l->importance, .scale = 1};
    const msw_status status = msw__admm_check(admm, l, l->weights, FLT_MAX, "weight");

    return status ? status
                  : msw__unified_fit(&l->frozen, l->plan, l->weights, &importance,
                                     &(msw__shares){share * l->prune, share * l->unify,
                                                     l->per_row});
}

msw_status msw__admm_reserve_columns(msw_admm *admm)
{
    size_t most = 0;
    msw_status status;
    void *memory;

    if (admm->columns)
        return MSW_OK;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_plan *p = admm->layers[i].plan;

        if (p && most < p->columns)
            most = p->columns;
    }
    status = msw__alloc(&memory, admm->ctx, most, sizeof *admm->columns);
    admm->columns = memory;
    admm->column_count = status ? 0 : most;
    return status;
}

msw_status msw__admm_fit_layers(msw_admm *admm, double share, bool freezing)
{
    msw_status status = msw__admm_reserve_tasks(admm);

    if (!status && !msw__admm_started(admm))
        status = msw__admm_pick_plans(admm);
    if (!status)
        status = msw__admm_reserve_tasks(admm);
    if (!status)
        status = msw__admm_reserve_columns(admm);
    if (!status && admm->budget.target)
        return msw__admm_fit_budget(admm, share);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].project)
            status = msw__layer_fit_own(admm, i, share, freezing);
        else if (admm->layers[i].plan)
            status = fit_layer(admm, &admm->layers[i], share);
    return status;
}

void msw__admm_drop_fits(msw_admm *admm)
{
    msw__free(admm->ctx, admm->columns, admm->column_count, sizeof *admm->columns);
    admm->columns = NULL;
    admm->column_count = 0;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw_unified_free(admm->layers[i].frozen);
        msw_tensor_free(admm->layers[i].proposed);
        admm->layers[i].frozen = NULL;
        admm->layers[i].proposed = NULL;
    }
    if (!msw__admm_started(admm))
        msw__admm_first_plans(admm);
}

/* Again on the caller's thread where the host's parallel_for failed: that cannot. */

void msw__layer_write_fit(const msw_admm *admm, const msw__layer *l, msw_tensor *out)
{
    msw_status status = msw__unified_write(out, l->frozen, admm->columns, false);

    if (status)
        status = msw__unified_write(out, l->frozen, admm->columns, true);
    (void)status;
}

void msw__layer_mask(const msw_admm *admm, const msw__layer *l, msw_tensor *t,
                     msw_slot kind)
{
    msw_status status = MSW_OK;

    if (!l->frozen)
        return;
    status = msw__unified_mask(t, l->frozen, kind, admm->columns, false);
    if (status)
        status = msw__unified_mask(t, l->frozen, kind, admm->columns, true);
    (void)status;
}

static void project_layer(const msw_admm *admm, const msw__layer *l)
{
    if (!l->frozen)
        return;
    msw__layer_write_fit(admm, l, l->weights);
    for (uint32_t k = 0; k < MSW__SLOTS; k++)
        if (l->slots[k])
            msw__layer_mask(admm, l, l->slots[k], msw__slot_kind(&admm->options, k));
}

static msw_status freeze(msw_admm *admm)
{
    msw_status status;

    if (admm->phase != MSW_PHASE_ADMM)
        return msw__admm_fail(admm, MSW_E_STATE, "frozen already");
    status = msw__admm_fit_layers(admm, 1, true);
    if (status) {
        msw__admm_drop_fits(admm);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        project_layer(admm, l);
        msw__layer_free_state(admm, l);
        msw_tensor_free(l->importance);
        msw_tensor_free(l->soft);
        msw_tensor_free(l->squares);
        l->importance = l->soft = l->squares = NULL;
        l->seen = 0;
    }
    admm->begun = true;
    admm->phase = MSW_PHASE_FROZEN;
    msw__admm_restart_rounds(admm);
    return MSW_OK;
}

msw_status msw_admm_freeze(msw_admm *admm)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, freeze(admm));
}

/* Masks */

/* *l becomes the layer, with a tensor of its shape and in the FROZEN phase. */
static msw_status masked_layer(msw__layer **l, msw_admm *admm, uint32_t layer,
                               const msw_tensor *t, const char *what)
{
    const msw_status status = msw__admm_layer(l, admm, layer);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_FROZEN)
        return msw__admm_fail(admm, MSW_E_STATE, "nothing to mask before freezing");
    if (!t || !msw__tensor_same_shape(t, (*l)->weights))
        return msw__admm_fail(admm, MSW_E_INVAL, "%s of \"%s\" has another shape", what,
                              (*l)->name);
    return MSW_OK;
}

msw_status msw_admm_mask_gradient(msw_admm *admm, uint32_t layer, msw_tensor *grad)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l;

    if (status)
        return status;
    status = masked_layer(&l, admm, layer, grad, "gradient");
    if (!status)
        msw__layer_mask(admm, l, grad, MSW_SLOT_LINEAR);
    return msw__admm_leave(admm, status);
}

msw_status msw_admm_mask_slot(msw_admm *admm, uint32_t layer, msw_tensor *slot,
                              msw_slot kind)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l;

    if (status)
        return status;
    status = masked_layer(&l, admm, layer, slot, "slot");
    if (!status && kind != MSW_SLOT_LINEAR && kind != MSW_SLOT_SQUARED)
        status = msw__admm_fail(admm, MSW_E_INVAL, "kind of slot %d", (int)kind);
    if (!status && l->frozen && !msw__tensor_finite(slot))
        status = msw__admm_fail(admm, MSW_E_NUMERIC, "slot of \"%s\" is not finite",
                                l->name);
    if (!status)
        msw__layer_mask(admm, l, slot, kind);
    return msw__admm_leave(admm, status);
}

msw_status msw__layer_mask_weights(msw_admm *admm, msw__layer *l)
{
    if (l->frozen && !msw__tensor_finite(l->weights))
        return msw__admm_fail(admm, MSW_E_NUMERIC, "weight of \"%s\" is not finite",
                              l->name);
    msw__layer_mask(admm, l, l->weights, MSW_SLOT_LINEAR);
    return MSW_OK;
}

msw_status msw_admm_mask_weights(msw_admm *admm, uint32_t layer)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l = NULL;

    if (status)
        return status;
    status = msw__admm_layer(&l, admm, layer);
    if (!status)
        status = masked_layer(&l, admm, layer, l->weights, "weights");
    if (!status)
        status = msw__layer_mask_weights(admm, l);
    return msw__admm_leave(admm, status);
}

msw_status msw_admm_unify(msw_unified **out, const msw_admm *admm, uint32_t layer)
{
    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!admm)
        return MSW_E_INVAL;
    if (layer >= admm->layer_count)
        return MSW_E_RANGE;
    if (!admm->layers[layer].plan)
        return MSW_E_INVAL;
    if (admm->phase != MSW_PHASE_FROZEN || admm->state != MSW__IDLE)
        return MSW_E_STATE;
    return msw_unified_refit(out, admm->layers[layer].frozen, admm->layers[layer].weights);
}
