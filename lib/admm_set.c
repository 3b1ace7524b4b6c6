/* SPDX-License-Identifier: BSD-2-Clause */
/* What a host may set while a solver works. */
#include "admm.h"
#include "elements.h"

/* Importance */

/* Normalised and dense; NULL when it is all zero, which says nothing. */
static msw_status copy_importance(msw_tensor **out, msw_admm *admm, const msw_tensor *h)
{
    msw__importance given;
    msw_status status = msw__importance_of(&given, h);

    *out = NULL;
    if (status || !given.h)
        return status;
    status = msw_tensor_new(out, admm->ctx, h->shape, h->rank);
    if (status)
        return status;
    msw__copy_elements(*out, h);
    for (size_t i = 0; i < h->count; i++)
        (*out)->data[i] = msw__importance_at((*out)->data[i], given.scale);
    return MSW_OK;
}

static msw_status set_importance(msw_admm *admm, msw__layer *l, const msw_tensor *h)
{
    msw_tensor *copy;
    msw_status status;

    if (admm->phase != MSW_PHASE_ADMM)
        return msw__admm_fail(admm, MSW_E_STATE, "importance comes before freezing");
    if (admm->options.importance_memory)
        return msw__admm_fail(admm, MSW_E_STATE, "importance is collected by the solver");
    if (!l->plan)
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has no plan", l->name);
    if (h && !msw__tensor_same_shape(h, l->weights))
        return msw__admm_fail(admm, MSW_E_INVAL, "importance of \"%s\" has another shape",
                              l->name);
    status = copy_importance(&copy, admm, h);
    if (status)
        return msw__admm_fail(admm, status, "importance of \"%s\": %s", l->name,
                              msw_status_text(status));
    if (l->d && !msw__admm_can_rescale(l, msw__largest_change(l)))
        status = MSW_E_NUMERIC;
    if (!status && l->d)
        status = msw__admm_open_scratch(admm, false);
    if (status) {
        msw_tensor_free(copy);
        return status;
    }
    if (l->d) {
        msw__admm_rescale(admm, l, 1, l->importance, copy);
        msw__admm_close_scratch(admm);
    }
    msw_tensor_free(l->importance);
    l->importance = copy;
    return MSW_OK;
}

msw_status msw_admm_set_importance(msw_admm *admm, uint32_t layer,
                                   const msw_tensor *importance)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l = NULL;

    if (status)
        return status;
    status = msw__admm_layer(&l, admm, layer);
    if (!status)
        status = set_importance(admm, l, importance);
    return msw__admm_leave(admm, status);
}

/* Setters */

/* The layers that a setter is about: [*first, *end), of which those with a plan. */
static msw_status select_layers(uint32_t *first, uint32_t *end, msw_admm *admm,
                                uint32_t layer)
{
    msw__layer *l;
    msw_status status;

    *first = 0;
    *end = admm->layer_count;
    if (layer == MSW_ALL_LAYERS)
        return MSW_OK;
    status = msw__admm_layer(&l, admm, layer);
    if (!status && !l->plan)
        status = msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has no plan", l->name);
    *first = layer;
    *end = layer + 1;
    return status;
}

msw_status msw_admm_set_learning_rate(msw_admm *admm, double rate)
{
    enum msw__admm_state from;
    msw_status status = msw__admm_enter_setter(admm, &from);

    if (status)
        return status;
    if (msw__positive(rate))
        admm->options.learning_rate = rate;
    else
        status = msw__admm_fail(admm, MSW_E_INVAL, "learning rate %g", rate);
    return msw__admm_leave_to(admm, from, status);
}

static msw_status set_rho(msw_admm *admm, uint32_t layer, double rho)
{
    uint32_t first, end;
    msw_status status = select_layers(&first, &end, admm, layer);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM)
        return msw__admm_fail(admm, MSW_E_STATE, "no rho once frozen");
    if (!msw__rho_valid(rho))
        return msw__admm_fail(admm, MSW_E_INVAL, "rho %g", rho);
    for (uint32_t i = first; i < end; i++)
        if (admm->layers[i].d &&
            !msw__admm_can_rescale(&admm->layers[i], admm->layers[i].rho / rho))
            return msw__admm_fail(admm, MSW_E_NUMERIC, "rho %g is too small for \"%s\"", rho,
                                  admm->layers[i].name);
    if (admm->begun)
        status = msw__admm_open_scratch(admm, false);
    if (status)
        return status;
    for (uint32_t i = first; i < end; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->plan)
            continue;
        if (l->d && l->rho != rho)
            msw__admm_rescale(admm, l, l->rho / rho, NULL, NULL);
        l->rho = rho;
    }
    msw__admm_close_scratch(admm);
    return MSW_OK;
}

msw_status msw_admm_set_rho(msw_admm *admm, uint32_t layer, double rho)
{
    enum msw__admm_state from;
    const msw_status status = msw__admm_enter_setter(admm, &from);

    return status ? status : msw__admm_leave_to(admm, from, set_rho(admm, layer, rho));
}

msw_status msw_admm_set_ratios(msw_admm *admm, uint32_t layer, double prune, double unify)
{
    enum msw__admm_state from;
    msw_status status = msw__admm_enter_setter(admm, &from);
    uint32_t first, end;

    if (status)
        return status;
    status = select_layers(&first, &end, admm, layer);
    if (!status && admm->phase != MSW_PHASE_ADMM)
        status = msw__admm_fail(admm, MSW_E_STATE, "no ratios once frozen");
    if (!status && !msw__shares_valid(prune, unify))
        status = msw__admm_fail(admm, MSW_E_INVAL, "shares %g pruned and %g unified", prune,
                                unify);
    if (!status && layer != MSW_ALL_LAYERS && admm->layers[layer].merging)
        status = msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has a quadtree",
                                admm->layers[layer].name);
    for (uint32_t i = first; !status && i < end; i++)
        if (admm->layers[i].plan && !admm->layers[i].merging)
            msw__layer_set_ratios(&admm->layers[i], prune, unify);
    return msw__admm_leave_to(admm, from, status);
}
