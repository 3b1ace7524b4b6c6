/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's own projection of a layer: the same as the library's where it projects alike,
 * what freezing makes of it, what may go wrong in it, and its state in files. */
#include "faults.h"
#include "file_fixture.h"
#include "fixture.h"

#include <msw/msw.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRUNE, UNIFY };
static const double shares[2] = {0.3, 0.4};

/* A host whose projection is that of msw_unified_from(), unless something is to go
 * wrong. */
typedef struct host {
    fixture *f;
    msw_admm *admm;
    unsigned calls, freezing, bad_at; /* bad_at: number of the call, from 1 */
    int code;
    float value;         /* goes into z */
    double last_prune;
    bool importance, wrong;
    void (*inside)(struct host *h);
} host;

static void project_like_the_library(const msw_projection_call *call, host *h)
{
    const layout *l = h->f->layout;
    msw_tensor *z, *importance = NULL;
    msw_projection_options o;
    msw_unified *u = NULL;

    msw_projection_options_init(&o);
    o.prune = call->prune;
    o.unify = call->unify;
    if (call->importance) {
        h->wrong |= msw_tensor_borrow(&importance, h->f->ctx, (float *)(uintptr_t)
                                      call->importance, l->shape, NULL, l->rank) != MSW_OK;
        o.importance = importance;
    }
    h->wrong |=
        msw_tensor_borrow(&z, h->f->ctx, call->z, l->shape, NULL, l->rank) != MSW_OK;
    h->wrong |= msw_unified_from(&u, h->f->plan, z, &o) != MSW_OK;
    h->wrong |= msw_unified_to_dense(z, u) != MSW_OK;
    msw_unified_free(u);
    msw_tensor_free(z);
    msw_tensor_free(importance);
}

static int on_project(const msw_projection_call *call, void *user)
{
    host *h = user;

    h->calls++;
    h->freezing += call->freezing;
    h->last_prune = call->prune;
    h->importance = call->importance != NULL;
    h->wrong |= call->size != sizeof *call || call->plan != h->f->plan || call->layer != 0;
    project_like_the_library(call, h);
    if (h->inside)
        h->inside(h);
    if (h->calls != h->bad_at)
        return 0;
    if (h->value != 0)
        call->z[call->count - 1] = h->value;
    return h->code;
}

typedef struct subject {
    fixture *f;
    msw_tensor *w;
    msw_admm *admm;
    size_t count;
    host host;
} subject;

