/* SPDX-License-Identifier: BSD-2-Clause */
/* Containers taken apart and put together by hand, for tests that break them. */
#ifndef MSW_TESTS_CONTAINER_H
#define MSW_TESTS_CONTAINER_H

#include <stddef.h>
#include <stdint.h>

enum { CONTAINER_HEADER = 64, CONTAINER_ENTRY = 40, CONTAINER_MOST = 16 };

typedef struct container_section {
    uint32_t type, flags;
    uint8_t *data; /* into the container it came from */
    size_t size;
} container_section;

/* The sections of a well-formed container, at most CONTAINER_MOST; returns how many. */
size_t container_sections(container_section *out, uint8_t *data, size_t size);
/* The one of a type. */
container_section container_find(uint8_t *data, size_t size, uint32_t type);

/* Put sections together, with everything the format asks for. Returns the size; the
 * result is from malloc(), NULL when there is no memory. */
uint8_t *container_build(size_t *size, const container_section *sections, size_t count);

/* Bring offsets, padding and lengths in order, so that the sections fill size. */
void container_relayout(uint8_t *data, size_t size);
/* Make the checksums fit again, whatever else is wrong: never reads beyond size. */
void container_repair(uint8_t *data, size_t size);

#endif /* MSW_TESTS_CONTAINER_H */
