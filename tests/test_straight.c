/* SPDX-License-Identifier: BSD-2-Clause */
/* Latent weights behind their projection, against their definition. */
#include "file_fixture.h"
#include "fixture.h"

#include <msw/msw.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    fixture *f;
    msw_tensor *w, *latent; /* the host's, and what the latent ones must be */
    msw_admm *admm;
    size_t count;
} subject;

static msw_admm_options straight_options(void)
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.relaxation = MSW_RELAXATION_STRAIGHT;
    o.updates = 3;
    return o;
}

static subject open_subject(fixture *f, const msw_admm_options *o)
{
    subject s = {.f = f, .w = fixture_random_tensor(f)};
    msw_layer_options l;

    s.count = msw_tensor_count(s.w);
    s.latent = fixture_copy(f, s.w);
    assert_int_equal(msw_admm_new(&s.admm, f->ctx, o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.3;
    l.unify = 0.4;
    assert_int_equal(msw_admm_add_layer(s.admm, s.w, f->plan, &l), MSW_OK);
    return s;
}

static void close_subject(subject *s)
{
    msw_admm_free(s->admm);
    fixture_free(s->w);
    fixture_free(s->latent);
}

static float at(const subject *s, const msw_tensor *t, size_t i)
{
    return *fixture_at(s->f, t, i);
}

/* A step of the host on the latent weights, some of which change their signs. */
static void step(subject *s)
{
    assert_int_equal(msw_admm_show_latent(s->admm), MSW_OK);
    assert_true(fixture_same_bits(s->f, s->w, s->latent));
    for (size_t i = 0; i < s->count; i++) {
        const float off = 0.5f * (float)ref_normal(&s->f->random);

        *fixture_at(s->f, s->w, i) += off;
        *fixture_at(s->f, s->latent, i) += off;
    }
    assert_int_equal(msw_admm_show_blocks(s->admm), MSW_OK);
}

/* The weights are `u`, which is freed. */
static void assert_shows(const subject *s, msw_unified *u)
{
    msw_tensor *dense = fixture_dense(s->f, u);

    for (size_t i = 0; i < s->count; i++)
        assert_true(at(s, s->w, i) == at(s, dense, i));
    msw_unified_free(u);
    fixture_free(dense);
}

static msw_unified *fitted(const subject *s, const msw_tensor *importance)
{
    return fixture_project(s->f, s->latent, 0.3, 0.4, importance);
}

/* The latent weights onto the classes of `u`, which is freed. */
static msw_unified *followed(const subject *s, msw_unified *u)
{
    msw_unified *out;

    assert_int_equal(msw_unified_new(&out, s->f->plan, s->latent, msw_unified_classes(u),
                                     (size_t)s->f->info.block_count), MSW_OK);
    msw_unified_free(u);
    return out;
}

static void check_definition(fixture *f)
{
    const msw_admm_options o = straight_options();
    subject s = open_subject(f, &o);
    msw_unified *last;

    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, NULL));
    for (int k = 0; k < 4; k++) {
        last = fitted(&s, NULL);
        step(&s);
        assert_shows(&s, followed(&s, msw_unified_ref(last)));
        step(&s);
        assert_shows(&s, followed(&s, last));
        if (k == 2)
            break;
        assert_int_equal(msw_admm_update(s.admm), MSW_OK);
        assert_shows(&s, fitted(&s, NULL));
    }
    assert_int_equal(msw_admm_updates(s.admm), 3);
    close_subject(&s);
}

static void every_layout_by_its_definition(void **state)
{
    (void)state;
    fixture_for_all(check_definition);
}

/* By importance the mean magnitude is a weighted one. */
static void check_importance(fixture *f)
{
    const msw_admm_options o = straight_options();
    subject s = open_subject(f, &o);
    msw_tensor *h = fixture_random_tensor(f);

    for (size_t i = 0; i < s.count; i++)
        *fixture_at(f, h, i) = fabsf(at(&s, h, i)) + 0.1f;
    assert_int_equal(msw_admm_set_importance(s.admm, 0, h), MSW_OK);
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, h));
    assert_int_equal(msw_admm_show_latent(s.admm), MSW_OK);
    assert_int_equal(msw_admm_show_blocks(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, h));
    step(&s);
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, h));
    assert_int_equal(msw_admm_set_importance(s.admm, 0, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, NULL));
    close_subject(&s);
    fixture_free(h);
}

static void importance_counts_in_every_step(void **state)
{
    (void)state;
    fixture_for_all(check_importance);
}

