/* SPDX-License-Identifier: BSD-2-Clause */
/* Data-parallel runs: ranks are threads, whose sums wait for each other.
 * Assertions come after all have ended. A run that hangs fails by the time limit. */
#include "faults.h"
#include "ref.h"

#include <msw/msw.h>

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Layers are large enough for more than one task. */
enum {
    MOST = 4, LAYERS = 4, ROWS = 192, COLUMNS = 180, COUNT = ROWS * COLUMNS,
    WEIGHTS = 3 * COUNT, ALL = WEIGHTS + ROWS, SAMPLES = 8, EVERY = 5
};

typedef struct group {
    unsigned count;
    pthread_mutex_t mutex;
    pthread_cond_t all_here;
    unsigned waiting, rounds;
    void *data[MOST];
    unsigned broken_at; /* the call that fails on every rank; 0: none */
} group;

typedef struct rank {
    group *of;
    unsigned number;
    faults memory;
    pool pool;
    msw_context *ctx;
    msw_plan *plan;
    msw_admm *admm;
    msw_host host;
    float w[ALL];
    unsigned first_sample, samples; /* of SAMPLES, in one mini-batch */

    /* In call number bad_at of loss_gradient (1 the first), or of step: */
    unsigned bad_at, calls, steps, sums;
    double bad_loss;                /* 0: as it is */
    float bad_gradient, bad_step;
    int code;
    bool ask_stop;

    unsigned progress_calls, projections, bad_projection;
    int progress_code;
    msw_status status;
    uint64_t iterations;
    bool freezes;                   /* instead */
    pthread_t thread;
} rank;

/* Returns when all ranks have called it. */
static void wait_for_all(group *g)
{
    unsigned round;

    pthread_mutex_lock(&g->mutex);
    round = g->rounds;
    if (++g->waiting == g->count) {
        g->waiting = 0;
        g->rounds++;
        pthread_cond_broadcast(&g->all_here);
    }
    while (g->rounds == round)
        pthread_cond_wait(&g->all_here, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

/* Every rank adds up for itself, in the same order. */
static int allreduce(void *data, size_t count, msw_real type, void *user)
{
    const size_t size = count * (type == MSW_REAL_DOUBLE ? sizeof(double) : sizeof(float));
    rank *r = user;
    group *g = r->of;
    void *sum = calloc(1, size);

    if (!sum || ++r->sums == g->broken_at) {
        free(sum);
        return 77;
    }
    g->data[r->number] = data;
    wait_for_all(g);
    for (unsigned k = 0; k < g->count; k++)
        for (size_t i = 0; i < count; i++)
            if (type == MSW_REAL_DOUBLE)
                ((double *)sum)[i] += ((const double *)g->data[k])[i];
            else
                ((float *)sum)[i] += ((const float *)g->data[k])[i];
    wait_for_all(g);
    memcpy(data, sum, size);
    free(sum);
    return 0;
}

/* 1/2 ||W - target||^2 for the mean target of the samples. */
static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    rank *r = user;
    const double mean = r->first_sample + 0.5 * (r->samples - 1);

    *loss = 0;
    r->calls++;
    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < (l < 3 ? (size_t)COUNT : ROWS); i++) {
            const double target = (double)(i * 37 % (101 + l)) / 50 - 1 + 0.1 * mean;
            const double off = (double)weights[l][i] - target - 0.01 * r->calls;

            grads[l][i] = (float)off;
            *loss += 0.5 * off * off;
        }
    if (r->calls != r->bad_at)
        return 0;
    if (r->ask_stop)
        msw_admm_stop(r->admm);
    if (r->bad_loss != 0)
        *loss = r->bad_loss;
    if (r->bad_gradient != 0)
        grads[1][7] = r->bad_gradient;
    return r->code;
}

static int step(float *const *weights, const float *const *grads, uint32_t layer_count,
                void *user)
{
    rank *r = user;

    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < (l < 3 ? (size_t)COUNT : ROWS); i++)
            weights[l][i] -= 0.1f * grads[l][i];
    if (++r->steps == r->bad_at && r->bad_step != 0)
        weights[0][3] += r->bad_step;
    return 0;
}

static int progress(const msw_admm_progress *p, void *user)
{
    rank *r = user;

    (void)p;
    r->progress_calls++;
    return r->progress_code;
}

