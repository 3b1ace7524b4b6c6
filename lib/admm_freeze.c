/* SPDX-License-Identifier: BSD-2-Clause */
/* Freezing, and the projection of all layers that it and soft projection begin with.
 *
 * Of several ranks each projects its share of the layers. Only the classes go to the
 * others: with them and the weights, which they have too, the rest is the same everywhere. */
#include "admm.h"
#include "optimiser.h"

#include <float.h>

/* Freezing */

static msw_status fit_layer(msw_admm *admm, msw__layer *l, double share)
{
    const msw__importance importance = {.h = l->importance, .scale = 1};
    const msw_status status = msw__admm_check(admm, l, l->weights, FLT_MAX, "weight");

    if (!status && l->merging)
        return msw__unified_fit_quadtree(&l->frozen, l->plan, l->weights, &importance,
                                         &l->quadtree, share);
    return status ? status
                  : msw__unified_fit(&l->frozen, l->plan, l->weights, &importance,
                                     &(msw__shares){share * l->prune, share * l->unify,
                                                     l->per_row});
}

static msw_status prepare(msw_admm *admm)
{
    msw_status status = msw__admm_reserve_tasks(admm, admm->layers);

    if (!status && !msw__admm_started(admm))
        status = msw__admm_pick_plans(admm);
    if (!status)
        status = msw__admm_reserve_tasks(admm, admm->layers);
    if (!status)
        status = msw__admm_reserve_columns(admm, admm->layers);
    return status;
}

/* Each rank for its share; alone, all. */
static msw_status fit_own_layers(msw_admm *admm, double share, bool freezing)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];
        const bool own = !msw__ranks_many(admm) || (l->plan && msw__ranks_own(admm, i));

        if (l->project)
            status = msw__layer_propose_own(admm, i, share, freezing, own);
        else if (l->plan && own)
            status = fit_layer(admm, l, share);
    }
    return status;
}

/* What this rank did not choose for itself. */
static msw_status take_classes(msw_admm *admm)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];
        const msw__importance h = {.h = l->importance, .scale = 1};

        if (!l->plan || l->project || msw__ranks_own(admm, i))
            continue;
        status = msw__unified_take(&l->frozen, l->plan, l->weights, &h,
                                   admm->scratch.classes + l->scratch_block,
                                   msw__layer_levels(admm, l));
        if (status == MSW_E_INVAL) /* no nodes of this plan */
            status = msw__admm_fail(admm, MSW_E_HOST,
                                    "allreduce does not sum over the ranks");
    }
    return status;
}

static msw_status take_projections(msw_admm *admm)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].project)
            status = msw__layer_take_own(admm, &admm->layers[i]);
    return status;
}

/* All ranks go the same way. */
static msw_status share_fits(msw_admm *admm, msw_status status)
{
    if (!status)
        status = msw__ranks_open_classes(admm);
    status = msw__ranks_agree(admm, status, NULL, NULL);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].project)
            status = msw__ranks_exchange(admm, admm->layers[i].proposed);
    if (!status)
        status = msw__ranks_exchange_classes(admm);
    if (!status)
        status = take_classes(admm);
    return status;
}

msw_status msw__admm_fit_layers(msw_admm *admm, double share, bool freezing)
{
    msw_status status = prepare(admm);

    if (admm->budget.target) {
        if (!status)
            status = msw__admm_fit_budget(admm, share);
        if (!status && freezing)
            status = msw__admm_reserve_sums(admm, admm->layers);
        return msw__ranks_agree(admm, status, NULL, NULL);
    }
    if (!status)
        status = fit_own_layers(admm, share, freezing);
    if (msw__ranks_many(admm))
        status = share_fits(admm, status);
    if (!status)
        status = take_projections(admm);
    msw__admm_close_scratch(admm);
    if (!status && freezing)
        status = msw__admm_reserve_sums(admm, admm->layers);
    return msw__ranks_agree(admm, status, NULL, NULL);
}

void msw__admm_drop_fits(msw_admm *admm)
{
    msw__free(admm->ctx, admm->masking.columns, admm->column_count,
              sizeof *admm->masking.columns);
    admm->masking.columns = NULL;
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
    status = msw__admm_straight(admm) && admm->begun ? msw__straight_freeze(admm)
                                                     : msw__admm_fit_layers(admm, 1, true);
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
    msw__straight_release(admm);
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

static msw_status join(msw_admm *admm, const msw_host *host)
{
    msw_host h;
    const msw_status status =
        host ? msw__take_options(&h, sizeof h, MSW__OLDEST_HOST, host)
             : msw__admm_fail(admm, MSW_E_INVAL, "no host");

    return status ? status : msw__ranks_join(admm, &h);
}

/* Ranks that are alike at the start end alike. */
static msw_status freeze_ranks(msw_admm *admm, const msw_host *host)
{
    msw_status status = join(admm, host);

    if (status)
        return status;
    status = msw__ranks_compare(admm, (uint64_t)admm->phase, MSW_E_INVAL);
    if (!status)
        status = freeze(admm);
    msw__ranks_leave(admm);
    return status;
}

msw_status msw_admm_freeze_ranks(msw_admm *admm, const msw_host *host)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, freeze_ranks(admm, host));
}
