/* SPDX-License-Identifier: BSD-2-Clause */
/* Soft projection against its definition, on every layout, and to its end. */
#include "fixture.h"

#include <msw/msw.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    fixture *f;
    msw_tensor *w;
    msw_admm *admm;
    size_t count;
} subject;

static msw_admm_options soft_options(void)
{
    msw_admm_options o;

    msw_admm_options_init(&o);
    o.relaxation = MSW_RELAXATION_SOFT;
    return o;
}

static subject open_subject(fixture *f, const msw_admm_options *o, double prune,
                            double unify)
{
    subject s = {.f = f, .w = fixture_random_tensor(f)};
    msw_layer_options l;

    s.count = msw_tensor_count(s.w);
    assert_int_equal(msw_admm_new(&s.admm, f->ctx, o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = prune;
    l.unify = unify;
    assert_int_equal(msw_admm_add_layer(s.admm, s.w, f->plan, &l), MSW_OK);
    return s;
}

static void close_subject(subject *s)
{
    msw_admm_free(s->admm);
    fixture_free(s->w);
}

static void read_weights(const subject *s, float *to)
{
    for (size_t i = 0; i < s->count; i++)
        to[i] = *fixture_at(s->f, s->w, i);
}

/* The projection of the weights as they are, by the other object. */
static void project(const subject *s, float *to, double prune, double unify,
                    msw_tensor *importance)
{
    msw_tensor *dense = fixture_tensor(s->f);
    msw_projection_options o;
    msw_unified *u;

    msw_projection_options_init(&o);
    o.prune = prune;
    o.unify = unify;
    o.importance = importance;
    assert_int_equal(msw_unified_from(&u, s->f->plan, s->w, &o), MSW_OK);
    assert_int_equal(msw_unified_to_dense(dense, u), MSW_OK);
    for (size_t i = 0; i < s->count; i++)
        to[i] = *fixture_at(s->f, dense, i);
    msw_unified_free(u);
    fixture_free(dense);
}

static void update_and_check(subject *s, double prune, double unify, double alpha,
                             msw_tensor *importance)
{
    float *before = calloc(s->count, sizeof *before), *z = calloc(s->count, sizeof *z);
    double off = 0, norm = 0;

    assert_non_null(before);
    assert_non_null(z);
    read_weights(s, before);
    project(s, z, prune, unify, importance);
    assert_int_equal(msw_admm_update(s->admm), MSW_OK);
    for (size_t i = 0; i < s->count; i++) {
        const double wanted = alpha * (double)before[i] + (1 - alpha) * (double)z[i];
        const float got = *fixture_at(s->f, s->w, i);

        if (fabs((double)got - wanted) > 1e-6 * fabs(wanted))
            fail_msg("weight %zu: %.9g instead of %.9g", i, (double)got, wanted);
        if (z[i] == before[i])
            assert_true(got == before[i]);
        off += ((double)before[i] - (double)z[i]) * ((double)before[i] - (double)z[i]);
        norm += (double)before[i] * (double)before[i];
    }
    assert_true(fabs(msw_admm_residual(s->admm, 0, MSW_RESIDUAL_PRIMAL) -
                     sqrt(off / norm)) < 1e-6);
    assert_true(isnan(msw_admm_residual(s->admm, 0, MSW_RESIDUAL_DUAL)));
    free(before);
    free(z);
}

static void check_definition(fixture *f)
{
    msw_admm_options o = soft_options();
    msw_tensor *importance = fixture_random_tensor(f), *grad = fixture_random_tensor(f);
    subject s;

    o.soft_factor = 0.7;
    o.updates = 4;
    o.ramp = 1;
    s = open_subject(f, &o, 0.3, 0.4);
    for (unsigned k = 1; k <= 5; k++) {
        const double left = k < 4 ? 1 - k / 4.0 : 0, share = 1 - left * left * left;

        update_and_check(&s, 0.3 * share, 0.4 * share, 0.7, NULL);
        assert_int_equal(msw_admm_updates(s.admm), k);
    }
    for (size_t i = 0; i < s.count; i++)
        *fixture_at(f, importance, i) = fabsf(*fixture_at(f, importance, i));
    assert_int_equal(msw_admm_set_importance(s.admm, 0, importance), MSW_OK);
    update_and_check(&s, 0.3, 0.4, 0.7, importance);
    /* No penalty, and no more layers. */
    {
        const float first = *fixture_at(f, grad, 0);

        assert_int_equal(msw_admm_add_penalty(s.admm, 0, grad, 1), MSW_OK);
        assert_true(*fixture_at(f, grad, 0) == first);
        assert_int_equal(msw_admm_add_layer(s.admm, grad, f->plan, NULL), MSW_E_STATE);
    }
    close_subject(&s);
    fixture_free(importance);
    fixture_free(grad);
}

static void every_layout_by_its_definition(void **state)
{
    (void)state;
    fixture_for_all(check_definition);
}

/* Weights of more than one task, each of which counts. */
static void more_than_a_task(void **state)
{
    static const layout large = {MSW_WEIGHTS_OI, 0, {131, 257}, 2, 4, 4, 0, false, false};
    msw_admm_options o = soft_options();
    fixture f = fixture_setup(&large, NULL);
    subject s;

    (void)state;
    o.soft_factor = 0.5;
    s = open_subject(&f, &o, 0.3, 0.4);
    update_and_check(&s, 0.3, 0.4, 0.5, NULL);
    close_subject(&s);
    fixture_teardown(&f);
}

/* Left alone the weights end on the structure, and freezing moves them no more. */
static void check_end(fixture *f)
{
    msw_admm_options o = soft_options();
    subject s = open_subject(f, &o, 0.3, 0.4);
    float *before = calloc(s.count, sizeof *before);

    assert_non_null(before);
    for (int k = 0; k < 400; k++)
        assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_true(msw_admm_residual(s.admm, 0, MSW_RESIDUAL_PRIMAL) < 1e-5);
    read_weights(&s, before);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_OK);
    for (size_t i = 0; i < s.count; i++)
        assert_true(fabsf(*fixture_at(f, s.w, i) - before[i]) < 1e-4f);
    assert_int_equal(msw_admm_update(s.admm), MSW_E_STATE);
    free(before);
    close_subject(&s);
}

static void weights_end_on_the_structure(void **state)
{
    (void)state;
    fixture_for_all(check_end);
}

/* alpha 0 projects at once. */
static void no_factor_projects(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o = soft_options();
    subject s;

    (void)state;
    o.soft_factor = -1;
    s = open_subject(&f, &o, 0.5, 0.5);
    update_and_check(&s, 0.5, 0.5, 0, NULL);
    close_subject(&s);
    fixture_teardown(&f);
}

static void what_is_not_finite_changes_nothing(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_admm_options o = soft_options();
    subject s = open_subject(&f, &o, 0.5, 0.5);
    float *before = calloc(s.count, sizeof *before);
    float *bad = fixture_at(&f, s.w, s.count / 2);
    const float kept = *bad;

    (void)state;
    assert_non_null(before);
    *bad = NAN;
    read_weights(&s, before);
    assert_int_equal(msw_admm_update(s.admm), MSW_E_NUMERIC);
    for (size_t i = 0; i < s.count; i++)
        assert_memory_equal(fixture_at(&f, s.w, i), &before[i], sizeof(float));
    assert_int_equal(msw_admm_updates(s.admm), 0);
    *bad = kept;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    free(before);
    close_subject(&s);
    fixture_teardown(&f);
}

static void options(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    const double bad[] = {1, 1.5, (double)NAN, (double)INFINITY};
    msw_admm_options o;
    msw_admm *admm;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = soft_options();
        o.soft_factor = bad[i];
        assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_E_INVAL);
    }
    o = soft_options();
    o.relaxation = 4;
    assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_E_INVAL);
    o = soft_options();
    o.reserved2 = 1;
    assert_int_equal(msw_admm_new(&admm, f.ctx, &o), MSW_E_VERSION);
    fixture_teardown(&f);
}