static msw_tensor *borrow(const rank *r, unsigned layer, float *data)
{
    static const size_t shape[2] = {ROWS, COLUMNS}, bias[1] = {ROWS};
    const bool last = layer == LAYERS - 1;
    msw_tensor *t;

    assert_int_equal(msw_tensor_borrow(&t, r->ctx, data, last ? bias : shape, NULL,
                                       last ? 1 : 2), MSW_OK);
    return t;
}

static void add_layers(rank *r)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    static const double prune[3] = {0.3, 0, 0.5}, unify[3] = {0.5, 0, 0.5};
    msw_plan_options p;

    msw_plan_options_init(&p);
    p.block_rows = 4;
    p.block_columns = 5;
    assert_int_equal(msw_plan_new(&r->plan, r->ctx, shape, 2, &p), MSW_OK);
    for (unsigned l = 0; l < LAYERS; l++) {
        msw_layer_options o;
        msw_tensor *t;

        msw_layer_options_init(&o);
        o.prune = l < 3 ? prune[l] : 0;
        o.unify = l < 3 ? unify[l] : 0;
        t = borrow(r, l, r->w + l * COUNT);
        assert_int_equal(msw_admm_add_layer(r->admm, t, l < 3 ? r->plan : NULL, &o),
                         MSW_OK);
        msw_tensor_free(t);
    }
}

static uint32_t relaxation; /* of the next solvers, */
static bool own_projection; /* that of their layer 0 is their host's */

/* Every third weight is zero. */
static int thin_out(const msw_projection_call *call, void *user)
{
    rank *r = user;

    r->projections++;
    for (size_t i = 0; i < call->count; i += 3)
        call->z[i] = 0;
    if (r->projections == r->bad_projection)
        call->z[1] = NAN;
    return 0;
}

static void open_rank(rank *r, group *g, unsigned number)
{
    msw_context_options c;
    msw_admm_options o;
    uint64_t random = 5;

    memset(r, 0, sizeof *r);
    r->of = g;
    r->number = number;
    r->samples = SAMPLES / g->count;
    r->first_sample = number * r->samples;
    for (size_t i = 0; i < ALL; i++)
        r->w[i] = (float)ref_normal(&random);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&r->memory);
    c.parallel_for = pool_run;
    c.parallel_user = &r->pool;
    assert_int_equal(msw_context_new(&r->ctx, &c), MSW_OK);
    msw_admm_options_init(&o);
    o.updates = 6;
    o.update_every = EVERY;
    o.rho = 0.1;
    o.ramp = 0.5;
    o.relaxation = relaxation;
    assert_int_equal(msw_admm_new(&r->admm, r->ctx, &o), MSW_OK);
    add_layers(r);
    if (own_projection)
        assert_int_equal(msw_admm_set_projection(r->admm, 0, thin_out, r), MSW_OK);
    msw_host_init(&r->host);
    r->host.user = r;
    r->host.loss_gradient = loss_gradient;
    r->host.progress = progress;
    r->host.allreduce = allreduce;
    r->host.rank = number;
    r->host.rank_count = g->count;
}

static void close_rank(rank *r)
{
    msw_admm_free(r->admm);
    msw_plan_free(r->plan);
    msw_context_free(r->ctx);
    assert_true(faults_clean(&r->memory));
}

static group shared;
static rank ranks[MOST];

