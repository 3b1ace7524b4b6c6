/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects shared by threads, each thread's own solver, and pools of every kind. Made for
 * the thread sanitizer; results are compared as well. */
#include "faults.h"

#include <msw/msw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 8, ROUNDS = 60, ROWS = 24, COLUMNS = 40, COUNT = ROWS * COLUMNS, N = 17 };

static const size_t shape[2] = {ROWS, COLUMNS};

static void fill(float *x, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

/* What all threads share, and what they must get. */
typedef struct common {
    msw_context *ctx;
    msw_plan *plan;
    msw_unified *u;
    msw_gemm *gemm;
    float w[COUNT], x[COLUMNS * N];
    float dense[COUNT], y[ROWS * N], trained[COUNT];
} common;

typedef struct worker {
    bool (*f)(common *c);
    common *c;
    bool good;
} worker;

static void *work(void *arg)
{
    worker *me = arg;

    me->good = me->f(me->c);
    return NULL;
}

/* f(c) in 8 threads at once; true when all of them started and returned true. */
static bool in_threads(bool (*f)(common *c), common *c)
{
    pthread_t threads[THREADS];
    worker workers[THREADS];
    size_t started = 0;
    bool good = true;

    for (; started < THREADS; started++) {
        workers[started] = (worker){f, c, false};
        if (pthread_create(&threads[started], NULL, work, &workers[started]))
            break;
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        good = good && workers[i].good;
    }
    return good && started == THREADS;
}

static msw_status project(msw_unified **out, common *c)
{
    msw_projection_options o;
    msw_tensor *t;
    msw_status status = msw_tensor_borrow(&t, c->ctx, c->w, shape, NULL, 2);

    *out = NULL;
    if (status)
        return status;
    msw_projection_options_init(&o);
    o.prune = 0.3;
    o.unify = 0.5;
    status = msw_unified_from(out, c->plan, t, &o);
    msw_tensor_free(t);
    return status;
}

static msw_status to_dense(float *data, common *c, const msw_unified *u)
{
    msw_tensor *t;
    msw_status status = msw_tensor_borrow(&t, c->ctx, data, shape, NULL, 2);

    if (!status)
        status = msw_unified_to_dense(t, u);
    msw_tensor_free(t);
    return status;
}

static msw_status multiply(float *y, common *c, const msw_gemm *gemm)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = c->x;
    call.ldx = N;
    call.y = y;
    call.ldy = N;
    call.n = N;
    return msw_gemm_run(gemm, &call);
}

static int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    const float *target = user;

    *loss = 0;
    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < COUNT; i++) {
            grads[l][i] = weights[l][i] - target[i];
            *loss += 0.5 * (double)grads[l][i] * (double)grads[l][i];
        }
    return 0;
}

/* A solver from start to end: run, freeze, retrain; the weights it arrives at. */
static msw_status train(float *data, common *c)
{
    msw_admm_options o;
    msw_layer_options layer;
    msw_host host;
    msw_admm *admm = NULL;
    msw_tensor *t;
    msw_status status;

    memcpy(data, c->w, sizeof c->w);
    msw_admm_options_init(&o);
    o.updates = 4;
    o.update_every = 3;
    msw_layer_options_init(&layer);
    layer.prune = 0.3;
    layer.unify = 0.5;
    msw_host_init(&host);
    host.user = c->w;
    host.loss_gradient = loss_gradient;
    status = msw_tensor_borrow(&t, c->ctx, data, shape, NULL, 2);
    if (!status)
        status = msw_admm_new(&admm, c->ctx, &o);
    if (!status)
        status = msw_admm_add_layer(admm, t, c->plan, &layer);
    if (!status)
        status = msw_admm_run(admm, &host, 12);
    if (!status)
        status = msw_admm_freeze(admm);
    if (!status)
        status = msw_admm_run(admm, &host, 5);
    msw_admm_free(admm);
    msw_tensor_free(t);
    return status;
}

