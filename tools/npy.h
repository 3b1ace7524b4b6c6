/* SPDX-License-Identifier: BSD-2-Clause */
/* NumPy's .npy: a header in Python's notation, and the elements. */
#ifndef MSW_TOOLS_NPY_H
#define MSW_TOOLS_NPY_H

#include "model.h"

/* Up to size bytes; fewer at the end; negative on error. */
typedef int64_t npy_source(void *out, size_t size, void *user);

/* The header: fills type, shape, order, count, bytes, and offset with its length. Gives
 * NULL, or what is wrong. */
const char *npy_read_header(struct item *item, npy_source *source, void *user);
/* Bytes as the file has them to little-endian ones in the order of the dimensions. */
int npy_arrange(uint8_t *bytes, const struct item *item, struct problem *p);

/* A header for an array of this type and shape. Gives its length; NULL out: only that.
 * 0: NumPy has no such type. */
enum { NPY_MOST_HEADER_OUT = 1024 };
size_t npy_header(char *out, const struct item *item);

#endif /* MSW_TOOLS_NPY_H */