static void open_group(unsigned count)
{
    memset(&shared, 0, sizeof shared);
    shared.count = count;
    assert_int_equal(pthread_mutex_init(&shared.mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&shared.all_here, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        open_rank(&ranks[i], &shared, i);
}

static void close_group(void)
{
    for (unsigned i = 0; i < shared.count; i++)
        close_rank(&ranks[i]);
    pthread_cond_destroy(&shared.all_here);
    pthread_mutex_destroy(&shared.mutex);
}

static void *run_rank(void *arg)
{
    rank *r = arg;

    r->status = r->freezes ? msw_admm_freeze_ranks(r->admm, &r->host)
                           : msw_admm_run(r->admm, &r->host, r->iterations);
    return NULL;
}

static void run_group(uint64_t iterations)
{
    for (unsigned i = 0; i < shared.count; i++) {
        ranks[i].iterations += iterations;
        ranks[i].status = MSW_E_UNSUPPORTED;
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    }
    for (unsigned i = 0; i < shared.count; i++) {
        pthread_join(ranks[i].thread, NULL);
        ranks[i].iterations = 0;
    }
}

static void freeze_group(void)
{
    for (unsigned i = 0; i < shared.count; i++)
        ranks[i].freezes = true;
    run_group(0);
    for (unsigned i = 0; i < shared.count; i++)
        ranks[i].freezes = false;
}

static uint64_t hash_of(const rank *r)
{
    uint64_t h;

    assert_int_equal(msw_admm_hash(&h, r->admm), MSW_OK);
    return h;
}

static void assert_all(msw_status status)
{
    for (unsigned i = 0; i < shared.count; i++)
        assert_int_equal(ranks[i].status, status);
}

static void assert_same_bits(void)
{
    for (unsigned i = 1; i < shared.count; i++) {
        assert_memory_equal(ranks[i].w, ranks[0].w, sizeof ranks[0].w);
        assert_int_equal(hash_of(&ranks[i]), hash_of(&ranks[0]));
    }
}

/* ADMM past its planned updates, freezing, retraining. */
static void train_group(void)
{
    run_group(8 * EVERY + 2);
    assert_all(MSW_OK);
    assert_same_bits();
    if (shared.count > 1)
        freeze_group();
    else
        ranks[0].status = msw_admm_freeze(ranks[0].admm);
    assert_all(MSW_OK);
    assert_same_bits();
    run_group(2 * EVERY);
    assert_all(MSW_OK);
    assert_same_bits();
    for (unsigned i = 0; i < shared.count; i++)
        assert_int_equal(ranks[i].progress_calls, 10);
}

/* The mean of equal gradients is that gradient, so ranks on the same data end with the
 * bits of one that is alone. */
static void test_same_data(void **state)
{
    static float alone[ALL];
    uint64_t hash = 0;

    (void)state;
    for (unsigned count = 1; count <= MOST; count *= 2) {
        open_group(count);
        for (unsigned i = 0; i < count; i++) {
            ranks[i].first_sample = 0;
            ranks[i].samples = SAMPLES;
        }
        train_group();
        if (count == 1) {
            assert_int_equal(ranks[0].sums, 0);
            memcpy(alone, ranks[0].w, sizeof alone);
            hash = hash_of(&ranks[0]);
        }
        assert_memory_equal(ranks[0].w, alone, sizeof alone);
        assert_int_equal(hash_of(&ranks[0]), hash);
        close_group();
    }
}

static void test_soft_projection(void **state)
{
    (void)state;
    relaxation = MSW_RELAXATION_SOFT;
    test_same_data(state);
    relaxation = MSW_RELAXATION_ADMM;
}

static void test_envelope(void **state)
{
    (void)state;
    relaxation = MSW_RELAXATION_ENVELOPE;
    test_same_data(state);
    relaxation = MSW_RELAXATION_ADMM;
}

/* One rank projects for all; what fails there fails everywhere. */
static void test_own_projection(void **state)
{
    (void)state;
    own_projection = true;
    for (unsigned count = 2; count <= MOST; count++) {
        open_group(count);
        run_group(2 * EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(ranks[i].projections, i ? 0 : 3);
        ranks[0].bad_projection = 4;
        run_group(EVERY);
        assert_all(MSW_E_NUMERIC);
        assert_same_bits();
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        close_group();
    }
    own_projection = false;
}

/* Ranks that share a mini-batch do what one does with all of it, up to rounding; twice
 * the same. */
static void test_shared_data(void **state)
{
    static float alone[ALL], first[ALL];

    (void)state;
    for (unsigned count = 1; count <= MOST; count *= 2) {
        for (int again = 0; again < 2; again++) {
            open_group(count);
            train_group();
            if (count == 1)
                memcpy(alone, ranks[0].w, sizeof alone);
            for (size_t i = 0; i < ALL; i++)
                assert_true(fabsf(ranks[0].w[i] - alone[i]) <= 1e-4f);
            if (again)
                assert_memory_equal(ranks[0].w, first, sizeof first);
            memcpy(first, ranks[0].w, sizeof first);
            close_group();
        }
    }
}

static void test_three_ranks(void **state)
{
    (void)state;
    open_group(3);
    train_group();
    close_group();
}

/* Whatever one rank does in its 7th mini-batch. */
typedef struct trouble {
    double loss;
    float gradient;
    int code;
    msw_status there, elsewhere;
    msw_stop_reason reason;
    unsigned done; /* mini-batches */
} trouble;

static void check_trouble(const trouble *t, unsigned count, bool frozen)
{
    static float before[ALL];
    rank *bad = &ranks[count - 1];

    open_group(count);
    run_group(6);
    if (frozen)
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(msw_admm_freeze(ranks[i].admm), MSW_OK);
    memcpy(before, ranks[0].w, sizeof before);
    bad->bad_at = 7;
    bad->bad_loss = t->loss;
    bad->bad_gradient = t->gradient;
    bad->code = t->code;
    run_group(6);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(ranks[i].status, &ranks[i] == bad ? t->there : t->elsewhere);
        assert_int_equal(msw_admm_stop_reason(ranks[i].admm), t->reason);
        assert_int_equal(msw_admm_host_code(ranks[i].admm), &ranks[i] == bad ? t->code : 0);
    }
    assert_memory_equal(ranks[0].w, before, sizeof before);
    assert_same_bits();
    run_group(6); /* it can go on */
    assert_all(MSW_OK);
    assert_same_bits();
    assert_memory_not_equal(ranks[0].w, before, sizeof before);
    close_group();
}

static void test_trouble(void **state)
{
    const trouble all[] = {
        {(double)NAN, 0, 0, MSW_E_NUMERIC, MSW_E_NUMERIC, MSW_STOP_ERROR, 0},
        {(double)INFINITY, 0, 0, MSW_E_NUMERIC, MSW_E_NUMERIC, MSW_STOP_ERROR, 0},
        {0, NAN, 0, MSW_E_NUMERIC, MSW_E_NUMERIC, MSW_STOP_ERROR, 0},
        {0, -INFINITY, 0, MSW_E_NUMERIC, MSW_E_NUMERIC, MSW_STOP_ERROR, 0},
        {0, 0, -5, MSW_E_HOST, MSW_E_HOST, MSW_STOP_ERROR, 0},
        {0, 0, 5, MSW_OK, MSW_OK, MSW_STOP_HOST, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned count = 2; count <= MOST; count += 2) {
            check_trouble(&all[i], count, false);
            check_trouble(&all[i], count, true);
        }
}

static void test_stop(void **state)
{
    (void)state;
    open_group(4);
    ranks[2].bad_at = 3;
    ranks[2].ask_stop = true;
    run_group(50);
    assert_all(MSW_OK);
    assert_same_bits();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(msw_admm_stop_reason(ranks[i].admm), MSW_STOP_REQUESTED);
        assert_int_equal(ranks[i].calls, 3);
    }
    msw_admm_stop(ranks[1].admm); /* the next run ends at once, everywhere, once */
    run_group(50);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ranks[i].calls, 3);
    run_group(2);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ranks[i].calls, 5);
    close_group();
}