/* @p own: with the host's projection. Opened twice they are alike. */
static void open_subject(subject *s, fixture *f, const msw_admm_options *options, bool own)
{
    msw_admm_options o;
    msw_layer_options l;

    memset(s, 0, sizeof *s);
    s->f = f;
    f->random = 11;
    s->w = fixture_random_tensor(f);
    s->count = msw_tensor_count(s->w);
    msw_admm_options_init(&o);
    o.updates = 6;
    o.ramp = 0.5;
    assert_int_equal(msw_admm_new(&s->admm, f->ctx, options ? options : &o), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = shares[PRUNE];
    l.unify = shares[UNIFY];
    assert_int_equal(msw_admm_add_layer(s->admm, s->w, f->plan, &l), MSW_OK);
    s->host.f = f;
    s->host.admm = s->admm;
    if (own)
        assert_int_equal(msw_admm_set_projection(s->admm, 0, on_project, &s->host), MSW_OK);
}

static void close_subject(subject *s)
{
    assert_false(s->host.wrong);
    msw_admm_free(s->admm);
    fixture_free(s->w);
}

static uint64_t hash_of(const subject *s)
{
    uint64_t h;

    assert_int_equal(msw_admm_hash(&h, s->admm), MSW_OK);
    return h;
}

static void assert_near(const subject *a, const subject *b, msw_tensor *x, msw_tensor *y)
{
    for (size_t i = 0; i < a->count; i++) {
        const float p = *fixture_at(a->f, x, i), q = *fixture_at(b->f, y, i);

        if (fabsf(p - q) > 2e-6f * (1 + fabsf(p)))
            fail_msg("weight %zu: %.9g and %.9g", i, (double)p, (double)q);
    }
}

static void compare(subject *a, subject *b)
{
    msw_tensor *x = fixture_tensor(a->f), *y = fixture_tensor(b->f);

    assert_int_equal(msw_admm_get_z(x, a->admm, 0), MSW_OK);
    assert_int_equal(msw_admm_get_z(y, b->admm, 0), MSW_OK);
    assert_near(a, b, x, y);
    for (size_t i = 0; i < a->count; i++)
        *fixture_at(a->f, x, i) = *fixture_at(a->f, y, i) = 0;
    assert_int_equal(msw_admm_add_penalty(a->admm, 0, x, 3), MSW_OK);
    assert_int_equal(msw_admm_add_penalty(b->admm, 0, y, 3), MSW_OK);
    assert_near(a, b, x, y);
    for (int k = 0; k < 2 && msw_admm_updates(a->admm); k++) {
        const double p = msw_admm_residual(a->admm, 0, (msw_residual)k);

        assert_true(fabs(p - msw_admm_residual(b->admm, 0, (msw_residual)k)) <= 1e-5 * p);
    }
    fixture_free(x);
    fixture_free(y);
}

/* The same step for both. */
static void step(subject *a, subject *b)
{
    for (size_t i = 0; i < a->count; i++) {
        const float g = 0.1f * (float)ref_normal(&a->f->random);

        *fixture_at(a->f, a->w, i) += g;
        *fixture_at(b->f, b->w, i) += g;
    }
}

static void check_equal(fixture *f)
{
    msw_tensor *h = fixture_tensor(f);
    subject own, built_in;

    open_subject(&own, f, NULL, true);
    open_subject(&built_in, f, NULL, false);
    for (unsigned k = 0; k < 6; k++) {
        compare(&own, &built_in);
        assert_int_equal(own.host.calls, k + 1);
        step(&own, &built_in);
        if (k == 2) {
            assert_int_equal(msw_admm_set_rho(own.admm, 0, 0.3), MSW_OK);
            assert_int_equal(msw_admm_set_rho(built_in.admm, 0, 0.3), MSW_OK);
        }
        if (k == 3) {
            for (size_t i = 0; i < own.count; i++)
                *fixture_at(f, h, i) = 0.1f + (float)ref_uniform(&f->random);
            assert_int_equal(msw_admm_set_importance(own.admm, 0, h), MSW_OK);
            assert_int_equal(msw_admm_set_importance(built_in.admm, 0, h), MSW_OK);
        }
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_update(built_in.admm), MSW_OK);
        assert_int_equal(own.host.importance, k >= 3);
    }
    assert_int_equal(own.host.freezing, 0);
    assert_true(own.host.last_prune == shares[PRUNE]);
    assert_int_equal(msw_admm_class_count(own.admm, 0, MSW_CLASS_PRUNED), 0);
    /* Frozen, the structure of the one is that of the other. */
    assert_int_equal(msw_admm_freeze(own.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(built_in.admm), MSW_OK);
    assert_int_equal(own.host.freezing, 1);
    assert_near(&own, &built_in, own.w, built_in.w);
    assert_int_equal(msw_admm_class_count(own.admm, 0, MSW_CLASS_PRUNED),
                     msw_admm_class_count(built_in.admm, 0, MSW_CLASS_PRUNED));
    step(&own, &built_in);
    assert_int_equal(msw_admm_mask_weights(own.admm, 0), MSW_OK);
    assert_int_equal(msw_admm_mask_weights(built_in.admm, 0), MSW_OK);
    assert_near(&own, &built_in, own.w, built_in.w);
    close_subject(&own);
    close_subject(&built_in);
    fixture_free(h);
}

static void one_like_the_library_gives_the_same(void **state)
{
    (void)state;
    fixture_for_all(check_equal);
}

/* Residual balancing looks at U. */
static bool moved;

static void check_balance_of(fixture *f, bool last)
{
    msw_admm_options o;
    subject own, built_in;

    msw_admm_options_init(&o);
    o.updates = 30;
    o.rho_schedule = MSW_RHO_BALANCE;
    o.rho_threshold = 1.5;
    open_subject(&own, f, &o, true);
    open_subject(&built_in, f, &o, false);
    if (last) { /* nearly all of U is there */
        *fixture_at(f, own.w, own.count - 1) = 100;
        *fixture_at(f, built_in.w, own.count - 1) = 100;
        assert_int_equal(msw_admm_set_ratios(own.admm, 0, 0, 1), MSW_OK);
        assert_int_equal(msw_admm_set_ratios(built_in.admm, 0, 0, 1), MSW_OK);
    }
    for (unsigned k = 0; k < 8; k++) {
        step(&own, &built_in);
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_update(built_in.admm), MSW_OK);
        assert_true(msw_admm_rho(own.admm, 0) == msw_admm_rho(built_in.admm, 0));
        compare(&own, &built_in);
    }
    moved |= msw_admm_rho(own.admm, 0) != 1e-2;
    close_subject(&own);
    close_subject(&built_in);
}

