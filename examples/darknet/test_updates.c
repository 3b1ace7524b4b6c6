/* SPDX-License-Identifier: BSD-2-Clause */
/* test-updates CFG: sign, scale and places of darknet's updates, by finite differences:
 * what darknet_compress.c relies on when it adds a penalty to them. */
#include <math.h>
#include <string.h>

#include "../must.h"
#include "cnn.h"
#include "darknet_layer.h"

enum { IMAGES = 64 };
#define STEP 1e-2

static uint8_t pixels[IMAGES * IMAGE_SIZE], labels[IMAGES];
static const struct dataset images = {IMAGES, pixels, labels};

/* Sum of the cross-entropies of the mini-batch that cnn_updates() left in the network. */
static double loss_of(network *net)
{
    double sum = 0;

    forward_network(net);
    for (int i = 0; i < net->batch * CLASSES; i++)
        if (net->truth[i] > 0)
            sum -= log((double)net->output[i]);
    return sum;
}

/* The loss after a step of this length along the updates of a layer. */
static double loss_at(network *net, const struct darknet_layer_view *view, double length,
                      double norm)
{
    const size_t count = msw_tensor_count(view->weights);
    const float *updates = msw_tensor_data(view->weight_updates);
    float *weights = msw_tensor_data(view->weights), *kept = malloc(count * sizeof *kept);
    double loss;

    if (kept == NULL)
        must(MSW_E_NOMEM, "weights");
    memcpy(kept, weights, count * sizeof *kept);
    for (size_t i = 0; i < count; i++)
        weights[i] += (float)(length / norm * (double)updates[i]);
    loss = loss_of(net);
    memcpy(weights, kept, count * sizeof *kept);
    free(kept);
    return loss;
}

/* If the updates are -dL/dw, the loss falls along them as fast as they are long. Other
 * places, another sign or scale would give another slope. */
static bool updates_fit(network *net, const struct darknet_layer_view *view)
{
    const float *updates = msw_tensor_data(view->weight_updates);
    double squares = 0, norm, rise, slope;

    for (size_t i = 0; i < msw_tensor_count(view->weights); i++)
        squares += (double)updates[i] * (double)updates[i];
    norm = sqrt(squares);
    rise = loss_at(net, view, STEP, norm) - loss_at(net, view, -STEP, norm);
    slope = rise / (2 * STEP);
    if (fabs(slope + norm) <= 0.03 * norm)
        return true;
    fprintf(stderr, "the updates are %g long, the loss has slope %g\n", norm, slope);
    return false;
}

static bool updates_are_right(msw_context *ctx, struct cnn *cnn)
{
    bool right = true;
    int layers = 0;

    cnn_updates(cnn); /* the first: no momentum yet */
    for (int layer = 0; right && layer < cnn->net->n; layer++) {
        struct darknet_layer_view view;

        if (darknet_layer_view(&view, ctx, &cnn->net->layers[layer]) != NULL)
            continue;
        right = updates_fit(cnn->net, &view);
        layers++;
        darknet_layer_view_free(&view);
    }
    return right && layers == 4;
}

static bool refuses(msw_context *ctx, const layer *l, const char *what)
{
    struct darknet_layer_view view;
    const char *wrong = darknet_layer_view(&view, ctx, l);

    if (wrong == NULL)
        fprintf(stderr, "accepted: %s\n", what);
    darknet_layer_view_free(&view);
    return wrong != NULL;
}

int main(int argc, char **argv)
{
    msw_context *ctx;
    struct cnn cnn;
    layer normalised;
    bool good;

    for (int i = 0; i < IMAGES * IMAGE_SIZE; i++)
        pixels[i] = (uint8_t)(rand() % 256);
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (uint8_t)(i % CLASSES);
    if (argc != 2 || !cnn_new(&cnn, argv[1], &images, 1))
        return EXIT_FAILURE;
    must(msw_context_new(&ctx, NULL), "context");
    good = updates_are_right(ctx, &cnn);
    good = refuses(ctx, &cnn.net->layers[1], "a layer without weights") && good;
    normalised = cnn.net->layers[0];
    normalised.batch_normalize = 1;
    good = refuses(ctx, &normalised, "batch normalisation") && good;
    cnn_free(&cnn);
    msw_context_free(ctx);
    puts(good ? "ok" : "FAILED");
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
