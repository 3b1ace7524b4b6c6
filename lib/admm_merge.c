/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers whose blocks may be merged: their Z is on nodes of a quadtree. */
#include "admm.h"

/* Options */

static msw_status check_options(msw_admm *admm, const msw_layer_options *o)
{
    const uint32_t relaxation = admm->options.relaxation;

    if (o->prune != 0 || o->unify != 0 || o->per_row)
        return msw__admm_fail(admm, MSW_E_INVAL, "a quadtree, and shares");
    if (relaxation != MSW_RELAXATION_ADMM && relaxation != MSW_RELAXATION_SOFT)
        return msw__admm_fail(admm, MSW_E_INVAL, "a quadtree with another relaxation than "
                              "ADMM or soft projection");
    return MSW_OK;
}

msw_status msw__layer_take_quadtree(msw_admm *admm, msw__layer *l,
                                    const msw_layer_options *o)
{
    const msw_tensor *importance = NULL;
    msw_status status;

    if (!o->quadtree)
        return MSW_OK;
    status = check_options(admm, o);
    if (status)
        return status;
    status = msw__quadtree_take(&l->quadtree, &importance, o->quadtree);
    if (status)
        return msw__admm_fail(admm, status, "quadtree: %s", msw_status_text(status));
    if (importance)
        return msw__admm_fail(admm, MSW_E_INVAL, "msw_admm_set_importance() is for that");
    l->merging = true;
    l->exclude |= l->quadtree.exclude;
    l->quadtree.exclude = l->exclude;
    return MSW_OK;
}

msw_status msw__layer_merges(msw_admm *admm, const msw__layer *l,
                             const msw_budget_options *budget,
                             const msw_store_options *store, const msw_budget_layer *o)
{
    const msw__layer_resource resource = {.resource = budget->resource, .store = *store,
                                          .float_bits = o->float_bits};

    if (!l->plan || !l->merging)
        return MSW_OK;
    if (o->prune_min > 0 || o->unify_min > 0 || o->prune_max < 1 || o->unify_max < 1)
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has a quadtree: no bounds",
                              l->name);
    if (l->quadtree.levels && !msw__resource_merges(&resource))
        return msw__admm_fail(admm, MSW_E_INVAL, "\"%s\" has a quadtree: merging saves "
                              "bytes alone, and not those of the packed form", l->name);
    return MSW_OK;
}

/* Choosing */

uint8_t *msw__layer_levels(const msw_admm *admm, const msw__layer *l)
{
    return l->merging ? admm->scratch.levels + l->scratch_block : NULL;
}

void msw__layer_tree(msw__tree *t, const msw_admm *admm, const msw__layer *l)
{
    const msw__admm_scratch *s = &admm->scratch;

    *t = (msw__tree){
        .plan = l->plan, .candidates = s->candidates + l->scratch_block,
        .means = s->magnitudes + l->scratch_block,
        .weights = s->weights + l->scratch_block, .classes = s->classes + l->scratch_block,
        .levels = msw__layer_levels(admm, l), .most = l->quadtree.levels,
        .exclude = l->exclude,
    };
}

void msw__layer_choose_nodes(msw_admm *admm, const msw__layer *l, double part)
{
    msw__tree t;

    msw__layer_tree(&t, admm, l);
    msw__quadtree_project(&t, &l->quadtree, part);
    msw__tree_magnitudes(t.means, &t);
}
