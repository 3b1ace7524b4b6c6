/* SPDX-License-Identifier: BSD-2-Clause */
/* What convolutions compute; test_conv_api.c has what they refuse. */
#include "conv.h"
#include "conv_fixture.h"
#include "faults.h"

#include <stdlib.h>
#include <string.h>

enum { CASES = 200 };

/* With the kernels of each instruction set that there is. */
static void check_random_geometries(msw_context *ctx, int cases)
{
    for (int n = 0; n < cases; n++) {
        layer l = layer_random(ctx);
        msw_conv *conv = layer_conv(ctx, &l);
        const size_t smallest = 10; /* 4 with a dilation of 3 */

        check_run(&l, conv, pick(0, 3), pick(smallest, 14), pick(smallest, 14));
        if (n % 16 == 0) /* several bands of one image */
            check_run(&l, conv, 2, pick(40, 60), pick(40, 60));
        if (n % 16 == 1) /* small images that share a band, or several */
            check_run(&l, conv, pick(30, 200), smallest, smallest);
        msw_conv_free(conv);
        layer_free(&l);
    }
}

static void test_random_geometries(void **state)
{
    static const uint32_t masks[] = {MSW_CPU_C, MSW_CPU_AVX2, 0};

    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        msw_context_options o;
        msw_context *ctx;

        msw_context_options_init(&o);
        o.cpu_mask = masks[i];
        assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
        check_random_geometries(ctx, CASES);
        msw_context_free(ctx);
    }
}

/* Every kind of layer, plain and on small images, where a tile spans many. */
static void test_shared_tiles(void **state)
{
    for (uint32_t image = 0; image <= 1; image++)
        for (int pointwise = 0; pointwise < 2; pointwise++) {
            layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 20, .channels = 6,
                       .groups = 1};
            msw_conv *conv;

            l.kernel_h = l.kernel_w = pointwise ? 1 : 3;
            layer_make_weights(*state, &l, false);
            layer_make_options(&l, true);
            l.options.image = image;
            conv = layer_conv(*state, &l);
            for (size_t side = 3; side < 10; side++)
                check_run(&l, conv, 70, side, side);
            msw_conv_free(conv);
            layer_free(&l);
        }
}

/* An image of no rows, all padding. */
static void test_padding_only(void **state)
{
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 5, .channels = 2, .kernel_h = 3,
               .kernel_w = 3, .groups = 1};
    msw_conv *conv;

    layer_make_weights(*state, &l, false);
    layer_make_options(&l, true);
    l.options.pad_top = l.options.pad_bottom = 2;
    conv = layer_conv(*state, &l);
    check_run(&l, conv, 1, 1, 4);
    msw_conv_free(conv);
    layer_free(&l);
}

/* The same bits whatever runs the tasks. */
static void check_pools(msw_context *ctx, layer *l, uint32_t image)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    const bool nchw = image == MSW_IMAGE_NCHW;
    images x = images_new(3, l->channels * l->groups, 21, 21, nchw, false);
    images y = images_new(3, l->outputs, 21, 21, nchw, false);
    float *first = malloc(y.count * sizeof *first);

    assert_non_null(first);
    images_fill(&x);
    layer_make_weights(ctx, l, false);
    layer_make_options(l, true);
    l->options.image = image;
    l->options.fallback = MSW_FALLBACK_NEVER;
    l->options.pad_top = l->options.pad_bottom = l->options.pad_left =
        l->options.pad_right = 1;
    for (size_t i = 0; i <= sizeof modes / sizeof *modes; i++) { /* the last: no pool */
        pool p = {.mode = modes[i % 3]};
        const msw_conv_call c = images_call(&x, &y, true);
        msw_context_options o;
        msw_context *own;
        msw_conv *conv;

        msw_context_options_init(&o);
        if (i < sizeof modes / sizeof *modes) {
            o.parallel_for = pool_run;
            o.parallel_user = &p;
        } else {
            o.threads = 2;
        }
        assert_int_equal(msw_context_new(&own, &o), MSW_OK);
        conv = layer_conv(own, l);
        assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
        if (i == 0)
            memcpy(first, y.data, y.count * sizeof *first);
        assert_memory_equal(first, y.data, y.count * sizeof *first);
        msw_conv_free(conv);
        msw_context_free(own);
    }
    free(first);
    images_free(&x);
    images_free(&y);
    layer_free(l);
}

