/* SPDX-License-Identifier: BSD-2-Clause */
/* fake-data FOLDER: a small data set that is easy to learn, for testing the programs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "data.h"
#include "random.h"

static bool write_number(gzFile file, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 8), (uint8_t)value};

    return gzwrite(file, bytes, 4) == 4;
}

/* Noise, and a bright bar whose height tells the class. */
static bool write_image(gzFile file, struct rng *rng, uint32_t class)
{
    uint8_t image[IMAGE_SIZE];

    for (uint32_t i = 0; i < IMAGE_SIZE; i++)
        image[i] = (uint8_t)(rng_below(rng, 64) +
                             (i / IMAGE_SIDE / 2 == class + 2 ? 160 : 0));
    return gzwrite(file, image, IMAGE_SIZE) == IMAGE_SIZE;
}

static bool write_set(const char *folder, const char *part, uint32_t count)
{
    char path[4096];
    struct rng rng = rng_make(1, count);
    gzFile images, labels;
    bool good;

    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte.gz", folder, part);
    images = gzopen(path, "wb");
    snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte.gz", folder, part);
    labels = gzopen(path, "wb");
    good = images != NULL && labels != NULL && write_number(images, 0x803) &&
           write_number(images, count) && write_number(images, IMAGE_SIDE) &&
           write_number(images, IMAGE_SIDE) && write_number(labels, 0x801) &&
           write_number(labels, count);
    for (uint32_t i = 0; good && i < count; i++) {
        uint8_t class = (uint8_t)rng_below(&rng, CLASSES);

        good = write_image(images, &rng, class) && gzwrite(labels, &class, 1) == 1;
    }
    good = gzclose(images) == Z_OK && good;
    return gzclose(labels) == Z_OK && good;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: fake-data FOLDER\n", stderr);
        return 2;
    }
    if (write_set(argv[1], "train", 1280) && write_set(argv[1], "t10k", 200))
        return EXIT_SUCCESS;
    fprintf(stderr, "%s: could not write the files\n", argv[1]);
    return EXIT_FAILURE;
}
