/* SPDX-License-Identifier: BSD-2-Clause */
/* Tensors, plans and unified weights when memory fails; see oom.h. */
#include "oom.h"

#include <string.h>

/* Tensors and plans */

static msw_status new_tensor(world *w)
{
    static const size_t shape[3] = {5, 6, 7};

    w->status = msw_tensor_new(&w->tensor, w->ctx, shape, 3);
    return oom_made(w, w->tensor);
}

static msw_status new_plan(world *w)
{
    static const size_t shape[2] = {4, 3};
    static const uint32_t rows[4] = {3, 1, 0, 2}, columns[3] = {2, 1, 0};
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.row_permutation = rows;
    o.column_permutation = columns;
    w->status = msw_plan_new(&w->made_plan, w->ctx, shape, 2, &o);
    return oom_made(w, w->made_plan);
}

static uint64_t digest_plan(world *w)
{
    return oom_hash(oom_hash(1, msw_plan_row_permutation(w->made_plan),
                             4 * sizeof(uint32_t)),
                msw_plan_column_permutation(w->made_plan), 3 * sizeof(uint32_t));
}

/* Permutations */

static msw_status new_permutation(world *w)
{
    w->status = msw_permutation_new(&w->permutation, w->ctx);
    return oom_made(w, w->permutation);
}

static msw_status add_layers(world *w)
{
    msw_permutation_layer l;
    msw_status status;

    msw_permutation_layer_init(&l);
    l.prune = l.unify = 0.4;
    l.importance = w->tensor;
    for (uint32_t i = 1; i < 6; i++) { /* axes beyond the room there is at first */
        l.row_axis = 10 + 2 * i;
        l.column_axis = 11 + 2 * i;
        status = msw_permutation_add(w->permutation, w->plan, w->weights, &l);
        if (status)
            return status;
    }
    return MSW_OK;
}

static msw_status set_up_permutation(world *w)
{
    msw_permutation_layer l;

    for (size_t i = 0; i < COUNT; i++)
        w->extra[i] *= w->extra[i];
    msw_permutation_layer_init(&l);
    l.prune = l.unify = 0.4;
    l.row_axis = 3;
    if (oom_borrow_tensor(w) || msw_permutation_new(&w->permutation, w->ctx))
        return MSW_E_INVAL;
    l.importance = w->tensor;
    return msw_permutation_add(w->permutation, w->plan, w->weights, &l);
}

static msw_status search(world *w)
{
    return msw_permutation_search(w->permutation, 2);
}

static uint64_t digest_orders(world *w)
{
    return oom_hash(1, msw_permutation_order(NULL, w->permutation, 3),
                    ROWS * sizeof(uint32_t));
}

static msw_status set_up_search(world *w)
{
    const msw_status status = set_up_permutation(w);

    return status ? status : search(w);
}

static msw_status permuted_plan(world *w)
{
    w->status = msw_permutation_plan(&w->made_plan, w->permutation, 0);
    return oom_made(w, w->made_plan);
}

static uint64_t digest_columns(world *w)
{
    return oom_hash(1, msw_plan_column_permutation(w->made_plan),
                    COLUMNS * sizeof(uint32_t));
}

static msw_status apply_order(world *w)
{
    return msw_permutation_apply(w->tensor, 0, w->permutation, 3, 0, 0);
}

/* Unified weights */

static msw_status project_plain(world *w)
{
    w->status = oom_project(&w->made_u, w, NULL);
    return oom_made(w, w->made_u);
}

static msw_status set_up_importance(world *w)
{
    for (size_t i = 0; i < COUNT; i++)
        w->extra[i] *= w->extra[i];
    return oom_borrow_tensor(w);
}

static msw_status project_weighted(world *w)
{
    w->status = oom_project(&w->made_u, w, w->tensor);
    return oom_made(w, w->made_u);
}

static msw_status new_unified(world *w)
{
    w->status = msw_unified_new(&w->made_u, w->plan, w->weights, msw_unified_classes(w->u),
                                   ROWS / 4 * COLUMNS / 4);
    return oom_made(w, w->made_u);
}

static msw_status refit(world *w)
{
    w->status = msw_unified_refit(&w->made_u, w->u, w->tensor);
    return oom_made(w, w->made_u);
}

/* Merged blocks */

static msw_status quadtree(msw_unified **out, world *w, const msw_tensor *importance)
{
    msw_quadtree_options o;

    msw_quadtree_options_init(&o);
    o.price = 0.1;
    o.levels = 2;
    o.exclude = MSW_EXCLUDE_PRUNE;
    o.importance = importance;
    return msw_unified_from_quadtree(out, w->plan, w->weights, &o);
}

static msw_status make_quadtree(world *w)
{
    w->status = quadtree(&w->made_u, w, w->tensor);
    return oom_made(w, w->made_u);
}

static msw_status set_up_merged(world *w)
{
    const msw_status status = oom_set_up_unified(w);

    msw_unified_free(w->u);
    w->u = NULL;
    return status ? status : quadtree(&w->u, w, NULL);
}

static msw_status to_dense(world *w)
{
    return msw_unified_to_dense(w->tensor, w->u);
}

