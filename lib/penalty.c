/* SPDX-License-Identifier: BSD-2-Clause */
/* The gradient of rho/2 sum h (w - z + u)^2, added to the host's: once per mini-batch,
 * at the speed of memory. */
#include "admm.h"
#include "elements.h"
#include "lanes.h"

#include <math.h>

typedef struct job {
    const msw__lane_kernels *lanes;
    msw__elements weights, grad;
    const float *d, *h; /* dense; h NULL: 1 */
    size_t count;
    float factor;       /* scale * rho */
    atomic_bool poisoned;
} job;

/* 0 or NaN, like the kernel: x * 0 is NaN for NaN and for infinities alone. */
static float add_strided(float *g, size_t stride_g, const float *w, size_t stride_w,
                         const float *d, const float *h, float factor, size_t n)
{
    float poison = 0;

    for (size_t i = 0; i < n; i++) {
        const float weight = h ? factor * h[i] : factor;

        g[i * stride_g] += weight * (w[i * stride_w] - d[i]);
        poison += g[i * stride_g] * 0;
    }
    return poison;
}

static void add_task(size_t index, void *arg)
{
    job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t left = j->count - i;
    const size_t end = i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);
    float poison = 0;

    while (i < end) {
        size_t n = end - i;
        const float *w = msw__elements_at(&j->weights, i, &n);
        float *g = msw__elements_at(&j->grad, i, &n);
        const float *h = j->h ? j->h + i : NULL;

        if (j->weights.stride == 1 && j->grad.stride == 1)
            poison += j->lanes->penalty(g, w, j->d + i, h, j->factor, n);
        else
            poison += add_strided(g, j->grad.stride, w, j->weights.stride, j->d + i, h,
                                  j->factor, n);
        i += n;
    }
    if (poison != 0)
        atomic_store_explicit(&j->poisoned, true, memory_order_relaxed);
}

msw_status msw__layer_penalty(msw_admm *admm, const msw__layer *layer, msw_tensor *grad,
                              double scale)
{
    job j = {.lanes = msw__lanes(admm->ctx->cpu),
             .weights = msw__elements_of(layer->weights),
             .grad = msw__elements_of(grad),
             .d = layer->d->data,
             .h = layer->importance ? layer->importance->data : NULL,
             .count = grad->count,
             .factor = (float)(scale * layer->rho * layer->budget.factor)};
    msw_status status;

    atomic_init(&j.poisoned, false);
    status = msw__admm_try_tasks(admm, msw__element_tasks(j.count), add_task, &j);
    if (status)
        return msw__admm_fail(admm, status, "parallel_for failed in the penalty of \"%s\"",
                              layer->name);
    if (atomic_load(&j.poisoned))
        return msw__admm_fail(admm, MSW_E_NUMERIC,
                              "gradient of \"%s\" with its penalty is not finite",
                              layer->name);
    return MSW_OK;
}

msw_status msw_admm_add_penalty(msw_admm *admm, uint32_t layer, msw_tensor *grad,
                                double scale)
{
    msw_status status = msw__admm_enter(admm);
    msw__layer *l = NULL;

    if (status)
        return status;
    status = msw__admm_layer(&l, admm, layer);
    if (!status && admm->phase != MSW_PHASE_ADMM)
        status = msw__admm_fail(admm, MSW_E_STATE, "no penalty once frozen");
    if (!status && (!grad || !msw__tensor_same_shape(grad, l->weights) || !isfinite(scale)))
        status = msw__admm_fail(admm, MSW_E_INVAL,
                                "penalty of \"%s\": no gradient of its shape, or a scale "
                                "that is not finite", l->name);
    if (!status && !msw__admm_straight(admm))
        status = msw__admm_begin(admm);
    if (!status && l->d)
        status = msw__layer_penalty(admm, l, grad, scale);
    return msw__admm_leave(admm, status);
}
