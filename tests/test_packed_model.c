/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions that run on the packed form. */
#include "faults.h"
#include "file_fixture.h"
#include "packed_fixture.h"
#include "sample_model.h"

#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 9, CHANNELS = 6, OUTPUTS = 20, MOST_OUTPUTS = 24, BATCH = 2,
       MOST_Y = BATCH * MOST_OUTPUTS * 32 * 32 };

/* Of each of so many groups, these outputs; permuted within the groups, if asked. */
static msw_unified *group_weights(msw_context *ctx, uint32_t outputs, uint32_t groups,
                                  bool permuted)
{
    const size_t shape[4] = {(size_t)outputs * groups, CHANNELS / groups, 3, 3};
    uint32_t rows[MOST_OUTPUTS];
    msw_projection_options shares;
    msw_plan_options p;
    msw_tensor *t;
    msw_plan *plan;
    msw_unified *u;

    msw_plan_options_init(&p);
    p.weights = MSW_WEIGHTS_OIHW;
    p.groups = groups;
    p.block_rows = p.block_columns = 4;
    for (uint32_t i = 0; i < outputs * groups; i++)
        rows[i] = i / outputs * outputs + (i * 3 + 1) % outputs;
    p.row_permutation = permuted ? rows : NULL;
    msw_projection_options_init(&shares);
    shares.prune = 0.4;
    shares.unify = 0.4;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 4, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 4), MSW_OK);
    sample_values(msw_tensor_data(t), msw_tensor_count(t), 5);
    assert_int_equal(msw_unified_from(&u, plan, t, &shares), MSW_OK);
    msw_tensor_free(t);
    msw_plan_free(plan);
    return u;
}

static msw_unified *conv_weights(msw_context *ctx, uint32_t outputs)
{
    return group_weights(ctx, outputs, 1, false);
}

static void run_conv(float *y, const msw_conv *c)
{
    static float x[BATCH * CHANNELS * SIDE * SIDE];
    msw_conv_call call;

    sample_values(x, sizeof x / sizeof *x, 3);
    memset(y, 0, MOST_Y * sizeof *y);
    msw_conv_call_init(&call);
    call.x = x;
    call.y = y;
    call.batch = BATCH;
    call.height = call.width = SIDE;
    assert_int_equal(msw_conv_run(c, &call), MSW_OK);
}

static msw_gemm_info info_of(const msw_conv *c)
{
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    assert_int_equal(msw_conv_get_info(&info, c, BATCH, SIDE, SIDE), MSW_OK);
    return info;
}

/* As the options say, from a packed file, against a handle made from the weights that gives
 * the same bits where both run products. */
static void check_groups(const msw_conv_options *options, uint32_t outputs, uint32_t groups,
                         uint32_t placement)
{
    static float y[MOST_Y], z[MOST_Y];
    msw_context *ctx = packed_context(0, NULL);
    msw_unified *u = group_weights(ctx, outputs, groups, groups == 3);
    const msw_store_options o = packed_options(0, 0);
    packed_file f = packed_file_make(ctx, u, &o, 0);
    msw_reader *r = packed_open(ctx, &f, false);
    msw_conv *a, *b;

    assert_int_equal(msw_reader_conv(&a, r, "w", options), MSW_OK);
    assert_int_equal(msw_conv_new(&b, ctx, u, options), MSW_OK);
    msw_reader_free(r);
    msw_unified_free(u);
    run_conv(y, a);
    run_conv(z, b);
    for (size_t i = 0; i < MOST_Y; i++)
        assert_true(y[i] - z[i] < 1e-4f && z[i] - y[i] < 1e-4f);
    assert_int_equal(info_of(a).placement, placement);
    assert_non_null(info_of(a).placement_reason);
    assert_int_equal(info_of(b).placement, MSW_PLACEMENT_PACKED);
    assert_true((info_of(a).bytes_mapped > 0) == (placement == MSW_PLACEMENT_IN_PLACE));
    msw_conv_free(a);
    msw_conv_free(b);
    packed_file_free(&f);
    msw_context_free(ctx);
}

static void check_conv(const msw_conv_options *options, uint32_t outputs,
                       uint32_t placement)
{
    check_groups(options, outputs, 1, placement);
}

static void test_conv(void **state)
{
    msw_conv_options o;

    (void)state;
    msw_conv_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    check_conv(&o, OUTPUTS, MSW_PLACEMENT_IN_PLACE);
    o.stride_h = o.stride_w = 2;
    o.pad_top = o.pad_left = 1;
    o.activation = MSW_ACTIVATION_RELU;
    check_conv(&o, OUTPUTS, MSW_PLACEMENT_IN_PLACE);
    o.transposed = 1;
    check_conv(&o, OUTPUTS, MSW_PLACEMENT_REPACKED);
    o.transposed = 0;
    check_conv(&o, 3, MSW_PLACEMENT_REPACKED); /* few outputs: no product */
    o.fallback = MSW_FALLBACK_BLAS;
    check_conv(&o, OUTPUTS, MSW_PLACEMENT_REPACKED);
}

