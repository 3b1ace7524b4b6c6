/* SPDX-License-Identifier: BSD-2-Clause */
/* Forward pass of a network on msw_conv, layer by layer, for several images at once. */
#ifndef FORWARD_H
#define FORWARD_H

#include <msw/msw.h>

#include "network.h"

struct forward {
    const struct network *net;
    msw_context *ctx;
    msw_conv **convs;          /* of each layer, NULL where it is none */
    float **maps;              /* what each layer put out, while it is needed */
    size_t batch, height, width; /* of the images */
};

/* Without weights. `net` must stay. */
void forward_new(struct forward *f, const struct network *net, msw_context *ctx);
void forward_free(struct forward *f);

/* The weights and bias of a convolution. */
void forward_set_layer(struct forward *f, size_t layer, const msw_unified *weights,
                       const float *bias, uint32_t fallback);

/* Images to work on, copied. */
void forward_start(struct forward *f, const float *images, size_t batch, size_t height,
                   size_t width);
/* One layer; what it reads must be there. */
void forward_step(struct forward *f, size_t layer);
/* Drop what no layer after this one reads. */
void forward_release(struct forward *f, size_t layer);
/* The layers from `first` on; what they put out is dropped when it is no longer needed,
 * except the last map, which is returned and lives until the next start. */
const float *forward_run(struct forward *f, size_t first);

/* Values of a layer's map. */
size_t forward_pixels(const struct forward *f, size_t layer);
size_t forward_size(const struct forward *f, size_t layer);

#endif /* FORWARD_H */
