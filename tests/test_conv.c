/* SPDX-License-Identifier: BSD-2-Clause */
/* What convolutions compute; test_conv_api.c has what they refuse. */
#include "conv_fixture.h"
#include "faults.h"

#include <stdlib.h>
#include <string.h>

enum { CASES = 400 };

static void test_random_geometries(void **state)
{
    for (int n = 0; n < CASES; n++) {
        layer l = layer_random(*state);
        msw_conv *conv = layer_conv(*state, &l);
        const size_t smallest = 10; /* 4 with a dilation of 3 */

        check_run(&l, conv, pick(0, 3), pick(smallest, 14), pick(smallest, 14));
        if (n % 16 == 0) /* several tiles of one image */
            check_run(&l, conv, 2, pick(40, 60), pick(40, 60));
        if (n % 16 == 1) /* small images that share a tile, or several */
            check_run(&l, conv, pick(30, 200), smallest, smallest);
        msw_conv_free(conv);
        layer_free(&l);
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
static void test_pools(void **state)
{
    static const pool_mode modes[] = {POOL_IN_ORDER, POOL_REVERSED, POOL_THREADS};
    layer l = {.weights = MSW_WEIGHTS_OIHW, .outputs = 70, .channels = 20, .kernel_h = 3,
               .kernel_w = 3, .groups = 1};
    images x = images_new(3, 20, 21, 21, true, false);
    images y = images_new(3, 70, 19, 19, true, false);
    float *first = malloc(y.count * sizeof *first);

    assert_non_null(first);
    images_fill(&x);
    layer_make_weights(*state, &l, false);
    layer_make_options(&l, true);
    l.options.image = MSW_IMAGE_NCHW;
    l.options.fallback = MSW_FALLBACK_NEVER;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        pool p = {.mode = modes[i]};
        const msw_conv_call c = images_call(&x, &y, true);
        msw_context_options o;
        msw_context *ctx;
        msw_conv *conv;

        msw_context_options_init(&o);
        o.parallel_for = pool_run;
        o.parallel_user = &p;
        assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
        conv = layer_conv(ctx, &l);
        assert_int_equal(msw_conv_run(conv, &c), MSW_OK);
        if (i == 0)
            memcpy(first, y.data, y.count * sizeof *first);
        assert_memory_equal(first, y.data, y.count * sizeof *first);
        msw_conv_free(conv);
        msw_context_free(ctx);
    }
    free(first);
    images_free(&x);
    images_free(&y);
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_geometries),
        cmocka_unit_test(test_shared_tiles),
        cmocka_unit_test(test_padding_only),
        cmocka_unit_test(test_pools),
    };

    return cmocka_run_group_tests(tests, conv_set_up, conv_tear_down);
}