static void check_balance(fixture *f)
{
    check_balance_of(f, false);
    check_balance_of(f, true);
}

static void balanced_too(void **state)
{
    (void)state;
    fixture_for_all(check_balance);
    assert_true(moved);
}

static void check_soft(fixture *f)
{
    msw_admm_options o;
    subject own, built_in;

    msw_admm_options_init(&o);
    o.relaxation = MSW_RELAXATION_SOFT;
    open_subject(&own, f, &o, true);
    open_subject(&built_in, f, &o, false);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_update(built_in.admm), MSW_OK);
    }
    assert_int_equal(own.host.calls, 3);
    assert_int_equal(own.host.freezing, 0);
    assert_near(&own, &built_in, own.w, built_in.w);
    close_subject(&own);
    close_subject(&built_in);
}

static void softly_too(void **state)
{
    (void)state;
    fixture_for_all(check_soft);
}

/* Two of every four weights, the others zero: kept by blocks of one weight. */
static const layout ones = {.weights = MSW_WEIGHTS_OI, .shape = {6, 8}, .rank = 2,
                            .block_rows = 1, .block_columns = 1, .groups = 1};
static const layout fours = {.weights = MSW_WEIGHTS_OI, .shape = {6, 8}, .rank = 2,
                             .block_rows = 1, .block_columns = 4, .groups = 1};

static int two_of_four(const msw_projection_call *call, void *user)
{
    (void)user;
    for (size_t i = 0; i + 4 <= call->count; i += 4)
        for (unsigned kept = 4; kept > 2; kept--) {
            size_t least = i;

            for (size_t k = i; k < i + 4; k++)
                if (call->z[least] == 0 ||
                    (call->z[k] != 0 && fabsf(call->z[k]) < fabsf(call->z[least])))
                    least = k;
            call->z[least] = 0;
        }
    return 0;
}

/* 0: in a row, all of one size, or zero where the pattern says so. */
static int signs_and_zeros(const msw_projection_call *call, void *user)
{
    (void)user;
    for (size_t i = 0; i < call->count; i++)
        call->z[i] = i % 8 < 4 ? (i / 8 % 2 ? 0 : copysignf(0.5f, call->z[i]))
                               : call->z[i];
    return 0;
}