static double residual_of(const subject *s)
{
    double off = 0, norm = 0;

    for (size_t i = 0; i < s->count; i++) {
        const double v = (double)at(s, s->latent, i), d = v - (double)at(s, s->w, i);

        off += d * d;
        norm += v * v;
    }
    return sqrt(off / norm);
}

static void classes_stay_when_settled(void **state)
{
    static const layout large = {MSW_WEIGHTS_OI, 0, {131, 257}, 2, 4, 4, 0, false, false};
    fixture f = fixture_setup(&large, NULL);
    const msw_admm_options o = straight_options();
    subject s = open_subject(&f, &o);
    msw_unified *last, *frozen;

    (void)state;
    for (int k = 0; k < 3; k++) {
        step(&s);
        assert_int_equal(msw_admm_update(s.admm), MSW_OK);
        assert_true(fabs(msw_admm_residual(s.admm, 0, MSW_RESIDUAL_PRIMAL) -
                         residual_of(&s)) < 1e-6);
        assert_true(isnan(msw_admm_residual(s.admm, 0, MSW_RESIDUAL_DUAL)));
    }
    last = fitted(&s, NULL);
    for (int k = 0; k < 5; k++)
        step(&s);
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_int_equal(msw_admm_updates(s.admm), 4);
    assert_true(fabs(msw_admm_residual(s.admm, 0, MSW_RESIDUAL_PRIMAL) - residual_of(&s)) <
                1e-6);
    assert_shows(&s, followed(&s, msw_unified_ref(last)));
    assert_int_equal(msw_admm_class_count(s.admm, 0, MSW_CLASS_PRUNED),
                     fixture_info(last).pruned_blocks);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_OK);
    last = followed(&s, last);
    assert_int_equal(msw_admm_unify(&frozen, s.admm, 0), MSW_OK);
    assert_int_equal(fixture_verify(last, s.w).violations, 0);
    assert_memory_equal(msw_unified_classes(frozen), msw_unified_classes(last),
                        (size_t)f.info.block_count);
    msw_unified_free(frozen);
    assert_shows(&s, last);
    close_subject(&s);
    fixture_teardown(&f);
}

/* Before that, freezing chooses a last time. */
static void freezing_chooses_until_then(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    const msw_admm_options o = straight_options();
    subject s = open_subject(&f, &o);

    (void)state;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    for (int k = 0; k < 3; k++)
        step(&s);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, NULL));
    assert_int_equal(msw_admm_show_latent(s.admm), MSW_E_STATE);
    close_subject(&s);
    fixture_teardown(&f);
}

