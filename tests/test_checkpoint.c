/* SPDX-License-Identifier: BSD-2-Clause */
/* A training that is saved, ended, and resumed in another solver goes on bit for bit. */
#include "file_fixture.h"
#include "trainee.h"

#include <stdlib.h>

/* Saved after `at` steps, and resumed in a solver whose weights and importance differ, and
 * which has come as far as `before` steps itself. */
static void check_resume(trainee *t, setting s, const uint8_t *begin, size_t begin_size,
                         uint64_t at, uint64_t before)
{
    trainee other;
    uint8_t *middle, *end;
    size_t middle_size, end_size;

    assert_int_equal(trainee_load(t, begin, begin_size), MSW_OK);
    trainee_train(t, at);
    middle = trainee_saved(&middle_size, t);
    trainee_train(t, TRAINEE_STEPS);
    end = trainee_saved(&end_size, t);
    trainee_setup(&other, t->f, s);
    trainee_train(&other, before);
    assert_int_equal(trainee_load(&other, middle, middle_size), MSW_OK);
    assert_int_equal(other.own.done, at);
    trainee_assert_state(&other, middle, middle_size);
    trainee_train(&other, TRAINEE_STEPS);
    trainee_assert_state(&other, end, end_size);
    assert_true(fixture_same_bits(t->f, other.w, t->w));
    trainee_teardown(&other);
    free(middle);
    free(end);
}

static void check_layout(fixture *f)
{
    static const setting settings[] = {{MSW_OPTIMISER_SGD, false, 0, 0, 0},
                                       {MSW_OPTIMISER_ADAM, true, 0, 0, 0},
                                       {MSW_OPTIMISER_SGD, false, 0.6, 4, 0},
                                       {MSW_OPTIMISER_ADAM, true, 0, 0, 2},
                                       {MSW_OPTIMISER_SGD, false, 0.6, 4, 3}};

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        trainee t;
        uint8_t *begin;
        size_t size;

        trainee_setup(&t, f, settings[i]);
        begin = trainee_saved(&size, &t);
        for (uint64_t at = 0; at <= TRAINEE_STEPS; at++)
            check_resume(&t, settings[i], begin, size, at, at % 2 ? 0 : TRAINEE_STEPS - at);
        free(begin);
        trainee_teardown(&t);
    }
}

static void resumed_anywhere_it_ends_the_same(void **state)
{
    (void)state;
    fixture_for_all(check_layout);
}

/* From inside progress, as a host does that trains with msw_admm_run(). */

typedef struct observer {
    trainee t; /* the first member: trainee_on_loss() takes it */
    msw_writer *writer;
    msw_status in_loss, in_progress;
} observer;

static int on_loss_save(double *loss, float *const *grads, const float *const *weights,
                        uint32_t layer_count, void *user)
{
    observer *o = user;

    o->in_loss = msw_admm_save(o->writer, o->t.admm);
    return trainee_on_loss(loss, grads, weights, layer_count, user);
}

static int on_progress_save(const msw_admm_progress *progress, void *user)
{
    observer *o = user;

    if (progress->updates == 1)
        o->in_progress = msw_admm_save(o->writer, o->t.admm);
    return 0;
}

