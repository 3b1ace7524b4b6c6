/* SPDX-License-Identifier: BSD-2-Clause */
/* What keeps the structure while the host trains on. */
#include "admm.h"
#include "optimiser.h"

msw_status msw__admm_reserve_columns(msw_admm *admm, const msw__layer *layers)
{
    size_t most = 0;
    msw_status status;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_plan *p = layers[i].plan;

        if (p && most < p->columns)
            most = p->columns;
    }
    if (admm->masking.columns && most <= admm->column_count)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, sizeof *admm->masking.columns);
    if (status)
        return status;
    msw__free(admm->ctx, admm->masking.columns, admm->column_count,
              sizeof *admm->masking.columns);
    admm->masking.columns = memory;
    admm->column_count = most;
    return MSW_OK;
}

msw_status msw__admm_reserve_sums(msw_admm *admm, const msw__layer *layers)
{
    size_t most = 0;
    msw_status status;
    void *memory;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_unified *u = layers[i].frozen;
        const size_t count =
            u && u->leaders ? u->magnitude_start[u->plan->block_row_count] : 0;

        most = most > count ? most : count;
    }
    if (most <= admm->mask_sum_count)
        return MSW_OK;
    status = msw__alloc(&memory, admm->ctx, most, sizeof *admm->masking.sums);
    if (status)
        return status;
    msw__admm_free_sums(admm);
    admm->masking.sums = memory;
    admm->mask_sum_count = most;
    return MSW_OK;
}

void msw__admm_free_sums(msw_admm *admm)
{
    msw__free(admm->ctx, admm->masking.sums, admm->mask_sum_count,
              sizeof *admm->masking.sums);
    admm->masking.sums = NULL;
    admm->mask_sum_count = 0;
}

void msw__layer_write_fit(const msw_admm *admm, const msw__layer *l, msw_tensor *out)
{
    const msw_status never = msw__unified_write(out, l->frozen, &admm->masking);

    (void)never;
}

void msw__layer_mask(const msw_admm *admm, const msw__layer *l, msw_tensor *t,
                     msw_slot kind)
{
    msw_status never = MSW_OK;

    if (l->frozen)
        never = msw__unified_mask(t, l->frozen, kind, &admm->masking);
    (void)never;
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
