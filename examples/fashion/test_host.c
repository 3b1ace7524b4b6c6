/* SPDX-License-Identifier: BSD-2-Clause */
/* The training code by itself: its gradient is right, damaged data files are refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data.h"
#include "network.h"
#include "random.h"
#include "threads.h"

enum { IMAGES = 8 };

static int failures;

static void check(bool good, const char *what)
{
    printf("%s: %s\n", good ? "ok" : "FAILED", what);
    failures += !good;
}

static double loss_at(struct activations *a, struct values *gradient,
                      const struct values *weights, const uint8_t *labels)
{
    network_forward(a, weights, IMAGES);
    return network_backward(gradient, a, weights, labels, IMAGES, 1.0f);
}

/* Along the gradient of one parameter the loss must rise by the gradient's length. */
static bool slope_is_right(struct activations *a, struct values *scratch,
                           struct values *weights, const struct values *gradient,
                           const uint8_t *labels, int parameter)
{
    const float *g = gradient->of[parameter];
    float *w = weights->of[parameter];
    size_t count = network_parameters[parameter].count;
    double length = 0.0, loss[2], slope;
    float step;

    for (size_t i = 0; i < count; i++)
        length += (double)g[i] * (double)g[i];
    length = sqrt(length);
    step = (float)(2e-3 / length);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++)
            w[i] += step * g[i];
        loss[side] = loss_at(a, scratch, weights, labels);
        step = -step;
        for (size_t i = 0; i < count; i++)
            w[i] += step * g[i];
    }
    slope = (loss[0] - loss[1]) / 4e-3;
    printf("%-12s length of the gradient %.4f, slope %.4f\n",
           network_parameters[parameter].name, length, slope);
    return fabs(slope - length) < 0.02 * length;
}

static void test_gradient(void)
{
    struct activations a;
    struct values weights, gradient, scratch;
    uint8_t labels[IMAGES];
    struct rng rng = rng_make(5, 0);

    if (!activations_new(&a, IMAGES) || !values_new(&weights) || !values_new(&gradient) ||
        !values_new(&scratch)) {
        check(false, "memory");
        return;
    }
    network_initialise(&weights, 5);
    for (int i = 0; i < IMAGES * IMAGE_SIZE; i++)
        a.images[i] = rng_symmetric(&rng);
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (uint8_t)rng_below(&rng, CLASSES);
    loss_at(&a, &gradient, &weights, labels);
    for (int i = 0; i < PARAMETERS; i++)
        check(slope_is_right(&a, &scratch, &weights, &gradient, labels, i),
              network_parameters[i].name);
    values_free(&weights);
    values_free(&gradient);
    values_free(&scratch);
    activations_free(&a);
}

/* A data set of three images in the working directory, whose parts can be spoilt. */
struct fake {
    uint32_t magic, images, side, labels;
    uint8_t label;
    size_t cut, extra; /* bytes taken from, or added to, the end of the images */
    size_t cut_file;   /* bytes taken from the end of the compressed file */
    bool flip;         /* one bit of the compressed file */
};

static size_t put(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    return 4;
}

static void write_gz(const char *path, const uint8_t *bytes, size_t size)
{
    gzFile file = gzopen(path, "wb");

    if (file == NULL || gzwrite(file, bytes, (unsigned)size) != (int)size ||
        gzclose(file) != Z_OK)
        check(false, path);
}

static void spoil(const char *path, size_t cut, bool flip)
{
    static uint8_t bytes[8192];
    FILE *file = fopen(path, "rb");
    size_t size = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;

    if (file == NULL || fclose(file) != 0 || size <= cut + 8)
        check(false, path);
    if (flip)
        bytes[size - 6] ^= 1; /* in the checksum */
    file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size - cut, file) != size - cut ||
        fclose(file) != 0)
        check(false, path);
}

static bool loads(const struct fake *fake)
{
    static uint8_t bytes[16 + 4 * IMAGE_SIZE];
    const char *images = "fake-images-idx3-ubyte.gz";
    const char *labels = "fake-labels-idx1-ubyte.gz";
    struct dataset set;
    size_t size = 0;
    bool good;

    size += put(bytes + size, fake->magic);
    size += put(bytes + size, fake->images);
    size += put(bytes + size, fake->side);
    size += put(bytes + size, fake->side);
    write_gz(images, bytes, size + 3 * IMAGE_SIZE - fake->cut + fake->extra);
    spoil(images, fake->cut_file, fake->flip);
    size = put(bytes, 0x801);
    size += put(bytes + size, fake->labels);
    memset(bytes + size, fake->label, 3);
    write_gz(labels, bytes, size + 3);
    good = dataset_load(&set, ".", "fake");
    if (good)
        dataset_free(&set);
    remove(images);
    remove(labels);
    return good;
}

static void test_data(void)
{
    const struct fake whole = {
        .magic = 0x803, .images = 3, .side = IMAGE_SIDE, .labels = 3};
    struct fake fake = whole;
    struct dataset set;

    check(loads(&fake), "a good data set");
    check(!dataset_load(&set, "no-such-folder", "train"), "no files");
    fake = whole, fake.magic = 0x802;
    check(!loads(&fake), "wrong type");
    fake = whole, fake.images = 0xffffffff;
    check(!loads(&fake), "too many images");
    fake = whole, fake.side = 29;
    check(!loads(&fake), "images of another size");
    fake = whole, fake.labels = 2;
    check(!loads(&fake), "not as many labels as images");
    fake = whole, fake.label = 10;
    check(!loads(&fake), "a label out of range");
    fake = whole, fake.cut = 1;
    check(!loads(&fake), "one byte missing");
    fake = whole, fake.extra = 1;
    check(!loads(&fake), "one byte too many");
    fake = whole, fake.cut_file = 9;
    check(!loads(&fake), "a truncated file");
    fake = whole, fake.flip = true;
    check(!loads(&fake), "a wrong checksum");
}

int main(void)
{
    blas_use_one_thread();
    test_gradient();
    test_data();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