static void check_progress(fixture *f)
{
    observer o = {.in_progress = MSW_E_STATE};
    msw_host host;
    uint8_t *bytes, *end;
    size_t size, end_size;

    trainee_setup(&o.t, f, (setting){0});
    assert_int_equal(msw_writer_new(&o.writer, f->ctx), MSW_OK);
    msw_host_init(&host);
    host.user = &o;
    host.loss_gradient = on_loss_save;
    host.progress = on_progress_save;
    assert_int_equal(msw_admm_run(o.t.admm, &host, TRAINEE_EVERY), MSW_OK);
    assert_int_equal(o.in_loss, MSW_E_STATE);
    assert_int_equal(o.in_progress, MSW_OK);
    o.t.own.done = TRAINEE_EVERY;
    assert_int_equal(msw_writer_add_metadata(o.writer, "host", &o.t.own, sizeof o.t.own),
                     MSW_OK);
    bytes = file_written(o.writer, &size);
    trainee_train(&o.t, TRAINEE_STEPS);
    end = trainee_saved(&end_size, &o.t);
    assert_int_equal(trainee_load(&o.t, bytes, size), MSW_OK);
    trainee_train(&o.t, TRAINEE_STEPS);
    trainee_assert_state(&o.t, end, end_size);
    assert_int_equal(msw_admm_save(o.writer, o.t.admm), MSW_E_EXISTS);
    free(bytes);
    free(end);
    msw_writer_free(o.writer);
    trainee_teardown(&o.t);
}

static void progress_may_save(void **state)
{
    (void)state;
    fixture_for_all(check_progress);
}

/* The bound of a state is that of all tasks and all lanes, not of the first or the least:
 * what was saved is within it. */
