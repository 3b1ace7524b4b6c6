/* SPDX-License-Identifier: BSD-2-Clause */
/* A training that is saved, ended, and resumed in another solver goes on bit for bit; what
 * is not the state of such a solver is refused and changes nothing. */
#include "container.h"
#include "file_format.h"
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ADMM_STEPS = 7, STEPS = 12, EVERY = 3, BIAS = 5 };

/* A host: one layer in every layout, a bias without a plan, gradients from a generator. */
typedef struct trainee {
    fixture *f;
    msw_tensor *w, *bias;
    float bias_data[BIAS];
    msw_admm *admm;
    struct {
        uint64_t random, done;
    } own; /* what the host goes on from */
} trainee;

typedef struct setting {
    uint32_t optimiser;
    bool importance;
    double budget; /* share of the plain bytes; 0: none */
    size_t memory; /* of importance that is collected */
} setting;

/* In the transport form, so that amounts are measured. */
static void set_budget(trainee *t, double share)
{
    msw_store_options store;
    msw_budget_options o;
    msw_budget_layer layer;

    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    msw_budget_options_init(&o);
    o.store = &store;
    assert_int_equal(msw_admm_set_budget(t->admm,
                                         400 + share * 4 * (double)msw_tensor_count(t->w),
                                         &o), MSW_OK);
    msw_budget_layer_init(&layer);
    layer.prune_max = 0.5;
    layer.weight = 3;
    assert_int_equal(msw_admm_set_budget_layer(t->admm, 0, &layer), MSW_OK);
}

static void trainee_setup(trainee *t, fixture *f, setting s)
{
    static const size_t bias_shape[1] = {BIAS};
    msw_admm_options o;
    msw_layer_options l;

    memset(t, 0, sizeof *t);
    t->f = f;
    t->w = fixture_random_tensor(f);
    t->own.random = 77;
    assert_int_equal(msw_tensor_borrow(&t->bias, f->ctx, t->bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    msw_admm_options_init(&o);
    o.updates = 4;
    o.update_every = EVERY;
    o.optimiser = s.optimiser;
    o.rollback = 1;
    o.ramp = 0.5;
    o.importance_memory = s.memory;
    assert_int_equal(msw_admm_new(&t->admm, f->ctx, &o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.3;
    l.unify = 0.4;
    assert_int_equal(msw_admm_add_layer(t->admm, t->w, f->plan, &l), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t->admm, t->bias, NULL, NULL), MSW_OK);
    if (s.budget > 0)
        set_budget(t, s.budget);
    if (s.importance) {
        msw_tensor *h = fixture_random_tensor(f);

        for (size_t i = 0; i < msw_tensor_count(h); i++)
            *fixture_at(f, h, i) = fabsf(*fixture_at(f, h, i)) + 0.1f;
        assert_int_equal(msw_admm_set_importance(t->admm, 0, h), MSW_OK);
        fixture_free(h);
    }
}

static void trainee_teardown(trainee *t)
{
    msw_admm_free(t->admm);
    msw_tensor_free(t->bias);
    fixture_free(t->w);
}

static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    trainee *t = user;

    *loss = 1 + ref_uniform(&t->own.random);
    for (size_t i = 0; i < msw_tensor_count(t->w); i++)
        grads[0][i] = (float)ref_normal(&t->own.random);
    for (size_t i = 0; i < BIAS; i++)
        grads[1][i] = weights[1][i] - (float)i;
    return layer_count == 2 ? 0 : -1;
}

/* Up to so many steps of the whole training, frozen on its way. */
static void train(trainee *t, uint64_t until)
{
    msw_host host;

    msw_host_init(&host);
    host.user = t;
    host.loss_gradient = on_loss;
    for (; t->own.done < until; t->own.done++) {
        if (t->own.done == ADMM_STEPS)
            assert_int_equal(msw_admm_freeze(t->admm), MSW_OK);
        if (t->own.done == 2)
            assert_int_equal(msw_admm_set_learning_rate(t->admm, 0.02), MSW_OK);
        assert_int_equal(msw_admm_run(t->admm, &host, 1), MSW_OK);
    }
}

/* The file, from malloc(). */
static uint8_t *saved(size_t *size, trainee *t)
{
    msw_writer *writer;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&writer, t->f->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, t->admm), MSW_OK);
    assert_int_equal(msw_writer_add_metadata(writer, "host", &t->own, sizeof t->own), MSW_OK);
    *size = (size_t)msw_writer_bytes(writer);
    bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(msw_writer_write_buffer(writer, bytes, *size), MSW_OK);
    msw_writer_free(writer);
    return bytes;
}