/* Runs, interrupted and resumed. */

enum { SIDE = 16, COUNT = SIDE * SIDE };

static int towards(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    const float *target = user;

    (void)layer_count;
    *loss = 0;
    for (size_t i = 0; i < COUNT; i++) {
        grads[0][i] = weights[0][i] - target[i];
        *loss += 5e-4 * (double)grads[0][i] * (double)grads[0][i];
    }
    return 0;
}

typedef struct training {
    float w[COUNT], target[COUNT];
    fixture f;
    msw_tensor *t;
    msw_admm *admm;
} training;

static const layout square = {MSW_WEIGHTS_OI, 0, {SIDE, SIDE}, 2, 4, 4, 0, false, false};

static void open_training(training *x, uint32_t relaxation)
{
    msw_admm_options o = soft_options();
    msw_layer_options l;

    x->f = fixture_setup(&square, NULL);
    for (size_t i = 0; i < COUNT; i++)
        x->w[i] = x->target[i] = (float)sin((double)(i * i));
    o.relaxation = relaxation;
    o.soft_factor = 0.5;
    o.update_every = 1;
    o.updates = 40;
    o.ramp = 0.5;
    o.tolerance = 0.05;
    assert_int_equal(msw_admm_new(&x->admm, x->f.ctx, &o), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&x->t, x->f.ctx, x->w, square.shape, NULL, 2),
                     MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.5;
    assert_int_equal(msw_admm_add_layer(x->admm, x->t, x->f.plan, &l), MSW_OK);
}

