/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop over mini-batches, in both phases, and its callbacks.
 *
 * A callback must return. Should it leave by longjmp() all the same, the solver stays
 * busy for ever, but whole: what a run needs hangs on the solver, not on the stack. */
#include "admm.h"
#include "elements.h"
#include "optimiser.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* What a mini-batch or a round came to; a status < 0 is an error. */
typedef struct run {
    msw_admm *admm;
    msw_host host;
    uint64_t iterations, done;
} run;

/* Callbacks. Between begin_callback() and end_callback() the solver is BUSY or in
 * PROGRESS, and free knows where the stack was. */

static void begin_callback(msw_admm *admm, enum msw__admm_state state, uintptr_t frame)
{
    admm->state = state;
    admm->callback_frame = frame;
}

/* 0: go on. Stops the run otherwise: MSW_E_HOST, or a reason with *stop true. */
static msw_status end_callback(msw_admm *admm, int code, bool *stop, const char *what)
{
    admm->state = MSW__BUSY;
    admm->callback_frame = 0;
    if (code)
        admm->host_code = code;
    if (code < 0)
        return msw__admm_fail(admm, MSW_E_HOST, "%s returned %d", what, code);
    if (code > 0) {
        admm->stop_reason = MSW_STOP_HOST;
        *stop = true;
    }
    return MSW_OK;
}

/* The host may have let its tensors point elsewhere in its last callback. */
static void point_at_weights(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        admm->weight_data[i] = admm->layers[i].weights->data;
}

static msw_status call_loss_gradient(run *r, double *loss, bool *stop)
{
    msw_admm *admm = r->admm;
    int code;

    point_at_weights(admm);
    *loss = (double)NAN;
    begin_callback(admm, MSW__BUSY, MSW__FRAME());
    code = r->host.loss_gradient(loss, admm->gradient_data,
                                 (const float *const *)admm->weight_data,
                                 admm->layer_count, r->host.user);
    return end_callback(admm, code, stop, "loss_gradient");
}

static msw_status call_step(run *r, bool *stop)
{
    msw_admm *admm = r->admm;
    int code;

    point_at_weights(admm);
    begin_callback(admm, MSW__BUSY, MSW__FRAME());
    code = r->host.step(admm->weight_data, (const float *const *)admm->gradient_data,
                        admm->layer_count, r->host.user);
    return end_callback(admm, code, stop, "step");
}

static msw_status call_progress(run *r, const msw_admm_progress *progress, bool *stop)
{
    msw_admm *admm = r->admm;
    int code;

    begin_callback(admm, MSW__PROGRESS, MSW__FRAME());
    code = r->host.progress(progress, r->host.user);
    return end_callback(admm, code, stop, "progress");
}

/* Copies of the weights, for rollback */

static void copy_weights(msw_admm *admm, bool restore)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw__layer *l = &admm->layers[i];
        msw_tensor *now = l->latent ? l->latent : l->weights;

        if (l->rollback)
            msw__copy_elements(restore ? now : l->rollback, restore ? l->rollback : now);
    }
    if (restore && msw__admm_straight(admm))
        msw__straight_restore(admm);
}

void msw__admm_restart_rounds(msw_admm *admm)
{
    admm->loss_sum = 0;
    admm->since = 0;
    admm->first_loss = (double)NAN;
    copy_weights(admm, false);
}

void msw__admm_end_round(msw_admm *admm)
{
    admm->loss_sum = 0;
    admm->since = 0;
    copy_weights(admm, false);
}

/* Before the loop */

static msw_status dense_like(msw_tensor **t, msw_admm *admm, const msw__layer *l)
{
    if (*t)
        return MSW_OK;
    return msw_tensor_new(t, admm->ctx, l->weights->shape, l->weights->rank);
}

static msw_status prepare_pointers(msw_admm *admm)
{
    msw_status status = MSW_OK;
    void *memory;

    if (!admm->weight_data) {
        status = msw__calloc(&memory, admm->ctx, admm->layer_count,
                             sizeof *admm->weight_data);
        admm->weight_data = memory;
    }
    if (!status && !admm->gradient_data) {
        status = msw__calloc(&memory, admm->ctx, admm->layer_count,
                             sizeof *admm->gradient_data);
        admm->gradient_data = memory;
    }
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        status = dense_like(&admm->layers[i].gradient, admm, &admm->layers[i]);
        if (!status)
            admm->gradient_data[i] = admm->layers[i].gradient->data;
    }
    return status;
}

