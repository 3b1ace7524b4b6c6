/* SPDX-License-Identifier: BSD-2-Clause */
#include "picture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MARGIN = 16,
    PIXEL = 12, /* side of one weight of a filter */
    CELL = KERNEL * PIXEL + 6,
    FILTER_COLUMNS = 10,
    FILTERS_HEIGHT = CELL * FILTERS1 / FILTER_COLUMNS,
    SIDE_WIDTH = POOL2_SIZE, /* one pixel for each weight of the matrix */
    WIDTH = MARGIN + SIDE_WIDTH + MARGIN + SIDE_WIDTH + MARGIN,
    HEIGHT = MARGIN + FILTERS_HEIGHT + MARGIN + UNITS + MARGIN,
    LINE = 1 + 3 * WIDTH /* PNG: a filter byte, then RGB */
};

static void set_pixel(uint8_t *image, int x, int y, float value)
{
    uint8_t *rgb = image + (size_t)y * LINE + 1 + 3 * (size_t)x;
    float strength = fabsf(value) < 1.0f ? fabsf(value) : 1.0f;
    uint8_t faded = (uint8_t)(255.0f * (1.0f - strength));

    rgb[0] = value < 0.0f ? faded : 255;
    rgb[1] = faded;
    rgb[2] = value > 0.0f ? faded : 255;
}

/* Factor that brings most weights into -1..1: three times their root mean square. */
static float scale_of(const float *weights, size_t count)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; i++)
        sum += (double)weights[i] * (double)weights[i];
    return sum > 0.0 ? (float)(1.0 / (3.0 * sqrt(sum / (double)count))) : 0.0f;
}

static void draw_filters(uint8_t *image, int left, int top, const float *weights)
{
    float scale = scale_of(weights, (size_t)FILTERS1 * KERNEL * KERNEL);
    int side = KERNEL * PIXEL;

    for (int f = 0; f < FILTERS1; f++)
        for (int i = 0; i < side * side; i++) {
            int x = i % side, y = i / side;
            float w = weights[(f * KERNEL + y / PIXEL) * KERNEL + x / PIXEL];

            set_pixel(image, left + f % FILTER_COLUMNS * CELL + x,
                      top + f / FILTER_COLUMNS * CELL + y, scale * w);
        }
}

static void draw_matrix(uint8_t *image, int left, int top, const float *weights)
{
    float scale = scale_of(weights, (size_t)UNITS * POOL2_SIZE);

    for (int y = 0; y < UNITS; y++)
        for (int x = 0; x < POOL2_SIZE; x++)
            set_pixel(image, left + x, top + y, scale * weights[y * POOL2_SIZE + x]);
}

static void draw_side(uint8_t *image, int left, const struct values *weights)
{
    draw_filters(image, left, MARGIN, weights->of[CONV1_WEIGHT]);
    draw_matrix(image, left, MARGIN + FILTERS_HEIGHT + MARGIN, weights->of[FC1_WEIGHT]);
}

static void put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A PNG chunk: length, type, data, checksum over type and data. */
static bool write_chunk(FILE *file, const char *type, const uint8_t *data, uint32_t size)
{
    uint8_t head[8], tail[4];
    uLong crc = crc32(0, (const Bytef *)type, 4);

    put32(head, size);
    memcpy(head + 4, type, 4);
    /* A null pointer would start the checksum anew. */
    put32(tail, (uint32_t)(size > 0 ? crc32(crc, data, size) : crc));
    return fwrite(head, 1, 8, file) == 8 && fwrite(data, 1, size, file) == size &&
           fwrite(tail, 1, 4, file) == 4;
}

static bool write_png(FILE *file, const uint8_t *image)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t header[13] = {[8] = 8 /* bits */, [9] = 2 /* RGB */};
    uLongf size = compressBound((uLong)HEIGHT * LINE);
    uint8_t *packed = malloc(size);
    bool good = packed != NULL;

    put32(header, WIDTH);
    put32(header + 4, HEIGHT);
    good = good && compress2(packed, &size, image, (uLong)HEIGHT * LINE, 9) == Z_OK &&
           fwrite(signature, 1, sizeof signature, file) == sizeof signature &&
           write_chunk(file, "IHDR", header, sizeof header) &&
           write_chunk(file, "IDAT", packed, (uint32_t)size) &&
           write_chunk(file, "IEND", header, 0);
    free(packed);
    return good;
}

bool picture_save(const char *path, const struct values *before,
                  const struct values *after)
{
    uint8_t *image = malloc((size_t)HEIGHT * LINE);
    FILE *file = image != NULL ? fopen(path, "wb") : NULL;
    bool good = file != NULL;

    if (good) {
        memset(image, 255, (size_t)HEIGHT * LINE);
        for (int y = 0; y < HEIGHT; y++)
            image[(size_t)y * LINE] = 0; /* lines are stored as they are */
        draw_side(image, MARGIN, before);
        draw_side(image, MARGIN + SIDE_WIDTH + MARGIN, after);
        good = write_png(file, image);
        good = fclose(file) == 0 && good;
    }
    if (!good)
        fprintf(stderr, "%s: %s\n", path,
                errno != 0 ? strerror(errno) : "could not be written");
    free(image);
    return good;
}
