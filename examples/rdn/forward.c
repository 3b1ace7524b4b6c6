/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward.h"

#include <string.h>

#include "../must.h"
#include "memory.h"

void forward_new(struct forward *f, const struct network *net, msw_context *ctx)
{
    *f = (struct forward){.net = net, .ctx = ctx};
    f->convs = allocate(net->count, sizeof *f->convs);
    f->maps = allocate(net->count, sizeof *f->maps);
}

static void drop(struct forward *f, size_t layer)
{
    free(f->maps[layer]);
    f->maps[layer] = NULL;
}

void forward_free(struct forward *f)
{
    for (size_t i = 0; i < f->net->count; i++) {
        msw_conv_free(f->convs[i]);
        drop(f, i);
    }
    free(f->convs);
    free(f->maps);
}

void forward_set_layer(struct forward *f, size_t layer, const msw_unified *weights,
                       const float *bias, uint32_t fallback)
{
    const struct layer *l = &f->net->layers[layer];
    msw_conv_options options;

    msw_conv_free(f->convs[layer]);
    msw_conv_options_init(&options);
    options.image = MSW_IMAGE_NHWC;
    options.pad_top = options.pad_bottom = (uint32_t)l->kernel_height / 2;
    options.pad_left = options.pad_right = (uint32_t)l->kernel_width / 2;
    options.bias = bias;
    options.bias_count = l->channels;
    options.fallback = fallback;
    must(msw_conv_new(&f->convs[layer], f->ctx, weights, &options), l->name);
}

size_t forward_pixels(const struct forward *f, size_t layer)
{
    const size_t scale = f->net->layers[layer].scale;

    return f->batch * f->height * scale * f->width * scale;
}

size_t forward_size(const struct forward *f, size_t layer)
{
    return forward_pixels(f, layer) * f->net->layers[layer].channels;
}

void forward_start(struct forward *f, const float *images, size_t batch, size_t height,
                   size_t width)
{
    for (size_t i = 0; i < f->net->count; i++)
        drop(f, i);
    f->batch = batch;
    f->height = height;
    f->width = width;
    f->maps[0] = allocate_floats(forward_size(f, 0));
    memcpy(f->maps[0], images, forward_size(f, 0) * sizeof(float));
}

static void convolve(struct forward *f, size_t layer)
{
    const struct layer *l = &f->net->layers[layer];
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = f->maps[l->inputs[0]];
    call.y = f->maps[layer];
    call.batch = f->batch;
    call.height = f->height * l->scale;
    call.width = f->width * l->scale;
    must(msw_conv_run(f->convs[layer], &call), l->name);
}

static void rectify(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

static void add(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

/* The channels of x into those of y from `first` on. */
static void place(float *y, size_t y_channels, size_t first, const float *x,
                  size_t x_channels, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        memcpy(y + i * y_channels + first, x + i * x_channels, x_channels * sizeof(float));
}

/* `height` rows of all images together, of `width` pixels. */
static void upsample(float *y, const float *x, size_t height, size_t width,
                     size_t channels, size_t factor)
{
    const size_t row = width * factor * channels;

    for (size_t i = 0; i < height; i++, x += width * channels, y += factor * row) {
        for (size_t k = 0; k < width * factor; k++)
            memcpy(y + k * channels, x + k / factor * channels, channels * sizeof(float));
        for (size_t k = 1; k < factor; k++)
            memcpy(y + k * row, y, row * sizeof(float));
    }
}

static void join(struct forward *f, size_t layer)
{
    const struct layer *l = &f->net->layers[layer];
    size_t first = 0;

    for (size_t i = 0; i < l->input_count; i++) {
        const size_t from = l->inputs[i], channels = f->net->layers[from].channels;

        if (l->kind == LAYER_ADD)
            add(f->maps[layer], f->maps[from], forward_size(f, layer));
        else
            place(f->maps[layer], l->channels, first, f->maps[from], channels,
                  forward_pixels(f, layer));
        first += channels;
    }
}

void forward_step(struct forward *f, size_t layer)
{
    const struct layer *l = &f->net->layers[layer];
    const float *x = l->input_count > 0 ? f->maps[l->inputs[0]] : NULL;

    if (l->kind == LAYER_INPUT)
        return;
    drop(f, layer);
    f->maps[layer] = allocate_floats(forward_size(f, layer));
    switch (l->kind) {
    case LAYER_CONV:
        convolve(f, layer);
        break;
    case LAYER_RELU:
        rectify(f->maps[layer], x, forward_size(f, layer));
        break;
    case LAYER_UPSAMPLE:
        upsample(f->maps[layer], x, f->batch * f->height * l->scale / l->factor,
                 f->width * l->scale / l->factor, l->channels, l->factor);
        break;
    default:
        join(f, layer);
    }
}

void forward_release(struct forward *f, size_t layer)
{
    for (size_t i = 0; i <= layer && i + 1 < f->net->count; i++)
        if (f->maps[i] != NULL && network_last_use(f->net, i) <= layer)
            drop(f, i);
}

const float *forward_run(struct forward *f, size_t first)
{
    for (size_t i = first; i < f->net->count; i++) {
        forward_step(f, i);
        forward_release(f, i);
    }
    return f->maps[f->net->count - 1];
}
