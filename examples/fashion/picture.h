/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FASHION_PICTURE_H
#define FASHION_PICTURE_H

#include "network.h"

/*
 * A PNG of weights, left before and right after: above the filters of the first layer,
 * below the matrix of the first fully connected one. Blue is negative, white zero, red
 * positive. On failure says why on stderr and returns false.
 */
bool picture_save(const char *path, const struct values *before,
                  const struct values *after);

#endif
