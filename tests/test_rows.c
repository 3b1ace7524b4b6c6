/* SPDX-License-Identifier: BSD-2-Clause */
/* Shares of each block row: so many blocks of every row, at the least cost row by row. */
#include "fixture.h"

#include <math.h>
#include <string.h>

static const double shares[][2] = {{0.5, 0.25}, {0.3, 0.7}, {0, 0.6}, {0.9, 0}};

static msw_unified *project(fixture *f, const msw_tensor *t, double prune, double unify)
{
    msw_projection_options o;
    msw_unified *u;

    msw_projection_options_init(&o);
    o.prune = prune;
    o.unify = unify;
    o.per_row = 1;
    assert_int_equal(msw_unified_from(&u, f->plan, t, &o), MSW_OK);
    return u;
}

/* Costs of the blocks of a row as the library compares them: with roots in floats. */
static double as_compared(double cost)
{
    const double root = (double)(float)sqrt(cost);

    return root * root;
}

static void check_row(fixture *f, const msw_tensor *t, const msw_unified *u, size_t row,
                      const double *share)
{
    const size_t blocks = f->info.block_column_count;
    const size_t prune = (size_t)floor(share[0] * (double)blocks + 1e-9);
    const size_t unify = (size_t)floor(share[1] * (double)blocks + 1e-9);
    double prune_costs[REF_MOST], unify_costs[REF_MOST], cost = 0, least;
    size_t pruned = 0, unified = 0;

    for (size_t b = 0; b < blocks; b++) {
        const uint8_t class = msw_unified_classes(u)[row * blocks + b];
        float v[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
        const size_t n = ref_gather(v, t, f->plan, row * blocks + b);
        const ref_block costs = ref_costs(v, NULL, n);

        prune_costs[b] = as_compared(costs.prune);
        unify_costs[b] = as_compared(costs.unify);
        pruned += class == MSW_CLASS_PRUNED;
        unified += class == MSW_CLASS_UNIFIED;
        cost += class == MSW_CLASS_PRUNED    ? prune_costs[b]
                : class == MSW_CLASS_UNIFIED ? unify_costs[b] : 0;
    }
    assert_int_equal(pruned, prune);
    assert_int_equal(unified, unify);
    least = ref_joint_cost_table(prune_costs, unify_costs, blocks, prune, unify);
    assert_true(cost <= least * (1 + 1e-6) + 1e-12);
}

static void check_projection(fixture *f)
{
    msw_tensor *t = fixture_random_tensor(f);

    if (f->info.block_column_count > REF_MOST) { /* too long for the table */
        fixture_free(t);
        return;
    }
    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        msw_unified *u = project(f, t, shares[k][0], shares[k][1]);

        for (size_t row = 0; row < f->info.block_row_count; row++)
            check_row(f, t, u, row, shares[k]);
        msw_unified_free(u);
    }
    fixture_free(t);
}

static void every_row_has_its_share_at_the_least_cost(void **state)
{
    (void)state;
    fixture_for_all(check_projection);
}

static msw_admm *solver(fixture *f, msw_tensor *t, uint32_t per_row)
{
    msw_layer_options l;
    msw_admm *admm;

    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.4;
    l.per_row = per_row;
    assert_int_equal(msw_admm_new(&admm, f->ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(admm, t, f->plan, &l), MSW_OK);
    return admm;
}

/* The first Z, and the frozen weights, are the projection itself. */
static void check_solver(fixture *f)
{
    msw_tensor *t = fixture_random_tensor(f), *z = fixture_copy(f, t);
    msw_unified *u = project(f, t, 0.4, 0.4), *frozen;
    msw_tensor *expected = fixture_dense(f, u);
    msw_admm *admm = solver(f, t, 1);

    assert_int_equal(msw_admm_update(admm), MSW_OK);
    assert_int_equal(msw_admm_get_z(z, admm, 0), MSW_OK);
    for (size_t i = 0; i < msw_tensor_count(t); i++)
        assert_true(isfinite(*fixture_at(f, z, i)));
    assert_int_equal(msw_admm_freeze(admm), MSW_OK);
    assert_int_equal(msw_admm_unify(&frozen, admm, 0), MSW_OK);
    assert_memory_equal(msw_unified_classes(frozen), msw_unified_classes(u),
                        f->info.block_count);
    assert_true(fixture_same_bits(f, t, expected));
    msw_admm_free(admm);
    msw_unified_free(frozen);
    msw_unified_free(u);
    fixture_free(expected);
    fixture_free(t);
    fixture_free(z);
}

static void the_solver_keeps_it(void **state)
{
    (void)state;
    fixture_for_all(check_solver);
}

static void misuse(void **state)
{
    static const layout small = {.weights = MSW_WEIGHTS_OI, .shape = {6, 8}, .rank = 2,
                                 .block_rows = 2, .block_columns = 4};
    fixture f = fixture_setup(&small, NULL);
    msw_tensor *t = fixture_random_tensor(&f);
    msw_projection_options o;
    unsigned char image[1 << 14];
    msw_writer *writer;
    msw_reader *reader;
    msw_unified *u;
    msw_admm *admm = solver(&f, t, 1), *other = solver(&f, t, 0);

    (void)state;
    msw_projection_options_init(&o);
    o.per_row = 2;
    assert_int_equal(msw_unified_from(&u, f.plan, t, &o), MSW_E_INVAL);
    /* the state of one is not that of the other */
    assert_int_equal(msw_admm_update(admm), MSW_OK);
    assert_int_equal(msw_writer_new(&writer, f.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, admm), MSW_OK);
    assert_int_equal(msw_writer_write_buffer(writer, image, sizeof image), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&reader, f.ctx, image,
                                            (size_t)msw_writer_bytes(writer), NULL), MSW_OK);
    assert_int_equal(msw_admm_load(other, reader), MSW_E_INVAL);
    assert_int_equal(msw_admm_load(admm, reader), MSW_OK);
    msw_reader_free(reader);
    msw_writer_free(writer);
    msw_admm_free(admm);
    msw_admm_free(other);
    admm = solver(&f, t, 1);
    assert_int_equal(msw_admm_set_budget(admm, 500, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(admm), MSW_E_INVAL);
    msw_admm_free(admm);
    fixture_free(t);
    fixture_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_share_at_the_least_cost),
        cmocka_unit_test(the_solver_keeps_it),
        cmocka_unit_test(misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
