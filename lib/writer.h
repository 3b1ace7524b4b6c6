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

msw_status msw__bytes_alloc(msw__bytes *out, msw_context *ctx, size_t size) MSW_NODISCARD;
void msw__bytes_free(msw_context *ctx, msw__bytes *b);

/* A tensor as it will lie in the file. */
typedef struct msw__item {
    uint32_t section;        /* type of that of its payload */
    msw__bytes record;       /* of the index; the name at its end */
    msw__bytes permutations; /* of rows, then of columns */
    msw__bytes merge_map;    /* with its level in front; empty: no merged blocks */
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

/* What storing changed: msw_store_info, and the sums that become its relative error. */
typedef struct msw__loss {
    msw_store_info info;
    double error, norm; /* squared */
} msw__loss;

/* A value that stands for @p weight weights, and what is stored for it. */
void msw__loss_add(msw__loss *l, float value, float stored, double weight);
void msw__loss_finish(msw_store_info *out, const msw__loss *l, uint64_t values,
                      uint64_t bytes);

/* writer_encode.c: the bytes of an item, and what storing changed. MSW_E_RANGE,
 * MSW_E_NUMERIC: a value that cannot be stored so. */
msw_status msw__encode_permutations(msw__item *item, msw_context *ctx,
                                    const msw_plan *p) MSW_NODISCARD;
/* The merge map; in the transport form its level alone. */
msw_status msw__encode_merge_map(msw__item *item, msw_context *ctx, const msw_unified *u,
                                 bool transport) MSW_NODISCARD;
msw_status msw__encode_unified(msw__item *item, msw_context *ctx, const msw_unified *u,
                               const msw_store_options *o,
                               const msw__class_code *code) MSW_NODISCARD;
msw_status msw__encode_tensor(msw__item *item, msw_context *ctx, const msw_tensor *t,
                              uint32_t dtype) MSW_NODISCARD;

/* writer.c: the options, checked; those of NULL. */
msw_status msw__writer_take_options(msw_writer *w, msw_store_options *o,
                                    const msw_store_options *options) MSW_NODISCARD;
/* Forget what was added last. */
void msw__writer_truncate(msw_writer *w, size_t tensors, size_t keys);

/* writer_packed.c: the packed form, its layouts, and the loss, which is none.
 * MSW_E_UNSUPPORTED: there is none of such weights, or for such a machine. */
msw_status msw__encode_packed(msw__item *item, msw__record *record, msw_context *ctx,
                              const msw_unified *u, const msw_store_options *o,
                              const msw__class_code *code) MSW_NODISCARD;

/* msw_writer_save() on another operating system. */
msw_status msw__writer_save(msw_writer *w, const char *path,
                            const msw__os *os) MSW_NODISCARD;

#endif /* MSW_LIB_WRITER_H */
