/* SPDX-License-Identifier: BSD-2-Clause */
/* Quick start: bring a weight matrix into unified-block form, and multiply with it.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs libmsw) -lm -o quickstart
 */
#include "must.h"

#include <math.h>

enum { OUTPUTS = 256, INPUTS = 512, BATCH = 64 };

static float weights[OUTPUTS * INPUTS];             /* [out][in], as trained */
static float x[INPUTS * BATCH], y[OUTPUTS * BATCH]; /* one sample per column */

static void fill(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
}

/* How far y is from the plain product with the projected weights. */
static double largest_error(void)
{
    double largest = 0;

    for (size_t o = 0; o < OUTPUTS; o++)
        for (size_t n = 0; n < BATCH; n++) {
            double sum = 0;
            for (size_t i = 0; i < INPUTS; i++)
                sum += (double)weights[o * INPUTS + i] * (double)x[i * BATCH + n];
            largest = fmax(largest, fabs(sum - (double)y[o * BATCH + n]));
        }
    return largest;
}

int main(void)
{
    const size_t shape[2] = {OUTPUTS, INPUTS};
    msw_context *ctx;
    msw_tensor *tensor;
    msw_plan *plan;
    msw_unified *unified;
    msw_gemm *gemm;
    msw_projection_options shares;
    msw_unified_info info;
    msw_gemm_call call;

    fill(weights, OUTPUTS * INPUTS);
    fill(x, INPUTS * BATCH);
    must(msw_context_new(&ctx, NULL), "context");

    /* Partition: 8x8 blocks by default. The tensor is a view of our own array. */
    must(msw_tensor_borrow(&tensor, ctx, weights, shape, NULL, 2), "tensor");
    must(msw_plan_new(&plan, ctx, shape, 2, NULL), "plan");

    /* Project: half of the blocks become zero; of 40 % one magnitude and the signs are
     * left; the rest stays. A trained network wants ADMM and retraining instead of one
     * projection: see callbacks.c and own_loop.c. */
    msw_projection_options_init(&shares);
    shares.prune = 0.5;
    shares.unify = 0.4;
    must(msw_unified_from(&unified, plan, tensor, &shares), "projection");
    must(msw_unified_to_dense(tensor, unified), "dense weights");

    /* Pack once, multiply as often as you like, from any number of threads. */
    must(msw_gemm_new(&gemm, ctx, unified, NULL), "packing");
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = BATCH;
    must(msw_gemm_run(gemm, &call), "product");

    msw_unified_info_init(&info);
    must(msw_unified_get_info(&info, unified), "info");
    printf("%.2f bits per weight instead of 32\n", info.bits_per_weight);
    printf("largest error of the product: %.1e\n", largest_error());

    msw_gemm_free(gemm);
    msw_unified_free(unified);
    msw_plan_free(plan);
    msw_tensor_free(tensor);
    msw_context_free(ctx);
    return largest_error() < 1e-4 ? EXIT_SUCCESS : EXIT_FAILURE;
}
