/* SPDX-License-Identifier: BSD-2-Clause */
/* An RGB picture, and its PNG. */
#ifndef MSW_TOOLS_PICTURE_H
#define MSW_TOOLS_PICTURE_H

#include "output.h"

struct picture {
    uint32_t width, height;
    uint8_t *pixels; /* 3 bytes each */
};

int picture_new(struct picture *out, size_t width, size_t height, struct problem *p);
void picture_fill(struct picture *picture, size_t x, size_t y, size_t width, size_t height,
                  const uint8_t colour[3]);
int picture_write(const struct picture *picture, struct output *o, struct problem *p);
void picture_free(struct picture *picture);

#endif /* MSW_TOOLS_PICTURE_H */
