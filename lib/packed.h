/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form of unified weights (doc/format.md 12): packings (gemm.h) as they lie in
 * a file, ready to run there. */
#ifndef MSW_LIB_PACKED_H
#define MSW_LIB_PACKED_H

#include "file_format.h"
#include "gemm.h"

/* Packings as file_format.h counts them. */
_Static_assert((int)MSW__LAYOUTS == (int)MSW__GEMM_BLAS, "a layout for each packing");

typedef struct msw__packed {
    msw__packing *packs;              /* MSW__LAYOUTS of each group, borrowed; without
                                         chunks: not there */
    msw_plan *group;                  /* the first group's rows; all have such packings */
    size_t groups;
    msw__class_code code;
    const uint8_t *classes;           /* class map; behind it the bits of unified blocks
                                         whose magnitude is 0, and zeros */
    size_t rest_bytes;                /* of all that */
    size_t size;                      /* of the payload */
} msw__packed;

/* The layout of a packing made for these traits; 0: there is no packing. */
uint32_t msw__packed_layout(msw__gemm_kind kind, const msw__packing *w);
/* What a kernel of these traits wants for such a plan. */
uint32_t msw__packed_wanted(msw__gemm_kind kind, const msw_plan *plan,
                            const msw__gemm_traits *traits);
/* Is it a layout that this version of the library knows? */
bool msw__packed_known(msw__gemm_kind kind, uint32_t layout);
/* Numbers lie as this machine has them in memory. */
bool msw__packed_native(void);

/* The payload of u with these packings of it, MSW__LAYOUTS of each group; a multiple of 64
 * bytes. */
size_t msw__packed_bytes(const msw__packing *packs, const msw_unified *u,
                         const msw__class_code *code);
void msw__packed_encode(uint8_t *out, const msw__packing *packs, const msw_unified *u,
                        const msw__class_code *code);

/* Find the parts of a payload, which is aligned to 64 bytes; the packings have the layouts
 * of the record, and those of unknown ones are passed over. *reason: NULL, or what is
 * wrong. */
msw_status msw__packed_locate(const char **reason, msw__packed *out, const uint8_t *data,
                              size_t size, const msw__record *record,
                              msw_plan *plan) MSW_NODISCARD;
void msw__packed_close(msw__packed *p);

/* Check everything that a kernel relies on, and fill in what the cost model and the
 * workspace need. O(records), but for @p values, with which every float is looked at as
 * well. *reason: NULL, or what is wrong. */
msw_status msw__packed_check(const char **reason, msw__packed *p, bool values) MSW_NODISCARD;
/* Back to weights, exactly; checks everything. */
msw_status msw__packed_unpack(const char **reason, msw_unified **out, msw__packed *p,
                              msw_plan *plan) MSW_NODISCARD;

/* For unpack.c, check_wide.c and check_narrow.c */

/* Where weights go; unpack.c. */
typedef struct msw__unpacker msw__unpacker;
/* Check as above with values, and hand over the weights of the first packing. */
msw_status msw__packed_walk_all(const char **reason, msw__packed *p,
                                msw__unpacker *unpacker) MSW_NODISCARD;
/* What comes next are the weights of the group that begins at this row of the view. */
void msw__unpack_group(msw__unpacker *k, size_t first_row);
/* The weight at a row of the group and a column of the view has these bits. @p lookup: it
 * is of a unified block. False: that cannot be. */
bool msw__unpack_weight(msw__unpacker *k, size_t group_row, size_t column, uint32_t bits,
                        bool lookup);

typedef struct msw__packed_walk {
    const msw_plan *plan;        /* of the group */
    const uint32_t *view_column; /* of each reduction element; NULL: the same */
    uint8_t *strips;             /* scratch: one per strip of the wide packing */
    bool values;                 /* look at floats, too */
    msw__unpacker *unpacker;     /* NULL: only check */
} msw__packed_walk;

/* Strips of a packing of this layout. */
size_t msw__wide_strips(const msw_plan *plan, uint32_t strip_rows);
/* Fill in the geometry, from width and, for wide ones, strip_rows. */
void msw__wide_geometry(msw__packing *w, const msw_plan *plan);
void msw__narrow_geometry(msw__packing *w, const msw_plan *plan);
/* The arrays of a packing whose counts and geometry are set. NULL, or what is wrong. */
const char *msw__wide_check(msw__packing *w, const msw__packed_walk *walk);
const char *msw__narrow_check(msw__packing *w, const msw__packed_walk *walk);

/* Parts of both */

static inline bool msw__finite_bits(uint32_t bits)
{
    return (bits & 0x7f800000u) != 0x7f800000u;
}

/* Columns of the panel buffer from @p from on are `count` columns of the view that begin
 * at @p column, and nothing up to @p all. */
bool msw__columns_are(const msw__packed_walk *k, const uint32_t *from, size_t column,
                      size_t count, size_t all);
/* The column of the view that the first one is; SIZE_MAX: none. */
size_t msw__view_column(const msw__packed_walk *k, const uint32_t *from);
/* What has been seen of a strip in its chunk: it begins once, and ends once. */
enum { MSW__STRIP_NEW, MSW__STRIP_BEGUN, MSW__STRIP_DONE };
bool msw__strip_step(uint8_t *state, uint32_t head);

#endif /* MSW_LIB_PACKED_H */
