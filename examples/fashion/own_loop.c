/* SPDX-License-Identifier: BSD-2-Clause */
/* libmsw in the host's own training loop: the lines with msw_ are all there is to add. */
#include "compression.h"

static bool add_penalties(struct compression *c)
{
    for (uint32_t i = 0; i < PARAMETERS; i++)
        if (!compression_check(
                c, msw_admm_add_penalty(c->admm, i, c->gradient[i], 1.0), "penalty"))
            return false;
    return true;
}

/* The gradient is that of the network in blocks; what it steps are the latent weights. */
static bool step_latent(struct compression *c)
{
    if (!compression_check(c, msw_admm_show_latent(c->admm), "latent weights"))
        return false;
    trainer_step(c->trainer);
    return compression_check(c, msw_admm_show_blocks(c->admm), "latent weights");
}

static bool step_penalised(struct compression *c)
{
    if (!add_penalties(c))
        return false;
    trainer_step(c->trainer);
    return true;
}

bool own_loop_admm(struct compression *c)
{
    struct trainer *t = c->trainer;
    int steps = compression_admm_steps(c);
    int update_every = compression_update_every(c);
    double loss = 0.0;

    for (int step = 0; step < steps; step++) {
        t->learning_rate = cosine_rate((float)c->recipe->admm_rate, step, steps);
        loss += trainer_gradient(t);
        if (!(c->recipe->latent ? step_latent(c) : step_penalised(c)))
            return false;

        if ((step + 1) % update_every == 0) {
            if (!compression_check(c, msw_admm_update(c->admm), "update"))
                return false;
            compression_report(c, step + 1, steps, loss / update_every);
            loss = 0.0;
        }
    }
    return true;
}

static bool mask_velocity(struct compression *c)
{
    for (uint32_t i = 0; i < PARAMETERS; i++)
        if (!compression_check(
                c, msw_admm_mask_slot(c->admm, i, c->velocity[i], MSW_SLOT_LINEAR),
                "mask"))
            return false;
    return true;
}

bool own_loop_retrain(struct compression *c)
{
    struct trainer *t = c->trainer;
    int steps = compression_retrain_steps(c);
    int report_every = compression_update_every(c);
    double loss = 0.0;

    /* Momentum from before the freeze would move what is fixed now. */
    if (!mask_velocity(c))
        return false;
    for (int step = 0; step < steps; step++) {
        t->learning_rate = cosine_rate((float)c->recipe->retrain_rate, step, steps);
        loss += trainer_gradient(t);
        for (uint32_t i = 0; i < PARAMETERS; i++)
            if (!compression_check(c, msw_admm_mask_gradient(c->admm, i, c->gradient[i]),
                                   "mask"))
                return false;
        trainer_step(t);
        for (uint32_t i = 0; i < PARAMETERS; i++)
            if (!compression_check(c, msw_admm_mask_weights(c->admm, i), "mask"))
                return false;

        if ((step + 1) % report_every == 0) {
            compression_report(c, step + 1, steps, loss / report_every);
            loss = 0.0;
        }
    }
    return true;
}
