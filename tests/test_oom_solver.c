/* SPDX-License-Identifier: BSD-2-Clause */
/* The solver when memory fails; see oom.h. */
#include "oom.h"

/* The solver: two layers, the second unconstrained; loss 1/2 ||W - extra||^2 */

static msw_status add_layers(world *w)
{
    static const size_t shape[1] = {ROWS};
    msw_layer_options o;
    msw_tensor *bias;
    msw_status status;

    msw_layer_options_init(&o);
    o.name = "weights";
    o.prune = 0.3;
    o.unify = 0.5;
    status = msw_admm_add_layer(w->admm, w->weights, w->plan, &o);
    if (status)
        return status;
    status = msw_tensor_borrow(&bias, w->ctx, w->y, shape, NULL, 1);
    if (!status)
        status = msw_admm_add_layer(w->admm, bias, NULL, NULL);
    msw_tensor_free(bias);
    return status;
}

static size_t importance_memory;

static msw_status make_solver(world *w, uint32_t optimiser)
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.updates = 4;
    o.update_every = 2;
    o.rollback = 1;
    o.importance_memory = importance_memory;
    o.optimiser = optimiser;
    w->status = msw_admm_new(&w->admm, w->ctx, &o);
    return oom_made(w, w->admm);
}

static msw_status new_solver(world *w)
{
    return make_solver(w, MSW_OPTIMISER_SGD);
}

static uint64_t digest_solver(world *w)
{
    return msw_admm_layer_count(w->admm) + 1;
}

/* On failure neither layer or only the first was added: start with those missing. */
static msw_status add_first_layer(world *w)
{
    msw_layer_options o;
    msw_status status;

    msw_layer_options_init(&o);
    o.name = "weights";
    o.prune = 0.3;
    status = msw_admm_add_layer(w->admm, w->weights, w->plan, &o);
    if ((msw_admm_layer_count(w->admm) == 1) != !status)
        w->bad = true;
    return status;
}

static msw_status set_up_sgd(world *w)
{
    msw_status status = oom_borrow_tensor(w);

    if (!status)
        status = make_solver(w, MSW_OPTIMISER_SGD);
    return status ? status : add_layers(w);
}

static msw_status set_up_adam(world *w)
{
    msw_status status = oom_borrow_tensor(w);

    if (!status)
        status = make_solver(w, MSW_OPTIMISER_ADAM);
    return status ? status : add_layers(w);
}

/* In the transport form, which takes the most memory. */
static msw_status set_up_budget(world *w)
{
    msw_store_options store;
    msw_budget_options o;
    msw_budget_layer layer;
    msw_status status = set_up_sgd(w);

    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    msw_budget_options_init(&o);
    o.store = &store;
    msw_budget_layer_init(&layer);
    layer.unify_min = 0.1;
    if (!status)
        status = msw_admm_set_budget(w->admm, 1800, &o);
    return status ? status : msw_admm_set_budget_layer(w->admm, 0, &layer);
}

/* Merged blocks. */

static msw_status set_up_merging(world *w)
{
    msw_quadtree_options q;
    msw_layer_options o;
    msw_status status = oom_borrow_tensor(w);

    msw_quadtree_options_init(&q);
    q.levels = 2;
    q.price = 0.05;
    msw_layer_options_init(&o);
    o.name = "weights";
    o.quadtree = &q;
    if (!status)
        status = make_solver(w, MSW_OPTIMISER_SGD);
    return status ? status : msw_admm_add_layer(w->admm, w->weights, w->plan, &o);
}

static msw_status set_up_merging_update(world *w)
{
    const msw_status status = set_up_merging(w);

    return status ? status : msw_admm_update(w->admm);
}

static msw_status set_up_merging_budget(world *w)
{
    const msw_status status = set_up_merging(w);

    return status ? status : msw_admm_set_budget(w->admm, 1800, NULL);
}

static msw_status set_up_budget_update(world *w)
{
    const msw_status status = set_up_budget(w);

    return status ? status : msw_admm_update(w->admm);
}