/* Each group has packings of its own; those of few outputs run on none. */
static void test_groups(void **state)
{
    float bias[MOST_OUTPUTS];
    msw_conv_options o;

    (void)state;
    for (size_t i = 0; i < MOST_OUTPUTS; i++)
        bias[i] = (float)i - 10;
    msw_conv_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    check_groups(&o, 8, 2, MSW_PLACEMENT_IN_PLACE);
    o.pad_top = o.pad_left = 1;
    o.bias = bias;
    o.bias_count = 21;
    check_groups(&o, 7, 3, MSW_PLACEMENT_IN_PLACE);
    o.image = MSW_IMAGE_NHWC;
    check_groups(&o, 7, 3, MSW_PLACEMENT_IN_PLACE);
    o.bias_count = 12;
    check_groups(&o, 4, 3, MSW_PLACEMENT_REPACKED);
    o.bias_count = 21;
    o.transposed = 1;
    check_groups(&o, 7, 3, MSW_PLACEMENT_REPACKED);
}

/* Groups that differ in how many blocks they have of each kind. */
static size_t kinds_of_groups(const msw_unified *u)
{
    const msw_plan *p = u->plan;
    const size_t blocks = p->group_block_rows * p->block_column_count;
    size_t kinds = 0, seen[MOST_OUTPUTS];

    for (size_t g = 0; g < p->groups; g++) {
        size_t key = 0, k = 0;

        for (size_t b = 0; b < blocks; b++)
            key += u->classes[g * blocks + b] == MSW_CLASS_PRUNED    ? 1
                   : u->classes[g * blocks + b] == MSW_CLASS_UNIFIED ? 1000 : 0;
        while (k < kinds && seen[k] != key)
            k++;
        seen[k] = key;
        kinds += k == kinds;
    }
    return kinds;
}

/* What wisdom there is after making a convolution from a packed file. */
static void check_wisdom(uint32_t outputs, uint32_t groups, bool from_weights_first)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_unified *u = group_weights(ctx, outputs, groups, groups > 1);
    const msw_store_options o = packed_options(0, 0);
    packed_file f = packed_file_make(ctx, u, &o, 0);
    msw_reader *r = packed_open(ctx, &f, false);
    msw_conv_options options;
    msw_wisdom *wisdom;
    msw_conv *c;

    assert_int_equal(msw_wisdom_new(&wisdom, ctx), MSW_OK);
    msw_conv_options_init(&options);
    options.fallback = MSW_FALLBACK_NEVER;
    options.expected_pixels = 16;
    options.wisdom = wisdom;
    options.tune = 1;
    if (from_weights_first) {
        assert_int_equal(msw_conv_new(&c, ctx, u, &options), MSW_OK);
        msw_conv_free(c);
        assert_int_equal(msw_wisdom_count(wisdom), 1);
    }
    assert_int_equal(msw_reader_conv(&c, r, "w", &options), MSW_OK);
    assert_int_equal(info_of(c).placement, MSW_PLACEMENT_IN_PLACE);
    assert_int_equal(msw_wisdom_count(wisdom), kinds_of_groups(u));
    msw_conv_free(c);
    msw_wisdom_free(wisdom);
    msw_reader_free(r);
    msw_unified_free(u);
    packed_file_free(&f);
    msw_context_free(ctx);
}

/* Times are remembered by how many blocks there are of each kind, as they are with weights;
 * those of groups by what each group has. */
static void test_conv_wisdom(void **state)
{
    (void)state;
    check_wisdom(OUTPUTS, 1, true);
    check_wisdom(8, 3, false);
}

/* There is no product of the whole. */
static void test_groups_no_gemm(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_unified *u = group_weights(ctx, 8, 2, false);
    const msw_store_options o = packed_options(0, 0);
    packed_file f = packed_file_make(ctx, u, &o, 0);
    msw_reader *r = packed_open(ctx, &f, false);
    msw_gemm *g;

    (void)state;
    assert_int_equal(msw_reader_gemm(&g, r, "w", NULL), MSW_E_UNSUPPORTED);
    assert_null(g);
    msw_reader_free(r);
    msw_unified_free(u);
    packed_file_free(&f);
    msw_context_free(ctx);
}

static void test_conv_refuses(void **state)
{
    msw_context *ctx = packed_context(0, NULL);
    msw_unified *u = conv_weights(ctx, OUTPUTS);
    const msw_store_options o = packed_options(0, 0);
    packed_file f = packed_file_make(ctx, u, &o, 0);
    msw_reader *r = packed_open(ctx, &f, false);
    msw_conv_options options;
    msw_conv *c = (msw_conv *)(void *)&options;

    (void)state;
    msw_conv_options_init(&options);
    options.image = 7;
    assert_int_equal(msw_reader_conv(&c, r, "w", &options), MSW_E_INVAL);
    assert_null(c);
    options.image = 0;
    assert_int_equal(msw_reader_conv(&c, r, "v", &options), MSW_E_NOTFOUND);
    assert_int_equal(msw_reader_conv(&c, NULL, "w", &options), MSW_E_INVAL);
    assert_int_equal(msw_reader_conv(NULL, r, "w", &options), MSW_E_INVAL);
    assert_int_equal(msw_reader_conv(&c, r, NULL, &options), MSW_E_INVAL);
    msw_reader_free(r);
    msw_unified_free(u);
    packed_file_free(&f);
    msw_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_conv_refuses),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_conv_wisdom),
        cmocka_unit_test(test_groups_no_gemm),
    };

    return packed_missing() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