static void test_pools(void **state)
{
    for (uint32_t image = 0; image <= 1; image++) {
        layer dense = {.weights = MSW_WEIGHTS_OIHW, .outputs = 70, .channels = 20,
                       .kernel_h = 3, .kernel_w = 3, .groups = 1};
        layer grouped = {.weights = MSW_WEIGHTS_OHWI, .outputs = 48, .channels = 16,
                         .kernel_h = 3, .kernel_w = 3, .groups = 4};
        layer depthwise = {.weights = MSW_WEIGHTS_OIHW, .outputs = 40, .channels = 1,
                           .kernel_h = 3, .kernel_w = 3, .groups = 40};

        check_pools(*state, &dense, image);
        check_pools(*state, &grouped, image);
        check_pools(*state, &depthwise, image);
    }
}

/* Depthwise layers have kernels of their own, and say so. */
static void test_depthwise_kernel(void **state)
{
    static const char *const names[] = {"direct ", "depthwise "};

    for (uint32_t image = 0; image <= 1; image++) {
        layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 8, .channels = 1, .kernel_h = 3,
                   .kernel_w = 3, .groups = 8};
        msw_gemm_info info;
        msw_conv *conv;

        layer_make_weights(*state, &l, false);
        layer_make_options(&l, true);
        l.options.image = image;
        conv = layer_conv(*state, &l);
        msw_gemm_info_init(&info);
        assert_int_equal(msw_conv_get_info(&info, conv, 1, 9, 9), MSW_OK);
        assert_int_equal(strncmp(info.kernel, names[image], strlen(names[image])), 0);
        assert_true(info.bytes_packed > 0 && info.bytes_dense == 0);
        assert_int_equal(info.deterministic, 1);
        msw_conv_free(conv);
        layer_free(&l);
    }
}

/* One dimension: kernels and images of one row. */
static void test_one_dimension(void **state)
{
    for (uint32_t transposed = 0; transposed <= 1; transposed++)
        for (size_t kernel = 1; kernel <= 5; kernel += 2) {
            layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 12, .channels = 7,
                       .kernel_h = 1, .kernel_w = kernel, .groups = 1};
            msw_conv *conv;

            layer_make_weights(*state, &l, true);
            layer_make_options(&l, true);
            l.options.transposed = transposed;
            l.options.stride_w = 2;
            l.options.pad_left = l.options.pad_right = (uint32_t)kernel / 2;
            conv = layer_conv(*state, &l);
            check_run(&l, conv, 3, 1, 100);
            msw_conv_free(conv);
            layer_free(&l);
        }
}

/* Weights as torch.nn.ConvTranspose2d keeps them, inputs first, by strides. */
static void test_inputs_first(void **state)
{
    enum { OUTPUTS = 8, CHANNELS = 4, KERNEL = 9 };
    static const size_t shape[4] = {OUTPUTS, CHANNELS, 3, 3};
    static const size_t strides[4] = {KERNEL, OUTPUTS * KERNEL, 3, 1};
    uint8_t classes[2 * 9] = {MSW_CLASS_FREE};
    float torch[CHANNELS * OUTPUTS * KERNEL];
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = OUTPUTS, .channels = CHANNELS,
               .kernel_h = 3, .kernel_w = 3, .groups = 1};
    msw_plan_options o;
    msw_tensor *t;
    msw_plan *plan;
    msw_conv *conv;

    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++)
        torch[i] = value();
    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OIHW;
    o.block_rows = o.block_columns = 4;
    assert_int_equal(msw_tensor_borrow(&t, *state, torch, shape, strides, 4), MSW_OK);
    assert_int_equal(msw_plan_new(&plan, *state, shape, 4, &o), MSW_OK);
    assert_int_equal(msw_unified_new(&l.u, plan, t, classes, sizeof classes), MSW_OK);
    l.dense = malloc(sizeof torch);
    assert_non_null(l.dense);
    for (size_t k = 0; k < OUTPUTS; k++)
        for (size_t i = 0; i < CHANNELS; i++)
            memcpy(l.dense + (k * CHANNELS + i) * KERNEL,
                   torch + (i * OUTPUTS + k) * KERNEL, KERNEL * sizeof *torch);
    layer_make_options(&l, true);
    l.options.transposed = 1;
    l.options.stride_h = l.options.stride_w = 2;
    conv = layer_conv(*state, &l);
    check_run(&l, conv, 2, 9, 9);
    msw_conv_free(conv);
    msw_plan_free(plan);
    msw_tensor_free(t);
    layer_free(&l);
}