static msw_status prepare_rollback(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count && admm->options.rollback; i++) {
        msw__layer *l = &admm->layers[i];
        const bool fresh = !l->rollback;
        const msw_status status = dense_like(&l->rollback, admm, l);

        if (status)
            return status;
        if (fresh)
            msw__copy_elements(l->rollback, l->latent ? l->latent : l->weights);
    }
    return MSW_OK;
}

static msw_status take_host(run *r, const msw_host *host)
{
    msw_admm *admm = r->admm;
    msw_status status;

    if (!host)
        return msw__admm_fail(admm, MSW_E_INVAL, "no host");
    status = msw__take_options(&r->host, sizeof r->host, MSW__OLDEST_HOST, host);
    if (status)
        return status;
    if (!r->host.loss_gradient || admm->layer_count == 0)
        return msw__admm_fail(admm, MSW_E_INVAL, "no %s",
                              admm->layer_count ? "loss_gradient" : "layers");
    return msw__ranks_join(admm, &r->host);
}

static msw_status prepare_memory(run *r)
{
    msw_admm *admm = r->admm;
    msw_status status =
        admm->straight.shown
            ? msw__admm_fail(admm, MSW_E_STATE, "the latent weights are shown")
            : msw__admm_reserve_tasks(admm, admm->layers);

    if (!status)
        status = prepare_pointers(admm);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->phase == MSW_PHASE_ADMM)
            status = msw__layer_prepare_squares(admm, &admm->layers[i]);
    if (!status)
        status = prepare_rollback(admm);
    if (!status && !r->host.step)
        status = msw__optimiser_prepare(admm);
    return status;
}

/* All ranks from the same place, as far. */
static msw_status start_ranks(run *r, msw_status status)
{
    const msw_admm *admm = r->admm;
    uint64_t mark = msw__hash_word(admm->updates, (uint32_t)admm->since);

    mark = msw__hash_words(mark, r->iterations);
    mark = msw__hash_word(mark, (uint32_t)admm->options.update_every);
    status = msw__ranks_agree(r->admm, status, NULL, NULL);
    return status ? status : msw__ranks_compare(r->admm, mark, MSW_E_INVAL);
}

static msw_status prepare(run *r, const msw_host *host)
{
    msw_status status = take_host(r, host);

    if (status)
        return status;
    status = start_ranks(r, prepare_memory(r));
    if (!status && r->admm->phase == MSW_PHASE_ADMM)
        status = msw__admm_begin(r->admm);
    return status;
}

/* One mini-batch */

/* Add the penalty, or mask. Gradients must be finite as the host made them: a mask
 * would hide it where a weight is pruned. */
static msw_status regularise(msw_admm *admm)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];

        if (l->d)
            status = msw__layer_add_gradient(admm, l, l->gradient);
        if (status)
            break;
        if (l->d)
            status = msw__layer_penalty(admm, l, l->gradient, 1);
        else
            status = msw__admm_check(admm, l, l->gradient, FLT_MAX, "gradient");
        if (!status)
            msw__layer_mask(admm, l, l->gradient, MSW_SLOT_LINEAR);
    }
    return status;
}

/* The built-in optimiser leaves finite weights: nothing can keep them from being
 * projected. */
static msw_status built_in_step(msw_admm *admm)
{
    const msw_status status = msw__optimiser_step(admm);

    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        msw__layer_mask(admm, &admm->layers[i], admm->layers[i].weights, MSW_SLOT_LINEAR);
    return status;
}

/* All layers that can be, whatever the callback returned. */
static msw_status host_step(run *r, bool *stop)
{
    msw_status status = call_step(r, stop);

    for (uint32_t i = 0; i < r->admm->layer_count; i++) {
        const msw_status masked = msw__layer_mask_weights(r->admm, &r->admm->layers[i]);

        status = status ? status : masked;
    }
    return status;
}

/* Of the latent weights where there are some. */
static msw_status step(run *r, bool *stop)
{
    const bool straight = msw__admm_straight(r->admm);
    msw_status status, taken;

    if (straight)
        msw__straight_show_latent(r->admm);
    status = r->host.step ? host_step(r, stop) : built_in_step(r->admm);
    if (!straight)
        return status;
    taken = msw__straight_take(r->admm);
    if (taken)
        msw__straight_restore(r->admm);
    return status ? status : taken;
}

static msw_status mini_batch(run *r, bool *stop)
{
    msw_admm *admm = r->admm;
    msw_status status;
    double loss;

    status = call_loss_gradient(r, &loss, stop);
    if (!status && !*stop && !isfinite(loss))
        status = msw__admm_fail(admm, MSW_E_NUMERIC, "loss is %g", loss);
    status = msw__ranks_agree(admm, status, stop, &loss);
    if (status || *stop)
        return status;
    status = msw__ranks_gradients(admm);
    if (!status)
        status = msw__ranks_agree(admm, regularise(admm), NULL, NULL);
    if (status)
        return status;
    status = msw__ranks_agree(admm, step(r, stop), stop, NULL);
    if (status)
        return status;
    admm->loss_sum += loss;
    admm->since++;
    r->done++;
    return MSW_OK;
}