static void order_of_calls(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o = straight_options();
    subject s = open_subject(&f, &o);
    msw_tensor *z = fixture_tensor(&f), *grad = fixture_random_tensor(&f);
    msw_tensor *same = fixture_copy(&f, grad);
    msw_writer *writer;

    (void)state;
    assert_int_equal(msw_admm_show_blocks(s.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_add_penalty(s.admm, 0, grad, 1), MSW_OK);
    assert_true(fixture_same_bits(&f, grad, same));
    assert_true(fixture_same_bits(&f, s.w, s.latent));
    assert_int_equal(msw_admm_show_latent(s.admm), MSW_OK);
    assert_true(fixture_same_bits(&f, s.w, s.latent));
    assert_int_equal(msw_admm_add_layer(s.admm, grad, f.plan, NULL), MSW_E_STATE);
    assert_int_equal(msw_admm_update(s.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_updates(s.admm), 0);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_phase(s.admm), MSW_PHASE_ADMM);
    assert_int_equal(msw_writer_new(&writer, f.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, s.admm), MSW_E_STATE);
    msw_writer_free(writer);
    assert_int_equal(msw_admm_get_z(z, s.admm, 0), MSW_OK); /* before it is shown */
    assert_int_equal(msw_admm_show_blocks(s.admm), MSW_OK);
    for (size_t i = 0; i < s.count; i++)
        assert_true(at(&s, z, i) == at(&s, s.w, i));
    assert_shows(&s, fitted(&s, NULL));
    assert_int_equal(msw_admm_get_z(z, s.admm, 0), MSW_OK);
    for (size_t i = 0; i < s.count; i++)
        assert_true(at(&s, z, i) == at(&s, s.w, i));
    close_subject(&s);
    o.relaxation = MSW_RELAXATION_ADMM;
    s = open_subject(&f, &o);
    assert_int_equal(msw_admm_show_latent(s.admm), MSW_E_STATE);
    assert_int_equal(msw_admm_show_blocks(s.admm), MSW_E_STATE);
    close_subject(&s);
    fixture_free(z);
    fixture_free(grad);
    fixture_free(same);
    fixture_teardown(&f);
}

static int no_projection(const msw_projection_call *call, void *user)
{
    (void)call;
    (void)user;
    return 0;
}

static void what_cannot_be_combined(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o = straight_options();
    subject s = open_subject(&f, &o);
    msw_admm *admm;

    (void)state;
    assert_int_equal(msw_admm_set_projection(s.admm, 0, no_projection, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_projection(s.admm, 0, NULL, NULL), MSW_OK);
    close_subject(&s);
    o.importance_memory = 4;
    assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_E_INVAL);
    fixture_teardown(&f);
}

/* The way back is the latent weights of before the step. */
static void weights_that_are_not_finite(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    const msw_admm_options o = straight_options();
    subject s = open_subject(&f, &o);
    msw_tensor *left;

    (void)state;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    step(&s);
    assert_int_equal(msw_admm_show_latent(s.admm), MSW_OK);
    *fixture_at(&f, s.w, s.count / 2) = NAN;
    left = fixture_copy(&f, s.w);
    assert_int_equal(msw_admm_show_blocks(s.admm), MSW_E_NUMERIC);
    assert_true(fixture_same_bits(&f, s.w, left));
    fixture_free(left);
    step(&s); /* shows them again */
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_shows(&s, fitted(&s, NULL));
    close_subject(&s);
    fixture_teardown(&f);
}

/* Runs */

enum { SIDE = 16, COUNT = SIDE * SIDE };
static const layout square = {MSW_WEIGHTS_OI, 0, {SIDE, SIDE}, 2, 4, 4, 0, false, false};

typedef struct training {
    float w[COUNT], target[COUNT], bias[1];
    fixture f;
    msw_tensor *t, *b;
    msw_admm *admm;
    uint64_t calls, bad_at; /* of loss_gradient; the step after which W is not finite */
    double bad_loss;
} training;

static int towards(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    training *x = user;

    (void)layer_count;
    x->calls++;
    *loss = x->calls == x->bad_at ? x->bad_loss : 1;
    for (size_t i = 0; i < COUNT; i++)
        grads[0][i] = weights[0][i] - x->target[i];
    grads[1][0] = weights[1][0] - 1;
    return 0;
}

static int own_step(float *const *weights, const float *const *grads, uint32_t layer_count,
                    void *user)
{
    const training *x = user;

    (void)layer_count;
    for (size_t i = 0; i < COUNT; i++)
        weights[0][i] -= 0.125f * grads[0][i];
    weights[1][0] -= 0.125f * grads[1][0];
    if (x->calls == x->bad_at)
        weights[0][COUNT / 3] = INFINITY;
    return 0;
}

static void open_training(training *x, const msw_admm_options *options, uint32_t threads)
{
    static const size_t one[1] = {1};
    msw_context_options c;
    msw_layer_options l;

    memset(x, 0, sizeof *x);
    msw_context_options_init(&c);
    c.threads = threads;
    x->f = fixture_setup(&square, &c);
    for (size_t i = 0; i < COUNT; i++) {
        x->w[i] = (float)sin((double)(i * i));
        x->target[i] = (float)cos((double)(i * i));
    }
    assert_int_equal(msw_admm_new(&x->admm, x->f.ctx, options), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&x->t, x->f.ctx, x->w, square.shape, NULL, 2),
                     MSW_OK);
    assert_int_equal(msw_tensor_borrow(&x->b, x->f.ctx, x->bias, one, NULL, 1), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.5;
    assert_int_equal(msw_admm_add_layer(x->admm, x->t, x->f.plan, &l), MSW_OK);
    assert_int_equal(msw_admm_add_layer(x->admm, x->b, NULL, NULL), MSW_OK);
}

static void close_training(training *x)
{
    msw_tensor_free(x->t);
    msw_tensor_free(x->b);
    msw_admm_free(x->admm);
    fixture_teardown(&x->f);
}

static msw_status train(training *x, uint64_t steps, bool own)
{
    msw_host host;

    msw_host_init(&host);
    host.loss_gradient = towards;
    host.step = own ? own_step : NULL;
    host.user = x;
    return msw_admm_run(x->admm, &host, steps);
}

static msw_admm_options run_options(void)
{
    msw_admm_options o = straight_options();

    o.update_every = 4;
    o.learning_rate = 0.125;
    o.momentum = -1;
    return o;
}

static void own_loop(training *x, int steps)
{
    float gradient[COUNT], bias[1], *const grads[2] = {gradient, bias};

    for (int k = 1; k <= steps; k++) {
        const float *const weights[2] = {x->w, x->bias};
        float *const to[2] = {x->w, x->bias};
        double loss;

        towards(&loss, grads, weights, 2, x);
        assert_int_equal(msw_admm_show_latent(x->admm), MSW_OK);
        own_step(to, (const float *const *)grads, 2, x);
        assert_int_equal(msw_admm_show_blocks(x->admm), MSW_OK);
        if (k % 4 == 0)
            assert_int_equal(msw_admm_update(x->admm), MSW_OK);
    }
}

static void assert_same_training(const training *a, const training *b)
{
    uint64_t of_a, of_b;

    assert_int_equal(msw_admm_hash(&of_a, a->admm), MSW_OK);
    assert_int_equal(msw_admm_hash(&of_b, b->admm), MSW_OK);
    assert_true(of_a == of_b);
    assert_memory_equal(a->w, b->w, sizeof a->w);
    assert_memory_equal(a->bias, b->bias, sizeof a->bias);
}

/* The same bits by the built-in optimiser, the host's, its own loop, and any threads. A run
 * has the projection from the first mini-batch on; the own loop, once updated. */
static void runs_and_own_loops_agree(void **state)
{
    const msw_admm_options o = run_options();
    static training built_in, own, loop;

    (void)state;
    open_training(&built_in, &o, 1);
    open_training(&own, &o, 2);
    open_training(&loop, &o, 1);
    assert_int_equal(train(&built_in, 0, false), MSW_OK);
    assert_int_equal(train(&own, 0, true), MSW_OK);
    assert_int_equal(msw_admm_show_latent(loop.admm), MSW_OK);
    assert_int_equal(msw_admm_show_blocks(loop.admm), MSW_OK);
    assert_same_training(&own, &loop);
    assert_int_equal(train(&built_in, 18, false), MSW_OK);
    assert_int_equal(train(&own, 18, true), MSW_OK);
    own_loop(&loop, 18);
    assert_same_training(&built_in, &own);
    assert_same_training(&built_in, &loop);
    assert_int_equal(msw_admm_updates(own.admm), 4);
    assert_int_equal(msw_admm_freeze(own.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(built_in.admm), MSW_OK);
    assert_same_training(&built_in, &own);
    assert_int_equal(train(&own, 6, true), MSW_OK);
    close_training(&built_in);
    close_training(&own);
    close_training(&loop);
}

static void signs_flip_towards_the_target(void **state)
{
    const msw_admm_options o = run_options();
    static training x;
    size_t wrong = 0, wrong_at_first = 0;

    (void)state;
    open_training(&x, &o, 1);
    for (size_t i = 0; i < COUNT; i++)
        wrong_at_first += x.w[i] * x.target[i] < 0;
    assert_int_equal(train(&x, 60, false), MSW_OK);
    for (size_t i = 0; i < COUNT; i++)
        wrong += x.w[i] * x.target[i] < 0;
    assert_true(wrong_at_first > COUNT / 3);
    assert_true(wrong < wrong_at_first / 4);
    close_training(&x);
}

static void a_bad_step_is_taken_back(void **state)
{
    const msw_admm_options o = run_options();
    static training x, undisturbed;

    (void)state;
    open_training(&x, &o, 1);
    open_training(&undisturbed, &o, 1);
    assert_int_equal(train(&undisturbed, 6, true), MSW_OK);
    x.bad_at = 7;
    assert_int_equal(train(&x, 20, true), MSW_E_NUMERIC);
    assert_memory_equal(x.w, undisturbed.w, sizeof x.w);
    x.bad_loss = 1;
    assert_int_equal(train(&x, 4, true), MSW_OK);
    close_training(&x);
    close_training(&undisturbed);
}

/* A loss that diverges brings back the latent weights of the last update. */
static void divergence_rolls_back(void **state)
{
    msw_admm_options o = run_options();
    static training x, until;

    (void)state;
    o.rollback = 1;
    open_training(&x, &o, 1);
    open_training(&until, &o, 1);
    assert_int_equal(train(&until, 8, false), MSW_OK);
    x.bad_at = 10;
    x.bad_loss = 1e6;
    assert_int_equal(train(&x, 20, false), MSW_E_DIVERGED);
    assert_memory_equal(x.w, until.w, sizeof x.w);
    close_training(&x);
    close_training(&until);
}

/* Files */

static uint8_t *saved(size_t *size, const training *x)
{
    msw_writer *writer;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&writer, x->f.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, x->admm), MSW_OK);
    bytes = file_written(writer, size);
    msw_writer_free(writer);
    return bytes;
}

