/* SPDX-License-Identifier: BSD-2-Clause */
#include "network.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers.h"
#include "random.h"

enum {
    COLUMNS1_SIZE = KERNEL * KERNEL * MAP1_SIDE * MAP1_SIDE,
    COLUMNS2_SIZE = FILTERS1 * KERNEL * KERNEL * MAP2_SIDE * MAP2_SIDE,
    COLUMNS_SIZE = COLUMNS1_SIZE > COLUMNS2_SIZE ? COLUMNS1_SIZE : COLUMNS2_SIZE
};

static const struct conv_shape conv1 = {1, IMAGE_SIDE, FILTERS1, KERNEL};
static const struct conv_shape conv2 = {FILTERS1, POOL1_SIDE, FILTERS2, KERNEL};

const struct parameter network_parameters[PARAMETERS] = {
    [CONV1_WEIGHT] = {"conv1.weight", 4, {FILTERS1, 1, KERNEL, KERNEL}, 500},
    [CONV1_BIAS] = {"conv1.bias", 1, {FILTERS1}, FILTERS1},
    [CONV2_WEIGHT] = {"conv2.weight", 4, {FILTERS2, FILTERS1, KERNEL, KERNEL}, 25000},
    [CONV2_BIAS] = {"conv2.bias", 1, {FILTERS2}, FILTERS2},
    [FC1_WEIGHT] = {"fc1.weight", 2, {UNITS, POOL2_SIZE}, 400000},
    [FC1_BIAS] = {"fc1.bias", 1, {UNITS}, UNITS},
    [FC2_WEIGHT] = {"fc2.weight", 2, {CLASSES, UNITS}, 5000},
    [FC2_BIAS] = {"fc2.bias", 1, {CLASSES}, CLASSES},
};

bool values_new(struct values *v)
{
    float *next = v->all = calloc(PARAMETER_VALUES, sizeof *v->all);

    for (int i = 0; next != NULL && i < PARAMETERS; i++) {
        v->of[i] = next;
        next += network_parameters[i].count;
    }
    return next != NULL;
}

void values_free(struct values *v)
{
    free(v->all);
    *v = (struct values){0};
}

void network_initialise(struct values *weights, uint64_t seed)
{
    for (int i = 0; i < PARAMETERS; i++) {
        const struct parameter *p = &network_parameters[i];
        size_t inputs = p->count / p->shape[0];
        float bound = p->rank == 1 ? 0.0f : sqrtf(6.0f / (float)inputs);
        struct rng rng = rng_make(seed, (uint64_t)i);

        for (size_t j = 0; j < p->count; j++)
            weights->of[i][j] = bound * rng_symmetric(&rng);
    }
}

static bool finish(FILE *file, const char *path, bool good, const char *otherwise)
{
    if (!good)
        fprintf(stderr, "%s: %s\n", path, ferror(file) ? strerror(errno) : otherwise);
    if (fclose(file) != 0 && good) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        good = false;
    }
    return good;
}

bool network_save(const struct values *weights, const char *path)
{
    FILE *file = fopen(path, "wb");
    size_t written;

    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    written = fwrite(weights->all, sizeof *weights->all, PARAMETER_VALUES, file);
    return finish(file, path, written == PARAMETER_VALUES, "could not be written");
}

bool network_load(struct values *weights, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t got;

    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    got = fread(weights->all, sizeof *weights->all, PARAMETER_VALUES, file);
    return finish(file, path, got == PARAMETER_VALUES && fgetc(file) == EOF,
                  "does not hold the weights of this network");
}

bool activations_new(struct activations *a, int capacity)
{
    size_t n = (size_t)capacity;
    const struct {
        float **array;
        size_t size;
    } parts[] = {
        {&a->images, n * IMAGE_SIZE}, {&a->pool1, n * POOL1_SIZE},
        {&a->pool2, n * POOL2_SIZE},  {&a->pool2_gradient, n * POOL2_SIZE},
        {&a->fc1, n * UNITS},         {&a->fc1_gradient, n * UNITS},
        {&a->scores, n * CLASSES},    {&a->map, MAP_SIZE},
        {&a->map_gradient, MAP_SIZE}, {&a->columns, COLUMNS_SIZE},
    };
    enum { PART_COUNT = sizeof parts / sizeof *parts };
    size_t total = 0;
    float *next;

    *a = (struct activations){.capacity = capacity};
    for (int i = 0; i < PART_COUNT; i++)
        total += parts[i].size;
    next = a->storage = calloc(total, sizeof *next);
    a->winner1 = calloc(n, POOL1_SIZE);
    a->winner2 = calloc(n, POOL2_SIZE);
    if (next == NULL || a->winner1 == NULL || a->winner2 == NULL) {
        activations_free(a);
        return false;
    }
    for (int i = 0; i < PART_COUNT; next += parts[i++].size)
        *parts[i].array = next;
    return true;
}

