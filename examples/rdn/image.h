/* SPDX-License-Identifier: BSD-2-Clause */
/* RGB images, [row][column][channel], 0 to 255. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>

struct image {
    size_t height, width;
    float *pixels;
};

/* PNG, or JPEG where the name ends so. false: said why on stderr. */
bool image_load(struct image *image, const char *path);
/* As PNG, rounded and limited to 8 bits. */
bool image_save(const struct image *image, const char *path);
void image_free(struct image *image);

struct image image_new(size_t height, size_t width);
/* All of `from` that fits, with its first pixel at that place of `to`. */
void image_paste(struct image *to, size_t row, size_t column, const struct image *from);
struct image image_crop(const struct image *from, size_t row, size_t column, size_t height,
                        size_t width);
/* Bicubic (Catmull-Rom), widened where it shrinks. */
struct image image_resize(const struct image *from, size_t height, size_t width);

/* Peak 255, over all channels, of what would be shown: limited to 0 and 255. The edge
 * pixels are left out. */
double image_psnr(const struct image *a, const struct image *b, size_t edge);

#endif /* IMAGE_H */