static void freezing_takes_the_structure_of_the_result(void **state)
{
    fixture f = fixture_setup(&ones, NULL);
    msw_tensor *w = fixture_random_tensor(&f);
    msw_layer_options l;
    msw_unified *u;
    msw_admm *admm;

    (void)state;
    msw_layer_options_init(&l);
    assert_int_equal(msw_admm_new(&admm, f.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, w, f.plan, &l), MSW_OK);
    assert_int_equal(msw_admm_set_projection(admm, 0, two_of_four, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_class_count(admm, 0, MSW_CLASS_PRUNED), 24);
    assert_int_equal(msw_admm_class_count(admm, 0, MSW_CLASS_FREE), 24);
    for (size_t i = 0; i < 48; i++)
        *fixture_at(&f, w, i) += 1;
    assert_int_equal(msw_admm_mask_weights(admm, 0), MSW_OK);
    for (size_t i = 0; i < 48; i += 4) {
        unsigned zeros = 0;

        for (size_t k = i; k < i + 4; k++)
            zeros += *fixture_at(&f, w, k) == 0;
        assert_int_equal(zeros, 2);
    }
    assert_int_equal(msw_admm_unify(&u, admm, 0), MSW_OK);
    msw_unified_free(u);
    msw_admm_free(admm);
    fixture_free(w);
    fixture_teardown(&f);

    for (uint32_t exclude = 0; exclude < 4; exclude++) {
        f = fixture_setup(&fours, NULL);
        w = fixture_random_tensor(&f);
        l.exclude = exclude;
        assert_int_equal(msw_admm_new(&admm, f.ctx, NULL), MSW_OK);
        assert_int_equal(msw_admm_add_layer(admm, w, f.plan, &l), MSW_OK);
        assert_int_equal(msw_admm_set_projection(admm, 0, signs_and_zeros, NULL), MSW_OK);
        assert_int_equal(msw_admm_freeze(admm), MSW_OK); /* at once */
        assert_int_equal(msw_admm_class_count(admm, 0, MSW_CLASS_PRUNED),
                         exclude & MSW_EXCLUDE_PRUNE ? 0 : 3);
        assert_int_equal(msw_admm_class_count(admm, 0, MSW_CLASS_UNIFIED),
                         exclude & MSW_EXCLUDE_UNIFY ? 0 : 3);
        for (size_t i = 0; i < 48; i++)
            if (i % 8 < 4)
                assert_true(fabsf(*fixture_at(&f, w, i)) == (i / 8 % 2 ? 0 : 0.5f));
        msw_admm_free(admm);
        fixture_free(w);
        fixture_teardown(&f);
    }
}

/* Trouble: first as the first Z is made, in an update, and in freezing. */

typedef struct trouble {
    int code;
    float value;
    msw_status status;
} trouble;

static void check_trouble(fixture *f, const trouble *t, unsigned at)
{
    subject s;
    uint64_t before;

    open_subject(&s, f, NULL, true);
    if (at > 1)
        assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    before = hash_of(&s);
    s.host.bad_at = s.host.calls + (at == 1 ? 2 : 1);
    s.host.code = t->code;
    s.host.value = t->value;
    assert_int_equal(at == 3 ? msw_admm_freeze(s.admm) : msw_admm_update(s.admm),
                     t->status);
    assert_int_equal(hash_of(&s), before);
    assert_int_equal(msw_admm_host_code(s.admm), t->code);
    assert_true(strlen(msw_admm_error(s.admm)) > 0);
    s.host.bad_at = 0;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_OK);
    close_subject(&s);
}

static void check_all_trouble(fixture *f)
{
    static const trouble all[] = {
        {5, 0, MSW_E_HOST}, {-5, 0, MSW_E_HOST},
        {0, NAN, MSW_E_NUMERIC}, {0, -INFINITY, MSW_E_NUMERIC},
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned at = 0; at < 4; at++)
            check_trouble(f, &all[i], at);
}

static void trouble_in_it_changes_nothing(void **state)
{
    (void)state;
    fixture_for_all(check_all_trouble);
}

/* So large that D could overflow. */
static void too_large(void **state)
{
    fixture f = fixture_setup(&fours, NULL);
    subject s;

    (void)state;
    open_subject(&s, &f, NULL, true);
    s.host.bad_at = 2;
    s.host.value = 3e38f;
    assert_int_equal(msw_admm_update(s.admm), MSW_E_NUMERIC);
    close_subject(&s);
    fixture_teardown(&f);
}