/* Everything once, in this thread: what the others are compared with. */
static void create(common *c, const msw_context_options *options)
{
    msw_plan_options p;
    msw_gemm_options g;

    fill(c->w, COUNT, 1);
    fill(c->x, COLUMNS * N, 2);
    msw_plan_options_init(&p);
    p.block_rows = 4;
    msw_gemm_options_init(&g);
    g.fallback = MSW_FALLBACK_NEVER;
    assert_int_equal(msw_context_new(&c->ctx, options), MSW_OK);
    assert_int_equal(msw_plan_new(&c->plan, c->ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(project(&c->u, c), MSW_OK);
    assert_int_equal(msw_gemm_new(&c->gemm, c->ctx, c->u, &g), MSW_OK);
    assert_int_equal(to_dense(c->dense, c, c->u), MSW_OK);
    assert_int_equal(multiply(c->y, c, c->gemm), MSW_OK);
    assert_int_equal(train(c->trained, c), MSW_OK);
}

static void destroy(common *c)
{
    msw_context_free(c->ctx);
    msw_plan_free(c->plan);
    msw_unified_free(c->u);
    msw_gemm_free(c->gemm);
}

/* One thread's part: the shared objects, and a reference to each now and then. */
static bool use_shared(common *c)
{
    float dense[COUNT], y[ROWS * N];

    for (int round = 0; round < ROUNDS; round++) {
        msw_context *ctx = msw_context_ref(c->ctx);
        msw_plan *plan = msw_plan_ref(c->plan);
        msw_unified *u = msw_unified_ref(c->u), *mine;
        msw_gemm *gemm = msw_gemm_ref(c->gemm);
        bool good = to_dense(dense, c, u) == MSW_OK &&
                    !memcmp(dense, c->dense, sizeof dense) &&
                    multiply(y, c, gemm) == MSW_OK && !memcmp(y, c->y, sizeof y);

        good = project(&mine, c) == MSW_OK && good;
        good = good && to_dense(dense, c, mine) == MSW_OK &&
               !memcmp(dense, c->dense, sizeof dense);
        msw_unified_free(mine);
        msw_context_free(ctx);
        msw_plan_free(plan);
        msw_unified_free(u);
        msw_gemm_free(gemm);
        if (!good)
            return false;
    }
    return true;
}

static bool train_own(common *c)
{
    float trained[COUNT];

    for (int round = 0; round < ROUNDS / 10; round++)
        if (train(trained, c) != MSW_OK || memcmp(trained, c->trained, sizeof trained))
            return false;
    return true;
}

static void test_shared(void **state)
{
    static common c;
    faults memory = {0};
    msw_context_options o;

    (void)state;
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&memory);
    create(&c, &o);
    assert_true(in_threads(use_shared, &c));
    assert_true(in_threads(train_own, &c));
    destroy(&c);
    assert_true(faults_clean(&memory));
}

/* Each thread holds one reference to a plan, and whichever comes last frees it. */
static bool drop(common *c)
{
    for (int i = 0; i < 1000; i++)
        msw_plan_free(msw_plan_ref(c->plan));
    msw_plan_free(c->plan);
    return true;
}

static void test_last_reference(void **state)
{
    faults memory = {0};
    common *c = calloc(1, sizeof *c);
    msw_context *ctx = faults_context(&memory);

    (void)state;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(msw_plan_new(&c->plan, ctx, shape, 2, NULL), MSW_OK);
        for (int i = 1; i < THREADS; i++)
            msw_plan_ref(c->plan);
        assert_true(in_threads(drop, c));
    }
    msw_context_free(ctx);
    assert_true(faults_clean(&memory));
    free(c);
}

