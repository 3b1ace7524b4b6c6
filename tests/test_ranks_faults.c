/* SPDX-License-Identifier: BSD-2-Clause */
/* What fails on one rank of a data-parallel run fails on all. */
#include "ranks_fixture.h"
#include "ref.h"

#include <math.h>
#include <string.h>

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

/* Who asks to stop during any sum of a run that ends because the ranks differ is heard by the
 * next one, once. */
static bool stop_while_ranks_differ(unsigned at)
{
    bool asked;
    float was;

    open_group(2);
    was = ranks[0].w[5];
    ranks[0].w[5] += 1;
    ranks[1].stop_at = at;
    run_group(3);
    assert_all(MSW_E_INVAL);
    asked = ranks[1].sums >= at;
    ranks[1].stop_at = 0;
    ranks[0].w[5] = was;
    for (unsigned calls = asked ? 0 : 3; calls <= 3; calls += 3) {
        run_group(3);
        assert_all(MSW_OK);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(ranks[i].calls, calls);
            assert_int_equal(msw_admm_stop_reason(ranks[i].admm),
                             calls ? MSW_STOP_ITERATIONS : MSW_STOP_REQUESTED);
        }
    }
    close_group();
    return asked;
}

static void test_stop_while_ranks_differ(void **state)
{
    unsigned at = 1;

    (void)state;
    while (stop_while_ranks_differ(at))
        at++;
    assert_true(at > 2);
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
    relaxation = MSW_RELAXATION_STRAIGHT;
    fail_memory(2 * EVERY);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_stop_while_ranks_differ),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_parallel_for),
        cmocka_unit_test(test_allreduce_fails),
        cmocka_unit_test(test_host_struct),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
