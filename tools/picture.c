/* SPDX-License-Identifier: BSD-2-Clause */
#include "picture.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3 };

int picture_new(struct picture *out, size_t width, size_t height, struct problem *p)
{
    out->pixels = allocate(width * CHANNELS, height, p);
    out->width = (uint32_t)width;
    out->height = (uint32_t)height;
    return p->code;
}

void picture_fill(struct picture *picture, size_t x, size_t y, size_t width, size_t height,
                  const uint8_t colour[3])
{
    for (size_t row = y; row < y + height; row++) {
        uint8_t *pixel = picture->pixels + (row * picture->width + x) * CHANNELS;

        for (size_t i = 0; i < width; i++, pixel += CHANNELS)
            memcpy(pixel, colour, CHANNELS);
    }
}

int picture_write(const struct picture *picture, struct output *o, struct problem *p)
{
    png_image image;

    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = picture->width;
    image.height = picture->height;
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST; /* no filters, useless to areas of one colour */
    if (!png_image_write_to_stdio(&image, o->file, 0, picture->pixels, 0, NULL))
        return problem_set(p, CODE_IO, "%s: %s", o->path, image.message);
    return p->code;
}

void picture_free(struct picture *picture)
{
    free(picture->pixels);
}
