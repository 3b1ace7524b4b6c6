/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other way round: libmsw runs the loop, with its own optimiser, and calls back
 * for the loss and gradient of each mini-batch.
 */
#include <string.h>

#include "compression.h"

struct run {
    struct compression *compression;
    double first_rate;
    int steps;
};

static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    struct trainer *t = ((struct run *)user)->compression->trainer;

    (void)weights; /* the solver works on the trainer's own arrays */
    *loss = trainer_gradient(t);
    for (uint32_t i = 0; i < layer_count; i++)
        memcpy(grads[i], t->gradient.of[i], network_parameters[i].count * sizeof(float));
    return 0;
}

static int progress(const msw_admm_progress *p, void *user)
{
    struct run *run = user;
    float rate = cosine_rate((float)run->first_rate, (int)p->iteration, run->steps);

    compression_report(run->compression, (int)p->iteration, run->steps, p->loss);
    return msw_admm_set_learning_rate(run->compression->admm, (double)rate) ? -1 : 0;
}

static bool run(struct compression *c, double first_rate, int steps, const char *what)
{
    struct run run = {c, first_rate, steps};
    msw_host host = c->host;

    host.user = &run;
    host.loss_gradient = loss_gradient;
    host.progress = progress;
    return compression_check(c, msw_admm_set_learning_rate(c->admm, first_rate), what) &&
           compression_check(c, msw_admm_run(c->admm, &host, (uint64_t)steps), what);
}

bool callbacks_admm(struct compression *c)
{
    return run(c, c->recipe->admm_rate, compression_admm_steps(c), "ADMM");
}

bool callbacks_retrain(struct compression *c)
{
    return run(c, c->recipe->retrain_rate, compression_retrain_steps(c), "retraining");
}
