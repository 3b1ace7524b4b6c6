/* SPDX-License-Identifier: BSD-2-Clause */
/* Z and U step of all layers: what strip.h does to each. */
#include "elements.h"
#include "strip.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* With |W| up to it, |V| <= |W| + 2 bound and |D'| <= (1 + 2 ratio) |V| are finite. 0
 * when there is no such limit. */
static float weight_limit(const msw__layer *l, double ratio)
{
    const double growth = l->renewed ? 1 + 2 * msw__largest_change(l) : 1;
    const double limit = (double)FLT_MAX / (1 + 2 * ratio) - 2 * growth * (double)l->bound;

    return limit > 0 ? (float)limit : 0;
}

bool msw__admm_can_rescale(const msw__layer *l, double ratio)
{
    return weight_limit(l, ratio) > 0;
}

/* One layer */

static void open_job(msw__update_job *j, const msw_admm *admm, msw__layer *l, double ratio)
{
    const msw__admm_scratch *s = &admm->scratch;

    msw__update_job_fill(j, admm->ctx, l);
    j->ratio = ratio;
    if (s->candidates) {
        j->candidates = s->candidates + l->scratch_block;
        j->magnitudes = s->magnitudes + l->scratch_block;
        j->classes = s->classes + l->scratch_block;
        j->weights = l->merging ? s->weights + l->scratch_block : NULL;
    }
    j->sums = s->sums;
    msw__view_fill(&j->w, l->plan, l->weights, s->columns[0]);
    msw__view_fill(&j->d, l->plan, l->d, s->columns[1]);
}

/* Dense like D: the same offsets. */
static void set_importance(msw__view *h, const msw__update_job *j,
                           const msw_tensor *importance)
{
    *h = j->d;
    h->data = importance ? importance->data : NULL;
}

static msw__admm_sums add_sums(const msw__admm_sums *sums, size_t count)
{
    msw__admm_sums all = {0, 0, 0, 0};

    for (size_t i = 0; i < count; i++) {
        all.weights += sums[i].weights;
        all.primal += sums[i].primal;
        all.dual += sums[i].dual;
        all.bound = all.bound > sums[i].bound ? all.bound : sums[i].bound;
    }
    return all;
}

double msw__relative(double residual, double weights)
{
    return residual > 0 ? sqrt(residual / weights) : 0;
}

static size_t tasks_of(const msw__layer *l)
{
    return l->z ? msw__element_tasks(l->weights->count) : msw__update_tasks(l->plan);
}

void msw__admm_rescale(msw_admm *admm, msw__layer *l, double ratio,
                       const msw_tensor *h_old, const msw_tensor *h_new)
{
    const size_t tasks = tasks_of(l);
    msw__update_job j;

    if (l->z) {
        msw__dense_rescale(admm, l, ratio, h_old, h_new);
    } else {
        open_job(&j, admm, l, ratio);
        set_importance(&j.h, &j, h_new);
        set_importance(&j.h_old, &j, h_old);
        msw__admm_all_tasks(admm, tasks, msw__rescale_task, &j);
    }
    for (size_t i = 0; i < tasks; i++)
        if (l->bound < admm->scratch.sums[i].bound)
            l->bound = admm->scratch.sums[i].bound;
}

static double next_rho(const msw_admm *admm, const msw__layer *l)
{
    return msw__next_rho(&admm->options, l->rho, admm->updates + 1);
}

static double first_rho(const msw_admm *admm, const msw__layer *l)
{
    (void)admm;
    return l->rho;
}

double msw__rho_ratio(const msw_admm *admm, const msw__layer *l, bool first)
{
    return first ? 0 : l->rho / next_rho(admm, l);
}

static msw__shares shares_of(const msw__layer *l, double share)
{
    return (msw__shares){share * l->prune, share * l->unify, l->per_row};
}

static void choose_classes(msw_admm *admm, msw__update_job *j, const msw__shares *shares)
{
    if (!(shares->prune > 0 || shares->unify > 0)) {
        memset(admm->scratch.classes, MSW_CLASS_FREE, j->plan->block_count);
        return;
    }
    msw__admm_all_tasks(admm, msw__update_tasks(j->plan), msw__rate_task, j);
    msw__project_shares(admm->scratch.classes, j->candidates, j->plan, shares);
}

/* At @p share of the layer's shares or price. */
static void choose_layer(msw_admm *admm, const msw__layer *l, msw__update_job *j,
                         double share)
{
    const msw__shares shares = shares_of(l, share);

    if (l->merging) {
        msw__admm_all_tasks(admm, msw__update_tasks(j->plan), msw__rate_task, j);
        msw__layer_choose_nodes(admm, l, share);
    } else {
        choose_classes(admm, j, &shares);
    }
}

