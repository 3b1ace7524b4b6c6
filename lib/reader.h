/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MSW_LIB_READER_H
#define MSW_LIB_READER_H

#include "buffer.h"
#include "file_format.h"
#include "names.h"
#include "source.h"

/* A range of the file. */
typedef struct msw__span {
    uint64_t offset, length;
} msw__span;

/* A tensor. Everything is checked but the contents of its two spans. */
typedef struct msw__entry {
    msw__record record;
    msw__span payload, permutations, merge_map;
} msw__entry;

typedef struct msw__value {
    const uint8_t *data;
    size_t size;
} msw__value;

/* A stream that is kept in memory: index and metadata. */
typedef struct msw__kept {
    const uint8_t *data;
    uint8_t *owned; /* data, when it is a copy */
    size_t size;
} msw__kept;

struct msw_reader {
    msw_context *ctx;
    msw__source source;
    msw__buffer *buffer; /* the source's memory; or NULL */
    bool trusted; /* payloads are not checksummed */

    msw__section *sections;
    uint8_t *checked; /* per section: its checksum was found right */
    size_t section_count;
    msw__span streams[MSW__SECTION_LAST + 1]; /* by type */

    msw__kept index, metadata;
    msw__names names, keys;
    msw__entry *entries; /* entry_count, as names */
    msw__value *values;  /* value_count, as keys */
    size_t entry_count, value_count;
    char error[256];
};

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
msw_status msw__reader_fail(msw_reader *r, msw_status status, const char *format, ...);
/* A read that stays within the file; @p what for the error's text. */
msw_status msw__reader_read(msw_reader *r, uint64_t offset, void *data, size_t size,
                            const char *what) MSW_NODISCARD;
/* Check the sections that a span touches, each once. */
msw_status msw__reader_check(msw_reader *r, msw__span span,
                             const char *what) MSW_NODISCARD;

/* reader_job.c: the entry being loaded, and what the error's text calls it. */
typedef struct msw__job {
    msw_reader *reader;
    const msw__entry *entry;
    char what[128];
    uint64_t offset; /* of the next byte of the payload */
} msw__job;

/* Set the error's text; returns status. */
msw_status msw__job_fail(msw__job *j, msw_status status, const char *reason);
/* The same for memory that ran out, mostly; MSW_OK passes. */
msw_status msw__job_pass(msw__job *j, msw_status status);
/* Find @p name and check its checksums. */
msw_status msw__job_begin(msw__job *j, msw_reader *r, const char *name,
                          uint32_t kind) MSW_NODISCARD;
msw_status msw__job_plan(msw_plan **out, msw__job *j) MSW_NODISCARD;
/* reader_load.c: the weights of a job that has begun. */
msw_status msw__job_unified(msw_unified **out, msw__job *j, msw_plan *plan) MSW_NODISCARD;

/* reader_gemm.c: the packed form. */
msw_status msw__job_unpack(msw_unified **out, msw__job *j, msw_plan *plan) MSW_NODISCARD;

/* reader_table.c and reader_index.c: everything that opening checks. */
msw_status msw__reader_load_table(msw_reader *r) MSW_NODISCARD;
msw_status msw__reader_load_index(msw_reader *r) MSW_NODISCARD;
msw_status msw__reader_load_metadata(msw_reader *r) MSW_NODISCARD;
/* A record's partition, without its permutations. */
msw_plan_options msw__record_plan(const msw__record *c);

#endif /* MSW_LIB_READER_H */
