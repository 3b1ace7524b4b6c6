/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes one after the other, as files have them. */
#include "merge.h"

#include <string.h>

static msw__node node_of(const msw_plan *p, size_t b, unsigned level)
{
    return msw__node_at(p, b / p->block_column_count, b % p->block_column_count, level);
}

size_t msw__node_weights(const msw_plan *p, const uint8_t *levels, size_t b)
{
    const msw__node n = node_of(p, b, levels ? levels[b] : 0);
    size_t rows = 0, columns = 0;

    for (size_t i = 0; i < n.rows; i++)
        rows += msw__plan_rows(p, n.row + i);
    for (size_t j = 0; j < n.columns; j++)
        columns += msw__plan_columns(p, n.column + j);
    return rows * columns;
}

size_t msw__node_count(const msw_plan *p, const uint8_t *levels)
{
    size_t count = 0;

    for (size_t b = 0; b < p->block_count; b++)
        count += msw__node_begins(p, levels, b);
    return count;
}

void msw__node_level_counts(uint64_t counts[MSW_MAX_MERGE_LEVELS + 1], const msw_plan *p,
                            const uint8_t *levels)
{
    memset(counts, 0, (MSW_MAX_MERGE_LEVELS + 1) * sizeof *counts);
    for (size_t b = 0; b < p->block_count; b++)
        if (msw__node_begins(p, levels, b))
            counts[levels ? levels[b] : 0]++;
}

size_t msw__node_classes(uint8_t *out, const msw_plan *p, const uint8_t *classes,
                         const uint8_t *levels)
{
    size_t count = 0;

    for (size_t b = 0; b < p->block_count; b++)
        if (msw__node_begins(p, levels, b))
            out[count++] = classes[b];
    return count;
}

/* From the end, where nothing is overwritten that is still needed; then from the nodes'
 * first blocks, which come before the others. */
void msw__node_classes_spread(uint8_t *classes, size_t nodes, const msw_plan *p,
                              const uint8_t *levels)
{
    for (size_t b = p->block_count; b-- > 0;)
        if (msw__node_begins(p, levels, b))
            classes[b] = classes[--nodes];
    for (size_t b = 0; b < p->block_count; b++)
        if (!msw__node_begins(p, levels, b)) {
            const msw__node n = node_of(p, b, levels[b]);

            classes[b] = classes[n.row * p->block_column_count + n.column];
        }
}

size_t msw__node_magnitude_count(const msw_unified *u)
{
    const size_t blocks = u->magnitude_start[u->plan->block_row_count];
    size_t count = 0;

    for (size_t k = 0; k < blocks; k++)
        count += !u->leaders || u->leaders[k] == k;
    return count;
}

void msw__node_magnitudes_spread(msw_unified *u)
{
    const size_t blocks = u->magnitude_start[u->plan->block_row_count];
    size_t nodes = msw__node_magnitude_count(u);

    if (!u->leaders)
        return;
    for (size_t k = blocks; k-- > 0;)
        if (u->leaders[k] == k)
            u->magnitudes[k] = u->magnitudes[--nodes];
    for (size_t k = 0; k < blocks; k++)
        u->magnitudes[k] = u->magnitudes[u->leaders[k]];
}

void msw__node_fill(uint8_t *array, const msw_plan *p, size_t b, unsigned level,
                    uint8_t value)
{
    const msw__node n = node_of(p, b, level);

    for (size_t r = 0; r < n.rows; r++)
        memset(array + b + r * p->block_column_count, value, n.columns);
}

/* A bit for each place where a node could be, in the order of first blocks, the highest
 * level first: 1 if it is there. */

size_t msw__merge_map_bytes(const msw_plan *p, unsigned most)
{
    size_t bits = 0;

    for (unsigned level = 1; level <= most; level++) {
        const size_t side = (size_t)1 << level, half = side / 2;
        const size_t rows = (p->group_block_rows + side - 1) / side;
        const size_t columns = (p->block_column_count + side - 1) / side;
        const bool corner = p->group_block_rows <= (rows - 1) * side + half &&
                            p->block_column_count <= (columns - 1) * side + half;

        bits += (rows * columns - corner) * p->groups; /* fewer than there are blocks */
    }
    return bits / 8 + (bits % 8 != 0);
}

static unsigned levels_at(const msw_plan *p, size_t b, unsigned most)
{
    return msw__node_levels(p, b / p->block_column_count, b % p->block_column_count, most);
}

void msw__merge_map_encode(uint8_t *out, const msw_plan *p, const uint8_t *levels,
                           unsigned most)
{
    size_t at = 0;

    memset(out, 0, msw__merge_map_bytes(p, most));
    for (size_t b = 0; b < p->block_count; b++)
        for (unsigned level = levels_at(p, b, most); level > 0; level--, at++)
            if (levels[b] == level && msw__node_begins(p, levels, b))
                msw__sign_set(out, at);
}

enum { UNKNOWN = 0xff };

bool msw__merge_map_decode(uint8_t *levels, const msw_plan *p, const uint8_t *bytes,
                           unsigned most)
{
    const size_t end = 8 * msw__merge_map_bytes(p, most);
    unsigned seen = 0;
    size_t at = 0;

    memset(levels, UNKNOWN, p->block_count);
    for (size_t b = 0; b < p->block_count; b++) {
        for (unsigned level = levels_at(p, b, most); level > 0; level--, at++) {
            if (!msw__sign_get(bytes, at))
                continue;
            if (levels[b] != UNKNOWN)
                return false; /* in a node already */
            msw__node_fill(levels, p, b, level, (uint8_t)level);
            seen = seen > level ? seen : level;
        }
        if (levels[b] == UNKNOWN)
            levels[b] = 0;
    }
    for (; at < end; at++)
        if (msw__sign_get(bytes, at))
            return false;
    return seen == most;
}
