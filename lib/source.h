/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a reader's bytes come from: a file, memory, or the host's storage. */
#ifndef MSW_LIB_SOURCE_H
#define MSW_LIB_SOURCE_H

#include "internal.h"

typedef struct msw__source {
    uint64_t length;
    const uint8_t *memory; /* all of it, NULL: not in memory */
    msw_io io;             /* read_at is NULL for a file */
    int file;              /* -1: none */
} msw__source;

/* Exactly size bytes into data; offset + size must not exceed length. On failure
 * @p reason tells why: MSW_E_IO, or MSW_E_HOST for a callback that broke its promise. */
msw_status msw__source_read(const msw__source *s, uint64_t offset, void *data, size_t size,
                            char *reason, size_t reason_size) MSW_NODISCARD;
void msw__source_close(msw__source *s);

#endif /* MSW_LIB_SOURCE_H */
