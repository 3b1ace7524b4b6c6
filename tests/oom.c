/* SPDX-License-Identifier: BSD-2-Clause */
#include "oom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TRIES = 5000, MOST_SCENARIOS = 64 };

msw_status oom_made(world *w, const void *output)
{
    if (!w->status != !!output)
        w->bad = true;
    return w->status;
}

uint64_t oom_hash(uint64_t h, const void *data, size_t size)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

void oom_fill(float *x, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

/* The world: context, weights, plan. Statuses other than MSW_OK come from the limit. */
static msw_status create(world *w, uint64_t limit)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    msw_context_options o;
    msw_plan_options p;
    msw_status status;

    memset(w, 0, sizeof *w);
    oom_fill(w->w, COUNT, 1);
    oom_fill(w->extra, COUNT, 2);
    oom_fill(w->y, sizeof w->y / sizeof *w->y, 3);
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&w->memory);
    o.memory_limit = limit;
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 4;
    status = msw_context_new(&w->ctx, &o);
    if (!status)
        status = msw_tensor_borrow(&w->weights, w->ctx, w->w, shape, NULL, 2);
    if (!status)
        status = msw_plan_new(&w->plan, w->ctx, shape, 2, &p);
    return status;
}

static void destroy(world *w)
{
    msw_context_free(w->ctx); /* first: the others keep it alive */
    msw_plan_free(w->plan);
    msw_plan_free(w->made_plan);
    msw_unified_free(w->u);
    msw_unified_free(w->made_u);
    msw_gemm_free(w->gemm);
    msw_conv_free(w->conv);
    msw_budget_free(w->budget);
    msw_permutation_free(w->permutation);
    msw_admm_free(w->admm);
    msw_writer_free(w->writer);
    msw_reader_free(w->reader);
    msw_tensor_free(w->tensor);
    msw_tensor_free(w->weights);
}

msw_status oom_borrow_tensor(world *w)
{
    static const size_t shape[2] = {ROWS, COLUMNS};

    w->status = msw_tensor_borrow(&w->tensor, w->ctx, w->extra, shape, NULL, 2);
    return oom_made(w, w->tensor);
}

uint64_t oom_digest_tensor(world *w)
{
    return oom_hash(1, msw_tensor_data(w->tensor), msw_tensor_count(w->tensor) * sizeof(float));
}

msw_status oom_project(msw_unified **out, world *w, const msw_tensor *importance)
{
    msw_projection_options o;

    msw_projection_options_init(&o);
    o.prune = 0.3;
    o.unify = 0.5;
    o.importance = importance;
    return msw_unified_from(out, w->plan, w->weights, &o);
}

msw_status oom_set_up_unified(world *w)
{
    const msw_status status = oom_project(&w->u, w, NULL);

    return status ? status : oom_borrow_tensor(w);
}

uint64_t oom_digest_unified(world *w)
{
    msw_tensor *dense = NULL;
    float data[COUNT];
    static const size_t matrix[2] = {ROWS, COLUMNS}, groups[4] = {ROWS, COLUMNS / 4, 2, 2};
    msw_plan_info info;
    uint64_t h = 0;

    msw_plan_info_init(&info);
    if (msw_plan_get_info(&info, msw_unified_plan(w->made_u)) == MSW_OK &&
        (info.groups > 1 ? msw_tensor_borrow(&dense, w->ctx, data, groups, NULL, 4)
                         : msw_tensor_borrow(&dense, w->ctx, data, matrix, NULL, 2)) == MSW_OK &&
        msw_unified_to_dense(dense, w->made_u) == MSW_OK)
        h = oom_hash(oom_hash(1, data, sizeof data), msw_unified_classes(w->made_u),
                 ROWS / 4 * COLUMNS / 4);
    msw_tensor_free(dense);
    return h;
}

uint64_t oom_digest_extra(world *w)
{
    return oom_hash(1, w->extra, sizeof w->extra);
}

uint64_t oom_digest_y(world *w)
{
    return oom_hash(1, w->y, sizeof w->y);
}

static world w; /* too large for a stack */

static void prepare(const scenario *s)
{
    assert_int_equal(create(&w, 0), MSW_OK);
    if (s->set_up)
        assert_int_equal(s->set_up(&w), MSW_OK);
}

static uint64_t undisturbed(const scenario *s)
{
    uint64_t digest;

    prepare(s);
    assert_int_equal(s->step(&w), MSW_OK);
    assert_false(w.bad);
    digest = s->digest ? s->digest(&w) : 0;
    destroy(&w);
    assert_true(faults_clean(&w.memory));
    return digest;
}

/* False when there is no k-th allocation. */
static bool fail_one(const scenario *s, uint64_t k, bool later, uint64_t digest)
{
    msw_status status;
    bool failed;

    prepare(s);
    faults_arm(&w.memory, k, later);
    status = s->step(&w);
    failed = w.memory.failed > 0;
    faults_arm(&w.memory, 0, false);
    assert_int_equal(status, failed ? MSW_E_NOMEM : MSW_OK);
    assert_false(w.bad);
    if (failed)
        assert_int_equal(s->step(&w), MSW_OK);
    if (s->digest)
        assert_true(s->digest(&w) == digest);
    destroy(&w);
    assert_true(faults_clean(&w.memory));
    return failed;
}

static void test_scenario(void **state)
{
    const scenario *s = *(const scenario **)*state;
    const uint64_t digest = undisturbed(s);

    for (int later = 0; later < 2; later++) {
        uint64_t k = 1;

        while (k < TRIES && fail_one(s, k, later, digest))
            k++;
        assert_in_range(k, 1, TRIES - 1);
    }
}

/* The context's limit is set to what is held before the step, and in steps up to its
 * peak. */
static void test_limit(void **state)
{
    enum { STEPS = 16 };
    const scenario *s = *(const scenario **)*state;
    uint64_t held, peak, refused = 0;

    prepare(s);
    held = w.memory.live;
    w.memory.peak = held;
    assert_int_equal(s->step(&w), MSW_OK);
    peak = w.memory.peak;
    destroy(&w);
    for (uint64_t i = 0; i <= STEPS; i++) {
        const uint64_t limit = held + (peak - held) * i / STEPS;
        msw_status status = create(&w, limit);

        if (!status && s->set_up)
            status = s->set_up(&w);
        if (!status)
            status = s->step(&w);
        /* set_up may need more for a moment than it holds afterwards; and under a limit
         * the library may choose to need less */
        assert_true(status == MSW_E_LIMIT || status == MSW_OK);
        refused += status == MSW_E_LIMIT;
        assert_false(w.bad);
        assert_in_range(w.memory.peak, 0, limit);
        destroy(&w);
        assert_true(faults_clean(&w.memory));
    }
    assert_true(refused > 0 || peak == held);
}

int oom_main(const scenario *scenarios, size_t count)
{
    static struct CMUnitTest tests[2 * MOST_SCENARIOS];
    static char names[2 * MOST_SCENARIOS][64];
    static const scenario *cases[MOST_SCENARIOS];

    if (count > MOST_SCENARIOS)
        return 1;
    for (size_t i = 0; i < 2 * count; i++) {
        cases[i / 2] = &scenarios[i / 2];
        snprintf(names[i], sizeof names[i], "%s%s", cases[i / 2]->name,
                 i % 2 ? ", limited" : "");
        tests[i] = (struct CMUnitTest){names[i], i % 2 ? test_limit : test_scenario, NULL,
                                       NULL, &cases[i / 2]};
    }
    return _cmocka_run_group_tests("oom", tests, 2 * count, NULL, NULL);
}