static void test_progress_stops(void **state)
{
    (void)state;
    open_group(2);
    ranks[1].progress_code = 9;
    run_group(50);
    assert_all(MSW_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(msw_admm_stop_reason(ranks[i].admm), MSW_STOP_HOST);
        assert_int_equal(ranks[i].calls, EVERY);
    }
    ranks[1].progress_code = -9;
    run_group(50);
    assert_all(MSW_E_HOST);
    close_group();
}

/* Ranks that do not start alike do not start. */
static void test_unlike(void **state)
{
    static float before[ALL];

    (void)state;
    for (int what = 0; what < 3; what++) {
        open_group(4);
        if (what == 0)
            ranks[3].w[ALL - 1] = nextafterf(ranks[3].w[ALL - 1], 9);
        if (what == 1)
            ranks[1].iterations = 1; /* more */
        if (what == 2)
            assert_int_equal(msw_admm_update(ranks[2].admm), MSW_OK);
        memcpy(before, ranks[0].w, sizeof before);
        run_group(10);
        assert_all(MSW_E_INVAL);
        assert_non_null(strstr(msw_admm_error(ranks[0].admm), "differ"));
        assert_memory_equal(ranks[0].w, before, sizeof before);
        assert_int_equal(ranks[0].calls, 0);
        close_group();
    }
}

