/* SPDX-License-Identifier: BSD-2-Clause */
#include "conv.h"
#include "conv_fixture.h"
#include "faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_output_size(void **state)
{
    layer l = layer_small(*state, 1);
    msw_conv *conv;
    size_t h = 9, w = 9;

    l.options.stride_h = 2;
    l.options.dilation_w = 2;
    l.options.pad_bottom = 1;
    l.options.pad_left = 3;
    conv = layer_conv(*state, &l);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 7, 5), MSW_OK);
    assert_int_equal(h, 3); /* (7 + 1 - 2 - 1) / 2 + 1 */
    assert_int_equal(w, 4); /* 5 + 3 - 4 - 1 + 1 */
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 1, 5), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 7, 1), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, SIZE_MAX, 5), MSW_E_RANGE);
    assert_int_equal(h, 3);
    assert_int_equal(w, 4);
    assert_int_equal(msw_conv_get_output(NULL, &w, conv, 7, 5), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_output(&h, NULL, conv, 7, 5), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_output(&h, &w, NULL, 7, 5), MSW_E_INVAL);
    assert_true(msw_conv_workspace(conv, 1, 1, 5) == SIZE_MAX);
    assert_true(msw_conv_workspace(conv, SIZE_MAX / 2, 9, 9) == SIZE_MAX);
    assert_int_equal(msw_conv_workspace(conv, 0, 9, 9), 0);
    msw_conv_free(conv);
    layer_free(&l);
}

/* As torch.nn.ConvTranspose2d has it. */
static void test_transposed_size(void **state)
{
    layer l = layer_small(*state, 1);
    msw_conv *conv;
    size_t h = 9, w = 9;

    l.options.transposed = 1;
    l.options.stride_h = 2;
    l.options.stride_w = 3;
    l.options.dilation_w = 2;
    l.options.pad_top = l.options.pad_bottom = 1;
    l.options.pad_left = 3;
    l.options.output_pad_h = 1;
    conv = layer_conv(*state, &l);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 7, 5), MSW_OK);
    assert_int_equal(h, 14); /* 6 * 2 - 2 + 2 + 1 + 1 */
    assert_int_equal(w, 14); /* 4 * 3 - 3 + 4 + 1 */
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 0, 5), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, SIZE_MAX / 2, 5), MSW_E_RANGE);
    msw_conv_free(conv);
    l.options.pad_top = 3;
    conv = layer_conv(*state, &l);
    assert_int_equal(msw_conv_get_output(&h, &w, conv, 1, 5), MSW_E_RANGE);
    assert_true(msw_conv_workspace(conv, 1, 1, 5) == SIZE_MAX);
    msw_conv_free(conv);
    layer_free(&l);
}

static void check_output_pad(void *ctx, uint32_t transposed, uint32_t h, uint32_t w,
                             msw_status status)
{
    layer l = layer_small(ctx, 1);
    msw_conv *conv;

    l.options.transposed = transposed;
    l.options.stride_h = 2;
    l.options.dilation_w = 3;
    l.options.output_pad_h = h;
    l.options.output_pad_w = w;
    assert_int_equal(msw_conv_new(&conv, ctx, l.u, &l.options), status);
    msw_conv_free(conv);
    layer_free(&l);
}

static void test_output_pad(void **state)
{
    check_output_pad(*state, 1, 1, 2, MSW_OK);
    check_output_pad(*state, 1, 2, 0, MSW_E_INVAL);
    check_output_pad(*state, 1, 0, 3, MSW_E_INVAL);
    check_output_pad(*state, 0, 1, 0, MSW_E_INVAL);
    check_output_pad(*state, 0, 0, 1, MSW_E_INVAL);
    check_output_pad(*state, 2, 0, 0, MSW_E_INVAL);
}

static void test_options(void **state)
{
    layer l = layer_small(*state, 2);
    const float bias[7] = {0};
    msw_conv_options o = l.options;
    msw_conv *conv = (msw_conv *)&o;

    assert_int_equal(msw_conv_new(NULL, *state, l.u, NULL), MSW_E_INVAL);
    assert_int_equal(msw_conv_new(&conv, NULL, l.u, NULL), MSW_E_INVAL);
    assert_null(conv);
    assert_int_equal(msw_conv_new(&conv, *state, NULL, NULL), MSW_E_INVAL);
    assert_int_equal(msw_conv_new(&conv, *state, l.u, NULL), MSW_OK);
    msw_conv_free(msw_conv_ref(conv));
    msw_conv_free(conv);
    msw_conv_free(NULL);
    o.image = MSW_IMAGE_NHWC + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    assert_null(conv);
    o = l.options;
    o.activation = MSW_ACTIVATION_RELU6 + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.fallback = MSW_FALLBACK_BLAS + 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.bias = bias;
    o.bias_count = 7;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    o = l.options;
    o.reserved = 1;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_VERSION);
    o = l.options;
    o.size = 8;
    assert_int_equal(msw_conv_new(&conv, *state, l.u, &o), MSW_E_INVAL);
    layer_free(&l);
}