static msw_status add_plan(world *w)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    msw_plan_options o;
    msw_plan *plan;
    msw_status status;

    msw_plan_options_init(&o);
    o.block_rows = 2;
    o.block_columns = 6;
    status = msw_plan_new(&plan, w->ctx, shape, 2, &o);
    if (!status)
        status = msw_admm_add_plan(w->admm, 0, plan);
    msw_plan_free(plan);
    return status;
}

static msw_status set_up_plans(world *w)
{
    const msw_status status = set_up_budget(w);

    return status ? status : add_plan(w);
}

static msw_status set_up_collecting(world *w)
{
    msw_status status;

    importance_memory = 4;
    status = set_up_sgd(w);
    importance_memory = 0;
    return status;
}

static msw_status add_gradient(world *w)
{
    return msw_admm_add_gradient(w->admm, 0, w->tensor);
}

static msw_status set_up_collected(world *w)
{
    msw_status status = set_up_collecting(w);

    if (!status)
        status = add_gradient(w);
    return status ? status : msw_admm_update(w->admm);
}

static msw_status set_up_frozen(world *w)
{
    msw_status status = set_up_sgd(w);

    if (!status)
        status = msw_admm_update(w->admm);
    return status ? status : msw_admm_freeze(w->admm);
}

static msw_status set_up_relaxation(world *w, uint32_t relaxation)
{
    msw_status status = oom_borrow_tensor(w);
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.relaxation = relaxation;
    o.update_every = 2;
    if (!status)
        status = msw_admm_new(&w->admm, w->ctx, &o);
    return status ? status : add_layers(w);
}

static msw_status set_up_soft(world *w)
{
    return set_up_relaxation(w, MSW_RELAXATION_SOFT);
}

static msw_status set_up_soft_budget(world *w)
{
    const msw_status status = set_up_soft(w);

    return status ? status : msw_admm_set_budget(w->admm, 1800, NULL);
}

static msw_status set_up_envelope(world *w)
{
    return set_up_relaxation(w, MSW_RELAXATION_ENVELOPE);
}

static msw_status set_up_straight(world *w)
{
    return set_up_relaxation(w, MSW_RELAXATION_STRAIGHT);
}

static msw_status set_up_straight_update(world *w)
{
    const msw_status status = set_up_straight(w);

    return status ? status : msw_admm_update(w->admm);
}

static msw_status show_latent(world *w)
{
    return msw_admm_show_latent(w->admm);
}

static int keep_half(const msw_projection_call *call, void *user)
{
    (void)user;
    for (size_t i = 0; i < call->count; i += 2)
        call->z[i] = 0;
    return 0;
}

static msw_status set_up_projection(world *w)
{
    const msw_status status = set_up_sgd(w);

    return status ? status : msw_admm_set_projection(w->admm, 0, keep_half, NULL);
}

static msw_status set_up_projection_update(world *w)
{
    const msw_status status = set_up_projection(w);

    return status ? status : msw_admm_update(w->admm);
}

static uint64_t digest_w(world *w)
{
    return oom_hash(1, w->w, sizeof w->w);
}

static msw_status add_penalty(world *w)
{
    return msw_admm_add_penalty(w->admm, 0, w->tensor, -2);
}

static msw_status set_up_update(world *w)
{
    const msw_status status = set_up_sgd(w);

    return status ? status : msw_admm_update(w->admm);
}

static msw_status update(world *w)
{
    return msw_admm_update(w->admm);
}

/* Solver state shows in Z. */
static uint64_t digest_z(world *w)
{
    return msw_admm_get_z(w->tensor, w->admm, 0) ? 0 : oom_digest_extra(w);
}

static msw_status get_z(world *w)
{
    return msw_admm_get_z(w->tensor, w->admm, 0);
}

static msw_status set_importance(world *w)
{
    msw_status status;

    for (size_t i = 0; i < COUNT; i++)
        w->extra[i] = (float)(i % 7);
    status = msw_admm_set_importance(w->admm, 0, w->tensor);
    return status;
}

static uint64_t digest_update(world *w)
{
    return update(w) ? 0 : digest_z(w);
}