/* A step that is not the same on one rank shows at the next update. */
static void test_drift(void **state)
{
    (void)state;
    for (int frozen = 0; frozen < 2; frozen++) {
        open_group(4);
        for (unsigned i = 0; i < 4; i++) {
            ranks[i].host.step = step;
            if (frozen)
                assert_int_equal(msw_admm_freeze(ranks[i].admm), MSW_OK);
        }
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        ranks[1].bad_at = EVERY + 2;
        ranks[1].bad_step = 0.25f;
        run_group(50);
        assert_all(MSW_E_HOST);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(ranks[i].calls, 2 * EVERY);
        close_group();
    }
}

/* Freezing */

static void assert_not_frozen(const float *before)
{
    for (unsigned i = 0; i < shared.count; i++)
        assert_int_equal(msw_admm_phase(ranks[i].admm), MSW_PHASE_ADMM);
    assert_memory_equal(ranks[0].w, before, ALL * sizeof *before);
    assert_same_bits();
}

/* As after msw_admm_freeze(), at once or after an update; each layer is projected by one
 * rank, and not all by the same. */
static void test_freeze(void **state)
{
    static float alone[ALL];

    (void)state;
    own_projection = true;
    for (uint64_t iterations = 0; iterations <= EVERY; iterations += EVERY)
        for (unsigned count = 1; count <= MOST; count *= 2) {
            unsigned before[MOST], projected = 0;

            open_group(count);
            for (unsigned i = 0; i < count; i++) {
                ranks[i].first_sample = 0;
                ranks[i].samples = SAMPLES;
                for (uint32_t l = 1; l < 3; l++)
                    assert_int_equal(msw_admm_set_projection(ranks[i].admm, l, thin_out,
                                                             &ranks[i]), MSW_OK);
            }
            run_group(iterations);
            for (unsigned i = 0; i < count; i++)
                before[i] = ranks[i].projections;
            if (count == 1)
                ranks[0].status = msw_admm_freeze(ranks[0].admm);
            else
                freeze_group();
            assert_all(MSW_OK);
            assert_same_bits();
            for (unsigned i = 0; i < count; i++) {
                assert_true(count == 1 || ranks[i].projections - before[i] < 3);
                projected += ranks[i].projections - before[i];
            }
            assert_int_equal(projected, 3);
            if (count == 1)
                memcpy(alone, ranks[0].w, sizeof alone);
            assert_memory_equal(ranks[0].w, alone, sizeof alone);
            freeze_group(); /* once */
            assert_all(MSW_E_STATE);
            close_group();
        }
    own_projection = false;
}

/* One choice for all layers. */
static void test_freeze_budget(void **state)
{
    static float alone[ALL];

    (void)state;
    for (unsigned count = 1; count <= MOST; count++) {
        open_group(count);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(msw_admm_set_budget(ranks[i].admm, 60000, NULL), MSW_OK);
        freeze_group();
        assert_all(MSW_OK);
        assert_same_bits();
        if (count == 1)
            memcpy(alone, ranks[0].w, sizeof alone);
        assert_memory_equal(ranks[0].w, alone, sizeof alone);
        close_group();
    }
}

