/* SPDX-License-Identifier: BSD-2-Clause */
/* Freezing by all ranks of a data-parallel run. */
#include "ranks_fixture.h"
#include "ref.h"

#include <math.h>
#include <string.h>

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

/* Levels travel with the classes: as after msw_admm_freeze(). */
static void test_freeze_merging(void **state)
{
    static float alone[ALL];
    static uint8_t levels[ROWS * COLUMNS / 20];

    (void)state;
    merging = true;
    for (int budget = 0; budget < 2; budget++)
        for (unsigned count = 1; count <= MOST; count++) {
            open_group(count);
            for (unsigned i = 0; budget && i < count; i++)
                assert_int_equal(msw_admm_set_budget(ranks[i].admm, 60000, NULL), MSW_OK);
            freeze_group();
            assert_all(MSW_OK);
            assert_same_bits();
            for (unsigned i = 0; i < count; i++) {
                msw_unified *u;

                assert_int_equal(msw_admm_unify(&u, ranks[i].admm, 2), MSW_OK);
                assert_non_null(msw_unified_merge_levels(u));
                if (count == 1)
                    memcpy(levels, msw_unified_merge_levels(u), sizeof levels);
                assert_memory_equal(levels, msw_unified_merge_levels(u), sizeof levels);
                msw_unified_free(u);
            }
            if (count == 1)
                memcpy(alone, ranks[0].w, sizeof alone);
            assert_memory_equal(ranks[0].w, alone, sizeof alone);
            close_group();
        }
    merging = false;
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

/* What the ranks exchange depends on more than the weights: nothing is exchanged. */
static void test_freeze_other_options(void **state)
{
    (void)state;
    open_group(2);
    assert_int_equal(msw_admm_set_projection(ranks[1].admm, 0, thin_out, &ranks[1]),
                     MSW_OK);
    freeze_group();
    assert_all(MSW_E_INVAL);
    close_group();
    open_group(2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(msw_admm_set_budget(ranks[i].admm, 100000 + i, NULL), MSW_OK);
    freeze_group();
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
    for (int k = 0; k < 2; k++) {
        own_projection = k == 0;
        merging = k == 1;
        for (freeze_fault what = FAULT_MEMORY; what <= FAULT_SUM; what++) {
            unsigned at = 1;

            while (fail_freeze(what, at))
                at++;
            assert_true(at > (k == 0 ? 3 : 1));
        }
    }
    merging = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_freeze_merging),
        cmocka_unit_test(test_freeze_budget),
        cmocka_unit_test(test_freeze_unlike),
        cmocka_unit_test(test_freeze_other_options),
        cmocka_unit_test(test_freeze_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