static msw_status load(training *x, const uint8_t *bytes, size_t size)
{
    msw_reader *reader;
    msw_status status;

    assert_int_equal(msw_reader_open_buffer(&reader, x->f.ctx, bytes, size, NULL), MSW_OK);
    status = msw_admm_load(x->admm, reader);
    msw_reader_free(reader);
    return status;
}

static void goes_on_from_a_file(void **state)
{
    msw_admm_options o = run_options();
    static training whole, part;

    (void)state;
    o.optimiser = MSW_OPTIMISER_ADAM;
    o.rollback = 1;
    for (uint64_t at = 0; at <= 21; at += 3) {
        uint8_t *bytes;
        size_t size;

        open_training(&whole, &o, 1);
        open_training(&part, &o, 1);
        assert_int_equal(train(&whole, at, false), MSW_OK);
        bytes = saved(&size, &whole);
        assert_int_equal(train(&whole, 24 - at, false), MSW_OK);
        assert_int_equal(msw_admm_show_latent(part.admm), MSW_OK); /* which loading ends */
        assert_int_equal(load(&part, bytes, size), MSW_OK);
        assert_int_equal(train(&part, 24 - at, false), MSW_OK);
        assert_same_training(&whole, &part);
        assert_int_equal(msw_admm_freeze(part.admm), MSW_OK);
        free(bytes);
        close_training(&whole);
        close_training(&part);
    }
}

