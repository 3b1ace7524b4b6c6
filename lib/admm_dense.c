/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers whose Z has no compact form: Z is kept like D, and an update goes through the
 * elements one by one. The formulas are those of strip.h. */
#include "admm.h"
#include "elements.h"

#include <float.h>
#include <math.h>

typedef struct dense_job {
    msw__elements w;
    float *d, *z, *proposed;
    const float *h_old, *h_new; /* NULL: 1 */
    double ratio;
    msw__admm_sums *sums;       /* one per task */
} dense_job;

static dense_job job_of(const msw_admm *admm, msw__layer *l, double ratio)
{
    return (dense_job){.w = msw__elements_of(l->weights), .d = l->d->data, .z = l->z->data,
                       .proposed = l->proposed ? l->proposed->data : NULL, .ratio = ratio,
                       .sums = admm->scratch.sums};
}

static void run(msw_admm *admm, void (*task)(size_t index, void *arg), dense_job *j)
{
    msw__admm_all_tasks(admm, msw__element_tasks(j->w.t->count), task, j);
}

static size_t task_end(const dense_job *j, size_t first)
{
    const size_t left = j->w.t->count - first;

    return first + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);
}

static void raise(float *bound, float x)
{
    *bound = fabsf(x) > *bound ? fabsf(x) : *bound;
}

/* V = W + U */

static void v_task(size_t index, void *arg)
{
    const dense_job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t end = task_end(j, i);

    while (i < end) {
        size_t n = end - i;
        const float *w = msw__elements_at(&j->w, i, &n);

        for (size_t k = i; k < i + n; k++, w += j->w.stride)
            j->proposed[k] = *w + (j->z[k] - j->d[k]);
        i += n;
    }
}

/* Z' and D' */

static void update_task(size_t index, void *arg)
{
    const dense_job *j = arg;
    msw__admm_sums sums = {0, 0, 0, 0};
    const float ratio = (float)j->ratio;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t end = task_end(j, i);

    while (i < end) {
        size_t n = end - i;
        const float *w = msw__elements_at(&j->w, i, &n);

        for (size_t k = i; k < i + n; k++, w += j->w.stride) {
            const float v = *w + (j->z[k] - j->d[k]), z = j->proposed[k];
            const double off = (double)*w - (double)z, moved = (double)z - (double)j->z[k];

            j->d[k] = z - ratio * (v - z);
            j->z[k] = z;
            sums.weights += (double)*w * (double)*w;
            sums.primal += off * off;
            sums.dual += moved * moved;
            raise(&sums.bound, z);
            raise(&sums.bound, j->d[k]);
        }
        i += n;
    }
    j->sums[index] = sums;
}

void msw__dense_update(msw_admm *admm, msw__layer *l, double ratio)
{
    dense_job j = job_of(admm, l, ratio);

    run(admm, update_task, &j);
}

/* U alone changes */

static void rescale_task(size_t index, void *arg)
{
    const dense_job *j = arg;
    const size_t first = index * MSW__TASK_ELEMENTS;

    j->sums[index] = (msw__admm_sums){0, 0, 0, 0};
    for (size_t k = first; k < task_end(j, first); k++) {
        const double old = j->h_old ? (double)j->h_old[k] : 1;
        const double scale = j->ratio * old / (j->h_new ? (double)j->h_new[k] : 1);
        const double z = (double)j->z[k];

        j->d[k] = (float)(z - scale * (z - (double)j->d[k]));
        raise(&j->sums[index].bound, j->d[k]);
    }
}

void msw__dense_rescale(msw_admm *admm, msw__layer *l, double ratio,
                        const msw_tensor *h_old, const msw_tensor *h_new)
{
    dense_job j = job_of(admm, l, ratio);

    j.h_old = h_old ? h_old->data : NULL;
    j.h_new = h_new ? h_new->data : NULL;
    run(admm, rescale_task, &j);
}

static void norm_task(size_t index, void *arg)
{
    const dense_job *j = arg;
    const size_t first = index * MSW__TASK_ELEMENTS;

    j->sums[index] = (msw__admm_sums){0, 0, 0, 0};
    for (size_t k = first; k < task_end(j, first); k++) {
        const double u = (double)j->z[k] - (double)j->d[k];

        j->sums[index].dual += u * u;
    }
}

void msw__dense_norm(msw_admm *admm, msw__layer *l)
{
    dense_job j = job_of(admm, l, 1);

    run(admm, norm_task, &j);
}

/* The next Z */

static msw_status propose(msw_admm *admm, uint32_t layer, double share)
{
    msw__layer *l = &admm->layers[layer];
    dense_job j = job_of(admm, l, 1);

    run(admm, v_task, &j);
    return l->project ? msw__layer_project(admm, layer, share, false)
                      : msw__layer_relax(admm, l, share);
}

/* With |Z'| up to it, as |V| is, D' is finite. */
static float limit_of(const msw_admm *admm, const msw__layer *l, bool first)
{
    return (float)((double)FLT_MAX / (1 + 2 * msw__rho_ratio(admm, l, first)));
}

/* Each rank for its share of the layers. */
msw_status msw__admm_propose(msw_admm *admm, double share, bool first)
{
    msw_status status = MSW_OK;
    bool any = false;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        if (!l->z)
            continue;
        any = true;
        if (msw__ranks_many(admm) && !msw__ranks_own(admm, i))
            msw__ranks_leave_out(l->proposed);
        else if (!status)
            status = propose(admm, i, share);
    }
    if (!any)
        return MSW_OK;
    status = msw__ranks_agree(admm, status, NULL, NULL);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        if (admm->layers[i].z)
            status = msw__ranks_exchange(admm, admm->layers[i].proposed);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++) {
        const msw__layer *l = &admm->layers[i];

        if (l->z)
            status = msw__admm_check(admm, l, l->proposed, limit_of(admm, l, first),
                                     "projection");
    }
    return msw__ranks_agree(admm, status, NULL, NULL);
}
