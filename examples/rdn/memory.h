/* SPDX-License-Identifier: BSD-2-Clause */
/* Zeroed memory, or the end of the program. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdio.h>
#include <stdlib.h>

static inline void *allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (p == NULL) {
        fputs("not enough memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return p;
}

static inline float *allocate_floats(size_t count)
{
    return allocate(count, sizeof(float));
}

#endif /* MEMORY_H */
