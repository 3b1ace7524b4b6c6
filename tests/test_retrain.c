/* SPDX-License-Identifier: BSD-2-Clause */
/* The FROZEN phase: whatever optimiser trains, and whoever drives it, the structure stays
 * bit for bit; and the built-in optimisers are what they claim to be. */
#include "admm.h"
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 40 };

typedef enum method { PLAIN, MOMENTUM, NESTEROV, ADAM, ADAMW, METHODS } method;

/* One tensor, trained by a host of its own optimiser, its slots strided like it. */
typedef struct trainer {
    method method;
    fixture *f;
    msw_tensor *w, *grad, *first, *second;
    int steps;
} trainer;

static msw_tensor *zeros(fixture *f)
{
    msw_tensor *t = fixture_tensor(f);

    for (size_t i = 0; i < msw_tensor_count(t); i++)
        *fixture_at(f, t, i) = 0;
    return t;
}

static trainer trainer_setup(fixture *f, method m)
{
    return (trainer){.method = m, .f = f, .w = fixture_random_tensor(f),
                     .grad = zeros(f), .first = zeros(f), .second = zeros(f)};
}

static void trainer_teardown(trainer *t)
{
    fixture_free(t->w);
    fixture_free(t->grad);
    fixture_free(t->first);
    fixture_free(t->second);
}

/* What a mini-batch gives: large and noisy, so that magnitudes change their sign. */
static void backward(trainer *t)
{
    for (size_t i = 0; i < msw_tensor_count(t->w); i++)
        *fixture_at(t->f, t->grad, i) =
            (float)(2 * ref_normal(&t->f->random)) - 0.1f * *fixture_at(t->f, t->w, i);
}

static void step(trainer *t)
{
    const float rate = t->method >= ADAM ? 0.05f : 0.1f;
    const float decay = t->method == ADAMW ? 0.1f : 0;
    const float bias1 = 1 - powf(0.9f, (float)++t->steps);
    const float bias2 = 1 - powf(0.99f, (float)t->steps);

    for (size_t i = 0; i < msw_tensor_count(t->w); i++) {
        float *w = fixture_at(t->f, t->w, i), *m = fixture_at(t->f, t->first, i);
        float *v = fixture_at(t->f, t->second, i), g = *fixture_at(t->f, t->grad, i);

        switch (t->method) {
        case PLAIN:
            *w -= rate * g;
            break;
        case MOMENTUM:
            *m = 0.9f * *m + g;
            *w -= rate * *m;
            break;
        case NESTEROV:
            *m = 0.9f * *m + g;
            *w -= rate * (g + 0.9f * *m);
            break;
        default:
            *m = 0.9f * *m + 0.1f * g;
            *v = 0.99f * *v + 0.01f * g * g;
            *w -= rate * ((*m / bias1) / (sqrtf(*v / bias2) + 1e-8f) + decay * *w);
        }
    }
}

/* The structure of u0, down to the last bit: pruned is +0, a unified block has one
 * magnitude, and what the solver hands out is the tensor. */
static void assert_structure(fixture *f, const msw_admm *admm, const msw_unified *u0,
                             const msw_tensor *w)
{
    msw_unified *u, *refit;
    msw_tensor *dense, *same;

    assert_int_equal(fixture_verify(u0, w).violations, 0);
    assert_int_equal(msw_admm_unify(&u, admm, 0), MSW_OK);
    assert_int_equal(msw_unified_refit(&refit, u0, w), MSW_OK);
    dense = fixture_dense(f, u);
    same = fixture_dense(f, refit);
    for (size_t i = 0; i < msw_tensor_count(w); i++) {
        const float x = *fixture_at(f, w, i);

        assert_memory_equal(&x, fixture_at(f, dense, i), sizeof x);
        assert_memory_equal(&x, fixture_at(f, same, i), sizeof x);
    }
    fixture_free(dense);
    fixture_free(same);
    msw_unified_free(u);
    msw_unified_free(refit);
}

static msw_admm *solver_of(fixture *f, msw_tensor *w, const msw_admm_options *options)
{
    msw_layer_options o;
    msw_admm *admm;

    assert_int_equal(msw_admm_new(&admm, f->ctx, options), MSW_OK);
    msw_layer_options_init(&o);
    o.prune = 0.3;
    o.unify = 0.4;
    assert_int_equal(msw_admm_add_layer(admm, w, f->plan, &o), MSW_OK);
    return admm;
}