static void close_training(training *x)
{
    msw_tensor_free(x->t);
    msw_admm_free(x->admm);
    fixture_teardown(&x->f);
}

static msw_status train(training *x, uint64_t steps)
{
    msw_host host;

    msw_host_init(&host);
    host.loss_gradient = towards;
    host.user = x->target;
    return msw_admm_run(x->admm, &host, steps);
}

static size_t save(const training *x, unsigned char *image, size_t room)
{
    msw_writer *writer;
    size_t size;

    assert_int_equal(msw_writer_new(&writer, x->f.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, x->admm), MSW_OK);
    size = (size_t)msw_writer_bytes(writer);
    assert_int_equal(msw_writer_write_buffer(writer, image, room), MSW_OK);
    msw_writer_free(writer);
    return size;
}

static void runs_converge_and_resume(void **state)
{
    static training whole, part;
    static unsigned char image[1 << 16];
    size_t size;
    msw_reader *reader;

    (void)state;
    open_training(&whole, MSW_RELAXATION_SOFT);
    assert_int_equal(train(&whole, 10), MSW_OK);
    size = save(&whole, image, sizeof image);
    assert_int_equal(train(&whole, 200), MSW_OK);

    open_training(&part, MSW_RELAXATION_SOFT);
    assert_int_equal(msw_reader_open_buffer(&reader, part.f.ctx, image, size, NULL),
                     MSW_OK);
    assert_int_equal(msw_admm_load(part.admm, reader), MSW_OK);
    assert_int_equal(msw_admm_updates(part.admm), 10);
    assert_int_equal(train(&part, 200), MSW_OK);
    assert_memory_equal(part.w, whole.w, sizeof whole.w);
    assert_int_equal(msw_admm_updates(part.admm), msw_admm_updates(whole.admm));
    msw_reader_free(reader);
    close_training(&part);
    close_training(&whole);
}

/* The state of an ADMM phase has a Z, for which there is no use here. */
static void state_of_admm_is_refused(void **state)
{
    static training admm, soft;
    static unsigned char image[1 << 16];
    size_t size;
    msw_reader *reader;

    (void)state;
    open_training(&admm, MSW_RELAXATION_ADMM);
    assert_int_equal(train(&admm, 3), MSW_OK);
    size = save(&admm, image, sizeof image);
    open_training(&soft, MSW_RELAXATION_SOFT);
    assert_int_equal(msw_reader_open_buffer(&reader, soft.f.ctx, image, size, NULL),
                     MSW_OK);
    assert_int_equal(msw_admm_load(soft.admm, reader), MSW_E_INVAL);
    msw_reader_free(reader);
    close_training(&soft);
    close_training(&admm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_by_its_definition),
        cmocka_unit_test(more_than_a_task),
        cmocka_unit_test(weights_end_on_the_structure),
        cmocka_unit_test(no_factor_projects),
        cmocka_unit_test(what_is_not_finite_changes_nothing),
        cmocka_unit_test(options),
        cmocka_unit_test(runs_converge_and_resume),
        cmocka_unit_test(state_of_admm_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