/* Nothing left: bias and activation all the same. */
static void test_all_pruned(void **state)
{
    for (uint32_t groups = 1; groups <= 4; groups += 3) {
        layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 8, .channels = 2, .kernel_h = 3,
                   .kernel_w = 3, .groups = groups};
        msw_conv *conv;

        layer_make_weights(*state, &l, false);
        layer_prune(*state, &l);
        layer_make_options(&l, true);
        conv = layer_conv(*state, &l);
        check_run(&l, conv, 2, 9, 9);
        msw_conv_free(conv);
        layer_free(&l);
    }
}

/* Sums that the activation cuts off above, in every kernel and in gaps that no kernel
 * position reaches. */
static void test_upper_bound(void **state)
{
    static const uint32_t masks[] = {MSW_CPU_C, MSW_CPU_AVX2, 0};

    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        for (uint32_t transposed = 0; transposed <= 1; transposed++)
            for (uint32_t k = 0; k < 6; k++) {
                layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = k < 2 ? 12 : 6,
                           .channels = k < 4 ? 3 : 1, .kernel_h = 2, .kernel_w = 3,
                           .groups = k < 2 ? 1 : k < 4 ? 3 : 6};
                msw_context_options o;
                msw_context *ctx;
                msw_conv *conv;

                msw_context_options_init(&o);
                o.cpu_mask = masks[i];
                assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
                layer_make_weights(ctx, &l, false);
                layer_make_options(&l, true);
                l.options.image = k % 2;
                l.options.activation = MSW_ACTIVATION_RELU6;
                l.options.transposed = transposed;
                l.options.stride_h = l.options.stride_w = 4;
                free(l.bias);
                l.bias = malloc(l.outputs * sizeof *l.bias);
                assert_non_null(l.bias);
                for (size_t b = 0; b < l.outputs; b++)
                    l.bias[b] = 5 + (float)b; /* about the bound, and above */
                l.options.bias = l.bias;
                l.options.bias_count = l.outputs;
                conv = layer_conv(ctx, &l);
                check_run(&l, conv, 2, 9, 11);
                msw_conv_free(conv);
                layer_free(&l);
                msw_context_free(ctx);
            }
}

/* Bands of 16 images and a last one of a single image, of so few columns that another kernel
 * may be the best for it, which wants X in another form. */
static void test_small_last_band(void **state)
{
    enum { IMAGES = 16, BATCH = IMAGES * 15 + 1 };
    msw__conv_layout space;
    msw__conv_cut cut;
    msw__conv_job job;
    msw_conv_call call;
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 128, .channels = 256, .kernel_h = 1,
               .kernel_w = 60, .groups = 1};
    msw_conv *conv;

    layer_make_weights(*state, &l, false);
    layer_make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    l.options.fallback = MSW_FALLBACK_NEVER;
    l.options.stride_w = 2; /* so that it is copied, which bounds the band */
    l.options.expected_pixels = 0;
    conv = layer_conv(*state, &l);
    msw_conv_call_init(&call);
    call.batch = BATCH;
    call.height = 1;
    call.width = 60;
    assert_int_equal(msw__conv_open(&job, conv, &call), MSW_OK);
    assert_int_equal(msw__conv_plan(&cut, &space, &job), MSW_OK);
    if (conv->kind == MSW__CONV_PRODUCTS) /* by the costs of this machine's kernels */
        assert_int_equal(cut.images, IMAGES);
    check_run(&l, conv, BATCH, 1, 60);
    msw_conv_free(conv);
    layer_free(&l);
}