/* The host's own loop */

static void train(fixture *f, method m)
{
    trainer t = trainer_setup(f, m);
    msw_admm *admm = solver_of(f, t.w, NULL);
    msw_unified *u0;

    for (int k = 0; k < 6; k++) {
        backward(&t);
        assert_int_equal(msw_admm_add_penalty(admm, 0, t.grad, 1), MSW_OK);
        step(&t);
        if (k % 3 == 2)
            assert_int_equal(msw_admm_update(admm), MSW_OK);
    }
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&u0, admm, 0), MSW_OK);
    assert_int_equal(msw_admm_mask_slot(admm, 0, t.first, MSW_SLOT_LINEAR), MSW_OK);
    assert_int_equal(msw_admm_mask_slot(admm, 0, t.second, MSW_SLOT_SQUARED), MSW_OK);
    for (int k = 0; k < STEPS; k++) {
        backward(&t);
        assert_int_equal(msw_admm_mask_gradient(admm, 0, t.grad), MSW_OK);
        step(&t);
        assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
        assert_int_equal(fixture_verify(u0, t.w).violations, 0);
    }
    assert_structure(f, admm, u0, t.w);
    msw_unified_free(u0);
    msw_admm_free(admm);
    trainer_teardown(&t);
}

static void check_own_loop(fixture *f)
{
    for (method m = PLAIN; m < METHODS; m++)
        train(f, m);
}

static void own_loops_keep_the_structure(void **state)
{
    (void)state;
    fixture_for_all(check_own_loop);
}

/* A unified block trains its one magnitude: by the mean of s g, unscaled. */
static void check_magnitudes(fixture *f)
{
    trainer t = trainer_setup(f, PLAIN);
    msw_admm *admm = solver_of(f, t.w, NULL);
    const uint8_t *classes;
    msw_tensor *old, *grad;
    msw_unified *u0;

    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&u0, admm, 0), MSW_OK);
    classes = msw_unified_classes(u0);
    old = fixture_copy(f, t.w);
    backward(&t);
    grad = fixture_copy(f, t.grad);
    assert_int_equal(msw_admm_mask_gradient(admm, 0, t.grad), MSW_OK);
    step(&t);
    assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
    for (size_t b = 0; b < f->info.block_count; b++) {
        msw_block place;
        double mean = 0;

        msw_block_init(&place);
        assert_int_equal(msw_plan_get_block(&place, f->plan, b), MSW_OK);
        for (size_t i = 0; i < place.rows * place.columns; i++) {
            const size_t r = place.row + i / place.columns, c = place.column + i % place.columns;
            const double s = *ref_at(old, f->plan, r, c) < 0 ? -1 : 1;
            mean += s * (double)*ref_at(grad, f->plan, r, c);
        }
        mean /= (double)(place.rows * place.columns);
        for (size_t i = 0; i < place.rows * place.columns; i++) {
            const size_t r = place.row + i / place.columns, c = place.column + i % place.columns;
            const double w = (double)*ref_at(old, f->plan, r, c), s = w < 0 ? -1 : 1;
            const double g = classes[b] == MSW_CLASS_PRUNED    ? 0
                             : classes[b] == MSW_CLASS_UNIFIED ? s * mean
                                                               : (double)*ref_at(grad, f->plan, r, c);
            const double now = (double)*ref_at(t.w, f->plan, r, c);

            assert_true(fabs(now - (w - (double)0.1f * g)) < 1e-5);
        }
    }
    fixture_free(old);
    fixture_free(grad);
    msw_unified_free(u0);
    msw_admm_free(admm);
    trainer_teardown(&t);
}

static void a_unified_block_trains_its_magnitude(void **state)
{
    (void)state;
    fixture_for_all(check_magnitudes);
}

/* The library's loop. The model: weights in every layout, and a bias without a plan. */

typedef struct model {
    fixture *f;
    msw_tensor *w, *bias;
    float bias_data[5];
    method method;
    uint64_t random;
    size_t count;
    float *velocity;
} model;

