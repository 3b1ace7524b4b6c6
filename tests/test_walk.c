/* SPDX-License-Identifier: BSD-2-Clause */
/* Tasks of a walk: each block once, and no two tasks at the same byte of signs. */
#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Of 2 x 2 blocks with one block row to a task: signs come in fours. */
enum { ROWS = 40, COLUMNS = 8300, BLOCK_COLUMNS = COLUMNS / 2,
       BLOCKS = ROWS / 2 * BLOCK_COLUMNS };

typedef struct seen {
    size_t task;                   /* that is running, from 1 on */
    uint8_t blocks[BLOCKS];        /* how often */
    uint8_t owner[BLOCKS * 4 / 8]; /* of each byte of signs; 0: nobody */
    size_t tasks, shared;
} seen;

static seen all;

static int in_order(size_t count, void (*task)(size_t index, void *arg), void *arg,
                    void *user)
{
    seen *s = user;

    s->tasks = count;
    for (size_t i = 0; i < count; i++) {
        s->task = i + 1;
        task(i, arg);
    }
    return 0;
}

static void visit(const msw__cell *cell, void *arg)
{
    seen *s = arg;
    const size_t weights = cell->rows * cell->columns;

    s->blocks[cell->block]++;
    for (size_t i = 0; cell->label == MSW_CLASS_UNIFIED && i < weights; i++) {
        uint8_t *owner = &s->owner[(cell->sign + i) / 8];

        s->shared += *owner && *owner != s->task;
        *owner = (uint8_t)s->task;
    }
}

static void test_tasks(void **state)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    static uint8_t classes[BLOCKS];
    msw_context_options o;
    msw_plan_options p;
    msw_context *ctx;
    msw_unified *u;
    msw_tensor *t;
    msw_plan *plan;

    (void)state;
    msw_context_options_init(&o);
    o.parallel_for = in_order;
    o.parallel_user = &all;
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 2;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    for (size_t i = 0; i < ROWS / 2; i++) /* an odd number of unified blocks in most rows */
        for (size_t k = 0; k < i % 4; k++)
            classes[i * BLOCK_COLUMNS + 7 * k] = MSW_CLASS_UNIFIED;
    assert_int_equal(msw_unified_new(&u, plan, t, classes, BLOCKS), MSW_OK);
    memset(&all, 0, sizeof all);
    assert_int_equal(msw__walk_blocks(&(msw__walk){.plan = plan, .u = u, .tensor = t,
                                                   .access = MSW__READ, .visit = visit,
                                                   .arg = &all}), MSW_OK);
    assert_int_equal(all.tasks, ROWS / 2);
    for (size_t b = 0; b < BLOCKS; b++)
        assert_int_equal(all.blocks[b], 1);
    assert_int_equal(all.shared, 0);
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