static msw_status project_tensor(world *w)
{
    return msw_unified_project(w->tensor, w->u);
}

static msw_status project_gradient(world *w)
{
    return msw_unified_project_gradient(w->tensor, w->u);
}

static msw_status project_slot(world *w)
{
    return msw_unified_project_slot(w->tensor, w->u, MSW_SLOT_SQUARED);
}

static msw_status verify(world *w)
{
    msw_verify_info info;
    msw_status status;

    msw_verify_info_init(&info);
    status = msw_unified_verify(&info, w->u, w->tensor);
    memcpy(w->y, &info, sizeof info);
    return status;
}

/* Budgets: bounded, importance and transport form take all the memory there is to take. */

static msw_status new_budget(world *w)
{
    msw_budget_options o;

    msw_budget_options_init(&o);
    o.resource = MSW_RESOURCE_MULTIPLY_ADDS;
    w->status = msw_budget_new(&w->budget, w->ctx, &o);
    return oom_made(w, w->budget);
}

static uint64_t digest_budget(world *w)
{
    const uint8_t *classes = msw_budget_classes(w->budget, 0);

    return classes ? oom_hash(1, classes, ROWS / 4 * COLUMNS / 4) : 2;
}

static msw_status set_up_budget(world *w)
{
    msw_store_options store;
    msw_budget_options o;
    const msw_status status = set_up_importance(w);

    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    msw_budget_options_init(&o);
    o.store = &store;
    return status ? status : msw_budget_new(&w->budget, w->ctx, &o);
}

static msw_status add_to_budget(world *w)
{
    msw_budget_layer layer;
    msw_status status;

    msw_budget_layer_init(&layer);
    layer.prune_min = 0.1;
    layer.unify_max = 0.4;
    layer.importance = w->tensor;
    status = msw_budget_add(w->budget, w->plan, w->weights, &layer);
    if ((msw_budget_layer_count(w->budget) == 1) != !status)
        w->bad = true;
    return status;
}

static msw_status set_up_choice(world *w)
{
    const msw_status status = set_up_budget(w);

    return status ? status : add_to_budget(w);
}

static msw_status choose(world *w)
{
    return msw_budget_choose(w->budget, 1900);
}

/* The same with merged blocks, which have no bounds. */
static msw_status add_merging(world *w)
{
    msw_budget_layer layer;
    msw_status status;

    msw_budget_layer_init(&layer);
    layer.levels = 2;
    layer.importance = w->tensor;
    status = msw_budget_add(w->budget, w->plan, w->weights, &layer);
    if ((msw_budget_layer_count(w->budget) == 1) != !status)
        w->bad = true;
    return status;
}

static msw_status set_up_merging(world *w)
{
    const msw_status status = set_up_budget(w);

    return status ? status : add_merging(w);
}

static uint64_t digest_merging(world *w)
{
    const uint8_t *levels = msw_budget_merge_levels(w->budget, 0);

    return levels ? oom_hash(digest_budget(w), levels, ROWS / 4 * COLUMNS / 4) : 2;
}

static const scenario scenarios[] = {
    {"budget_new", NULL, new_budget, digest_budget},
    {"budget_add", set_up_budget, add_to_budget, digest_budget},
    {"budget_choose", set_up_choice, choose, digest_budget},
    {"budget_add merging", set_up_budget, add_merging, digest_merging},
    {"budget_choose merging", set_up_merging, choose, digest_merging},
    {"tensor_new", NULL, new_tensor, oom_digest_tensor},
    {"tensor_borrow", NULL, oom_borrow_tensor, oom_digest_tensor},
    {"plan_new", NULL, new_plan, digest_plan},
    {"permutation_new", NULL, new_permutation, NULL},
    {"permutation_add", set_up_permutation, add_layers, NULL},
    {"permutation_search", set_up_permutation, search, digest_orders},
    {"permutation_plan", set_up_search, permuted_plan, digest_columns},
    {"permutation_apply", set_up_search, apply_order, oom_digest_extra},
    {"unified_from", NULL, project_plain, oom_digest_unified},
    {"unified_from weighted", set_up_importance, project_weighted, oom_digest_unified},
    {"unified_new", oom_set_up_unified, new_unified, oom_digest_unified},
    {"unified_refit", oom_set_up_unified, refit, oom_digest_unified},
    {"unified_from_quadtree", set_up_importance, make_quadtree, oom_digest_unified},
    {"unified_refit merged", set_up_merged, refit, oom_digest_unified},
    {"unified_project merged", set_up_merged, project_tensor, oom_digest_extra},
    {"unified_verify merged", set_up_merged, verify, oom_digest_y},
    {"unified_to_dense", oom_set_up_unified, to_dense, oom_digest_extra},
    {"unified_project", oom_set_up_unified, project_tensor, oom_digest_extra},
    {"unified_project_gradient", oom_set_up_unified, project_gradient, oom_digest_extra},
    {"unified_project_slot", oom_set_up_unified, project_slot, oom_digest_extra},
    {"unified_verify", oom_set_up_unified, verify, oom_digest_y},
};

int main(void)
{
    return oom_main(scenarios, sizeof scenarios / sizeof *scenarios);
}
