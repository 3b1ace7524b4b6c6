/* SPDX-License-Identifier: BSD-2-Clause */
#include "merge.h"

#include <math.h>

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

/* The projection */

typedef struct tree {
    const msw_plan *plan;
    const msw__quadtree *options;
    const msw__candidate *candidates;
    const float *weights;
    uint8_t *classes, *levels;
    float *magnitudes;
    double price; /* of a bit, as the costs are */
} tree;

/* A part of the tree, and the least that it costs. */
typedef struct branch {
    double prune, unify; /* distances as one block */
    double mean, weight; /* of |v|, and the sum of h */
    double count;        /* of weights */
    double cost;
} branch;

static double square(float x)
{
    return (double)x * (double)x;
}

/* Cost as one block of the cheapest class, which *best becomes. */
static double leaf_cost(msw_class *best, const tree *t, const branch *b, unsigned level)
{
    const msw__quadtree *o = t->options;
    const double bits = MSW__CLASS_BITS + b->count + o->magnitude_bits;
    double cost = HUGE_VAL;

    *best = MSW_CLASS_FREE;
    if (level == 0)
        cost = t->price * (MSW__CLASS_BITS + b->count * o->free_bits);
    if (!(o->exclude & MSW_EXCLUDE_UNIFY) && b->unify + t->price * bits < cost) {
        cost = b->unify + t->price * bits;
        *best = MSW_CLASS_UNIFIED;
    }
    if (!(o->exclude & MSW_EXCLUDE_PRUNE) &&
        b->prune + t->price * MSW__CLASS_BITS < cost) {
        cost = b->prune + t->price * MSW__CLASS_BITS;
        *best = MSW_CLASS_PRUNED;
    }
    return cost;
}

static branch block_branch(const tree *t, size_t i, size_t j)
{
    const size_t b = i * t->plan->block_column_count + j;
    msw_class best;
    branch x = {
        .prune = square(t->candidates[b].prune), .unify = square(t->candidates[b].unify),
        .mean = (double)t->magnitudes[b], .weight = (double)t->weights[b],
        .count = (double)(msw__plan_rows(t->plan, i) * msw__plan_columns(t->plan, j)),
    };

    x.cost = leaf_cost(&best, t, &x, 0);
    t->classes[b] = (uint8_t)best;
    t->levels[b] = 0;
    return x;
}

/* Spreads around two means become that around one without a difference of large numbers. */
static void join(branch *to, const branch *from)
{
    const double weight = to->weight + from->weight, apart = from->mean - to->mean;

    to->prune += from->prune;
    to->unify += from->unify + apart * apart * (to->weight / weight) * from->weight;
    to->mean += apart * (from->weight / weight);
    to->weight = weight;
    to->count += from->count;
    to->cost += from->cost;
}

static void merge(const tree *t, const msw__node *n, unsigned level, msw_class class,
                  double mean)
{
    const size_t columns = t->plan->block_column_count;

    for (size_t r = 0; r < n->rows; r++)
        for (size_t c = 0; c < n->columns; c++) {
            const size_t b = (n->row + r) * columns + n->column + c;

            t->classes[b] = (uint8_t)class;
            t->levels[b] = (uint8_t)level;
            t->magnitudes[b] = (float)mean;
        }
}

/* The branch that begins with this block, its best choices in the arrays. */
static branch visit(const tree *t, size_t i, size_t j, unsigned level)
{
    msw__node n;
    branch whole;
    msw_class best;
    double cost;
    size_t half;
    bool first = true;

    if (level == 0)
        return block_branch(t, i, j);
    half = (size_t)1 << (level - 1);
    n = msw__node_at(t->plan, i, j, level);
    for (size_t r = 0; r < n.rows; r += half)
        for (size_t c = 0; c < n.columns; c += half) {
            const branch part = visit(t, i + r, j + c, level - 1);

            if (first)
                whole = part;
            else
                join(&whole, &part);
            first = false;
        }
    if (n.rows <= half && n.columns <= half)
        return whole; /* no node of this level */
    cost = leaf_cost(&best, t, &whole, level);
    if (cost < whole.cost) {
        merge(t, &n, level, best, whole.mean);
        whole.cost = cost;
    }
    whole.cost += t->price; /* the bit that says so */
    return whole;
}

/* Mean of h v^2: what the price is in units of. */
static double mean_square(const msw__candidate *candidates, const msw_plan *p)
{
    double sum = 0;

    for (size_t b = 0; b < p->block_count; b++)
        sum += square(candidates[b].prune);
    return sum / ((double)p->rows * (double)p->columns);
}

void msw__quadtree_project(uint8_t *classes, uint8_t *levels, float *magnitudes,
                           const msw__candidate *candidates, const float *weights,
                           const msw_plan *p, const msw__quadtree *q)
{
    const size_t side = (size_t)1 << q->levels;
    const tree t = {
        .plan = p, .options = q, .candidates = candidates, .weights = weights,
        .classes = classes, .levels = levels, .magnitudes = magnitudes,
        .price = q->price * mean_square(candidates, p),
    };

    for (size_t group = 0; group < p->block_row_count; group += p->group_block_rows)
        for (size_t i = 0; i < p->group_block_rows; i += side)
            for (size_t j = 0; j < p->block_column_count; j += side)
                (void)visit(&t, group + i, j, q->levels);
}
