/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport form of a payload: classes and values through the range coder, signs
 * raw (doc/format.md, 6). The models here are what encoder and decoder share. */
#ifndef MSW_LIB_TRANSPORT_H
#define MSW_LIB_TRANSPORT_H

#include "merge.h"
#include "quantiser.h"
#include "range_coder.h"

enum {
    MSW__CLASS_NONE = 3,      /* the neighbour outside the map */
    MSW__CLASS_CONTEXTS = 16, /* of the left and the upper neighbour */
    MSW__TREE_DEPTH = 10,     /* leading bits of a key that are modelled */
    MSW__WIDTH_BITS = 5,      /* of a width in the payload */
    MSW__LENGTH_BITS = 4,     /* of the bit length of a uniform key, and of its tree */
    MSW__LENGTHS = 16,
    MSW__LEVELS = 21          /* contexts of a uniform key: bit lengths of the level */
};

/* Nodes: from the highest level on, whether one is there; then whether it is pruned; then,
 * of a single block, whether it is unified. */
typedef struct msw__class_models {
    msw__bit_model merged[MSW_MAX_MERGE_LEVELS + 1][MSW__CLASS_CONTEXTS];
    msw__bit_model pruned[MSW_MAX_MERGE_LEVELS + 1][MSW__CLASS_CONTEXTS];
    msw__bit_model unified[MSW__CLASS_CONTEXTS];
} msw__class_models;

static inline unsigned msw__class_context(const uint8_t *classes, size_t block,
                                          size_t column, size_t columns)
{
    const unsigned left = column ? classes[block - 1] : MSW__CLASS_NONE;
    const unsigned top = block >= columns ? classes[block - columns] : MSW__CLASS_NONE;

    return 4 * left + top;
}

/* Any keys: their leading bits by a tree. Node 1 is the root, the children of node n are
 * 2 n and 2 n + 1. */
typedef struct msw__tree_models {
    msw__bit_model node[1 << MSW__TREE_DEPTH];
} msw__tree_models;

static inline unsigned msw__tree_depth(unsigned width)
{
    return width < MSW__TREE_DEPTH ? width : MSW__TREE_DEPTH;
}

/* Uniform keys with signs: their bit length by a tree that depends on the level of the
 * keys before, then up to two bits behind the leading one. */
typedef struct msw__uniform_models {
    msw__bit_model length[MSW__LEVELS][MSW__LENGTHS];
    msw__bit_model next[MSW__LENGTHS][4];
} msw__uniform_models;

/* 16 times a mean of the keys so far, the last one with weight 1/8. */
static inline uint32_t msw__level_next(uint32_t level, uint32_t key)
{
    return level - (level >> 3) + 2 * key;
}

/* Bits of a tree over bit lengths up to @p longest; at least one, so that no value is
 * free of cost. */
static inline unsigned msw__length_depth(unsigned longest)
{
    return longest < 2 ? 1 : msw__bit_length(longest);
}

static inline void msw__class_models_reset(msw__class_models *m)
{
    const size_t nodes = (MSW_MAX_MERGE_LEVELS + 1) * MSW__CLASS_CONTEXTS;

    msw__bit_models_reset(&m->merged[0][0], nodes);
    msw__bit_models_reset(&m->pruned[0][0], nodes);
    msw__bit_models_reset(m->unified, MSW__CLASS_CONTEXTS);
}

static inline void msw__tree_models_reset(msw__tree_models *m)
{
    msw__bit_models_reset(m->node, 1 << MSW__TREE_DEPTH);
}

static inline void msw__uniform_models_reset(msw__uniform_models *m)
{
    msw__bit_models_reset(&m->length[0][0], MSW__LEVELS * MSW__LENGTHS);
    msw__bit_models_reset(&m->next[0][0], MSW__LENGTHS * 4);
}

/* transport_decode.c. All return false for what no encoder writes; the values are not
 * checked to be finite. */
bool msw__transport_classes(uint8_t *out, msw__decoder *d, size_t blocks, size_t columns,
                            uint32_t set);
/* The same where blocks are merged, up to level @p most. */
bool msw__transport_nodes(uint8_t *classes, uint8_t *levels, msw__decoder *d,
                          const msw_plan *p, unsigned most, uint32_t set);
bool msw__transport_magnitudes(float *out, msw__decoder *d, size_t count,
                               const msw__quantiser *q);
bool msw__transport_values(float *out, msw__decoder *d, size_t count,
                           const msw__quantiser *q);

/* The least payload for so many blocks: their classes take no less, unless merged blocks
 * share one. It keeps a few bytes from asking for much memory. */
static inline size_t msw__transport_least(size_t blocks)
{
    return blocks / MSW__LIMITED_BITS_PER_BYTE;
}

#endif /* MSW_LIB_TRANSPORT_H */
