/* SPDX-License-Identifier: BSD-2-Clause */
/* Fashion-MNIST: 28x28 grey images of ten kinds of clothing, in IDX files. */
#ifndef FASHION_DATA_H
#define FASHION_DATA_H

#include <stdbool.h>
#include <stdint.h>

enum { IMAGE_SIDE = 28, IMAGE_SIZE = IMAGE_SIDE * IMAGE_SIDE, CLASSES = 10 };

/* Where Debian's package dataset-fashion-mnist puts the files. */
#define DATA_FOLDER "/usr/share/datasets/fashion-mnist"

struct dataset {
    uint32_t count;
    uint8_t *images; /* count x IMAGE_SIZE */
    uint8_t *labels; /* count, each below CLASSES */
};

/*
 * Read <folder>/<part>-images-idx3-ubyte.gz and its labels; part is "train" or
 * "t10k". On failure says on stderr which file is wrong and why, and returns
 * false; the set is then empty.
 */
bool dataset_load(struct dataset *set, const char *folder, const char *part);
void dataset_free(struct dataset *set);

/*
 * What to train with and what to measure with. Normally all 60,000 training images and
 * the 10,000 test images; for tuning the first 55,000 training images and the other
 * 5,000, so that no choice is ever made by looking at the test images.
 */
struct split {
    struct dataset training, evaluation;
    struct dataset whole; /* the file that `training` is a part of */
    bool tuning;
};

bool split_load(struct split *split, const char *folder, bool tuning);
void split_free(struct split *split);

/* One image as the network takes it: zero mean, unit variance over the training set. */
void image_normalise(float *out, const uint8_t *image);

/* The same, shifted by (dx, dy) pixels and perhaps mirrored, padded with black. */
void image_augment(float *out, const uint8_t *image, int dx, int dy, bool mirror);

#endif