static void tasks_of_many_magnitudes(void **state)
{
    static const layout tall = {.weights = MSW_WEIGHTS_OI, .shape = {320, 512}, .rank = 2,
                                .block_rows = 8, .block_columns = 8};
    fixture f = fixture_setup(&tall, NULL);

    (void)state;
    for (size_t lane = 0; lane < 16; lane++) {
        const bool rising = lane % 2;
        uint8_t *bytes;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, (setting){0});
        for (size_t i = 0; i < tall.shape[0] * tall.shape[1]; i++) {
            const size_t row = i / tall.shape[1];

            *fixture_at(&f, t.w, i) *= (float)(1 + (rising ? row : tall.shape[0] - row));
        }
        *fixture_at(&f, t.w, (rising ? tall.shape[0] - 1 : 0) * tall.shape[1] + lane) =
            1e5f;
        assert_int_equal(msw_admm_update(t.admm), MSW_OK);
        for (size_t i = 0; i < 3; i++) {
            bytes = trainee_saved(&size, &t);
            assert_int_equal(trainee_load(&t, bytes, size), MSW_OK);
            trainee_assert_state(&t, bytes, size);
            free(bytes);
            assert_int_equal(msw_admm_set_rho(t.admm, 0, 1e-4 / (double)(1 + i)), MSW_OK);
        }
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

static void misuse(void **state)
{
    fixture f = fixture_setup(&trainee_small, NULL);
    msw_writer *writer;
    msw_reader *reader;
    uint8_t bytes[64];
    trainee t;

    (void)state;
    trainee_setup(&t, &f, (setting){0});
    assert_int_equal(msw_writer_new(&writer, f.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(NULL, t.admm), MSW_E_INVAL);
    assert_int_equal(msw_admm_save(writer, NULL), MSW_E_INVAL);
    assert_int_equal(msw_writer_write_buffer(writer, bytes, sizeof bytes), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&reader, f.ctx, bytes, sizeof bytes, NULL),
                     MSW_OK);
    assert_int_equal(msw_admm_load(NULL, reader), MSW_E_INVAL);
    assert_int_equal(msw_admm_load(t.admm, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_load(t.admm, reader), MSW_E_NOTFOUND);
    msw_reader_free(reader);
    msw_writer_free(writer);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* A solver that may be given two plans, of which the file has the wider one; the same by a
 * sanitizer, which sees memory that was taken for the narrower. */

typedef struct two_plans {
    msw_context *ctx;
    msw_plan *first, *second;
    msw_tensor *w;
    msw_admm *admm;
} two_plans;

static two_plans open_two_plans(uint32_t relaxation, bool both)
{
    const size_t shape[2] = {8, 2048};
    msw_admm_options o;
    msw_layer_options l;
    msw_plan_options p;
    uint64_t random = 5;
    two_plans t;

    assert_int_equal(msw_context_new(&t.ctx, NULL), MSW_OK);
    msw_plan_options_init(&p);
    p.weights = MSW_WEIGHTS_IO;
    assert_int_equal(msw_plan_new(&t.first, t.ctx, shape, 2, &p), MSW_OK);
    p.weights = MSW_WEIGHTS_OI;
    p.block_rows = p.block_columns = 8;
    assert_int_equal(msw_plan_new(&t.second, t.ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t.w, t.ctx, shape, 2), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(t.w); i++)
        msw_tensor_data(t.w)[i] = (float)ref_normal(&random);
    msw_admm_options_init(&o);
    o.relaxation = relaxation;
    assert_int_equal(msw_admm_new(&t.admm, t.ctx, &o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = l.unify = 0.3;
    assert_int_equal(msw_admm_add_layer(t.admm, t.w, both ? t.first : t.second, &l), MSW_OK);
    if (both)
        assert_int_equal(msw_admm_add_plan(t.admm, 0, t.second), MSW_OK);
    return t;
}

static void close_two_plans(two_plans *t)
{
    msw_admm_free(t->admm);
    msw_tensor_free(t->w);
    msw_plan_free(t->first);
    msw_plan_free(t->second);
    msw_context_free(t->ctx);
}

/* What goes on behind the place where it was saved. */
static void go_on(msw_admm *admm)
{
    if (msw_admm_phase(admm) == MSW_PHASE_FROZEN) {
        assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
    } else if (msw_admm_show_latent(admm) == MSW_OK) {
        assert_int_equal(msw_admm_show_blocks(admm), MSW_OK);
    } else {
        assert_int_equal(msw_admm_update(admm), MSW_OK);
    }
}

static void check_other_plan(uint32_t relaxation, bool frozen, bool loader_frozen)
{
    two_plans from = open_two_plans(relaxation, false);
    two_plans to = open_two_plans(relaxation, true);
    msw_writer *writer;
    msw_reader *reader;
    uint64_t hashes[2];
    uint8_t *bytes;
    size_t size;

    assert_int_equal(msw_admm_update(from.admm), MSW_OK);
    if (frozen)
        assert_int_equal(msw_admm_freeze(from.admm), MSW_OK);
    if (loader_frozen)
        assert_int_equal(msw_admm_freeze(to.admm), MSW_OK);
    assert_int_equal(msw_writer_new(&writer, from.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, from.admm), MSW_OK);
    bytes = file_written(writer, &size);
    assert_int_equal(msw_reader_open_buffer(&reader, to.ctx, bytes, size, NULL), MSW_OK);
    assert_int_equal(msw_admm_load(to.admm, reader), MSW_OK);
    assert_ptr_equal(msw_admm_plan(to.admm, 0), to.second);
    go_on(from.admm);
    go_on(to.admm);
    assert_int_equal(msw_admm_hash(&hashes[0], from.admm), MSW_OK);
    assert_int_equal(msw_admm_hash(&hashes[1], to.admm), MSW_OK);
    assert_true(hashes[0] == hashes[1]);
    msw_reader_free(reader);
    msw_writer_free(writer);
    free(bytes);
    close_two_plans(&from);
    close_two_plans(&to);
}

static void another_plan_than_the_present_one(void **state)
{
    (void)state;
    check_other_plan(MSW_RELAXATION_ADMM, false, false);
    check_other_plan(MSW_RELAXATION_ADMM, true, false);
    check_other_plan(MSW_RELAXATION_ADMM, true, true);
    check_other_plan(MSW_RELAXATION_STRAIGHT, false, false);
    check_other_plan(MSW_RELAXATION_STRAIGHT, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed_anywhere_it_ends_the_same),
        cmocka_unit_test(progress_may_save),
        cmocka_unit_test(tasks_of_many_magnitudes),
        cmocka_unit_test(misuse),
        cmocka_unit_test(another_plan_than_the_present_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