/* The bound holds for all groups, and all phases, together. */
static void check_max_bytes(void *ctx, size_t groups, uint32_t transposed)
{
    layer l = layer_small(ctx, groups);
    msw_conv_options o = l.options;
    msw_gemm_info info;
    msw_conv *conv;

    o.fallback = MSW_FALLBACK_NEVER;
    o.transposed = transposed;
    o.stride_h = 2;
    assert_int_equal(msw_conv_new(&conv, ctx, l.u, &o), MSW_OK);
    msw_gemm_info_init(&info);
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 9, 9), MSW_OK);
    msw_conv_free(conv);
    assert_true(info.bytes_packed > 0);
    assert_int_equal(info.bytes_dense, 0);
    o.max_bytes = info.bytes_packed;
    assert_int_equal(msw_conv_new(&conv, ctx, l.u, &o), MSW_OK);
    msw_conv_free(conv);
    while (--o.max_bytes) {
        assert_int_equal(msw_conv_new(&conv, ctx, l.u, &o), MSW_E_LIMIT);
        assert_null(conv);
    }
    layer_free(&l);
}

static void test_max_bytes(void **state)
{
    for (size_t groups = 1; groups <= 2; groups++)
        for (uint32_t transposed = 0; transposed <= 1; transposed++)
            check_max_bytes(*state, groups, transposed);
}

static void test_info(void **state)
{
    layer l = layer_small(*state, 1);
    msw_conv *conv = layer_conv(*state, &l);
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    assert_int_equal(msw_conv_get_info(&info, conv, 3, 9, 9), MSW_OK);
    assert_non_null(info.kernel);
    assert_non_null(info.reason);
    assert_non_null(info.isa);
    assert_true(info.predicted == 0 && info.measured == 0 && info.dense == 0);
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 2, 9), MSW_E_RANGE);
    assert_int_equal(msw_conv_get_info(&info, NULL, 1, 9, 9), MSW_E_INVAL);
    assert_int_equal(msw_conv_get_info(NULL, conv, 1, 9, 9), MSW_E_INVAL);
    info.size = 8;
    assert_int_equal(msw_conv_get_info(&info, conv, 1, 9, 9), MSW_E_INVAL);
    msw_conv_free(conv);
    layer_free(&l);
}

/* Each way to get a call wrong is refused, and y stays as it was. */
static void test_calls(void **state)
{
    layer l = layer_small(*state, 1);
    msw_conv *conv = layer_conv(*state, &l);
    static float x[2 * 4 * 5 * 5], y[2 * 6 * 3 * 3];
    _Alignas(64) static unsigned char space[128];
    struct {
        msw_conv_call call;
        msw_status status;
    } cases[18];
    msw_conv_call good;
    size_t count = 0;

    msw_conv_call_init(&good);
    good.x = x;
    good.y = y;
    good.batch = 2;
    good.height = good.width = 5;
#define BAD(status_, change)              \
    do {                                  \
        msw_conv_call *c = &cases[count].call; \
        *c = good;                        \
        change;                           \
        cases[count++].status = status_;  \
    } while (0)
    BAD(MSW_E_INVAL, c->x = NULL);
    BAD(MSW_E_INVAL, c->y = NULL);
    BAD(MSW_E_INVAL, c->beta = 2);
    BAD(MSW_E_INVAL, c->size = 8);
    BAD(MSW_E_VERSION, c->reserved = 1);
    BAD(MSW_E_RANGE, c->height = 2);
    BAD(MSW_E_RANGE, c->width = 2);
    BAD(MSW_E_RANGE, c->ldx = 24);
    BAD(MSW_E_RANGE, c->ldy = 8);
    BAD(MSW_E_RANGE, c->batch_stride_x = 4 * 25 - 1);
    BAD(MSW_E_RANGE, c->batch_stride_y = 6 * 9 - 1);
    BAD(MSW_E_RANGE, c->batch = SIZE_MAX / 8);
    BAD(MSW_E_RANGE, c->height = SIZE_MAX / 2);
    BAD(MSW_E_RANGE, c->ldx = SIZE_MAX / 8);
    BAD(MSW_E_RANGE, c->batch_stride_y = SIZE_MAX / 4);
    BAD(MSW_E_INVAL, c->workspace = space + 4; c->workspace_bytes = SIZE_MAX);
    BAD(MSW_E_RANGE, c->workspace = space; c->workspace_bytes = sizeof space);
    BAD(MSW_E_RANGE, c->height = c->width = (size_t)1 << (sizeof(size_t) * 4));
#undef BAD
    for (size_t i = 0; i < sizeof y / sizeof *y; i++)
        y[i] = UNTOUCHED;
    assert_int_equal(count, sizeof cases / sizeof *cases);
    for (size_t i = 0; i < count; i++)
        if (msw_conv_run(conv, &cases[i].call) != cases[i].status)
            fail_msg("case %zu gives %s", i,
                     msw_status_text(msw_conv_run(conv, &cases[i].call)));
    assert_int_equal(msw_conv_run(NULL, &good), MSW_E_INVAL);
    assert_int_equal(msw_conv_run(conv, NULL), MSW_E_INVAL);
    for (size_t i = 0; i < sizeof y / sizeof *y; i++)
        assert_true(y[i] == UNTOUCHED);
    good.batch = 0;
    good.x = NULL;
    good.y = NULL;
    assert_int_equal(msw_conv_run(conv, &good), MSW_OK);
    msw_conv_free(conv);
    layer_free(&l);
}