static msw_status freeze(world *w)
{
    return msw_admm_freeze(w->admm);
}

static msw_status unify(world *w)
{
    w->status = msw_admm_unify(&w->made_u, w->admm, 0);
    return oom_made(w, w->made_u);
}

static msw_status mask_gradient(world *w)
{
    return msw_admm_mask_gradient(w->admm, 0, w->tensor);
}

static msw_status mask_weights(world *w)
{
    return msw_admm_mask_weights(w->admm, 0);
}

static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    const world *w = user;

    *loss = 0;
    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < (l ? (size_t)ROWS : COUNT); i++) {
            grads[l][i] = weights[l][i] - w->extra[i];
            *loss += 0.5 * (double)grads[l][i] * (double)grads[l][i];
        }
    return 0;
}

static msw_status run_solver(world *w)
{
    msw_host host;

    msw_host_init(&host);
    host.user = w;
    host.loss_gradient = loss_gradient;
    return msw_admm_run(w->admm, &host, 5);
}

/* The weights come back whatever happens. */
static int evaluate(double *loss, const float *const *weights, uint32_t layer_count,
                    void *user)
{
    (void)layer_count;
    (void)user;
    *loss = (double)weights[0][3];
    return 0;
}

static msw_status sensitivity(world *w)
{
    const uint64_t before = digest_w(w);
    msw_sensitivity_point point;
    double losses[2];
    msw_status status;

    msw_sensitivity_point_init(&point);
    point.prune = 0.5;
    status = msw_admm_sensitivity(losses, NULL, w->admm, &point, 1, evaluate, w);
    if (digest_w(w) != before)
        w->bad = true;
    return status;
}

/* Saving and loading */

static msw_status save(world *w)
{
    msw_status status = msw_writer_new(&w->writer, w->ctx);

    if (!status)
        status = msw_admm_save(w->writer, w->admm);
    if (!status) {
        w->image_size = (size_t)msw_writer_bytes(w->writer);
        status = msw_writer_write_buffer(w->writer, w->image, IMAGE);
    }
    if (status) {
        msw_writer_free(w->writer);
        w->writer = NULL;
    }
    return status;
}

/* All planned updates done: the classes stay. */
static msw_status set_up_settled(world *w)
{
    msw_status status = set_up_straight(w);

    for (int k = 0; k < 25 && !status; k++)
        status = msw_admm_update(w->admm);
    return status;
}

static uint64_t digest_image(world *w)
{
    return oom_hash(1, w->image, w->image_size);
}

/* A state to load: the weights move on behind it. */
static msw_status set_up_saved(world *w, msw_status (*set_up)(world *w))
{
    msw_status status = set_up(w);

    if (!status)
        status = run_solver(w);
    if (!status)
        status = save(w);
    if (!status)
        status = run_solver(w);
    if (!status)
        status = msw_reader_open_buffer(&w->reader, w->ctx, w->image, w->image_size, NULL);
    return status;
}

static msw_status set_up_saved_straight(world *w)
{
    return set_up_saved(w, set_up_straight);
}

static msw_status set_up_saved_adam(world *w)
{
    return set_up_saved(w, set_up_adam);
}

static msw_status set_up_saved_projection(world *w)
{
    return set_up_saved(w, set_up_projection);
}

static msw_status set_up_saved_frozen(world *w)
{
    return set_up_saved(w, set_up_frozen);
}

/* Nothing changes on failure, on which the weights tell. */
static msw_status load(world *w)
{
    const uint64_t before = digest_w(w);
    const msw_status status = msw_admm_load(w->admm, w->reader);

    if ((digest_w(w) == before) != (status != MSW_OK))
        w->bad = true;
    return status;
}