/* What is unified in the nodes that were chosen. */
static void find_magnitudes(const msw_admm *admm, const msw__layer *l)
{
    msw__tree t;

    if (!l->plan || !l->merging)
        return;
    msw__layer_tree(&t, admm, l);
    msw__tree_magnitudes(t.means, &t);
}

/* The classes of all layers together. Every rank makes the same choice. */
static msw_status choose_all(msw_admm *admm, double share, bool first)
{
    msw_status status;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];
        msw__update_job j;

        if (!l->plan || l->z)
            continue;
        open_job(&j, admm, l, 1);
        set_importance(&j.h, &j, l->importance);
        msw__admm_all_tasks(admm, msw__update_tasks(j.plan), msw__rate_task, &j);
    }
    status = msw__admm_choose(admm, share, first ? first_rho : next_rho);
    for (uint32_t i = 0; !status && i < admm->layer_count; i++)
        find_magnitudes(admm, &admm->layers[i]);
    return status;
}

/* Each rank for its share of the layers. */
static msw_status choose_with_ranks(msw_admm *admm, double share)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__update_job j;

        if (!admm->layers[i].plan || admm->layers[i].z || !msw__ranks_own(admm, i))
            continue;
        open_job(&j, admm, &admm->layers[i], 1);
        set_importance(&j.h, &j, admm->layers[i].importance);
        choose_layer(admm, &admm->layers[i], &j, share);
        msw__ranks_put_choice(admm, i);
    }
    return msw__ranks_exchange_choices(admm);
}

static void update_compact(msw_admm *admm, uint32_t layer, double share, double ratio)
{
    msw__layer *l = &admm->layers[layer];
    msw__update_job j;

    open_job(&j, admm, l, ratio);
    set_importance(&j.h, &j, l->importance);
    if (msw__ranks_many(admm) && !admm->budget.target)
        msw__ranks_get_choice(admm, layer);
    else if (!admm->budget.target)
        choose_layer(admm, l, &j, share);
    msw__admm_all_tasks(admm, msw__update_tasks(l->plan), msw__project_task, &j);
    memcpy(l->classes, j.classes, l->plan->block_count);
    if (l->levels)
        memcpy(l->levels, msw__layer_levels(admm, l), l->plan->block_count);
    for (size_t b = 0; b < l->plan->block_count; b++)
        l->magnitudes[b] = j.classes[b] == MSW_CLASS_UNIFIED ? j.magnitudes[b] : 0;
}

static msw__admm_sums update_layer(msw_admm *admm, uint32_t layer, double share,
                                   double ratio)
{
    msw__layer *l = &admm->layers[layer];
    msw__admm_sums sums;

    if (l->z)
        msw__dense_update(admm, l, ratio);
    else
        update_compact(admm, layer, share, ratio);
    sums = add_sums(admm->scratch.sums, tasks_of(l));
    l->bound = sums.bound;
    l->primal = msw__relative(sums.primal, sums.weights);
    l->dual = msw__relative(sums.dual, sums.weights);
    return sums;
}

/* After an update with these residuals: rho by them, and rho U as it is. */
static void balance(msw_admm *admm, msw__layer *l, const msw__admm_sums *sums)
{
    msw__admm_sums u;
    msw__update_job j;
    double rho;

    if (l->z) {
        msw__dense_norm(admm, l);
    } else {
        open_job(&j, admm, l, 1);
        msw__admm_all_tasks(admm, msw__update_tasks(l->plan), msw__norm_task, &j);
    }
    u = add_sums(admm->scratch.sums, tasks_of(l));
    rho = msw__balanced_rho(&admm->options, l->rho, admm->updates + 1, l->primal,
                            sqrt(sums->dual / u.dual));
    if (rho == l->rho || !msw__rho_valid(rho) || !msw__admm_can_rescale(l, l->rho / rho))
        return;
    msw__admm_rescale(admm, l, l->rho / rho, NULL, NULL);
    l->rho = rho;
}

/* Everything that can fail comes before the first change. */
static msw_status prepare_update(msw_admm *admm, bool first)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        msw_status status;

        if (!l->plan)
            continue;
        status = msw__admm_check(admm, l, l->weights,
                                 weight_limit(l, msw__rho_ratio(admm, l, first)), "weight");
        if (status)
            return status;
    }
    return msw__admm_open_scratch(admm, true);
}

