/* SPDX-License-Identifier: BSD-2-Clause */
#include "optimiser.h"
#include "elements.h"

#include <math.h>
#include <string.h>

#define ADAM_EPSILON 1e-8f

/* Factors of one step. */
typedef struct rule {
    bool adam;
    float rate, decay;
    float beta1, beta2;      /* momentum; of Adam's two slots */
    float scale1, scale2;    /* Adam: correct the bias of the slots */
} rule;

/* A weight and its slots. */
typedef struct point {
    float w, m, v;
} point;

static inline point sgd(point p, float g, const rule *r)
{
    p.m = r->beta1 * p.m + (g + r->decay * p.w);
    p.w -= r->rate * p.m;
    return p;
}

static inline point adam(point p, float g, const rule *r)
{
    g += r->decay * p.w;
    p.m = r->beta1 * p.m + (1 - r->beta1) * g;
    p.v = r->beta2 * p.v + (1 - r->beta2) * (g * g);
    p.w -= r->rate * (p.m * r->scale1) / (sqrtf(p.v * r->scale2) + ADAM_EPSILON);
    return p;
}

uint32_t msw__optimiser_slots(const msw_admm_options *o)
{
    if (o->optimiser == MSW_OPTIMISER_ADAM)
        return 2;
    return o->momentum > 0 ? 1 : 0;
}

msw_slot msw__slot_kind(const msw_admm_options *o, uint32_t k)
{
    return o->optimiser == MSW_OPTIMISER_ADAM && k == 1 ? MSW_SLOT_SQUARED
                                                        : MSW_SLOT_LINEAR;
}

msw_status msw__optimiser_prepare(msw_admm *admm)
{
    const uint32_t slots = msw__optimiser_slots(&admm->options);

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        msw__layer *l = &admm->layers[i];

        for (uint32_t k = 0; k < slots; k++) {
            msw_status status = MSW_OK;

            if (!l->slots[k])
                status = msw_tensor_new(&l->slots[k], admm->ctx, l->weights->shape,
                                        l->weights->rank);
            if (status)
                return status;
        }
    }
    return MSW_OK;
}

void msw__optimiser_reset(msw_admm *admm)
{
    for (uint32_t i = 0; i < admm->layer_count; i++)
        for (uint32_t k = 0; k < MSW__SLOTS; k++)
            if (admm->layers[i].slots[k])
                memset(admm->layers[i].slots[k]->data, 0,
                       admm->layers[i].slots[k]->count * sizeof(float));
    admm->steps = 0;
}

typedef struct job {
    rule rule;
    msw__elements weights;
    const float *g;
    float *m, *v;  /* NULL: the rule has no such slot */
    size_t count;
    bool write;    /* false: only look whether the results are finite */
    atomic_bool failed;
} job;

/* 0, or NaN when a result is not finite: x * 0 is NaN for NaN and infinity alone. */
static inline float step_one(const job *j, float *w, size_t i)
{
    point p = {*w, j->m ? j->m[i] : 0, j->v ? j->v[i] : 0};

    p = j->rule.adam ? adam(p, j->g[i], &j->rule) : sgd(p, j->g[i], &j->rule);
    if (j->write) {
        *w = p.w;
        if (j->m)
            j->m[i] = p.m;
        if (j->v)
            j->v[i] = p.v;
    }
    return p.w * 0 + p.m * 0 + p.v * 0;
}

static void step_task(size_t index, void *arg)
{
    job *j = arg;
    size_t i = index * MSW__TASK_ELEMENTS;
    const size_t left = j->count - i;
    const size_t end = i + (left < MSW__TASK_ELEMENTS ? left : MSW__TASK_ELEMENTS);
    float poison = 0;

    while (i < end) {
        size_t n = end - i;
        float *w = msw__elements_at(&j->weights, i, &n);

        for (size_t k = 0; k < n; k++)
            poison += step_one(j, w + k * j->weights.stride, i + k);
        i += n;
    }
    if (poison != 0)
        atomic_store_explicit(&j->failed, true, memory_order_relaxed);
}

static rule rule_of(const msw_admm *admm)
{
    const msw_admm_options *o = &admm->options;
    const double steps = (double)admm->steps + 1;
    rule r = {.adam = o->optimiser == MSW_OPTIMISER_ADAM,
              .rate = (float)o->learning_rate,
              .beta1 = (float)o->momentum,
              .beta2 = (float)o->beta2};

    if (r.adam) {
        r.scale1 = (float)(1 / (1 - pow(o->momentum, steps)));
        r.scale2 = (float)(1 / (1 - pow(o->beta2, steps)));
    }
    return r;
}

static void open_job(job *j, const msw_admm *admm, const msw__layer *l, bool write)
{
    memset(j, 0, sizeof *j);
    j->rule = rule_of(admm);
    j->rule.decay = l->plan ? (float)admm->options.weight_decay : 0;
    j->weights = msw__elements_of(l->weights);
    j->g = l->gradient->data;
    j->m = l->slots[0] ? l->slots[0]->data : NULL;
    j->v = l->slots[1] ? l->slots[1]->data : NULL;
    j->count = l->weights->count;
    j->write = write;
    atomic_init(&j->failed, false);
}

static msw_status try_layer(msw_admm *admm, const msw__layer *l)
{
    msw_status status;
    job j;

    open_job(&j, admm, l, false);
    status = msw__admm_try_tasks(admm, msw__element_tasks(j.count), step_task, &j);
    if (status)
        return msw__admm_fail(admm, status, "parallel_for failed");
    if (atomic_load(&j.failed))
        return msw__admm_fail(admm, MSW_E_NUMERIC,
                              "the step of \"%s\" is not finite: its gradient is too large",
                              l->name);
    return MSW_OK;
}

msw_status msw__optimiser_step(msw_admm *admm)
{
    job j;

    for (uint32_t i = 0; i < admm->layer_count; i++) {
        const msw_status status = try_layer(admm, &admm->layers[i]);

        if (status)
            return status;
    }
    for (uint32_t i = 0; i < admm->layer_count; i++) {
        open_job(&j, admm, &admm->layers[i], true);
        msw__admm_all_tasks(admm, msw__element_tasks(j.count), step_task, &j);
    }
    admm->steps++;
    return MSW_OK;
}