static void test_freeze_unlike(void **state)
{
    static float before[ALL];
    msw_host host;

    (void)state;
    open_group(3);
    run_group(EVERY);
    memcpy(before, ranks[0].w, sizeof before);
    ranks[2].w[5] += 1;
    freeze_group();
    assert_all(MSW_E_INVAL);
    ranks[2].w[5] = before[5];
    assert_not_frozen(before);
    for (unsigned i = 0; i < 3; i++)
        ranks[i].w[2 * COUNT + 1] = NAN; /* a layer of the last rank */
    freeze_group();
    assert_all(MSW_E_NUMERIC);
    for (unsigned i = 0; i < 3; i++)
        ranks[i].w[2 * COUNT + 1] = before[2 * COUNT + 1];
    assert_not_frozen(before);
    assert_int_equal(msw_admm_freeze_ranks(ranks[0].admm, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_freeze_ranks(NULL, &ranks[0].host), MSW_E_INVAL);
    host = ranks[0].host;
    host.rank = 3;
    assert_int_equal(msw_admm_freeze_ranks(ranks[0].admm, &host), MSW_E_INVAL);
    assert_int_equal(msw_admm_freeze(ranks[1].admm), MSW_OK);
    freeze_group(); /* one is frozen already */
    assert_all(MSW_E_INVAL);
    close_group();
}

/* Allocations, tasks and sums that fail: on all ranks, with nothing changed, and it can be
 * tried again. */
typedef enum freeze_fault { FAULT_MEMORY, FAULT_POOL, FAULT_SUM } freeze_fault;

static bool fail_freeze(freeze_fault what, unsigned at)
{
    static float before[ALL];
    bool failed;

    open_group(2);
    run_group(1);
    memcpy(before, ranks[0].w, sizeof before);
    ranks[0].sums = ranks[1].sums = 0;
    if (what == FAULT_MEMORY)
        faults_arm(&ranks[1].memory, at, false);
    else if (what == FAULT_POOL)
        ranks[1].pool = (pool){.mode = POOL_FAILING, .fail_from = at};
    else
        shared.broken_at = at;
    freeze_group();
    faults_arm(&ranks[1].memory, 0, false);
    ranks[1].pool = (pool){.mode = POOL_IN_ORDER};
    shared.broken_at = 0;
    failed = ranks[0].status != MSW_OK;
    assert_all(!failed ? MSW_OK : what == FAULT_MEMORY ? MSW_E_NOMEM : MSW_E_HOST);
    if (failed) {
        assert_not_frozen(before);
        freeze_group();
        assert_all(MSW_OK);
    }
    assert_same_bits();
    close_group();
    return failed;
}

static void test_freeze_fails(void **state)
{
    (void)state;
    own_projection = true;
    for (freeze_fault what = FAULT_MEMORY; what <= FAULT_SUM; what++) {
        unsigned at = 1;

        while (fail_freeze(what, at))
            at++;
        assert_true(at > 3);
    }
    own_projection = false;
}

/* Every allocation of one rank fails once: both get the status, and can go on. */
static void fail_memory(uint64_t iterations)
{
    bool failed = true;

    for (size_t at = 1; failed; at++) {
        open_group(2);
        faults_arm(&ranks[1].memory, at, false);
        run_group(iterations);
        failed = ranks[1].status != MSW_OK;
        assert_all(failed ? MSW_E_NOMEM : MSW_OK);
        assert_true(failed || at > 10);
        assert_same_bits();
        faults_arm(&ranks[1].memory, 0, false);
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        close_group();
    }
}

static void test_memory(void **state)
{
    (void)state;
    fail_memory(2 * EVERY);
    relaxation = MSW_RELAXATION_SOFT;
    fail_memory(EVERY);
    relaxation = MSW_RELAXATION_ADMM;
}

/* So does every call of its parallel_for: a step is taken by all or none. */
static void test_parallel_for(void **state)
{
    bool failed = true;

    (void)state;
    for (uint64_t at = 1; failed || at < 20; at++) {
        open_group(2);
        ranks[0].host.step = ranks[1].host.step = step;
        ranks[1].pool = (pool){.mode = POOL_FAILING, .fail_from = at};
        run_group(2);
        failed = ranks[1].status != MSW_OK;
        assert_all(failed ? MSW_E_HOST : MSW_OK);
        assert_same_bits();
        ranks[1].pool = (pool){.mode = POOL_IN_ORDER};
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        close_group();
    }
}

static void test_allreduce_fails(void **state)
{
    unsigned sums;

    (void)state;
    open_group(2);
    run_group(EVERY);
    sums = ranks[0].sums;
    close_group();
    assert_true(sums > 20);
    for (unsigned at = 1; at <= sums; at += 2) {
        open_group(2);
        shared.broken_at = at;
        run_group(EVERY);
        assert_all(MSW_E_HOST);
        assert_int_equal(msw_admm_host_code(ranks[0].admm), 77);
        shared.broken_at = 0;
        run_group(EVERY);
        assert_all(MSW_OK);
        assert_same_bits();
        close_group();
    }
}

static void test_host_struct(void **state)
{
    msw_host host;

    (void)state;
    open_group(2);
    host = ranks[0].host;
    host.allreduce = NULL;
    assert_int_equal(msw_admm_run(ranks[0].admm, &host, 1), MSW_E_INVAL);
    host = ranks[0].host;
    host.rank = 2;
    assert_int_equal(msw_admm_run(ranks[0].admm, &host, 1), MSW_E_INVAL);
    host.rank_count = 0;
    assert_int_equal(msw_admm_run(ranks[0].admm, &host, 1), MSW_E_INVAL);
    host.rank = 0;
    assert_int_equal(msw_admm_run(ranks[0].admm, &host, 1), MSW_OK);
    host.size = offsetof(msw_host, allreduce); /* as it was before there were ranks */
    host.rank_count = 2;
    assert_int_equal(msw_admm_run(ranks[0].admm, &host, 1), MSW_OK);
    assert_int_equal(ranks[0].sums, 0);
    close_group();
}

/* The host's own loop: sums of gradients, and all else as if alone. */
static void test_own_loop(void **state)
{
    static float grads[MOST][LAYERS][COUNT];

    (void)state;
    open_group(4);
    for (unsigned n = 0; n < 2 * EVERY; n++) {
        double loss;

        for (unsigned i = 0; i < 4; i++) {
            float *g[LAYERS];
            const float *w[LAYERS];

            for (unsigned l = 0; l < LAYERS; l++) {
                g[l] = grads[i][l];
                w[l] = ranks[i].w + l * COUNT;
            }
            loss_gradient(&loss, g, w, LAYERS, &ranks[i]);
        }
        for (unsigned l = 0; l < LAYERS; l++)
            for (size_t k = 0; k < COUNT; k++) {
                float sum = 0;

                for (unsigned i = 0; i < 4; i++)
                    sum += grads[i][l][k];
                for (unsigned i = 0; i < 4; i++)
                    grads[i][l][k] = sum / 4;
            }
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned l = 0; l < LAYERS; l++) {
                msw_tensor *t = borrow(&ranks[i], l, grads[i][l]);

                assert_int_equal(msw_admm_add_penalty(ranks[i].admm, l, t, 1), MSW_OK);
                msw_tensor_free(t);
                for (size_t k = 0; k < (l < 3 ? (size_t)COUNT : ROWS); k++)
                    ranks[i].w[l * COUNT + k] -= 0.1f * grads[i][l][k];
            }
            if (n % EVERY == EVERY - 1)
                assert_int_equal(msw_admm_update(ranks[i].admm), MSW_OK);
        }
        assert_same_bits();
    }
    close_group();
}

