/* SPDX-License-Identifier: BSD-2-Clause */
/* What is not the state of such a solver is refused and changes nothing. */
#include "bytes.h"
#include "checkpoint.h"
#include "container.h"
#include "file_fixture.h"
#include "file_format.h"
#include "trainee.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A solver like the trainee's but for one thing. */
static msw_status load_other(fixture *f, const uint8_t *bytes, size_t size,
                             uint32_t optimiser, const char *name, uint32_t exclude,
                             bool plan, uint32_t layers)
{
    static const size_t shape[1] = {TRAINEE_BIAS};
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
    fixture f = fixture_setup(&trainee_small, NULL);
    uint8_t *bytes;
    size_t size;
    trainee t;

    (void)state;
    trainee_setup(&t, &f, (setting){0});
    trainee_train(&t, 5);
    bytes = trainee_saved(&size, &t);
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

/* With a budget or merged blocks into a solver without, and the other way round. */
static void the_state_of_another_budget(void **state)
{
    static const setting settings[] = {
        {0, false, 0, 0, 0}, {0, false, 0.7, 0, 0}, /* a budget */
        {0, false, 0, 0, 0}, {0, false, 0, 0, 2},   /* merged blocks */
    };
    fixture f = fixture_setup(&trainee_small, NULL);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint8_t *bytes;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, settings[i]);
        trainee_train(&t, 5);
        bytes = trainee_saved(&size, &t);
        assert_int_equal(trainee_load(&t, bytes, size), MSW_OK);
        trainee_teardown(&t);
        trainee_setup(&t, &f, settings[i ^ 1]);
        assert_int_equal(trainee_load(&t, bytes, size), MSW_E_INVAL);
        free(bytes);
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

/* A frozen state in which the layer's structure is that of another plan, while the sum over
 * the plan is right. */

static void copy_entry(msw_writer *w, msw_reader *r, const msw_entry *e,
                       msw_unified *frozen)
{
    if (e->kind == MSW_ENTRY_UNIFIED) {
        assert_int_equal(msw_writer_add_unified(w, e->name, frozen, NULL), MSW_OK);
    } else {
        msw_tensor *t;

        assert_int_equal(msw_reader_tensor(&t, r, e->name), MSW_OK);
        assert_int_equal(msw_writer_add_tensor(w, e->name, t, NULL), MSW_OK);
        msw_tensor_free(t);
    }
}

static msw_status load_frozen(trainee *t, msw_reader *r, msw_unified *frozen)
{
    msw_writer *w;
    msw_status status;
    uint8_t *bytes;
    size_t size;

    assert_int_equal(msw_writer_new(&w, t->f->ctx), MSW_OK);
    for (size_t i = 0; i < msw_reader_metadata_count(r); i++) {
        const char *key = msw_reader_metadata_key(r, i);
        const void *value;

        assert_int_equal(msw_reader_get_metadata(&value, &size, r, key), MSW_OK);
        assert_int_equal(msw_writer_add_metadata(w, key, value, size), MSW_OK);
    }
    for (size_t i = 0; i < msw_reader_count(r); i++) {
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        copy_entry(w, r, &e, frozen);
    }
    bytes = file_written(w, &size);
    status = trainee_load(t, bytes, size);
    free(bytes);
    msw_writer_free(w);
    return status;
}

static msw_status load_frozen_as(trainee *t, msw_reader *r, const size_t *shape,
                                 uint32_t rank, const msw_plan_options *o)
{
    msw_status status;
    msw_tensor *w;
    msw_unified *u;
    msw_plan *plan;

    assert_int_equal(msw_tensor_new(&w, t->f->ctx, shape, rank), MSW_OK);
    assert_int_equal(msw_plan_new(&plan, t->f->ctx, shape, rank, o), MSW_OK);
    assert_int_equal(msw_unified_from(&u, plan, w, NULL), MSW_OK);
    status = load_frozen(t, r, u);
    msw_unified_free(u);
    msw_plan_free(plan);
    msw_tensor_free(w);
    return status;
}

static void the_structure_of_another_plan(void **state)
{
    static const layout kernels = {.weights = MSW_WEIGHTS_OIHW, .shape = {4, 2, 2, 2},
                                   .rank = 4, .block_rows = 2, .block_columns = 2};
    static const size_t flat[2] = {4, 8}, other[4] = {4, 2, 4, 1};
    uint32_t rows[4] = {0, 2, 1, 3}, columns[8] = {0, 2, 1, 3, 4, 5, 6, 7};
    fixture f = fixture_setup(&kernels, NULL);
    msw_plan_options good, o;
    msw_reader *r;
    uint8_t *bytes;
    size_t size;
    trainee t;

    (void)state;
    trainee_setup(&t, &f, (setting){0});
    trainee_train(&t, TRAINEE_STEPS);
    bytes = trainee_saved(&size, &t);
    assert_int_equal(msw_reader_open_buffer(&r, f.ctx, bytes, size, NULL), MSW_OK);
    msw_plan_options_init(&good);
    good.weights = MSW_WEIGHTS_OIHW;
    good.block_rows = good.block_columns = 2;
#define OTHER(change) \
    o = good;         \
    change;           \
    assert_int_equal(load_frozen_as(&t, r, kernels.shape, 4, &o), MSW_E_CORRUPT)
    OTHER(o.groups = 2);
    OTHER(o.block_rows = 1);
    OTHER(o.block_columns = 4);
    OTHER(o.reduction = MSW_REDUCTION_KERNEL);
    OTHER(o.weights = MSW_WEIGHTS_OHWI);
    OTHER(o.row_permutation = rows);
    OTHER(o.column_permutation = columns);
#undef OTHER
    assert_int_equal(load_frozen_as(&t, r, other, 4, &good), MSW_E_CORRUPT);
    o = good;
    o.weights = MSW_WEIGHTS_OI;
    assert_int_equal(load_frozen_as(&t, r, flat, 2, &o), MSW_E_CORRUPT);
    trainee_assert_state(&t, bytes, size);
    assert_int_equal(load_frozen_as(&t, r, kernels.shape, 4, &good), MSW_OK);
    msw_reader_free(r);
    free(bytes);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* The solver's own record, "msw.admm", in a file, or another one. */
static uint8_t *record_of(const char *key, uint8_t *bytes, size_t size)
{
    const size_t length = strlen(key) + 1; /* and the 0 behind it */

    for (size_t i = 0; i + length + MSW__CHECKPOINT_BYTES <= size; i++)
        if (!memcmp(bytes + i, key, length))
            return bytes + i + length;
    fail();
    return NULL;
}

/* One double of a record, with checksums that fit. */
static msw_status load_with_double(trainee *t, uint8_t *bytes, size_t size, const char *key,
                                   size_t at, double value)
{
    uint8_t *field = record_of(key, bytes, size) + at;
    const uint64_t was = msw__load64(field);
    msw_status status;

    msw__store64(field, msw__double_bits(value));
    container_repair(bytes, size);
    status = trainee_load(t, bytes, size);
    msw__store64(field, was);
    container_repair(bytes, size);
    return status;
}

/* One number of the solver's. */
static msw_status load_with(trainee *t, uint8_t *bytes, size_t size, size_t at,
                            uint32_t value)
{
    uint8_t *field = record_of("msw.admm", bytes, size) + at;
    const uint32_t was = msw__load32(field);
    msw_status status;

    msw__store32(field, value);
    container_repair(bytes, size);
    status = trainee_load(t, bytes, size);
    msw__store32(field, was);
    container_repair(bytes, size);
    return status;
}

static void limits_of_the_record(void **state)
{
    enum { VERSION = 0, PHASE = 4, BEGUN = 8, UPDATES = 20 };
    fixture f = fixture_setup(&trainee_small, NULL);
    uint8_t *bytes;
    size_t size;
    trainee t;

    (void)state;
    trainee_setup(&t, &f, (setting){0});
    trainee_train(&t, 5);
    bytes = trainee_saved(&size, &t);
    for (uint32_t version = 1; version <= MSW__CHECKPOINT_VERSION; version++)
        assert_int_equal(load_with(&t, bytes, size, VERSION, version), MSW_OK);
    assert_int_equal(load_with(&t, bytes, size, VERSION, MSW__CHECKPOINT_VERSION + 1),
                     MSW_E_UNSUPPORTED);
    assert_int_equal(load_with(&t, bytes, size, VERSION, UINT32_MAX), MSW_E_UNSUPPORTED);
    assert_int_equal(load_with(&t, bytes, size, VERSION, 0), MSW_E_CORRUPT);
    assert_int_equal(load_with(&t, bytes, size, PHASE, MSW_PHASE_FROZEN + 1),
                     MSW_E_CORRUPT);
    assert_int_equal(load_with(&t, bytes, size, BEGUN, 2), MSW_E_CORRUPT);
    assert_int_equal(load_with(&t, bytes, size, UPDATES, UINT32_MAX - 1), MSW_OK);
    assert_int_equal(load_with(&t, bytes, size, UPDATES, UINT32_MAX), MSW_E_CORRUPT);
    assert_int_equal(trainee_load(&t, bytes, size), MSW_OK);
    trainee_assert_state(&t, bytes, size);
    free(bytes);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* Importance that was given, or is collected. */
static setting full_setting(uint64_t stage)
{
    return (setting){MSW_OPTIMISER_ADAM, stage == 0, 0.7, stage > 0 ? 4 : 0, 0};
}

/* Doubles that no solver has. */
static void values_of_the_records(void **state)
{
    static const double nan_ = (double)NAN, inf = (double)INFINITY;
    static const struct {
        const char *key;
        size_t at;
        double good, bad[3];
    } fields[] = {
        {"msw.admm", 40, 3, {nan_, inf, -inf}},       /* sum of losses */
        {"msw.admm", 48, nan_, {inf, -inf, inf}},     /* first loss */
        {"msw.admm", 56, 0.5, {0, -1, nan_}},         /* learning rate */
        {"msw.admm.0", 16, 0.1, {-0.1, 1.1, nan_}},   /* shares */
        {"msw.admm.0", 24, 0.1, {-0.1, 1.1, inf}},
        {"msw.admm.0", 32, 1, {0, -1, nan_}},         /* rho */
        {"msw.admm.0", 40, nan_, {-1, -inf, -1e-300}}, /* residuals */
        {"msw.admm.0", 48, 0, {-1, -inf, -1e-300}},
        {"msw.admm.1", 32, nan_, {0, 1, inf}},        /* rho without a plan */
        {"msw.admm.budget", 8, 400, {-1, inf, nan_}}, /* target, amounts */
        {"msw.admm.budget", 64, 1, {0, -1, inf}},     /* factor, fixed, amounts */
        {"msw.admm.budget", 72, 1, {-1, inf, nan_}},
        {"msw.admm.budget", 80, 1, {-1, inf, nan_}},
    };
    fixture f = fixture_setup(&trainee_small, NULL);
    uint8_t *bytes;
    size_t size;
    trainee t;

    (void)state;
    trainee_setup(&t, &f, full_setting(5));
    trainee_train(&t, 5);
    bytes = trainee_saved(&size, &t);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        assert_int_equal(load_with_double(&t, bytes, size, fields[i].key, fields[i].at,
                                          fields[i].good), MSW_OK);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(load_with_double(&t, bytes, size, fields[i].key, fields[i].at,
                                              fields[i].bad[k]), MSW_E_CORRUPT);
    }
    assert_int_equal(trainee_load(&t, bytes, size), MSW_OK);
    trainee_assert_state(&t, bytes, size);
    free(bytes);
    trainee_teardown(&t);
    fixture_teardown(&f);
}

/* Damaged */

static bool is_refusal(msw_status status)
{
    return status == MSW_E_FORMAT || status == MSW_E_CORRUPT ||
           status == MSW_E_UNSUPPORTED || status == MSW_E_INVAL || status == MSW_E_NOTFOUND;
}

/* The phases whose state is damaged: before the first Z, in ADMM, frozen. */
static const uint64_t stages[] = {0, 5, TRAINEE_STEPS};

static void damage_is_refused(void **state)
{
    fixture f = fixture_setup(&trainee_small, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        uint8_t *bytes;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, full_setting(stages[i]));
        trainee_train(&t, stages[i]);
        bytes = trainee_saved(&size, &t);
        for (size_t length = 0; length < size; length++)
            assert_true(is_refusal(trainee_load(&t, bytes, length)));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(is_refusal(trainee_load(&t, bytes, size)));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        trainee_assert_state(&t, bytes, size);
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
    host.loss_gradient = trainee_on_loss;
    status = msw_admm_run(t->admm, &host, 2 * TRAINEE_EVERY);
    if (!status && msw_admm_phase(t->admm) == MSW_PHASE_ADMM)
        status = msw_admm_freeze(t->admm);
    if (!status)
        status = msw_admm_run(t->admm, &host, TRAINEE_EVERY);
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
        status = trainee_load(t, bytes, size);
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
    fixture f = fixture_setup(&trainee_small, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        uint64_t refused = 0, accepted = 0;
        uint8_t *bytes, *good;
        size_t size;
        trainee t;

        trainee_setup(&t, &f, full_setting(stages[i]));
        trainee_train(&t, stages[i]);
        bytes = trainee_saved(&size, &t);
        good = trainee_saved(&size, &t);
        for (uint32_t type = MSW__SECTION_INDEX; type <= MSW__SECTION_TENSOR; type++) {
            const container_section s = container_find(bytes, size, type);

            for (size_t k = 0; k < s.size; k++)
                check_field(&t, bytes, size, s.data + k, good, &refused, &accepted);
        }
        assert_true(refused > 1000 && accepted > 1000);
        assert_int_equal(trainee_load(&t, bytes, size), MSW_OK);
        trainee_assert_state(&t, good, size);
        free(bytes);
        free(good);
        trainee_teardown(&t);
    }
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_of_another_solver),
        cmocka_unit_test(the_state_of_another_budget),
        cmocka_unit_test(the_structure_of_another_plan),
        cmocka_unit_test(limits_of_the_record),
        cmocka_unit_test(values_of_the_records),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(abuse_with_good_checksums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