/* @p first: make the first Z. With rho / rho' = 0 it leaves U = 0. */
static msw_status update_all(msw_admm *admm, bool first)
{
    const double share = msw__ramp(&admm->options, admm->updates);
    msw_status status = first ? MSW_OK : msw__admm_renew_importance(admm);

    if (!status)
        status = prepare_update(admm, first);
    if (!status && first)
        status = msw__admm_begin_budget(admm);
    status = msw__ranks_agree(admm, status, NULL, NULL);
    if (!status)
        msw__admm_take_renewed(admm);
    if (!status && admm->budget.target)
        status = msw__ranks_agree(admm, choose_all(admm, share, first), NULL, NULL);
    else if (!status && msw__ranks_many(admm))
        status = choose_with_ranks(admm, share);
    if (!status)
        status = msw__admm_propose(admm, share, first);
    if (status) {
        msw__admm_drop_renewed(admm);
        msw__admm_close_scratch(admm);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];
        msw__admm_sums sums;

        if (!l->plan)
            continue;
        sums = update_layer(admm, i, share, msw__rho_ratio(admm, l, first));
        if (first)
            continue;
        l->rho = next_rho(admm, l);
        if (admm->options.rho_schedule == MSW_RHO_BALANCE)
            balance(admm, l, &sums);
    }
    msw__admm_close_scratch(admm);
    return MSW_OK;
}

static void end_state(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer_free_state(admm, &admm->layers[i]);
        admm->layers[i].bound = 0;
        admm->layers[i].primal = admm->layers[i].dual = (double)NAN;
    }
    admm->begun = false;
    msw__admm_first_plans(admm);
}

msw_status msw__admm_begin(msw_admm *admm)
{
    msw_status status;

    if (admm->begun || admm->options.relaxation == MSW_RELAXATION_SOFT)
        return MSW_OK;
    if (msw__admm_straight(admm))
        return msw__straight_begin(admm);
    status = msw__admm_reserve_tasks(admm, admm->layers);
    if (!status)
        status = msw__admm_pick_plans(admm);
    if (!status)
        status = msw__admm_reserve_tasks(admm, admm->layers);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            status = msw__layer_allocate_state(admm, &admm->layers[i]);
    status = msw__ranks_agree(admm, status, NULL, NULL);
    if (!status)
        status = update_all(admm, true);
    if (status) {
        end_state(admm);
        return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++)
        admm->layers[i].primal = admm->layers[i].dual = (double)NAN; /* no update yet */
    admm->begun = true;
    return MSW_OK;
}

msw_status msw__admm_step_z(msw_admm *admm)
{
    const bool begun = admm->begun;
    msw_status status;

    if (admm->options.relaxation == MSW_RELAXATION_SOFT)
        return msw__admm_soften(admm);
    if (msw__admm_straight(admm))
        return msw__straight_update(admm);
    status = msw__admm_begin(admm);
    if (!status)
        status = update_all(admm, false);
    if (!status) {
        admm->updates++;
        msw__admm_end_round(admm);
    } else if (!begun) {
        end_state(admm);
    }
    return status;
}

msw_status msw_admm_update(msw_admm *admm)
{
    msw_status status = msw__admm_enter(admm);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM)
        status = msw__admm_fail(admm, MSW_E_STATE, "no update once frozen");
    else
        status = msw__admm_step_z(admm);
    return msw__admm_leave(admm, status);
}

/* Z, written to a tensor that stands in for the weights. */

static msw_status write_z(msw_tensor *z, msw__layer *l)
{
    msw__update_job j;
    msw_status status;

    msw__update_job_fill(&j, l->plan->ctx, l);
    status = msw__view_new(&j.w, l->plan, z);

    if (status)
        return status;
    status = msw__view_new(&j.d, l->plan, l->d);
    if (!status) {
        for (size_t i = 0; i < msw__update_tasks(l->plan); i++)
            msw__write_z_task(i, &j);
        msw__view_free(&j.d);
    }
    msw__view_free(&j.w);
    return status;
}

msw_status msw_admm_get_z(msw_tensor *z, const msw_admm *admm, uint32_t layer)
{
    if (!z || !admm)
        return MSW_E_INVAL;
    if (layer >= admm->layer_count)
        return MSW_E_RANGE;
    if (!msw__tensor_same_shape(z, admm->layers[layer].weights))
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    if (admm->layers[layer].z) {
        msw__copy_elements(z, admm->layers[layer].z);
        return MSW_OK;
    }
    if (admm->layers[layer].d)
        return write_z(z, &admm->layers[layer]);
    if (admm->layers[layer].latent)
        return msw__straight_write(z, admm, &admm->layers[layer]);
    msw__copy_elements(z, admm->layers[layer].weights);
    return MSW_OK;
}