/* The hash tells apart weights, U, structure; and not where the host keeps its weights. */
static void test_hash(void **state)
{
    static const size_t shape[2] = {ROWS, COLUMNS}, strides[2] = {1, ROWS};
    static float turned[COUNT];
    msw_tensor *t;
    uint64_t h, other;

    (void)state;
    open_group(1);
    h = hash_of(&ranks[0]);
    ranks[0].w[WEIGHTS] = -ranks[0].w[WEIGHTS];
    assert_int_not_equal(hash_of(&ranks[0]), h);
    ranks[0].w[WEIGHTS] = -ranks[0].w[WEIGHTS];
    assert_int_equal(hash_of(&ranks[0]), h);
    for (size_t i = 0; i < COUNT; i++)
        turned[i % COLUMNS * ROWS + i / COLUMNS] = ranks[0].w[i];
    assert_int_equal(msw_tensor_borrow(&t, ranks[0].ctx, turned, shape, strides, 2),
                     MSW_OK);
    assert_int_equal(msw_admm_set_weights(ranks[0].admm, 0, t), MSW_OK);
    msw_tensor_free(t);
    assert_int_equal(hash_of(&ranks[0]), h);
    assert_int_equal(msw_admm_update(ranks[0].admm), MSW_OK);
    other = hash_of(&ranks[0]);
    assert_int_not_equal(other, h);
    assert_int_equal(msw_admm_set_rho(ranks[0].admm, 0, 0.5), MSW_OK); /* scales U */
    assert_int_not_equal(hash_of(&ranks[0]), other);
    assert_int_equal(msw_admm_hash(NULL, ranks[0].admm), MSW_E_INVAL);
    assert_int_equal(msw_admm_hash(&h, NULL), MSW_E_INVAL);
    close_group();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_data),
        cmocka_unit_test(test_soft_projection),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_own_projection),
        cmocka_unit_test(test_shared_data),
        cmocka_unit_test(test_three_ranks),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_progress_stops),
        cmocka_unit_test(test_unlike),
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_freeze_budget),
        cmocka_unit_test(test_freeze_unlike),
        cmocka_unit_test(test_freeze_fails),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_parallel_for),
        cmocka_unit_test(test_allreduce_fails),
        cmocka_unit_test(test_host_struct),
        cmocka_unit_test(test_own_loop),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
