/* SPDX-License-Identifier: BSD-2-Clause */
/* Importance that the solver collects: the running mean of squared gradients of the loss,
 * a diagonal Fisher matrix, which each update takes up as the metric of penalty and
 * projection. */
#include "admm.h"
#include "elements.h"

#include <float.h>
#include <math.h>

/* Collecting */

typedef struct job {
    msw__elements grad;
    float *squares;
    size_t count;
    float share; /* of the new square in the mean */
} job;

static void add_task(size_t index, void *arg)
{
    const job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t left = j->count - i;
    const size_t end = i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);

    while (i < end) {
        size_t n = end - i;
        const float *g = msw__elements_at(&j->grad, i, &n);

        for (size_t k = 0; k < n; k++) {
            const float x = g[k * j->grad.stride];
            const float square = x * x < FLT_MAX ? x * x : FLT_MAX;

            j->squares[i + k] += j->share * (square - j->squares[i + k]);
        }
        i += n;
    }
}

msw_status msw__layer_prepare_squares(msw_admm *admm, msw__layer *l)
{
    if (!admm->options.importance_memory || !l->plan || l->squares)
        return MSW_OK;
    return msw_tensor_new(&l->squares, admm->ctx, l->weights->shape, l->weights->rank);
}

msw_status msw__layer_add_gradient(msw_admm *admm, msw__layer *l, const msw_tensor *grad)
{
    job j = {.grad = msw__elements_of(grad), .count = grad->count};
    msw_status status;
    uint64_t seen;

    if (!admm->options.importance_memory || !l->plan)
        return MSW_OK;
    status = msw__layer_prepare_squares(admm, l);
    if (!status)
        status = msw__admm_check(admm, l, grad, FLT_MAX, "gradient");
    if (status)
        return status;
    l->seen += l->seen < admm->options.importance_memory;
    seen = l->seen;
    j.squares = l->squares->data;
    j.share = (float)(1 / (double)seen);
    msw__admm_all_tasks(admm, msw__element_tasks(j.count), add_task, &j);
    return MSW_OK;
}

static msw_status add_gradient(msw_admm *admm, uint32_t layer, const msw_tensor *grad)
{
    msw__layer *l;
    msw_status status = msw__admm_layer(&l, admm, layer);

    if (status)
        return status;
    if (admm->phase != MSW_PHASE_ADMM || !admm->options.importance_memory)
        return msw__admm_fail(admm, MSW_E_STATE, "importance is not collected");
    if (!grad || !msw__tensor_same_shape(grad, l->weights))
        return msw__admm_fail(admm, MSW_E_INVAL, "gradient of \"%s\" has another shape",
                              l->name);
    status = msw__admm_begin(admm);
    return status ? status : msw__layer_add_gradient(admm, l, grad);
}

msw_status msw_admm_add_gradient(msw_admm *admm, uint32_t layer, const msw_tensor *grad)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status : msw__admm_leave(admm, add_gradient(admm, layer, grad));
}

/* Taking it up */

/* NULL when all squares are zero, which says nothing. */
static msw_status renew(msw_tensor **out, msw_admm *admm, const msw__layer *l)
{
    msw__importance h;
    msw_status status = msw__importance_of(&h, l->squares);

    *out = NULL;
    if (status || !h.h)
        return status;
    status = msw_tensor_new(out, admm->ctx, h.h->shape, h.h->rank);
    if (status)
        return status;
    for (size_t i = 0; i < h.h->count; i++)
        (*out)->data[i] = msw__importance_at(h.h->data[i], h.scale);
    return MSW_OK;
}

void msw__admm_drop_renewed(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw_tensor_free(admm->layers[i].renewed);
        admm->layers[i].renewed = NULL;
    }
}

msw_status msw__admm_renew_importance(msw_admm *admm)
{
    msw_status status = MSW_OK;

    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].seen)
            status = renew(&admm->layers[i].renewed, admm, &admm->layers[i]);
    if (status)
        msw__admm_drop_renewed(admm);
    return status;
}

void msw__admm_take_renewed(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->renewed)
            continue;
        msw__admm_rescale(admm, l, 1, l->importance, l->renewed);
        msw_tensor_free(l->importance);
        l->importance = l->renewed;
        l->renewed = NULL;
    }
}

double msw__largest_change(const msw__layer *l)
{
    return (double)l->weights->count / (double)MSW__IMPORTANCE_FLOOR;
}
