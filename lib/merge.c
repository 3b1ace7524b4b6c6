/* SPDX-License-Identifier: BSD-2-Clause */
#include "merge.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

msw__node msw__node_at(const msw_plan *p, size_t i, size_t j, unsigned level)
{
    const size_t side = (size_t)1 << level, in_group = i % p->group_block_rows;
    const size_t below = in_group % side;
    const msw__node n = {.row = i - below, .column = j - j % side,
                         .rows = least(side, p->group_block_rows - (in_group - below)),
                         .columns = least(side, p->block_column_count - (j - j % side))};

    return n;
}

unsigned msw__node_levels(const msw_plan *p, size_t i, size_t j, unsigned most)
{
    const size_t row = i % p->group_block_rows;
    unsigned level = 0;

    while (level < most && !((row | j) >> level & 1))
        level++;
    while (level > 0 && row + ((size_t)1 << (level - 1)) >= p->group_block_rows &&
           j + ((size_t)1 << (level - 1)) >= p->block_column_count)
        level--;
    return level;
}

/* Whether the node that begins with this block is one. */
static bool node_valid(const msw_plan *p, const uint8_t *classes, const uint8_t *levels,
                       size_t i, size_t j)
{
    const size_t columns = p->block_column_count, first = i * columns + j;
    const unsigned level = levels[first];
    const msw__node n = msw__node_at(p, i, j, level);

    if (level > msw__node_levels(p, i, j, MSW_MAX_MERGE_LEVELS) ||
        (level && classes[first] == MSW_CLASS_FREE))
        return false;
    for (size_t r = 0; r < n.rows; r++)
        for (size_t c = 0; c < n.columns; c++)
            if (levels[first + r * columns + c] != level ||
                classes[first + r * columns + c] != classes[first])
                return false;
    return true;
}

bool msw__merge_valid(unsigned *most, const msw_plan *p, const uint8_t *classes,
                      const uint8_t *levels)
{
    const size_t columns = p->block_column_count;

    *most = 0;
    for (size_t b = 0; b < p->block_count; b++) {
        const size_t i = b / columns, j = b % columns;
        msw__node n;

        if (levels[b] > MSW_MAX_MERGE_LEVELS)
            return false;
        n = msw__node_at(p, i, j, levels[b]);
        if (n.row == i && n.column == j ? !node_valid(p, classes, levels, i, j)
                                        : levels[n.row * columns + n.column] != levels[b])
            return false;
        *most = levels[b] > *most ? levels[b] : *most;
    }
    return true;
}

/* A node's first block in a column names it to those below and to the right of it: until
 * the node ends, no other begins there. */
void msw__merge_leaders(uint32_t *leaders, uint32_t *columns, const msw_plan *p,
                        const uint8_t *classes, const uint8_t *levels)
{
    uint32_t magnitude = 0;
    size_t b = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t j = 0; j < p->block_column_count; j++, b++) {
            msw__node n;

            if (classes[b] != MSW_CLASS_UNIFIED)
                continue;
            n = msw__node_at(p, i, j, levels[b]);
            if (n.row == i && n.column == j)
                columns[j] = magnitude;
            leaders[magnitude++] = columns[n.column];
        }
}

void msw__merge_means(msw__block_sum *sums, const msw_unified *u)
{
    const size_t count = u->magnitude_start[u->plan->block_row_count];

    for (size_t k = 0; k < count; k++) {
        msw__block_sum *leader = &sums[u->leaders[k]];

        if (leader == &sums[k])
            continue;
        leader->sum += sums[k].sum;
        leader->weight += sums[k].weight;
    }
    for (size_t k = 0; k < count; k++) { /* leaders come first */
        const size_t leader = u->leaders[k];

        sums[k].sum = leader == k ? sums[k].sum / sums[k].weight : sums[leader].sum;
    }
}
