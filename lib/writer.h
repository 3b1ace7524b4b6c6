/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MSW_LIB_WRITER_H
#define MSW_LIB_WRITER_H

#include "file_format.h"
#include "names.h"
#include "os.h"

typedef struct msw__bytes {
    uint8_t *data;
    size_t size;
} msw__bytes;

/* A tensor as it will lie in the file. */
typedef struct msw__item {
    uint32_t kind;
    msw__bytes record;       /* of the index; the name at its end */
    msw__bytes permutations; /* of rows, then of columns */
    msw__bytes payload;
    msw_store_info info;
} msw__item;

struct msw_writer {
    msw_context *ctx;
    msw__names names, keys;
    msw__item *items;     /* names.count of them */
    size_t item_capacity;
    msw__bytes *metadata; /* records, keys.count of them */
    size_t metadata_capacity;
    char error[256];
};

/* Set the error's text; returns status. */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
msw_status msw__writer_fail(msw_writer *w, msw_status status, const char *format, ...);

/* msw_writer_save() on another operating system. */
msw_status msw__writer_save(msw_writer *w, const char *path, const msw__os *os) MSW_NODISCARD;

#endif /* MSW_LIB_WRITER_H */