/* A group of a layer is its rows, and nothing of the next one's. */
static void test_groups(void **state)
{
    enum { GROUPS = 4, ROWS = 5, COLUMNS = 21 };
    static const size_t shape[2] = {GROUPS * ROWS, COLUMNS};
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_plan_options o;
    msw_plan *plan;
    msw_tensor *t;
    msw_unified *u;
    uint8_t *classes;

    (void)state;
    msw_plan_options_init(&o);
    o.groups = GROUPS;
    o.block_rows = 3;
    o.block_columns = 4;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &o), MSW_OK);
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    for (size_t i = 0; i < GROUPS * ROWS * COLUMNS; i++)
        msw_tensor_data(t)[i] = -1 - (float)(i / COLUMNS); /* a set sign each */
    classes = malloc(plan->block_count);
    assert_non_null(classes);
    for (size_t b = 0; b < plan->block_count; b++)
        classes[b] = b % 7 ? MSW_CLASS_UNIFIED : MSW_CLASS_FREE;
    assert_int_equal(msw_unified_new(&u, plan, t, classes, plan->block_count), MSW_OK);
    assert_int_equal(msw_unified_to_dense(t, u), MSW_OK);
    for (size_t g = 0; g < GROUPS; g++) {
        msw_unified *part;
        msw_tensor *dense;
        size_t signs;

        assert_int_equal(msw__unified_group(&part, u, g), MSW_OK);
        assert_int_equal(msw_tensor_new(&dense, ctx, part->plan->shape, 2), MSW_OK);
        assert_int_equal(msw_unified_to_dense(dense, part), MSW_OK);
        assert_memory_equal(msw_tensor_data(dense),
                            msw_tensor_data(t) + g * ROWS * COLUMNS,
                            ROWS * COLUMNS * sizeof(float));
        signs = part->sign_start[part->plan->block_row_count];
        assert_true(signs % 8 != 0 && part->signs[signs / 8] >> signs % 8 == 0);
        msw_tensor_free(dense);
        msw_unified_free(part);
    }
    free(classes);
    msw_unified_free(u);
    msw_tensor_free(t);
    msw_plan_free(plan);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
}

/* Sizes whose arrays do not fit into the memory there can be have no workspace; no sum
 * wraps round on its way there. */
static void check_sizes(const layer *l, const msw_conv *conv)
{
    const size_t channels = l->channels * l->groups;
    const unsigned bits = sizeof(size_t) * 8;
    size_t refused = 0, taken = 0;

    for (unsigned batch = 0; batch < bits; batch += 9)
        for (unsigned height = 2; height < bits; height++)
            for (unsigned width = 2; width < bits; width++) {
                const double bytes =
                    4 * ldexp((double)channels, (int)(batch + height + width));
                const size_t space =
                    msw_conv_workspace(conv, (size_t)1 << batch, (size_t)1 << height,
                                       (size_t)1 << width);

                if (bytes > (double)SIZE_MAX)
                    assert_true(space == SIZE_MAX);
                refused += space == SIZE_MAX;
                taken += space != SIZE_MAX;
            }
    assert_true(refused > 0 && taken > 0);
}