static const scenario scenarios[] = {
    {"admm_new", NULL, new_solver, digest_solver},
    {"admm_add_layer", new_solver, add_first_layer, digest_solver},
    {"admm_add_penalty", set_up_sgd, add_penalty, oom_digest_extra},
    {"admm_update, the first", set_up_sgd, update, digest_z},
    {"admm_update", set_up_update, update, digest_z},
    {"admm_update, soft", set_up_soft, update, digest_w},
    {"admm_run, soft", set_up_soft, run_solver, NULL},
    {"admm_update, own projection, the first", set_up_projection, update, digest_z},
    {"admm_update, own projection", set_up_projection_update, update, digest_z},
    {"admm_freeze, own projection", set_up_projection_update, freeze, digest_w},
    {"admm_save, own projection", set_up_projection_update, save, digest_image},
    {"admm_load, own projection", set_up_saved_projection, load, digest_w},
    {"admm_update, soft, of a budget", set_up_soft_budget, update, digest_w},
    {"admm_update, straight", set_up_straight_update, update, digest_w},
    {"admm_update, straight, the first", set_up_straight, update, digest_w},
    {"admm_show_latent", set_up_straight, show_latent, digest_w},
    {"admm_run, straight", set_up_straight, run_solver, NULL},
    {"admm_freeze, straight", set_up_straight_update, freeze, digest_w},
    {"admm_freeze, straight, settled", set_up_settled, freeze, digest_w},
    {"admm_save, straight", set_up_straight_update, save, digest_image},
    {"admm_load, straight", set_up_saved_straight, load, digest_w},
    {"admm_update, merging, the first", set_up_merging, update, digest_z},
    {"admm_update, merging", set_up_merging_update, update, digest_z},
    {"admm_update, merging, of a budget", set_up_merging_budget, update, digest_z},
    {"admm_freeze, merging, at once", set_up_merging, freeze, digest_w},
    {"admm_freeze, merging", set_up_merging_update, freeze, digest_w},
    {"admm_freeze, merging, of a budget", set_up_merging_budget, freeze, digest_w},
    {"admm_save, merging", set_up_merging_update, save, digest_image},
    {"admm_update, envelope", set_up_envelope, update, digest_z},
    {"admm_run, envelope", set_up_envelope, run_solver, NULL},
    {"admm_set_importance", set_up_sgd, set_importance, digest_update},
    {"admm_get_z", set_up_update, get_z, oom_digest_extra},
    {"admm_freeze at once", set_up_sgd, freeze, digest_w},
    {"admm_freeze", set_up_update, freeze, digest_w},
    {"admm_update of a budget, the first", set_up_budget, update, digest_z},
    {"admm_update of a budget", set_up_budget_update, update, digest_z},
    {"admm_freeze of a budget at once", set_up_budget, freeze, digest_w},
    {"admm_freeze of a budget", set_up_budget_update, freeze, digest_w},
    {"admm_save of a budget", set_up_budget_update, save, digest_image},
    {"admm_add_plan", set_up_budget, add_plan, digest_update},
    {"admm_update of several plans, the first", set_up_plans, update, digest_z},
    {"admm_freeze of several plans at once", set_up_plans, freeze, digest_w},
    {"admm_add_gradient", set_up_collecting, add_gradient, digest_update},
    {"admm_update with collected importance", set_up_collected, update, digest_z},
    {"admm_run, collecting importance", set_up_collecting, run_solver, NULL},
    {"admm_save of collected importance", set_up_collected, save, digest_image},
    {"admm_sensitivity", set_up_sgd, sensitivity, digest_w},
    {"admm_unify", set_up_frozen, unify, oom_digest_unified},
    {"admm_mask_gradient", set_up_frozen, mask_gradient, oom_digest_extra},
    {"admm_mask_weights", set_up_frozen, mask_weights, digest_w},
    {"admm_run, SGD", set_up_sgd, run_solver, NULL},
    {"admm_run, Adam", set_up_adam, run_solver, NULL},
    {"admm_run, frozen", set_up_frozen, run_solver, NULL},
    {"admm_save", set_up_update, save, digest_image},
    {"admm_save, frozen", set_up_frozen, save, digest_image},
    {"admm_load", set_up_saved_adam, load, digest_w},
    {"admm_load, frozen", set_up_saved_frozen, load, digest_w},
};

int main(void)
{
    return oom_main(scenarios, sizeof scenarios / sizeof *scenarios);
}