static msw_status load(trainee *t, const uint8_t *bytes, size_t size)
{
    const void *own;
    msw_reader *reader;
    size_t own_size;
    msw_status status = msw_reader_open_buffer(&reader, t->f->ctx, bytes, size, NULL);

    if (status)
        return status;
    status = msw_admm_load(t->admm, reader);
    if (!status && msw_reader_get_metadata(&own, &own_size, reader, "host") == MSW_OK &&
        own_size == sizeof t->own)
        memcpy(&t->own, own, sizeof t->own);
    msw_reader_free(reader);
    return status;
}

static void assert_state(trainee *t, const uint8_t *bytes, size_t size)
{
    size_t now_size;
    uint8_t *now = saved(&now_size, t);

    assert_int_equal(now_size, size);
    assert_memory_equal(now, bytes, size);
    free(now);
}

/* Resuming */

/* Saved after `at` steps, and resumed in a solver whose weights and importance differ, and
 * which has come as far as `before` steps itself. */
static void check_resume(trainee *t, setting s, const uint8_t *begin, size_t begin_size,
                         uint64_t at, uint64_t before)
{
    trainee other;
    uint8_t *middle, *end;
    size_t middle_size, end_size;

    assert_int_equal(load(t, begin, begin_size), MSW_OK);
    train(t, at);
    middle = saved(&middle_size, t);
    train(t, STEPS);
    end = saved(&end_size, t);
    trainee_setup(&other, t->f, s);
    train(&other, before);
    assert_int_equal(load(&other, middle, middle_size), MSW_OK);
    assert_int_equal(other.own.done, at);
    assert_state(&other, middle, middle_size);
    train(&other, STEPS);
    assert_state(&other, end, end_size);
    assert_true(fixture_same_bits(t->f, other.w, t->w));
    trainee_teardown(&other);
    free(middle);
    free(end);
}

static void check_layout(fixture *f)
{
    static const setting settings[] = {{MSW_OPTIMISER_SGD, false, 0, 0},
                                       {MSW_OPTIMISER_ADAM, true, 0, 0},
                                       {MSW_OPTIMISER_SGD, false, 0.6, 4}};

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        trainee t;
        uint8_t *begin;
        size_t size;

        trainee_setup(&t, f, settings[i]);
        begin = saved(&size, &t);
        for (uint64_t at = 0; at <= STEPS; at++)
            check_resume(&t, settings[i], begin, size, at, at % 2 ? 0 : STEPS - at);
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
    trainee t; /* the first member: on_loss() takes it */
    msw_writer *writer;
    msw_status in_loss, in_progress;
} observer;