static int model_loss(double *loss, float *const *grads, const float *const *weights,
                      uint32_t layer_count, void *user)
{
    model *m = user;

    (void)weights;
    *loss = 1;
    if (layer_count != 2)
        return -1;
    for (size_t i = 0; i < m->count; i++)
        grads[0][i] = (float)(2 * ref_normal(&m->random));
    for (size_t i = 0; i < 5; i++)
        grads[1][i] = 1;
    return 0;
}

/* The element of the weights that dense element i of the gradient belongs to. */
static size_t offset_of(const msw_tensor *t, size_t i)
{
    size_t offset = 0;

    for (uint32_t axis = msw_tensor_rank(t); axis-- > 0;) {
        offset += i % msw_tensor_dim(t, axis) * msw_tensor_stride(t, axis);
        i /= msw_tensor_dim(t, axis);
    }
    return offset;
}

/* Nesterov, by a host that neither masks nor knows that it should. */
static int model_step(float *const *weights, const float *const *grads,
                      uint32_t layer_count, void *user)
{
    model *m = user;

    (void)layer_count;
    for (size_t i = 0; i < m->count; i++) {
        m->velocity[i] = 0.9f * m->velocity[i] + grads[0][i] + 0.01f;
        weights[0][offset_of(m->w, i)] -= 0.1f * (grads[0][i] + 0.9f * m->velocity[i]);
    }
    for (size_t i = 0; i < 5; i++)
        weights[1][i] -= 0.5f * grads[1][i];
    return 0;
}

static void run_model(fixture *f, method how)
{
    static const size_t bias_shape[1] = {5};
    model m = {.f = f, .w = fixture_random_tensor(f), .method = how, .random = 5};
    msw_admm_options o;
    msw_unified *u0;
    msw_admm *admm;
    msw_host host;

    m.count = msw_tensor_count(m.w);
    m.velocity = calloc(m.count, sizeof *m.velocity);
    assert_non_null(m.velocity);
    msw_admm_options_init(&o);
    o.optimiser = how == ADAM ? MSW_OPTIMISER_ADAM : MSW_OPTIMISER_SGD;
    o.momentum = how == PLAIN ? -1 : 0;
    o.learning_rate = 0.1;
    o.update_every = 4;
    o.weight_decay = 0.01;
    admm = solver_of(f, m.w, &o);
    assert_int_equal(msw_tensor_borrow(&m.bias, f->ctx, m.bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, m.bias, NULL, NULL), MSW_OK);
    msw_host_init(&host);
    host.user = &m;
    host.loss_gradient = model_loss;
    host.step = how == NESTEROV ? model_step : NULL;
    assert_int_equal(msw_admm_run(admm, &host, 12), MSW_OK);
    assert_int_equal(msw_admm_updates(admm), 3);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&u0, admm, 0), MSW_OK);
    for (int k = 0; k < STEPS; k++) {
        assert_int_equal(msw_admm_run(admm, &host, 1), MSW_OK);
        assert_int_equal(fixture_verify(u0, m.w).violations, 0);
    }
    assert_structure(f, admm, u0, m.w);
    assert_int_equal(msw_admm_updates(admm), 3);
    for (size_t i = 0; i < 5; i++) /* the bias has trained, and alike */
        assert_true(m.bias_data[i] < -1 && m.bias_data[i] == m.bias_data[0]);
    msw_unified_free(u0);
    msw_admm_free(admm);
    msw_tensor_free(m.bias);
    fixture_free(m.w);
    free(m.velocity);
}

static void check_run(fixture *f)
{
    for (method m = PLAIN; m < METHODS; m++)
        run_model(f, m);
}

static void runs_keep_the_structure(void **state)
{
    (void)state;
    fixture_for_all(check_run);
}

/* Slots of the built-in optimiser live from run to run: in parts or at once, all the
 * same. */
