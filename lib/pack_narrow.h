/* SPDX-License-Identifier: BSD-2-Clause */
/* What pack_narrow.c, which cuts and counts, and pack_narrow_records.c share. */
#ifndef MSW_LIB_PACK_NARROW_H
#define MSW_LIB_PACK_NARROW_H

#include "packing.h"

#define MSW__NEVER UINT32_MAX

/* 4 columns of W, fewer at an edge, for which one index stands. */
typedef struct msw__narrow_group {
    size_t column;  /* of the view */
    uint32_t count; /* 0 beyond the last */
} msw__narrow_group;

typedef struct msw__narrow_unit {
    msw__narrow_group groups[MSW__UNIT_GROUPS];
    bool table; /* enough strips look it up */
} msw__narrow_unit;

/* A block of the strip being written. */
typedef struct msw__narrow_block {
    uint8_t kind;
    float magnitude;
    size_t start; /* of its signs, or free weights */
} msw__narrow_block;

/* What a strip has to do in a stage. */
typedef struct msw__narrow_task {
    uint8_t kinds[MSW__UNITS]; /* of each unit */
    bool quad;                 /* look-ups of all units at once */
} msw__narrow_task;

typedef struct msw__narrow_packer {
    msw_context *ctx;
    const msw_unified *u;
    const msw_plan *plan;
    msw__packing *w;
    const msw__gemm_traits *traits;
    uint32_t parts;              /* strips per block row, where it has more than one */
    uint32_t block_groups;       /* groups per block column; 0: groups cross blocks */
    uint32_t strip_count, unit_count, most_strips; /* most_strips: of a chunk */
    uint8_t *kinds;              /* per block */
    msw__block_cursor *cursors;  /* per block row: at the first block of the stage */
    msw__narrow_task *tasks;     /* of the stage, per strip of the chunk */
    msw__narrow_unit units[MSW__UNITS]; /* of the stage */
    uint32_t unit_used;
    size_t first_block, stage_blocks; /* block columns of the stage */
    msw__narrow_block *blocks;   /* of the stage and strip: band by band */
    size_t block_capacity;       /* in each band */
    bool write;                  /* false: count only */
} msw__narrow_packer;

/* pack_narrow.c */

size_t msw__narrow_block_row(const msw__narrow_packer *k, uint32_t strip, uint32_t band);
size_t msw__narrow_strip_row(const msw__narrow_packer *k, uint32_t strip);
uint32_t msw__narrow_strip_rows(const msw__narrow_packer *k, uint32_t strip);

/* pack_narrow_records.c: the code of a stage, or its size only */
void msw__narrow_put_stage(msw__narrow_packer *k, const msw__chunk *chunk);

#endif /* MSW_LIB_PACK_NARROW_H */