static int on_loss_save(double *loss, float *const *grads, const float *const *weights,
                        uint32_t layer_count, void *user)
{
    observer *o = user;

    o->in_loss = msw_admm_save(o->writer, o->t.admm);
    return on_loss(loss, grads, weights, layer_count, user);
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
    assert_int_equal(msw_admm_run(o.t.admm, &host, EVERY), MSW_OK);
    assert_int_equal(o.in_loss, MSW_E_STATE);
    assert_int_equal(o.in_progress, MSW_OK);
    o.t.own.done = EVERY;
    assert_int_equal(msw_writer_add_metadata(o.writer, "host", &o.t.own, sizeof o.t.own),
                     MSW_OK);
    size = (size_t)msw_writer_bytes(o.writer);
    bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(msw_writer_write_buffer(o.writer, bytes, size), MSW_OK);
    train(&o.t, STEPS);
    end = saved(&end_size, &o.t);
    assert_int_equal(load(&o.t, bytes, size), MSW_OK);
    train(&o.t, STEPS);
    assert_state(&o.t, end, end_size);
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

/* Refused */

static const layout small = {.weights = MSW_WEIGHTS_OI, .shape = {5, 6}, .rank = 2,
                             .block_rows = 2, .block_columns = 2};

/* A solver like the trainee's but for one thing. */
static msw_status load_other(fixture *f, const uint8_t *bytes, size_t size, uint32_t optimiser,
                             const char *name, uint32_t exclude, bool plan, uint32_t layers)
{
    static const size_t shape[1] = {BIAS};
    msw_tensor *w = fixture_random_tensor(f), *was = fixture_copy(f, w), *bias;
    msw_admm_options o;
    msw_layer_options l;
    msw_reader *reader;
    msw_status status;
    msw_admm *admm;

    msw_admm_options_init(&o);
    o.optimiser = optimiser;
    assert_int_equal(msw_admm_new(&admm, f->ctx, &o), MSW_OK);
    msw_layer_options_init(&l);
    l.name = name;
    l.exclude = exclude;
    assert_int_equal(msw_admm_add_layer(admm, w, plan ? f->plan : NULL, &l), MSW_OK);
    assert_int_equal(msw_tensor_new(&bias, f->ctx, shape, 1), MSW_OK);
    for (uint32_t i = 1; i < layers; i++)
        assert_int_equal(msw_admm_add_layer(admm, bias, NULL, NULL), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&reader, f->ctx, bytes, size, NULL), MSW_OK);
    status = msw_admm_load(admm, reader);
    assert_true(status == MSW_OK || msw_admm_error(admm)[0]);
    assert_true(status == MSW_OK || fixture_same_bits(f, w, was));
    msw_reader_free(reader);
    msw_admm_free(admm);
    msw_tensor_free(bias);
    fixture_free(w);
    fixture_free(was);
    return status;
}

static void the_state_of_another_solver(void **state)
{
    static const layout blocks = {.weights = MSW_WEIGHTS_OI, .shape = {5, 6}, .rank = 2,
                                  .block_rows = 2, .block_columns = 3};
    static const layout permuted = {.weights = MSW_WEIGHTS_OI, .shape = {5, 6}, .rank = 2,
                                    .block_rows = 2, .block_columns = 2, .permuted = true};
    static const layout shape = {.weights = MSW_WEIGHTS_OI, .shape = {5, 7}, .rank = 2,
                                 .block_rows = 2, .block_columns = 2};
    static const layout *const others[] = {&blocks, &permuted, &shape};
    fixture f = fixture_setup(&small, NULL);
    uint8_t *bytes;
    size_t size;
    trainee t;

    (void)state;
    trainee_setup(&t, &f, (setting){0});
    train(&t, 5);
    bytes = saved(&size, &t);
    assert_int_equal(load_other(&f, bytes, size, 0, NULL, 0, true, 2), MSW_OK);
    assert_int_equal(load_other(&f, bytes, size, 1, NULL, 0, true, 2), MSW_E_INVAL);
    assert_int_equal(load_other(&f, bytes, size, 0, "conv", 0, true, 2), MSW_E_INVAL);
    assert_int_equal(load_other(&f, bytes, size, 0, NULL, MSW_EXCLUDE_PRUNE, true, 2),
                     MSW_E_INVAL);
    assert_int_equal(load_other(&f, bytes, size, 0, NULL, 0, false, 2), MSW_E_INVAL);
    assert_int_equal(load_other(&f, bytes, size, 0, NULL, 0, true, 1), MSW_E_INVAL);
    assert_int_equal(load_other(&f, bytes, size, 0, NULL, 0, true, 3), MSW_E_INVAL);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        fixture g = fixture_setup(others[i], NULL);

        assert_int_equal(load_other(&g, bytes, size, 0, NULL, 0, true, 2), MSW_E_INVAL);
        fixture_teardown(&g);
    }
    free(bytes);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* With a budget into a solver without one, and the other way round. */
static void the_state_of_another_budget(void **state)
{
    static const setting settings[] = {{0, false, 0, 0}, {0, false, 0.7, 0}};
    fixture f = fixture_setup(&small, NULL);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t *bytes;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, settings[i]);
        train(&t, 5);
        bytes = saved(&size, &t);
        assert_int_equal(load(&t, bytes, size), MSW_OK);
        trainee_teardown(&t);
        trainee_setup(&t, &f, settings[1 - i]);
        assert_int_equal(load(&t, bytes, size), MSW_E_INVAL);
        free(bytes);
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