void activations_free(struct activations *a)
{
    free(a->storage);
    free(a->winner1);
    free(a->winner2);
    *a = (struct activations){0};
}

/* Both convolutions work image by image: their columns then stay in the cache. */
static void forward(struct activations *a, const struct values *weights, int count,
                    bool training)
{
    float *const *w = weights->of;

    for (int n = 0; n < count; n++) {
        float *pool1 = a->pool1 + n * POOL1_SIZE;
        float *pool2 = a->pool2 + n * POOL2_SIZE;

        conv_forward(a->map, a->images + n * IMAGE_SIZE, w[CONV1_WEIGHT], w[CONV1_BIAS],
                     &conv1, a->columns);
        if (training)
            pool_relu_forward(pool1, a->winner1 + n * POOL1_SIZE, a->map, FILTERS1,
                              MAP1_SIDE);
        else
            pool_relu(pool1, a->map, FILTERS1, MAP1_SIDE);
        conv_forward(a->map, pool1, w[CONV2_WEIGHT], w[CONV2_BIAS], &conv2, a->columns);
        if (training)
            pool_relu_forward(pool2, a->winner2 + n * POOL2_SIZE, a->map, FILTERS2,
                              MAP2_SIDE);
        else
            pool_relu(pool2, a->map, FILTERS2, MAP2_SIDE);
    }
    dense_forward(a->fc1, a->pool2, w[FC1_WEIGHT], w[FC1_BIAS], count, POOL2_SIZE, UNITS);
    relu_forward(a->fc1, count * UNITS);
    dense_forward(a->scores, a->fc1, w[FC2_WEIGHT], w[FC2_BIAS], count, UNITS, CLASSES);
}

void network_forward(struct activations *a, const struct values *weights, int count)
{
    forward(a, weights, count, true);
}

void network_classify(struct activations *a, const struct values *weights, int count)
{
    forward(a, weights, count, false);
}

double network_backward(struct values *gradient, struct activations *a,
                        const struct values *weights, const uint8_t *labels, int count,
                        float scale)
{
    float *const *w = weights->of;
    float *const *g = gradient->of;
    double loss = softmax_cross_entropy(a->scores, labels, count, CLASSES, scale);
    float *pool1_gradient = a->map; /* the forward pass is done with it */

    dense_backward(a->fc1_gradient, g[FC2_WEIGHT], g[FC2_BIAS], a->scores, a->fc1,
                   w[FC2_WEIGHT], count, UNITS, CLASSES);
    relu_backward(a->fc1_gradient, a->fc1, count * UNITS);
    dense_backward(a->pool2_gradient, g[FC1_WEIGHT], g[FC1_BIAS], a->fc1_gradient,
                   a->pool2, w[FC1_WEIGHT], count, POOL2_SIZE, UNITS);
    for (int n = 0; n < count; n++) {
        pool_relu_backward(a->map_gradient, a->pool2_gradient + n * POOL2_SIZE,
                           a->winner2 + n * POOL2_SIZE, FILTERS2, MAP2_SIDE);
        conv_backward(pool1_gradient, g[CONV2_WEIGHT], g[CONV2_BIAS], a->map_gradient,
                      a->pool1 + n * POOL1_SIZE, w[CONV2_WEIGHT], &conv2, a->columns);
        pool_relu_backward(a->map_gradient, pool1_gradient, a->winner1 + n * POOL1_SIZE,
                           FILTERS1, MAP1_SIDE);
        conv_backward(NULL, g[CONV1_WEIGHT], g[CONV1_BIAS], a->map_gradient,
                      a->images + n * IMAGE_SIZE, w[CONV1_WEIGHT], &conv1, a->columns);
    }
    return loss;
}

int network_class(const float *scores)
{
    int best = 0;

    for (int c = 1; c < CLASSES; c++)
        best = scores[c] > scores[best] ? c : best;
    return best;
}