/* What the callback may call of its solver. */
static void call_everything(host *h)
{
    msw_unified *u;
    uint64_t hash;
    msw_tensor *t = fixture_tensor(h->f);

    h->wrong |= msw_admm_update(h->admm) != MSW_E_STATE;
    h->wrong |= msw_admm_freeze(h->admm) != MSW_E_STATE;
    h->wrong |= msw_admm_add_penalty(h->admm, 0, t, 1) != MSW_E_STATE;
    h->wrong |= msw_admm_set_projection(h->admm, 0, NULL, NULL) != MSW_E_STATE;
    h->wrong |= msw_admm_set_rho(h->admm, 0, 1) != MSW_E_STATE;
    h->wrong |= msw_admm_get_z(t, h->admm, 0) != MSW_E_STATE;
    h->wrong |= msw_admm_hash(&hash, h->admm) != MSW_E_STATE;
    h->wrong |= msw_admm_unify(&u, h->admm, 0) != MSW_E_STATE;
    msw_admm_free(h->admm); /* ignored */
    msw_admm_stop(h->admm);
    fixture_free(t);
}

static void nothing_of_the_solver_inside(void **state)
{
    fixture f = fixture_setup(&fours, NULL);
    subject s;

    (void)state;
    open_subject(&s, &f, NULL, true);
    s.host.inside = call_everything;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(s.admm), MSW_OK);
    assert_int_equal(s.host.calls, 3);
    close_subject(&s);
    fixture_teardown(&f);
}

static void misuse(void **state)
{
    static const size_t shape[1] = {6};
    fixture f = fixture_setup(&fours, NULL);
    msw_tensor *bias;
    subject s;

    (void)state;
    open_subject(&s, &f, NULL, true);
    assert_int_equal(msw_admm_set_projection(NULL, 0, on_project, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_projection(s.admm, 1, on_project, NULL), MSW_E_RANGE);
    assert_int_equal(msw_tensor_new(&bias, f.ctx, shape, 1), MSW_OK);
    assert_int_equal(msw_admm_add_layer(s.admm, bias, NULL, NULL), MSW_OK);
    assert_int_equal(msw_admm_set_projection(s.admm, 1, on_project, NULL), MSW_E_INVAL);
    msw_tensor_free(bias);
    assert_int_equal(msw_admm_set_budget(s.admm, 1e6, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(s.admm), MSW_E_INVAL);
    assert_non_null(strstr(msw_admm_error(s.admm), "layer0"));
    assert_int_equal(msw_admm_freeze(s.admm), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_budget(s.admm, 0, NULL), MSW_OK);
    assert_int_equal(s.host.calls, 0);
    /* Back to the shares, and to it again. */
    assert_int_equal(msw_admm_set_projection(s.admm, 0, NULL, NULL), MSW_OK);
    assert_int_equal(msw_admm_set_projection(s.admm, 0, on_project, &s.host), MSW_OK);
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    assert_int_equal(msw_admm_set_projection(s.admm, 0, NULL, NULL), MSW_E_STATE);
    close_subject(&s);
    fixture_teardown(&f);
}

/* In a file */

static uint8_t *save(size_t *size, const subject *s)
{
    msw_writer *writer;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&writer, s->f->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, s->admm), MSW_OK);
    bytes = file_written(writer, size);
    msw_writer_free(writer);
    return bytes;
}

static msw_status load(subject *s, const uint8_t *bytes, size_t size)
{
    msw_reader *reader;
    msw_status status;

    assert_int_equal(msw_reader_open_buffer(&reader, s->f->ctx, bytes, size, NULL), MSW_OK);
    status = msw_admm_load(s->admm, reader);
    msw_reader_free(reader);
    return status;
}

