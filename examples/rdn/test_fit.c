/* SPDX-License-Identifier: BSD-2-Clause */
/* The statistics of a layer against the convolution itself, and the fitted weights against
 * small changes of each of their unknowns: none may lower the error. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "../must.h"
#include "fit.h"
#include "memory.h"
#include "weights.h"

enum { BATCH = 2, HEIGHT = 9, WIDTH = 7, INPUTS = 5, OUTPUTS = 6 };

static struct layer layer = {.kind = LAYER_CONV,
                             .name = "layer",
                             .channels = OUTPUTS,
                             .kernel_height = 3,
                             .kernel_width = 3,
                             .input_channels = INPUTS,
                             .scale = 1};
static float x[BATCH][HEIGHT][WIDTH][INPUTS], y[BATCH][HEIGHT][WIDTH][OUTPUTS];
static int failures;

static void check(bool condition, const char *what)
{
    if (!condition) {
        failures++;
        printf("FAIL %s\n", what);
    }
}

static void fill(float *to, size_t count, uint32_t state)
{
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (float)(state >> 8) / (1 << 23) - 1;
    }
}

/* From the definition. */
static double error_of(const float *weights, const float *bias)
{
    double error = 0;

    for (int b = 0; b < BATCH; b++)
        for (int p = 0; p < HEIGHT; p++)
            for (int q = 0; q < WIDTH; q++)
                for (int o = 0; o < OUTPUTS; o++) {
                    double sum = bias[o] - y[b][p][q][o];

                    for (int k = 0; k < 9 * INPUTS; k++) {
                        const int row = p + k / INPUTS / 3 - 1;
                        const int column = q + k / INPUTS % 3 - 1;

                        if (row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH)
                            sum += (double)weights[k * OUTPUTS + o] *
                                   (double)x[b][row][column][k % INPUTS];
                    }
                    error += sum * sum;
                }
    return error / (BATCH * HEIGHT * WIDTH);
}

/* Move all weights of the list by as much, to both sides. */
static bool is_least(float *const *moved, const float *direction, size_t count,
                     const float *weights, const float *bias)
{
    const double least = error_of(weights, bias);
    bool good = true;

    for (int side = -1; side <= 1; side += 2) {
        float kept[64];

        for (size_t i = 0; i < count; i++) {
            kept[i] = *moved[i];
            *moved[i] += (float)side * 0.01f * direction[i];
        }
        good = good && error_of(weights, bias) > least;
        for (size_t i = 0; i < count; i++)
            *moved[i] = kept[i];
    }
    return good;
}

static void test_block(const msw_block *b, msw_class class, float *weights, float *bias)
{
    float *moved[64], direction[64];
    size_t count = 0;

    for (size_t r = b->row; r < b->row + b->rows; r++)
        for (size_t c = b->column; c < b->column + b->columns; c++) {
            float *w = &weights[c * OUTPUTS + r];

            moved[count] = w;
            direction[count++] = signbit(*w) ? -1 : 1;
            if (class == MSW_CLASS_FREE)
                check(is_least(&w, (float[]){1}, 1, weights, bias), "a free weight");
            if (class == MSW_CLASS_PRUNED)
                check(*w == 0, "a pruned weight");
            if (class == MSW_CLASS_UNIFIED)
                check(fabsf(*w) == fabsf(*moved[0]), "equal magnitudes");
        }
    if (class == MSW_CLASS_UNIFIED)
        check(is_least(moved, direction, count, weights, bias), "a magnitude");
}

static void test_structure(msw_context *ctx, const struct statistics *s, double prune,
                           double unify)
{
    float *weights = weights_data(&layer), bias[OUTPUTS] = {0};
    msw_plan *plan = weights_plan(ctx, &layer, 4, 4);
    msw_tensor *tensor = weights_tensor(ctx, &layer, weights);
    msw_block b;
    msw_plan_info info;
    msw_projection_options shares;
    msw_unified *u;
    double before;

    fill(weights, layer_weight_count(&layer), 3);
    msw_projection_options_init(&shares);
    shares.prune = prune;
    shares.unify = unify;
    must(msw_unified_from(&u, plan, tensor, &shares), "projection");
    must(msw_unified_to_dense(tensor, u), "weights");
    before = error_of(weights, bias);
    check(fabs(statistics_error(s, weights, bias) - before) < 1e-5 * before, "statistics");
    fit(weights, bias, s, u, NULL, 1e-9);
    check(error_of(weights, bias) < before, "smaller error");
    msw_block_init(&b);
    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, plan), "plan");
    for (size_t i = 0; i < info.block_count; i++) {
        must(msw_plan_get_block(&b, plan, i), "block");
        test_block(&b, (msw_class)msw_unified_classes(u)[i], weights, bias);
    }
    for (size_t o = 0; o < OUTPUTS; o++) {
        float *moved = &bias[o];

        check(is_least(&moved, (float[]){1}, 1, weights, bias), "a bias");
    }
    msw_unified_free(u);
    msw_tensor_free(tensor);
    msw_plan_free(plan);
    free(weights);
}

int main(void)
{
    msw_context *ctx;
    struct statistics s;

    must(msw_context_new(&ctx, NULL), "context");
    fill(&x[0][0][0][0], sizeof x / sizeof(float), 1);
    fill(&y[0][0][0][0], sizeof y / sizeof(float), 2);
    statistics_new(&s, &layer);
    for (int b = 0; b < BATCH; b++)
        statistics_add(&s, &layer, &x[b][0][0][0], &y[b][0][0][0], 1, HEIGHT, WIDTH);
    test_structure(ctx, &s, 0.3, 0.4);
    test_structure(ctx, &s, 0, 0);
    test_structure(ctx, &s, 0.2, 0.8);
    test_structure(ctx, &s, 1, 0);
    statistics_free(&s);
    msw_context_free(ctx);
    printf("fit: %d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
