/* SPDX-License-Identifier: BSD-2-Clause */
/* A network as a list of layers, each fed by earlier ones: what an RDN consists of. Feature
 * maps are [row][column][channel]. It does not know libmsw. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stddef.h>

enum layer_kind {
    LAYER_INPUT,
    LAYER_CONV,        /* stride 1; zeros around, so that the size stays */
    LAYER_RELU,
    LAYER_CONCATENATE, /* of channels */
    LAYER_ADD,
    LAYER_UPSAMPLE,    /* repeats rows and columns */
};

struct layer {
    enum layer_kind kind;
    char *name;
    size_t *inputs; /* numbers of layers before this one */
    size_t input_count;
    size_t channels;
    size_t scale; /* of rows and columns, against the image */

    size_t kernel_height, kernel_width, input_channels; /* LAYER_CONV; sides are odd */
    float *weights;                                     /* [h][w][in][out] */
    float *bias;                                        /* [out] */
    size_t factor;                                      /* LAYER_UPSAMPLE */
};

enum { IMAGE_CHANNELS = 3 };

/* The first layer is the only input, the last one the output. */
struct network {
    struct layer *layers;
    size_t count;
};

void network_free(struct network *net);

/* Number of a layer; net->count: no such name. */
size_t network_find(const struct network *net, const char *name);
/* Number of the last layer that reads layer `which`, itself when none does. */
size_t network_last_use(const struct network *net, size_t which);
/* Of a convolution: rows of the matrix [h][w][in] x [out] that its weights are. */
size_t layer_fan_in(const struct layer *l);
size_t layer_weight_count(const struct layer *l);

#endif /* NETWORK_H */
