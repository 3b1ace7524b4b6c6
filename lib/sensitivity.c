/* SPDX-License-Identifier: BSD-2-Clause */
/* How much the loss minds when a single layer is projected. */
#include "admm.h"
#include "elements.h"

#include <float.h>
#include <math.h>

enum { OLDEST_POINT = sizeof(msw_sensitivity_point) };

typedef struct trial {
    msw_admm *admm;
    const float **weights; /* for the callback */
    msw_tensor *kept;      /* of the layer under trial */
    msw_evaluate *evaluate;
    void *user;
} trial;

static msw_status evaluate(double *loss, const trial *t)
{
    msw_admm *admm = t->admm;
    int code;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        t->weights[i] = admm->layers[i].weights->data;
    *loss = (double)NAN;
    admm->callback_frame = MSW__FRAME();
    code = t->evaluate(loss, t->weights, admm->layer_count, t->user);
    admm->callback_frame = 0;
    if (code == 0)
        return MSW_OK;
    admm->host_code = code;
    return msw__admm_fail(admm, MSW_E_HOST, "evaluate returned %d", code);
}

/* One layer at one point; its weights come back bit for bit. */
static msw_status try_point(double *loss, const trial *t, msw__layer *l,
                            const msw_sensitivity_point *point)
{
    const msw__importance importance = {.h = l->importance, .scale = 1};
    msw_unified *u;
    msw_status status;

    status = msw__unified_fit(&u, l->plan, l->weights, &importance,
                              &(msw__shares){point->prune, point->unify, l->per_row});
    if (status)
        return status;
    msw__copy_elements(t->kept, l->weights);
    status = msw__unified_write(l->weights, u, NULL);
    msw_unified_free(u);
    if (!status)
        status = evaluate(loss, t);
    msw__copy_elements(l->weights, t->kept);
    return status;
}

static msw_status try_layer(double *losses, trial *t, msw__layer *l,
                            const msw_sensitivity_point *points, size_t count)
{
    msw_status status;

    if (!l->plan) {
        for (size_t i = 0; i < count; i++)
            losses[i] = (double)NAN;
        return MSW_OK;
    }
    status = msw__admm_check(t->admm, l, l->weights, FLT_MAX, "weight");
    if (!status)
        status = msw_tensor_new(&t->kept, t->admm->ctx, l->weights->shape,
                                l->weights->rank);
    for (size_t i = 0; i < count && !status; i++)
        status = try_point(&losses[i], t, l, &points[i]);
    msw_tensor_free(t->kept);
    t->kept = NULL;
    return status;
}

static msw_status take_points(msw_sensitivity_point *to, msw_admm *admm,
                              const msw_sensitivity_point *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *next = (const char *)from + i * from->size;
        const msw_status status = msw__take_options(&to[i], sizeof to[i], OLDEST_POINT, next);

        if (status)
            return status;
        if (!msw__shares_valid(to[i].prune, to[i].unify))
            return msw__admm_fail(admm, MSW_E_INVAL, "shares %g pruned and %g unified",
                                  to[i].prune, to[i].unify);
    }
    return MSW_OK;
}

static msw_status sensitivity(double *losses, double *base, trial *t,
                              const msw_sensitivity_point *points, size_t count)
{
    msw_admm *admm = t->admm;
    msw_status status = msw__admm_reserve_tasks(admm, admm->layers);

    if (!status)
        status = evaluate(base, t);
    for (uint32_t i = 0; i < admm->layer_count && !status; i++)
        status = try_layer(losses + i * count, t, &admm->layers[i], points, count);
    return status;
}

static msw_status run(double *losses, double *base, trial *t,
                      const msw_sensitivity_point *points, size_t count)
{
    msw_admm *admm = t->admm;
    void *weights, *taken = NULL;
    double unused;
    msw_status status;

    if (!losses || !points || !count || !t->evaluate || !admm->layer_count)
        return msw__admm_fail(admm, MSW_E_INVAL, "no points, layers or callback");
    status = msw__calloc(&weights, admm->ctx, admm->layer_count, sizeof *t->weights);
    if (status)
        return status;
    t->weights = weights;
    status = msw__calloc(&taken, admm->ctx, count, sizeof *points);
    if (!status)
        status = take_points(taken, admm, points, count);
    if (!status)
        status = sensitivity(losses, base ? base : &unused, t, taken, count);
    msw__free(admm->ctx, taken, count, sizeof *points);
    msw__free(admm->ctx, weights, admm->layer_count, sizeof *t->weights);
    return status;
}

msw_status msw_admm_sensitivity(double *losses, double *base, msw_admm *admm,
                                const msw_sensitivity_point *points, size_t point_count,
                                msw_evaluate *callback, void *user)
{
    trial t = {.admm = admm, .evaluate = callback, .user = user};
    const msw_status status = msw__admm_enter(admm);

    return status ? status
                  : msw__admm_leave(admm, run(losses, base, &t, points, point_count));
}
