/* SPDX-License-Identifier: BSD-2-Clause */
/* Soft projection: W goes part of the way to its projection. There is no Z and no U. */
#include "admm.h"
#include "elements.h"

#include <math.h>

typedef struct soft_job {
    msw__elements w;
    const float *z;  /* the projection, dense */
    double step;     /* 1 - alpha */
    msw__admm_sums *sums;
} soft_job;

static void soften_task(size_t index, void *arg)
{
    const soft_job *j = arg;
    msw__admm_sums *sums = &j->sums[index];
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t left = j->w.t->count - i;
    const size_t end = i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);

    *sums = (msw__admm_sums){0, 0, 0, 0};
    while (i < end) {
        size_t n = end - i;
        float *w = msw__elements_at(&j->w, i, &n);

        for (size_t k = 0; k < n; k++, w += j->w.stride) {
            const double x = (double)*w, off = (double)j->z[i + k] - x;

            sums->weights += x * x;
            sums->primal += off * off;
            *w = (float)(x + j->step * off);
        }
        i += n;
    }
}

static void soften(msw_admm *admm, msw__layer *l, msw__admm_sums *sums)
{
    const size_t tasks = msw__element_tasks(l->weights->count);
    soft_job j = {.w = msw__elements_of(l->weights), .z = l->soft->data,
                  .step = 1 - admm->options.soft_factor, .sums = sums};
    double weights = 0, primal = 0;

    msw__layer_write_fit(admm, l, l->soft);
    msw__admm_all_tasks(admm, tasks, soften_task, &j);
    for (size_t i = 0; i < tasks; i++) {
        weights += sums[i].weights;
        primal += sums[i].primal;
    }
    l->primal = primal > 0 ? sqrt(primal / weights) : 0;
}

static msw_status allocate(msw_admm *admm, msw__admm_sums **sums, size_t *most)
{
    msw_status status = MSW_OK;
    void *memory;

    *most = 1;
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        msw__layer *l = &admm->layers[i];
        const size_t tasks = msw__element_tasks(l->weights->count);

        *most = *most > tasks ? *most : tasks;
        if (l->plan && !l->soft)
            status = msw_tensor_new(&l->soft, admm->ctx, l->plan->shape, l->plan->rank);
    }
    if (status)
        return status;
    status = msw__alloc(&memory, admm->ctx, *most, sizeof **sums);
    *sums = memory;
    return status;
}

msw_status msw__admm_soften(msw_admm *admm)
{
    const double share = msw__ramp(&admm->options, admm->updates);
    msw__admm_sums *sums = NULL;
    size_t most = 0;
    msw_status status = msw__ranks_agree(admm, allocate(admm, &sums, &most), NULL, NULL);

    if (!status)
        status = msw__admm_fit_layers(admm, share, false);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].plan)
            soften(admm, &admm->layers[i], sums);
    if (!status)
        admm->updates++; /* before the fits go: what they began stays */
    msw__admm_drop_fits(admm);
    msw__free(admm->ctx, sums, most, sizeof *sums);
    if (!status)
        msw__admm_end_round(admm);
    return status;
}