static void other_relaxations_are_refused(void **state)
{
    msw_admm_options o = run_options();
    static training straight, other;
    uint8_t *bytes;
    size_t size;

    (void)state;
    open_training(&straight, &o, 1);
    o.relaxation = MSW_RELAXATION_ADMM;
    open_training(&other, &o, 1);
    assert_int_equal(train(&straight, 5, false), MSW_OK);
    assert_int_equal(train(&other, 5, false), MSW_OK);
    bytes = saved(&size, &straight);
    assert_int_equal(load(&other, bytes, size), MSW_E_INVAL);
    free(bytes);
    bytes = saved(&size, &other);
    assert_int_equal(load(&straight, bytes, size), MSW_E_INVAL);
    free(bytes);
    close_training(&straight);
    close_training(&other);
}

/* Of two sizes of blocks and any shares, as many bytes as asked for. */
static void budgets_hold(void **state)
{
    msw_admm_options o = run_options();
    static training x;
    msw_plan_options p;
    msw_budget_info info;
    msw_plan *plan;
    msw_unified *u;

    (void)state;
    open_training(&x, &o, 1);
    msw_plan_options_init(&p);
    p.block_rows = 2;
    p.block_columns = 4;
    assert_int_equal(msw_plan_new(&plan, x.f.ctx, square.shape, 2, &p), MSW_OK);
    assert_int_equal(msw_admm_add_plan(x.admm, 0, plan), MSW_OK);
    assert_int_equal(msw_admm_set_budget(x.admm, 400, NULL), MSW_OK);
    assert_int_equal(train(&x, 20, false), MSW_OK);
    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(&info, x.admm), MSW_OK);
    assert_true(info.amount <= 400 && info.amount > 350);
    assert_int_equal(msw_admm_freeze(x.admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&u, x.admm, 0), MSW_OK);
    assert_int_equal(fixture_verify(u, x.t).violations, 0);
    assert_true(fixture_info(u).unified_blocks > 0);
    msw_unified_free(u);
    msw_plan_free(plan);
    close_training(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_by_its_definition),
        cmocka_unit_test(importance_counts_in_every_step),
        cmocka_unit_test(classes_stay_when_settled),
        cmocka_unit_test(freezing_chooses_until_then),
        cmocka_unit_test(order_of_calls),
        cmocka_unit_test(what_cannot_be_combined),
        cmocka_unit_test(weights_that_are_not_finite),
        cmocka_unit_test(runs_and_own_loops_agree),
        cmocka_unit_test(signs_flip_towards_the_target),
        cmocka_unit_test(a_bad_step_is_taken_back),
        cmocka_unit_test(divergence_rolls_back),
        cmocka_unit_test(goes_on_from_a_file),
        cmocka_unit_test(other_relaxations_are_refused),
        cmocka_unit_test(budgets_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
