/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive blocks: nodes of a quadtree over the blocks of a plan. A node of level l is
 * 2^l by 2^l blocks, fewer at the edges; its first block lies at multiples of 2^l, counted
 * from the beginning of its group. Its blocks are all pruned, or unified with one
 * magnitude. A block of its own is a node of level 0. */
#ifndef MSW_LIB_MERGE_H
#define MSW_LIB_MERGE_H

#include "internal.h"
#include "project.h"

/* Some blocks of a block row and the rows below. */
typedef struct msw__node {
    size_t row, column;   /* of its first block */
    size_t rows, columns; /* in blocks */
} msw__node;

/* The node of a level that the block in block row i and block column j lies in. */
msw__node msw__node_at(const msw_plan *p, size_t i, size_t j, unsigned level);
/* The highest level up to @p most of a node that begins with this block: one that has more
 * blocks than a node of the level below. */
unsigned msw__node_levels(const msw_plan *p, size_t i, size_t j, unsigned most);

/* Whether levels, one per block, are those of nodes of one class each; free blocks are of
 * level 0. *most becomes the highest. */
bool msw__merge_valid(unsigned *most, const msw_plan *p, const uint8_t *classes,
                      const uint8_t *levels);
/* The first block of each unified one's node, both by the number of their magnitudes.
 * @p columns: memory for one entry per block column. */
void msw__merge_leaders(uint32_t *leaders, uint32_t *columns, const msw_plan *p,
                        const uint8_t *classes, const uint8_t *levels);

/* Whether block @p b begins a node; @p levels NULL: each does. */
static inline bool msw__node_begins(const msw_plan *p, const uint8_t *levels, size_t b)
{
    const size_t side = levels ? (size_t)1 << levels[b] : 1;

    return !((b / p->block_column_count % p->group_block_rows | b % p->block_column_count) &
             (side - 1));
}

/* Weights of the node that begins with block @p b. */
size_t msw__node_weights(const msw_plan *p, const uint8_t *levels, size_t b);
/* One after the other: the classes of nodes. Returns how many there are. @p out may be
 * @p classes. */
size_t msw__node_classes(uint8_t *out, const msw_plan *p, const uint8_t *classes,
                         const uint8_t *levels);
/* Back, in place. */
void msw__node_classes_spread(uint8_t *classes, size_t nodes, const msw_plan *p,
                              const uint8_t *levels);
size_t msw__node_count(const msw_plan *p, const uint8_t *levels);
/* How many there are of each level. */
void msw__node_level_counts(uint64_t counts[MSW_MAX_MERGE_LEVELS + 1], const msw_plan *p,
                            const uint8_t *levels);
/* How many magnitudes differ: one for each node of unified blocks. */
size_t msw__node_magnitude_count(const msw_unified *u);
/* u->magnitudes, of which as many are there as nodes, become those of all blocks. */
void msw__node_magnitudes_spread(msw_unified *u);

/* The merge map of a file (doc/format.md, 4.3). */
size_t msw__merge_map_bytes(const msw_plan *p, unsigned most);
void msw__merge_map_encode(uint8_t *out, const msw_plan *p, const uint8_t *levels,
                           unsigned most);
/* False for what no encoder writes. */
bool msw__merge_map_decode(uint8_t *levels, const msw_plan *p, const uint8_t *bytes,
                           unsigned most);
/* Write a level and a class to all blocks of the node that begins with block @p b. */
void msw__node_fill(uint8_t *array, const msw_plan *p, size_t b, unsigned level,
                    uint8_t value);

/* Sums over the weights of blocks become means over those of their nodes: an entry for each
 * unified block. Of equal weights it is the weight, exactly. */
void msw__merge_means(msw__block_sum *sums, const msw_unified *u);

#endif /* MSW_LIB_MERGE_H */