/* Two contexts with different instruction sets side by side. */
static void test_masks(void **state)
{
    static common c, best;
    msw_context_options o;

    (void)state;
    msw_context_options_init(&o);
    create(&best, &o);
    o.cpu_mask = MSW_CPU_C;
    create(&c, &o);
    assert_string_equal(msw_context_isa(c.ctx), "c");
    assert_true(in_threads(use_shared, &c));
    assert_true(in_threads(use_shared, &best));
    assert_memory_equal(c.dense, best.dense, sizeof c.dense);
    for (size_t i = 0; i < ROWS * N; i++)
        assert_true(c.y[i] - best.y[i] < 1e-4f && best.y[i] - c.y[i] < 1e-4f);
    destroy(&c);
    destroy(&best);
}

/* The same bits on any number of threads and in any pool. */
static void test_pools(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    static common alone, c;
    msw_context_options o;
    pool p = {0};

    (void)state;
    create(&alone, NULL);
    msw_context_options_init(&o);
    for (uint32_t threads = 0; threads < 11; threads++) {
        if (threads < 8) {
            o.threads = threads;
        } else {
            p = (pool){.mode = modes[threads - 8]};
            o.parallel_for = pool_run;
            o.parallel_user = &p;
        }
        create(&c, &o);
        assert_memory_equal(c.dense, alone.dense, sizeof c.dense);
        assert_memory_equal(c.y, alone.y, sizeof c.y);
        assert_memory_equal(c.trained, alone.trained, sizeof c.trained);
        destroy(&c);
    }
    destroy(&alone);
}

/* A pool that fails at its n-th call, for every n: MSW_E_HOST, and nothing leaks. */
static void test_failing_pools(void **state)
{
    static common c;
    msw_context_options o;
    faults memory = {0};
    float trained[COUNT];
    pool p = {.mode = POOL_IN_ORDER};

    (void)state;
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&memory);
    o.parallel_for = pool_run;
    o.parallel_user = &p;
    create(&c, &o);
    for (int mode = POOL_FAILING; mode <= POOL_PARTIAL; mode++)
        for (uint64_t n = 1; n < 1000; n++) {
            msw_status status;

            p = (pool){.mode = (pool_mode)mode, .fail_from = n};
            status = train(trained, &c);
            assert_int_equal(status, p.calls >= n ? MSW_E_HOST : MSW_OK);
            if (p.calls < n)
                break;
        }
    p = (pool){.mode = POOL_FAILING};
    if (multiply(c.y, &c, c.gemm) != MSW_OK)
        assert_true(p.calls > 0);
    destroy(&c);
    assert_true(faults_clean(&memory));
}

typedef struct stopping {
    msw_admm *admm;
    _Atomic bool running;
    float *target;
} stopping;

static int loss_and_signal(double *loss, float *const *grads, const float *const *weights,
                           uint32_t layer_count, void *user)
{
    stopping *s = user;
    const int code = loss_gradient(loss, grads, weights, layer_count, s->target);

    atomic_store(&s->running, true);
    return code;
}

static void *stop_soon(void *arg)
{
    stopping *s = arg;

    while (!atomic_load(&s->running))
        ;
    msw_admm_stop(s->admm);
    return NULL;
}

static void test_stop(void **state)
{
    static common c;
    float data[COUNT];
    stopping s = {0};
    msw_host host;
    msw_tensor *t;
    pthread_t thread;

    (void)state;
    create(&c, NULL);
    memcpy(data, c.w, sizeof data);
    assert_int_equal(msw_admm_new(&s.admm, c.ctx, NULL), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t, c.ctx, data, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_admm_add_layer(s.admm, t, c.plan, NULL), MSW_OK);
    s.target = c.w;
    msw_host_init(&host);
    host.user = &s;
    host.loss_gradient = loss_and_signal;
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, &s), 0);
    assert_int_equal(msw_admm_run(s.admm, &host, UINT64_MAX), MSW_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(msw_admm_stop_reason(s.admm), MSW_STOP_REQUESTED);
    msw_admm_free(s.admm);
    msw_tensor_free(t);
    destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared), cmocka_unit_test(test_last_reference),
        cmocka_unit_test(test_masks),  cmocka_unit_test(test_pools),
        cmocka_unit_test(test_stop),   cmocka_unit_test(test_failing_pools),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