static void run_in_parts(const uint64_t *parts, size_t count, uint32_t optimiser, float *out)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    model m = {.f = &f, .w = fixture_random_tensor(&f), .random = 5};
    static const size_t bias_shape[1] = {5};
    msw_admm_options o;
    msw_admm *admm;
    msw_host host;

    m.count = msw_tensor_count(m.w);
    msw_admm_options_init(&o);
    o.optimiser = optimiser;
    o.update_every = 7;
    admm = solver_of(&f, m.w, &o);
    assert_int_equal(msw_tensor_borrow(&m.bias, f.ctx, m.bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, m.bias, NULL, NULL), MSW_OK);
    msw_host_init(&host);
    host.user = &m;
    host.loss_gradient = model_loss;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(msw_admm_run(admm, &host, parts[i]), MSW_OK);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(msw_admm_run(admm, &host, parts[i]), MSW_OK);
    memcpy(out, msw_tensor_data(m.w), m.count * sizeof *out);
    msw_admm_free(admm);
    msw_tensor_free(m.bias);
    fixture_free(m.w);
    fixture_teardown(&f);
}

static void runs_go_on_where_they_ended(void **state)
{
    static const uint64_t whole[] = {30}, parts[] = {1, 0, 12, 3, 14};
    static float a[16 * 24], b[16 * 24];

    (void)state;
    for (uint32_t optimiser = 0; optimiser < 2; optimiser++) {
        run_in_parts(whole, 1, optimiser, a);
        run_in_parts(parts, 5, optimiser, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

/* The built-in optimisers against their formulas, in double, on free weights. */

static double formula(double w, double *m, double *v, double g, int step, uint32_t optimiser)
{
    g += 0.02 * w; /* weight decay */
    if (optimiser == MSW_OPTIMISER_SGD) {
        *m = 0.8 * *m + g;
        return w - 0.05 * *m;
    }
    *m = 0.8 * *m + 0.2 * g;
    *v = 0.95 * *v + 0.05 * g * g;
    return w - 0.05 * (*m / (1 - pow(0.8, step))) / (sqrt(*v / (1 - pow(0.95, step))) + 1e-8);
}

static void check_formula(uint32_t optimiser)
{
    static const size_t bias_shape[1] = {5};
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    model m = {.f = &f, .w = fixture_random_tensor(&f), .random = 5};
    uint64_t random = 5;
    msw_admm_options o;
    msw_admm *admm;
    msw_host host;
    double *w, *first, *second;

    m.count = msw_tensor_count(m.w);
    msw_admm_options_init(&o);
    o.optimiser = optimiser;
    o.learning_rate = 0.05;
    o.momentum = 0.8;
    o.beta2 = 0.95;
    o.weight_decay = 0.02;
    assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, m.w, f.plan, NULL), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&m.bias, f.ctx, m.bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, m.bias, NULL, NULL), MSW_OK);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    w = calloc(m.count, sizeof *w);
    first = calloc(m.count, sizeof *w);
    second = calloc(m.count, sizeof *w);
    assert_true(w && first && second);
    for (size_t i = 0; i < m.count; i++)
        w[i] = (double)msw_tensor_data(m.w)[i];
    msw_host_init(&host);
    host.user = &m;
    host.loss_gradient = model_loss;
    assert_int_equal(msw_admm_run(admm, &host, 20), MSW_OK);
    for (int k = 1; k <= 20; k++)
        for (size_t i = 0; i < m.count; i++)
            w[i] = formula(w[i], &first[i], &second[i],
                           (double)(float)(2 * ref_normal(&random)), k, optimiser);
    for (size_t i = 0; i < m.count; i++)
        assert_true(fabs(w[i] - (double)msw_tensor_data(m.w)[i]) < 2e-5);
    free(w);
    free(first);
    free(second);
    msw_admm_free(admm);
    msw_tensor_free(m.bias);
    fixture_free(m.w);
    fixture_teardown(&f);
}

static void optimisers_follow_their_formulas(void **state)
{
    (void)state;
    check_formula(MSW_OPTIMISER_SGD);
    check_formula(MSW_OPTIMISER_ADAM);
}

/* Odds and ends */