/* Every update_every mini-batches */

static msw_status guard(msw_admm *admm)
{
    const double mean = admm->loss_sum / (double)admm->since;
    const double limit = admm->options.guard * fabs(admm->first_loss) + 1;

    if (isnan(admm->first_loss))
        admm->first_loss = mean;
    if (!(mean > limit))
        return MSW_OK;
    admm->since = 0;
    admm->loss_sum = 0;
    if (admm->options.rollback) {
        copy_weights(admm, true);
        msw__optimiser_reset(admm);
    }
    return msw__admm_fail(admm, MSW_E_DIVERGED, "mean loss %g exceeds %g", mean, limit);
}

static void largest(double *to, double value)
{
    if (isnan(*to) || value > *to)
        *to = value;
}

static msw_status report(run *r, double loss, bool *stop)
{
    const msw_admm *admm = r->admm;
    msw_admm_progress p = {.size = sizeof p, .layer_count = admm->layer_count,
                           .iteration = r->done, .iterations = r->iterations,
                           .loss = loss, .rho = (double)NAN, .primal = (double)NAN,
                           .dual = (double)NAN,
                           .phase = (uint32_t)admm->phase, .updates = admm->updates};

    if (!r->host.progress)
        return MSW_OK;
    for (uint32_t i = 0; i < admm->layer_count; i++)
        if (admm->layers[i].plan && admm->phase == MSW_PHASE_ADMM) {
            largest(&p.rho, admm->layers[i].rho);
            largest(&p.primal, admm->layers[i].primal);
            largest(&p.dual, admm->layers[i].dual);
        }
    return call_progress(r, &p, stop);
}

static bool converged(const msw_admm *admm)
{
    bool all = false;

    if (admm->phase != MSW_PHASE_ADMM || !(admm->options.tolerance > 0) ||
        msw__ramp(&admm->options, admm->updates - 1) < 1 ||
        (admm->options.relaxation == MSW_RELAXATION_ENVELOPE &&
         admm->updates < admm->options.updates))
        return false;
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        if (!admm->layers[i].plan)
            continue;
        if (!(admm->layers[i].primal <= admm->options.tolerance))
            return false;
        all = true;
    }
    return all;
}

static msw_status end_round(run *r, bool *stop)
{
    msw_admm *admm = r->admm;
    const double loss = admm->loss_sum / (double)admm->since;
    bool tolerated;
    msw_status status;

    status = guard(admm);
    if (!status && admm->phase == MSW_PHASE_ADMM)
        status = msw__admm_step_z(admm);
    if (!status)
        status = msw__ranks_compare(admm, 0, MSW_E_HOST);
    if (status)
        return status;
    if (admm->phase == MSW_PHASE_FROZEN)
        msw__admm_end_round(admm);
    tolerated = converged(admm); /* of this update, whatever progress sets */
    status = msw__ranks_agree(admm, report(r, loss, stop), stop, NULL);
    if (!status && !*stop && tolerated) {
        admm->stop_reason = MSW_STOP_CONVERGED;
        *stop = true;
    }
    return status;
}

/* The loop */

static msw_status loop(run *r)
{
    msw_admm *admm = r->admm;
    msw_status status = MSW_OK;
    bool stop = false;

    while (!status && !stop) {
        if (msw__ranks_stop(admm)) {
            admm->stop_reason = MSW_STOP_REQUESTED;
            break;
        }
        if (r->done == r->iterations) {
            admm->stop_reason = MSW_STOP_ITERATIONS;
            break;
        }
        status = mini_batch(r, &stop);
        if (!status && !stop && admm->since >= admm->options.update_every)
            status = end_round(r, &stop);
    }
    return status;
}

msw_status msw_admm_run(msw_admm *admm, const msw_host *host, uint64_t iterations)
{
    run r = {.admm = admm, .iterations = iterations};
    msw_status status = msw__admm_enter(admm);

    if (status)
        return status;
    status = prepare(&r, host);
    if (!status)
        status = loop(&r);
    msw__ranks_leave(admm);
    if (status)
        admm->stop_reason = MSW_STOP_ERROR;
    return msw__admm_leave(admm, status);
}

void msw_admm_stop(msw_admm *admm)
{
    if (admm)
        atomic_store(&admm->stop, 1);
}
