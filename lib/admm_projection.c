/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's own projection of a layer. */
#include "admm.h"
#include "elements.h"
#include "walk.h"

#include <float.h>
#include <math.h>

static msw_status set_projection(msw_admm *admm, uint32_t layer, msw_project *project,
                                 void *user)
{
    msw__layer *l;
    msw_status status = msw__admm_layer(&l, admm, layer);

    if (status)
        return status;
    if (msw__admm_started(admm))
        return msw__admm_fail(admm, MSW_E_STATE, "projections come before everything else");
    if (!l->plan)
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has no plan", l->name);
    if (project && admm->options.relaxation == MSW_RELAXATION_STRAIGHT)
        return msw__admm_fail(admm, MSW_E_INVAL,
                              "latent weights have no projection of the host's own");
    if (project && l->merging)
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has a quadtree", l->name);
    l->project = project;
    l->project_user = project ? user : NULL;
    return MSW_OK;
}

msw_status msw_admm_set_projection(msw_admm *admm, uint32_t layer, msw_project *project,
                                   void *user)
{
    const msw_status status = msw__admm_enter(admm);

    return status ? status
                  : msw__admm_leave(admm, set_projection(admm, layer, project, user));
}

msw_status msw__layer_project(msw_admm *admm, uint32_t layer, double share, bool freezing)
{
    const msw__layer *l = &admm->layers[layer];
    const msw_projection_call call = {
        .size = sizeof call, .z = l->proposed->data, .count = l->proposed->count,
        .importance = l->importance ? l->importance->data : NULL, .plan = l->plan,
        .prune = share * l->prune, .unify = share * l->unify, .layer = layer,
        .freezing = freezing,
    };
    int code;

    admm->callback_frame = MSW__FRAME();
    code = l->project(&call, l->project_user);
    admm->callback_frame = 0;
    if (!code)
        return MSW_OK;
    admm->host_code = code;
    return msw__admm_fail(admm, MSW_E_HOST, "the projection of \"%s\" returned %d", l->name,
                          code);
}

/* What a block is: of weights as they must be, that of retraining. */

typedef struct finding {
    uint8_t *classes;
    uint32_t exclude;
} finding;

static bool all_of_size(const msw__cell *cell, float size)
{
    for (size_t r = 0; r < cell->rows; r++)
        for (size_t c = 0; c < cell->columns; c++)
            if (fabsf(cell->v[r * cell->ld + c]) != size)
                return false;
    return true;
}

static void find_class(const msw__cell *cell, void *arg)
{
    const finding *f = arg;
    const float size = fabsf(cell->v[0]);
    msw_class found = size == 0 ? MSW_CLASS_PRUNED : MSW_CLASS_UNIFIED;

    if ((cell->rows * cell->columns == 1 && size != 0) || !all_of_size(cell, size) ||
        f->exclude & (found == MSW_CLASS_PRUNED ? MSW_EXCLUDE_PRUNE : MSW_EXCLUDE_UNIFY))
        found = MSW_CLASS_FREE;
    f->classes[cell->block] = (uint8_t)found;
}

static msw_status take_structure(msw__layer *l)
{
    msw_context *ctx = l->plan->ctx;
    finding f = {.exclude = l->exclude};
    msw_status status;
    void *memory;

    status = msw__alloc(&memory, ctx, l->plan->block_count, 1);
    if (status)
        return status;
    f.classes = memory;
    status = msw__walk_blocks(&(msw__walk){.plan = l->plan, .tensor = l->proposed,
                                           .access = MSW__READ, .visit = find_class,
                                           .arg = &f});
    if (!status)
        status = msw__unified_take(&l->frozen, l->plan, l->proposed, NULL, f.classes,
                                   NULL);
    msw__free(ctx, f.classes, l->plan->block_count, 1);
    return status;
}

msw_status msw__layer_propose_own(msw_admm *admm, uint32_t layer, double share,
                                  bool freezing, bool own)
{
    msw__layer *l = &admm->layers[layer];
    msw_status status = msw__admm_check(admm, l, l->weights, FLT_MAX, "weight");

    if (!status)
        status = msw_tensor_new(&l->proposed, admm->ctx, l->plan->shape, l->plan->rank);
    if (!status && !own)
        msw__ranks_leave_out(l->proposed);
    if (status || !own)
        return status;
    msw__copy_elements(l->proposed, l->weights);
    return msw__layer_project(admm, layer, share, freezing);
}

msw_status msw__layer_take_own(msw_admm *admm, msw__layer *l)
{
    msw_status status = msw__admm_check(admm, l, l->proposed, FLT_MAX, "projection");

    if (!status)
        status = take_structure(l);
    msw_tensor_free(l->proposed);
    l->proposed = NULL;
    return status;
}
