/* SPDX-License-Identifier: BSD-2-Clause */
/* Sign, scale and places of FANN's slopes, by finite differences: what fann_compress.c
 * relies on when it adds a penalty to them. And what is no network for it. */
#include <math.h>

#include "../must.h"
#include "fann_layer.h"
#include "mlp.h"

enum { WEIGHTS_TRIED = 40 };

static uint8_t pixels[BATCH * IMAGE_SIZE], labels[BATCH];
static const struct dataset images = {BATCH, pixels, labels};

/* Half the sum of squared errors, which the slopes belong to. */
static double error_of(struct fann *net)
{
    double sum = 0;

    for (int i = 0; i < BATCH; i++) {
        float input[IMAGE_SIZE], *output;

        image_normalise(input, pixels + i * IMAGE_SIZE);
        output = fann_run(net, input);
        for (int k = 0; k < CLASSES; k++) {
            double error = (double)output[k] - (labels[i] == k);

            sum += 0.5 * error * error;
        }
    }
    return sum;
}

static float *element(const msw_tensor *t, size_t row, size_t column)
{
    return msw_tensor_data(t) + row * msw_tensor_stride(t, 0) +
           column * msw_tensor_stride(t, 1);
}

/* One weight of a layer; true: its slope is -dE/dw. */
static bool slope_is_right(struct fann *net, const struct fann_layer_view *view)
{
    const size_t row = (size_t)rand() % msw_tensor_dim(view->weights, 0);
    const size_t column = (size_t)rand() % msw_tensor_dim(view->weights, 1);
    const float slope = *element(view->weight_slopes, row, column), step = 1e-2f;
    float *weight = element(view->weights, row, column), kept = *weight;
    double more, less, difference;

    *weight = kept + step;
    more = error_of(net);
    *weight = kept - step;
    less = error_of(net);
    *weight = kept;
    difference = (more - less) / (2 * (double)step);
    if (fabs(difference + (double)slope) <= 1e-3 + 0.02 * fabs(difference))
        return true;
    fprintf(stderr, "weight %zu %zu: slope %g, differences %g\n", row, column,
            (double)slope, difference);
    return false;
}

static bool slopes_are_right(msw_context *ctx)
{
    struct mlp mlp;
    bool right = true;

    if (!mlp_new(&mlp, &images, 1))
        must(MSW_E_NOMEM, "network");
    mlp_slopes(&mlp);
    for (unsigned layer = 1; layer <= 2; layer++) {
        struct fann_layer_view view;
        const char *wrong = fann_layer_view(&view, ctx, mlp.net, layer);

        right = right && wrong == NULL;
        for (int i = 0; right && i < WEIGHTS_TRIED; i++)
            right = slope_is_right(mlp.net, &view);
        fann_layer_view_free(&view);
    }
    mlp_free(&mlp);
    return right;
}

static bool refuses(msw_context *ctx, struct fann *net, unsigned layer, const char *what)
{
    struct fann_layer_view view;
    const char *wrong = fann_layer_view(&view, ctx, net, layer);

    if (wrong == NULL)
        fprintf(stderr, "accepted: %s\n", what);
    fann_layer_view_free(&view);
    fann_destroy(net);
    return wrong != NULL;
}

int main(void)
{
    msw_context *ctx;
    struct fann *shortcut, *sparse;
    bool good;

    for (int i = 0; i < BATCH * IMAGE_SIZE; i++)
        pixels[i] = (uint8_t)(rand() % 160); /* few units saturate: FANN clips there */
    for (int i = 0; i < BATCH; i++)
        labels[i] = (uint8_t)(i % CLASSES);
    must(msw_context_new(&ctx, NULL), "context");
    good = slopes_are_right(ctx);

    shortcut = fann_create_shortcut(3, 5, 4, 3);
    sparse = fann_create_sparse(0.5f, 3, 5, 4, 3);
    fann_clear_train_arrays(shortcut);
    fann_clear_train_arrays(sparse);
    good = refuses(ctx, shortcut, 2, "shortcut connections") && good;
    good = refuses(ctx, sparse, 1, "missing connections") && good;
    good = refuses(ctx, fann_create_standard(3, 5, 4, 3), 1, "no slopes") && good;
    good = refuses(ctx, fann_create_standard(3, 5, 4, 3), 3, "no such layer") && good;
    msw_context_free(ctx);
    puts(good ? "ok" : "FAILED");
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
