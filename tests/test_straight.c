/* SPDX-License-Identifier: BSD-2-Clause */
/* Latent weights behind their projection, against their definition; test_straight_run.c has
 * whole trainings. */
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
