/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LeNet 20-50-500:
 *   28x28 -> conv 5x5 -> 20 x 24x24 -> pool, ReLU -> 20 x 12x12
 *         -> conv 5x5 -> 50 x 8x8   -> pool, ReLU -> 50 x 4x4 = 800
 *         -> fully connected 500, ReLU -> fully connected 10 scores
 */
#ifndef FASHION_NETWORK_H
#define FASHION_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data.h"

enum { FILTERS1 = 20, FILTERS2 = 50, KERNEL = 5, UNITS = 500 };
enum { MAP1_SIDE = 24, POOL1_SIDE = 12, MAP2_SIDE = 8, POOL2_SIDE = 4 };
enum {
    MAP1_SIZE = FILTERS1 * MAP1_SIDE * MAP1_SIDE,
    MAP2_SIZE = FILTERS2 * MAP2_SIDE * MAP2_SIDE,
    MAP_SIZE = MAP1_SIZE > MAP2_SIZE ? MAP1_SIZE : MAP2_SIZE,
    POOL1_SIZE = FILTERS1 * POOL1_SIDE * POOL1_SIDE,
    POOL2_SIZE = FILTERS2 * POOL2_SIDE * POOL2_SIDE
};

enum parameter_id {
    CONV1_WEIGHT, CONV1_BIAS, CONV2_WEIGHT, CONV2_BIAS,
    FC1_WEIGHT, FC1_BIAS, FC2_WEIGHT, FC2_BIAS,
    PARAMETERS
};

struct parameter {
    const char *name;
    int rank;
    size_t shape[4]; /* convolutions OIHW, fully connected [out][in], biases [out] */
    size_t count;    /* product of the shape */
};

extern const struct parameter network_parameters[PARAMETERS];

enum { PARAMETER_VALUES = 431080 }; /* all counts together */

/* One number for every parameter: the weights themselves, their gradient, ... */
struct values {
    float *all;              /* PARAMETER_VALUES floats, one parameter after the other */
    float *of[PARAMETERS];   /* where each begins in `all` */
};

bool values_new(struct values *v); /* all zero; false: not enough memory */
void values_free(struct values *v);

/* Random weights that keep the variance from layer to layer (He), biases zero. */
void network_initialise(struct values *weights, uint64_t seed);

/* Raw 32-bit floats in the machine's order; false: said why on stderr. */
bool network_save(const struct values *weights, const char *path);
bool network_load(struct values *weights, const char *path);

/* What the layers make of one batch, kept for the way back. */
struct activations {
    int capacity; /* images */
    float *images, *pool1, *pool2, *fc1, *scores;
    uint8_t *winner1, *winner2; /* for the max-poolings */
    float *pool2_gradient, *fc1_gradient;
    float *map, *map_gradient, *columns; /* scratch for one image */
    float *storage;
};

bool activations_new(struct activations *a, int capacity);
void activations_free(struct activations *a);

/* From a->images, `count` of them, to a->scores: for training ... */
void network_forward(struct activations *a, const struct values *weights, int count);
/* ... and, faster, where no way back follows. */
void network_classify(struct activations *a, const struct values *weights, int count);

/*
 * The batch that network_forward() went through: adds the gradient of `scale` times
 * its summed cross-entropy to `gradient`, and returns the unscaled sum. Overwrites
 * the scores.
 */
double network_backward(struct values *gradient, struct activations *a,
                        const struct values *weights, const uint8_t *labels, int count,
                        float scale);

/* The class of the largest score. */
int network_class(const float *scores);

#endif
