/* SPDX-License-Identifier: BSD-2-Clause */
/* The container's bytes (doc/format.md), as both writer and reader see them. */
#ifndef MSW_LIB_FILE_FORMAT_H
#define MSW_LIB_FILE_FORMAT_H

#include "internal.h"

#define MSW__FILE_MAGIC "\x89MSW\r\n\x1a\n"
#define MSW__FILE_VERSION 1u

enum {
    MSW__HEADER_BYTES = 64,
    MSW__SECTION_BYTES = 40,         /* of an entry of the section table */
    MSW__FILE_ALIGN = 64,
    MSW__MAX_SECTIONS = 1 << 20,
    MSW__MAX_SECTION = 64 << 20,     /* bytes: a CRC-32C still finds all 3-bit errors */
    MSW__TENSOR_RECORD_BYTES = 8,    /* fixed part, without shape and name */
    MSW__UNIFIED_RECORD_BYTES = 24,
    MSW__TRANSPORT_RECORD_BYTES = 8, /* more, in the transport form */
    MSW__PAYLOAD_RECORD_BYTES = 8,   /* more for plain tensors in it */
    MSW__PACKED_RECORD_BYTES = 8,    /* more, in the packed form */
    MSW__METADATA_RECORD_BYTES = 10, /* without key and value */
    MSW__COUNT_BYTES = 4             /* before the records */
};

/* The contents of all sections of a type, one behind the other, are its stream. */
typedef enum msw__section_type {
    MSW__SECTION_INDEX = 1,
    MSW__SECTION_METADATA = 2,
    MSW__SECTION_PERMUTATION = 3,
    MSW__SECTION_UNIFIED = 4,
    MSW__SECTION_TENSOR = 5,
    MSW__SECTION_MERGE_MAP = 6,
    MSW__SECTION_PACKED = 7,
    MSW__SECTION_TRANSPORT = 8,
    MSW__SECTION_CHECKPOINT = 9,
    MSW__SECTION_WISDOM = 10,
    MSW__SECTION_LEVELS = 11
} msw__section_type;

/* The last type that this version writes, and those it knows. */
enum { MSW__SECTION_LAST = MSW__SECTION_TRANSPORT };

static inline bool msw__section_known(uint32_t type)
{
    return type >= MSW__SECTION_INDEX && type <= MSW__SECTION_LAST;
}

enum { MSW__SECTION_CRITICAL = 1 }; /* flag: who does not know the type must refuse */

typedef struct msw__section {
    uint64_t offset, length, expanded;
    uint32_t type, flags, crc, reserved;
} msw__section;

typedef struct msw__header {
    uint64_t file_length;
    uint32_t version, flags, header_length, section_count, table_crc;
} msw__header;

uint32_t msw__section_flags(uint32_t type); /* of a type that is written */

void msw__header_encode(uint8_t *out, const msw__header *h);
/* MSW_E_FORMAT: not such a file, or what must be zero is not. MSW_E_CORRUPT: its
 * checksum does not fit. */
msw_status msw__header_decode(msw__header *out, const uint8_t *bytes) MSW_NODISCARD;
void msw__section_encode(uint8_t *out, const msw__section *s);
void msw__section_decode(msw__section *out, const uint8_t *bytes);

static inline uint64_t msw__file_aligned(uint64_t offset)
{
    return (offset + MSW__FILE_ALIGN - 1) & ~(uint64_t)(MSW__FILE_ALIGN - 1);
}

/* Records of the index */

enum {
    MSW__RECORD_ROWS_PERMUTED = 1,
    MSW__RECORD_COLUMNS_PERMUTED = 2,
    MSW__RECORD_PERMUTED = 3, /* both bits */
    MSW__RECORD_TRANSPORT = 4,
    MSW__RECORD_PACKED = 8,
    MSW__RECORD_LEVELS_SHIFT = 4, /* three bits: the highest level of merged blocks */
    MSW__RECORD_LEVELS = 7 << MSW__RECORD_LEVELS_SHIFT
};

enum { MSW__LAYOUTS = 2 }; /* of packings: wide, narrow */

typedef struct msw__record {
    uint64_t shape[MSW_MAX_RANK];
    uint64_t payload;         /* bytes in the stream of its kind; not set for a plain
                                 tensor that is not in the transport form */
    uint32_t kind, rank, magnitudes, free_weights, name_length, flags;
    uint32_t magnitude_parameter, free_parameter; /* of the dtypes, see quantiser.h */
    uint32_t layouts[MSW__LAYOUTS]; /* of the packed form; 0: no such packing */
    uint32_t classes;         /* the rest of unified weights only */
    uint32_t weights, reduction, block_rows, block_columns, groups;
} msw__record;

static inline unsigned msw__record_levels(const msw__record *r)
{
    return r->flags >> MSW__RECORD_LEVELS_SHIFT & 7;
}

/* With its name and the zero behind it: depends on kind, rank, flags, name_length. */
size_t msw__record_bytes(const msw__record *r);
void msw__record_encode(uint8_t *out, const msw__record *r, const char *name);
/* *name then points into bytes. False when size is too small or kind or rank wrong;
 * the values are otherwise not checked. */
bool msw__record_decode(msw__record *out, const char **name, const uint8_t *bytes,
                        size_t size);

static inline size_t msw__dtype_bytes(uint32_t dtype)
{
    return dtype == MSW_DTYPE_F16 ? 2 : 4;
}

/* Bytes per entry of a permutation of count indices: 1, 2 or 4. */
static inline size_t msw__index_bytes(size_t count)
{
    return count <= 1u << 8 ? 1 : count <= 1u << 16 ? 2 : 4;
}

/* A layout: version, columns of a panel, rows of a strip (of the narrow packing: lanes). */
static inline uint32_t msw__layout(uint32_t version, uint32_t width, uint32_t rows)
{
    return version | width << 16 | rows << 24;
}

static inline uint32_t msw__layout_version(uint32_t layout) { return layout & 0xffff; }
static inline uint32_t msw__layout_width(uint32_t layout) { return layout >> 16 & 0xff; }
static inline uint32_t msw__layout_rows(uint32_t layout) { return layout >> 24; }

/* Class map: the classes that occur are the digits, 0 the least, of numbers to base 2
 * or 3 with 8 or 5 digits per byte, the first digit the least significant. */

enum { MSW__MAX_CLASSES = 3 };

typedef struct msw__class_code {
    uint8_t class_of[MSW__MAX_CLASSES]; /* of each digit */
    uint8_t count;                      /* classes that occur */
    uint8_t base, digits;               /* digits per byte */
} msw__class_code;

/* @p set has bit c for each class c that occurs. False: no such set. */
bool msw__class_code_from(msw__class_code *out, uint32_t set);

static inline size_t msw__class_map_bytes(const msw__class_code *code, size_t blocks)
{
    return blocks / code->digits + (blocks % code->digits != 0);
}

void msw__class_map_encode(uint8_t *out, const uint8_t *classes, size_t blocks,
                           const msw__class_code *code);
/* From @p bytes to @p out, which may hold them at its end. False: a digit that is no
 * class, one behind the last block, or a class of the set that does not occur. */
bool msw__class_map_decode(uint8_t *out, const uint8_t *bytes, size_t blocks,
                           const msw__class_code *code);

#endif /* MSW_LIB_FILE_FORMAT_H */