/* Images of one column, in steps that leave others out. */
static void test_one_column(void **state)
{
    for (uint32_t image = 0; image <= 1; image++)
        for (uint32_t transposed = 0; transposed <= 1; transposed++) {
            layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 9, .channels = 3,
                       .kernel_h = 3, .kernel_w = 1, .groups = 1};
            msw_conv *conv;

            layer_make_weights(*state, &l, false);
            layer_make_options(&l, true);
            l.options.image = image;
            l.options.transposed = transposed;
            l.options.stride_w = 2;
            conv = layer_conv(*state, &l);
            check_run(&l, conv, 3, 40, 1);
            msw_conv_free(conv);
            layer_free(&l);
        }
}

/* A pool that fails at any call ends the convolution with a status. */
static void check_failing_pool(layer l, uint32_t image, uint32_t transposed)
{
    pool p = {.mode = POOL_FAILING, .fail_from = UINT64_MAX};
    msw_context_options o;
    msw_context *ctx;
    msw_conv *conv;
    msw_conv_call call;
    images x, y;
    size_t out_height, out_width;
    uint64_t calls;

    msw_context_options_init(&o);
    o.parallel_for = pool_run;
    o.parallel_user = &p;
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    layer_make_weights(ctx, &l, false);
    layer_make_options(&l, true);
    l.options.image = image;
    l.options.transposed = transposed;
    l.options.pad_top = 1;
    conv = layer_conv(ctx, &l);
    assert_int_equal(msw_conv_get_output(&out_height, &out_width, conv, 40, 50), MSW_OK);
    x = images_new(3, l.channels * l.groups, 40, 50, image == MSW_IMAGE_NCHW, false);
    y = images_new(3, l.outputs, out_height, out_width, image == MSW_IMAGE_NCHW, false);
    images_fill(&x);
    images_fill(&y);
    call = images_call(&x, &y, true);
    call.beta = 1;
    atomic_store(&p.calls, 0);
    assert_int_equal(msw_conv_run(conv, &call), MSW_OK);
    calls = atomic_load(&p.calls);
    assert_true(calls > 0);
    for (uint64_t k = 1; k <= calls; k++) {
        p.fail_from = k;
        atomic_store(&p.calls, 0);
        assert_int_equal(msw_conv_run(conv, &call), MSW_E_HOST);
        assert_int_equal(atomic_load(&p.calls), k); /* and nothing after it */
    }
    images_free(&x);
    images_free(&y);
    msw_conv_free(conv);
    layer_free(&l);
    msw_context_free(ctx);
}

static void test_failing_pools(void **state)
{
    (void)state;
    for (uint32_t image = 0; image <= 1; image++)
        for (uint32_t transposed = 0; transposed <= 1; transposed++) {
            const layer products = {.weights = MSW_WEIGHTS_OIHW, .outputs = 80,
                                    .channels = 9, .kernel_h = 3, .kernel_w = 3,
                                    .groups = 2};
            const layer direct = {.weights = MSW_WEIGHTS_OIHW, .outputs = 8, .channels = 9,
                                  .kernel_h = 3, .kernel_w = 3, .groups = 4};
            const layer depthwise = {.weights = MSW_WEIGHTS_OIHW, .outputs = 40,
                                     .channels = 1, .kernel_h = 3, .kernel_w = 3,
                                     .groups = 40};

            check_failing_pool(products, image, transposed);
            check_failing_pool(direct, image, transposed);
            check_failing_pool(depthwise, image, transposed);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_geometries),
        cmocka_unit_test(test_shared_tiles),
        cmocka_unit_test(test_padding_only),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_depthwise_kernel),
        cmocka_unit_test(test_one_dimension),
        cmocka_unit_test(test_inputs_first),
        cmocka_unit_test(test_all_pruned),
        cmocka_unit_test(test_upper_bound),
        cmocka_unit_test(test_one_column),
        cmocka_unit_test(test_small_last_band),
        cmocka_unit_test(test_failing_pools),
    };

    return cmocka_run_group_tests(tests, conv_set_up, conv_tear_down);
}