static void unconstrained_layers_are_left_alone(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    msw_tensor *w = fixture_random_tensor(&f), *grad = fixture_random_tensor(&f);
    msw_tensor *weights = fixture_copy(&f, w), *copy = fixture_copy(&f, grad);
    msw_unified *u;
    msw_admm *admm;

    (void)state;
    assert_int_equal(msw_admm_new(&admm, f.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, w, NULL, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_penalty(admm, 0, grad, 1), MSW_OK);
    assert_int_equal(msw_admm_update(admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_mask_gradient(admm, 0, grad), MSW_OK);
    assert_int_equal(msw_admm_mask_slot(admm, 0, grad, MSW_SLOT_SQUARED), MSW_OK);
    assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
    assert_int_equal(msw_admm_unify(&u, admm, 0), MSW_E_INVAL);
    assert_true(fixture_same_bits(&f, w, weights));
    assert_true(fixture_same_bits(&f, grad, copy));
    msw_admm_free(admm);
    fixture_free(w);
    fixture_free(grad);
    fixture_free(weights);
    fixture_free(copy);
    fixture_teardown(&f);
}

static void poison_is_not_masked(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[2], NULL);
    msw_tensor *w = fixture_random_tensor(&f), *slot = fixture_random_tensor(&f), *copy;
    msw_admm *admm = solver_of(&f, w, NULL);
    float kept;

    (void)state;
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_mask_slot(admm, 0, slot, (msw_slot)2), MSW_E_INVAL);
    *fixture_at(&f, slot, 40) = NAN;
    copy = fixture_copy(&f, slot);
    assert_int_equal(msw_admm_mask_slot(admm, 0, slot, MSW_SLOT_LINEAR), MSW_E_NUMERIC);
    assert_true(fixture_same_bits(&f, slot, copy));
    kept = *fixture_at(&f, w, 40);
    *fixture_at(&f, w, 40) = INFINITY;
    fixture_free(copy);
    copy = fixture_copy(&f, w);
    assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_E_NUMERIC);
    assert_true(fixture_same_bits(&f, w, copy));
    *fixture_at(&f, w, 40) = kept;
    assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
    assert_int_equal(msw_admm_mask_gradient(admm, 0, slot), MSW_OK); /* says nothing */
    msw_admm_free(admm);
    fixture_free(w);
    fixture_free(slot);
    fixture_free(copy);
    fixture_teardown(&f);
}

/* Freezing projects the slots of the built-in optimiser: no step revives a weight. */
static void slots_are_projected_by_freezing(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    static const size_t bias_shape[1] = {5};
    model m = {.f = &f, .w = fixture_random_tensor(&f), .random = 5};
    msw_admm_options o;
    msw_unified *u;
    msw_admm *admm;
    msw_host host;

    (void)state;
    m.count = msw_tensor_count(m.w);
    msw_admm_options_init(&o);
    o.optimiser = MSW_OPTIMISER_ADAM;
    admm = solver_of(&f, m.w, &o);
    assert_int_equal(msw_tensor_borrow(&m.bias, f.ctx, m.bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, m.bias, NULL, NULL), MSW_OK);
    msw_host_init(&host);
    host.user = &m;
    host.loss_gradient = model_loss;
    assert_int_equal(msw_admm_run(admm, &host, 10), MSW_OK);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&u, admm, 0), MSW_OK);
    assert_int_equal(fixture_verify(u, admm->layers[0].slots[0]).violations, 0);
    for (size_t b = 0; b < f.info.block_count; b++) {
        float v[16];
        const size_t n = ref_gather(v, admm->layers[0].slots[1], f.plan, b);

        for (size_t i = 0; i < n; i++) {
            if (msw_unified_classes(u)[b] == MSW_CLASS_PRUNED)
                assert_true(v[i] == 0);
            else
                assert_true(v[i] > 0 && (msw_unified_classes(u)[b] == MSW_CLASS_FREE ||
                                         v[i] == v[0]));
        }
    }
    assert_true(msw_tensor_data(admm->layers[1].slots[0])[0] > 0); /* the bias's: kept */
    msw_unified_free(u);
    msw_admm_free(admm);
    msw_tensor_free(m.bias);
    fixture_free(m.w);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_loops_keep_the_structure),
        cmocka_unit_test(a_unified_block_trains_its_magnitude),
        cmocka_unit_test(runs_keep_the_structure),
        cmocka_unit_test(runs_go_on_where_they_ended),
        cmocka_unit_test(optimisers_follow_their_formulas),
        cmocka_unit_test(unconstrained_layers_are_left_alone),
        cmocka_unit_test(poison_is_not_masked),
        cmocka_unit_test(slots_are_projected_by_freezing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
