/* SPDX-License-Identifier: BSD-2-Clause */
#include "influence.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "memory.h"

static const double disturbance = 1e-2; /* of a map's root mean square */

static double mean_square(const float *map, size_t count, size_t stride)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)map[i * stride] * (double)map[i * stride];
    return sum / (double)count;
}

/* Signs that look like chance and are the same everywhere. */
static float random_sign(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 31 ? 1.0f : -1.0f;
}

static double measure_channel(struct forward *f, size_t layer, size_t channel, float amount,
                              const float *undisturbed)
{
    const size_t channels = f->net->layers[layer].channels, last = f->net->count - 1;
    const size_t pixels = forward_pixels(f, layer);
    float *map = f->maps[layer], *kept = allocate_floats(pixels);
    uint32_t state = (uint32_t)channel;
    double change = 0;

    for (size_t i = 0; i < pixels; i++) {
        kept[i] = map[i * channels + channel];
        map[i * channels + channel] += amount * random_sign(&state);
    }
    for (size_t i = layer + 1; i <= last; i++)
        forward_step(f, i);
    for (size_t i = 0; i < forward_size(f, last); i++) {
        const double d = (double)f->maps[last][i] - (double)undisturbed[i];

        change += d * d;
    }
    for (size_t i = 0; i < pixels; i++)
        map[i * channels + channel] = kept[i];
    free(kept);
    return change / ((double)pixels * (double)amount * (double)amount);
}

static void measure_layer(struct influence *out, struct forward *f, size_t layer,
                          const float *undisturbed)
{
    const struct layer *l = &f->net->layers[layer];
    const size_t input = l->inputs[0];
    const double level = mean_square(f->maps[layer], forward_size(f, layer), 1);

    out->inputs = allocate(l->input_channels, sizeof *out->inputs);
    out->outputs = allocate(l->channels, sizeof *out->outputs);
    for (size_t c = 0; c < l->input_channels; c++)
        out->inputs[c] =
            mean_square(f->maps[input] + c, forward_pixels(f, input), l->input_channels);
    for (size_t c = 0; c < l->channels; c++) /* for each pixel of the image */
        out->outputs[c] = (double)(l->scale * l->scale) *
                          measure_channel(f, layer, c, (float)(disturbance * sqrt(level)),
                                          undisturbed);
}

struct influence *influence_measure(struct forward *f, const float *images, size_t batch,
                                    size_t height, size_t width)
{
    const size_t last = f->net->count - 1;
    struct influence *all = allocate(f->net->count, sizeof *all);
    float *undisturbed;

    forward_start(f, images, batch, height, width);
    for (size_t i = 1; i <= last; i++)
        forward_step(f, i);
    undisturbed = allocate_floats(forward_size(f, last));
    memcpy(undisturbed, f->maps[last], forward_size(f, last) * sizeof(float));
    /* Backwards: only the maps behind a layer are those of a disturbed network. */
    for (size_t i = f->net->count; i-- > 0;)
        if (f->net->layers[i].kind == LAYER_CONV)
            measure_layer(&all[i], f, i, undisturbed);
    free(undisturbed);
    return all;
}

void influence_free(struct influence *all, const struct network *net)
{
    for (size_t i = 0; i < net->count; i++) {
        free(all[i].inputs);
        free(all[i].outputs);
    }
    free(all);
}

double influence_weights(float *importance, const struct influence *i,
                         const struct layer *l)
{
    const size_t count = layer_weight_count(l);
    double sum = 0;

    for (size_t k = 0; k < count; k++) {
        const double h = i->inputs[k / l->channels % l->input_channels] *
                         i->outputs[k % l->channels];

        importance[k] = (float)h;
        sum += h;
    }
    return sum / (double)count;
}