static void misuse(void **state)
{
    fixture f = fixture_setup(&small, NULL);
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
    assert_int_equal(msw_reader_open_buffer(&reader, f.ctx, bytes, sizeof bytes, NULL), MSW_OK);
    assert_int_equal(msw_admm_load(NULL, reader), MSW_E_INVAL);
    assert_int_equal(msw_admm_load(t.admm, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_load(t.admm, reader), MSW_E_NOTFOUND);
    msw_reader_free(reader);
    msw_writer_free(writer);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* Damaged */

static bool is_refusal(msw_status status)
{
    return status == MSW_E_FORMAT || status == MSW_E_CORRUPT || status == MSW_E_UNSUPPORTED ||
           status == MSW_E_INVAL || status == MSW_E_NOTFOUND;
}

/* The phases whose state is damaged: before the first Z, in ADMM, frozen. */
/* Importance that was given, or is collected. */
static setting full_setting(uint64_t stage)
{
    return (setting){MSW_OPTIMISER_ADAM, stage == 0, 0.7, stage > 0 ? 4 : 0};
}

static const uint64_t stages[] = {0, 5, STEPS};

static void damage_is_refused(void **state)
{
    fixture f = fixture_setup(&small, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        uint8_t *bytes;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, full_setting(stages[i]));
        train(&t, stages[i]);
        bytes = saved(&size, &t);
        for (size_t length = 0; length < size; length++)
            assert_true(is_refusal(load(&t, bytes, length)));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(is_refusal(load(&t, bytes, size)));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_state(&t, bytes, size);
        free(bytes);
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

/* With checksums that fit, whatever is accepted can be trained on: it ends, in a status. */
static void go_on(trainee *t, uint64_t *accepted)
{
    msw_host host;
    msw_status status;

    (*accepted)++;
    msw_host_init(&host);
    host.user = t;
    host.loss_gradient = on_loss;
    status = msw_admm_run(t->admm, &host, 2 * EVERY);
    if (!status && msw_admm_phase(t->admm) == MSW_PHASE_ADMM)
        status = msw_admm_freeze(t->admm);
    if (!status)
        status = msw_admm_run(t->admm, &host, EVERY);
    assert_true(status == MSW_OK || status == MSW_E_NUMERIC || status == MSW_E_DIVERGED ||
                    status == MSW_E_RANGE);
}

static void check_field(trainee *t, uint8_t *bytes, size_t size, uint8_t *field,
                        const uint8_t *good, uint64_t *refused, uint64_t *accepted)
{
    static const uint8_t values[] = {0, 1, 2, 3, 0x7f, 0x80, 0xff};
    const uint8_t was = *field;

    for (size_t k = 0; k < sizeof values; k++) {
        msw_status status;

        *field = values[k];
        container_repair(bytes, size);
        status = load(t, bytes, size);
        if (status)
            assert_true(is_refusal(status));
        if (status)
            (*refused)++;
        else
            go_on(t, accepted);
    }
    *field = was;
    container_repair(bytes, size);
    assert_memory_equal(bytes, good, size);
}

static void abuse_with_good_checksums(void **state)
{
    fixture f = fixture_setup(&small, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        uint64_t refused = 0, accepted = 0;
        uint8_t *bytes, *good;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, full_setting(stages[i]));
        train(&t, stages[i]);
        bytes = saved(&size, &t);
        good = saved(&size, &t);
        for (uint32_t type = MSW__SECTION_INDEX; type <= MSW__SECTION_TENSOR; type++) {
            const container_section s = container_find(bytes, size, type);

            for (size_t k = 0; k < s.size; k++)
                check_field(&t, bytes, size, s.data + k, good, &refused, &accepted);
        }
        assert_true(refused > 1000 && accepted > 1000);
        assert_int_equal(load(&t, bytes, size), MSW_OK);
        assert_state(&t, good, size);
        free(bytes);
        free(good);
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed_anywhere_it_ends_the_same),
        cmocka_unit_test(progress_may_save),
        cmocka_unit_test(the_state_of_another_solver),
        cmocka_unit_test(the_state_of_another_budget),
        cmocka_unit_test(misuse),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(abuse_with_good_checksums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