static void test_sizes(void **state)
{
    for (uint32_t kind = 0; kind < 12; kind++) {
        const bool few = kind / 4 == 1, single = kind / 4 == 2;
        layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = few || single ? 4 : 9,
                   .channels = single ? 1 : 3, .kernel_h = 3, .kernel_w = 3,
                   .groups = single ? 4 : 1};
        msw_conv *conv;

        layer_make_weights(*state, &l, false);
        layer_make_options(&l, true);
        l.options.image = kind % 2;
        l.options.transposed = kind / 2 % 2;
        l.options.stride_h = l.options.stride_w = 1 + kind % 3;
        l.options.pad_top = l.options.pad_left = 1;
        conv = layer_conv(*state, &l);
        check_sizes(&l, conv);
        msw_conv_free(conv);
        layer_free(&l);
    }
}

/* Padding, kernels and output padding that no height or width can have. */
static void test_geometry_overflow(void **state)
{
    static const uint32_t most = UINT32_MAX;
    layer l;
    size_t height, width;

    if (SIZE_MAX <= UINT32_MAX)
        return; /* there a size is no larger than a padding */
    l = layer_small(*state, 1);
    for (uint32_t transposed = 0; transposed <= 1; transposed++)
        for (uint32_t k = 0; k < 3; k++) {
            msw_conv *conv;

            l.options.transposed = transposed;
            l.options.pad_top = l.options.pad_bottom = k == 0 ? most : 0;
            l.options.dilation_h = k == 1 ? most : 0;
            l.options.stride_h = k == 2 ? most : 0;
            conv = layer_conv(*state, &l);
            assert_int_equal(msw_conv_get_output(&height, &width, conv, SIZE_MAX, 9),
                             k == 0 || transposed ? MSW_E_RANGE : MSW_OK);
            assert_int_equal(msw_conv_get_output(&height, &width, conv, SIZE_MAX - most, 9),
                             k == 0 && !transposed ? MSW_E_RANGE
                             : transposed && k     ? MSW_E_RANGE : MSW_OK);
            assert_int_equal(msw_conv_get_output(&height, &width, conv, 9, 0), MSW_E_RANGE);
            msw_conv_free(conv);
        }
    layer_free(&l);
}

/* The stride of a single image, or of a single run, is anything. */
static void test_idle_strides(void **state)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 1, .channels = 1, .kernel_h = 1,
               .kernel_w = 1, .groups = 1};
    static float x[25], y[25];
    msw_conv_call c;
    msw_conv *conv;

    layer_make_weights(*state, &l, false);
    layer_make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    conv = layer_conv(*state, &l);
    msw_conv_call_init(&c);
    c.x = x;
    c.y = y;
    c.batch = 1;
    c.height = c.width = 5;
    c.ldx = c.ldy = c.batch_stride_x = c.batch_stride_y = 1;
    assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
    msw_conv_free(conv);
    layer_free(&l);
}

/* Refuse each allocation of making and running in turn. */
static void check_out_of_memory(uint32_t transposed)
{
    images x = images_new(2, 4, 9, 9, true, false);
    images y = images_new(2, 6, transposed ? 11 : 7, transposed ? 11 : 7, true, false);
    const msw_conv_call call = images_call(&x, &y, true);
    faults f = {0};
    msw_context *ctx = faults_context(&f);
    msw_status status = MSW_E_NOMEM;
    uint64_t blocks;
    layer l;

    assert_non_null(ctx);
    l = layer_small(ctx, 2);
    l.options.transposed = transposed;
    blocks = f.blocks;
    images_fill(&x);
    for (uint64_t k = 1; status; k++) {
        msw_conv *conv;

        faults_arm(&f, k, false);
        status = msw_conv_new(&conv, ctx, l.u, &l.options);
        if (status)
            assert_null(conv);
        else
            status = msw_conv_run(conv, &call);
        assert_true(status == MSW_OK || status == MSW_E_NOMEM);
        assert_true(status == MSW_OK || f.failed == 1);
        assert_true(k < 1000);
        faults_arm(&f, 0, false);
        msw_conv_free(conv);
        assert_int_equal(f.blocks, blocks);
    }
    layer_free(&l);
    msw_context_free(ctx);
    assert_true(faults_clean(&f));
    images_free(&x);
    images_free(&y);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    check_out_of_memory(0);
    check_out_of_memory(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_size),
        cmocka_unit_test(test_transposed_size),
        cmocka_unit_test(test_output_pad),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_max_bytes),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_geometry_overflow),
        cmocka_unit_test(test_idle_strides),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, conv_set_up, conv_tear_down);
}