static void check_file(fixture *f)
{
    subject own, other;
    uint8_t *bytes, *compact;
    uint64_t before;
    size_t size, compact_size;

    open_subject(&own, f, NULL, true);
    open_subject(&other, f, NULL, false);
    for (int k = 0; k < 2; k++) {
        step(&own, &other);
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_update(other.admm), MSW_OK);
    }
    bytes = save(&size, &own);
    compact = save(&compact_size, &other);
    /* Not without the callback, and not instead of the shares. */
    before = hash_of(&other);
    assert_int_equal(load(&other, bytes, size), MSW_E_INVAL);
    assert_non_null(strstr(msw_admm_error(other.admm), "msw_admm_set_projection()"));
    assert_int_equal(hash_of(&other), before);
    before = hash_of(&own);
    assert_int_equal(load(&own, compact, compact_size), MSW_E_INVAL);
    assert_int_equal(hash_of(&own), before);
    close_subject(&other);
    open_subject(&other, f, NULL, true);
    assert_int_equal(load(&other, bytes, size), MSW_OK);
    assert_int_equal(hash_of(&other), before);
    for (int k = 0; k < 2; k++) {
        step(&own, &other);
        assert_int_equal(msw_admm_update(own.admm), MSW_OK);
        assert_int_equal(msw_admm_update(other.admm), MSW_OK);
        assert_int_equal(hash_of(&other), hash_of(&own));
    }
    assert_int_equal(msw_admm_freeze(own.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(other.admm), MSW_OK);
    assert_int_equal(hash_of(&other), hash_of(&own));
    free(bytes);
    free(compact);
    /* Frozen, the structure is all there is. */
    bytes = save(&size, &own);
    close_subject(&other);
    open_subject(&other, f, NULL, false);
    assert_int_equal(load(&other, bytes, size), MSW_OK);
    assert_int_equal(hash_of(&other), hash_of(&own));
    free(bytes);
    close_subject(&own);
    close_subject(&other);
}

static void resumed_with_the_callback_alone(void **state)
{
    (void)state;
    fixture_for_all(check_file);
}

/* Every byte of the state turned round: refused, or loaded and usable. */
static void damage(void **state)
{
    fixture f = fixture_setup(&fours, NULL);
    subject own;
    uint8_t *bytes;
    size_t size;

    (void)state;
    open_subject(&own, &f, NULL, true);
    assert_int_equal(msw_admm_update(own.admm), MSW_OK);
    bytes = save(&size, &own);
    for (size_t i = 0; i < size; i++) {
        msw_reader *reader;

        bytes[i] ^= 0x81;
        if (!msw_reader_open_buffer(&reader, f.ctx, bytes, size, NULL)) {
            const uint64_t before = hash_of(&own);

            if (msw_admm_load(own.admm, reader))
                assert_int_equal(hash_of(&own), before);
            msw_reader_free(reader);
        }
        bytes[i] ^= 0x81;
    }
    assert_int_equal(load(&own, bytes, size), MSW_OK);
    for (size_t cut = 0; cut < size; cut += 7) {
        msw_reader *reader;

        if (msw_reader_open_buffer(&reader, f.ctx, bytes, cut, NULL))
            continue;
        assert_int_not_equal(msw_admm_load(own.admm, reader), MSW_OK);
        msw_reader_free(reader);
    }
    free(bytes);
    close_subject(&own);
    fixture_teardown(&f);
}

/* What the state and an update take, as an allocator sees it. */
static void memory(void **state)
{
    faults fa = {0};
    msw_context_options c;
    msw_admm_memory m;
    uint64_t live, before;
    subject s;
    fixture f;

    (void)state;
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&fa);
    f = fixture_setup(&fours, &c);
    open_subject(&s, &f, NULL, true);
    before = fa.live;
    assert_int_equal(msw_admm_update(s.admm), MSW_OK);
    live = fa.live;
    msw_admm_memory_init(&m);
    assert_int_equal(msw_admm_get_memory(&m, s.admm), MSW_OK);
    assert_int_equal(live - before, m.state);
    assert_true(m.state >= 2 * s.count * sizeof(float));
    assert_true(m.scratch >= s.count * sizeof(float));
    close_subject(&s);
    fixture_teardown(&f);
    assert_true(faults_clean(&fa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_like_the_library_gives_the_same),
        cmocka_unit_test(balanced_too),
        cmocka_unit_test(softly_too),
        cmocka_unit_test(freezing_takes_the_structure_of_the_result),
        cmocka_unit_test(trouble_in_it_changes_nothing),
        cmocka_unit_test(too_large),
        cmocka_unit_test(nothing_of_the_solver_inside),
        cmocka_unit_test(misuse),
        cmocka_unit_test(resumed_with_the_callback_alone),
        cmocka_unit_test(damage),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
