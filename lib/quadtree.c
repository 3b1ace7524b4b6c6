/* SPDX-License-Identifier: BSD-2-Clause */
#include "quadtree.h"

#include <math.h>
#include <string.h>

/* A part of the tree. */
typedef struct branch {
    double prune, unify; /* distances as one block */
    double mean, weight; /* of |v|, and the sum of h */
    double count;        /* of weights */
    double distance, amount; /* of the choice in it */
} branch;

static double square(float x)
{
    return (double)x * (double)x;
}

static void set_label(const msw__tree *t, size_t b, unsigned side, unsigned class,
                      unsigned level)
{
    if (side == MSW__NO_SIDE)
        return;
    t->classes[b] =
        (uint8_t)((t->classes[b] & ~((unsigned)MSW__LABEL << side)) | class << side);
    t->levels[b] = (uint8_t)((t->levels[b] & ~(15u << 2 * side)) | level << 2 * side);
}

static unsigned class_at(const msw__tree *t, size_t b, unsigned side)
{
    return t->classes[b] >> side & MSW__LABEL;
}

static unsigned level_at(const msw__tree *t, size_t b, unsigned side)
{
    return t->levels[b] >> 2 * side & 15u;
}

static double leaf_amount(const msw__tree *t, const branch *x, unsigned class,
                          unsigned level)
{
    const msw__node_amounts *a = &t->amounts;
    const double label = a->label[level][class];

    if (class == MSW_CLASS_PRUNED)
        return label;
    return class == MSW_CLASS_FREE ? label + x->count * a->free
                                   : label + x->count * a->sign + a->magnitude;
}

static double leaf_distance(const branch *x, unsigned class)
{
    return class == MSW_CLASS_FREE ? 0 : class == MSW_CLASS_PRUNED ? x->prune : x->unify;
}

/* As one block of the cheapest class, whose distance and amount the branch gets. */
static double leaf_cost(unsigned *best, double *distance, double *amount, const msw__tree *t,
                        const branch *x, unsigned level, double price)
{
    static const struct {
        unsigned class;
        uint32_t exclude;
    } order[] = {{MSW_CLASS_FREE, 0},
                 {MSW_CLASS_UNIFIED, MSW_EXCLUDE_UNIFY},
                 {MSW_CLASS_PRUNED, MSW_EXCLUDE_PRUNE}};
    double least = HUGE_VAL;

    *best = MSW_CLASS_FREE;
    *distance = *amount = 0;
    for (size_t k = level > 0; k < MSW__CLASSES; k++) {
        const double taken = leaf_amount(t, x, order[k].class, level);
        const double cost = leaf_distance(x, order[k].class) + price * taken;

        if (t->exclude & order[k].exclude || !(cost < least))
            continue;
        least = cost;
        *best = order[k].class;
        *distance = leaf_distance(x, *best);
        *amount = taken;
    }
    return least;
}

static branch block_branch(const msw__tree *t, size_t i, size_t j)
{
    const size_t b = i * t->plan->block_column_count + j;

    return (branch){
        .prune = t->scale * square(t->candidates[b].prune),
        .unify = t->scale * square(t->candidates[b].unify), .mean = (double)t->means[b],
        .weight = (double)t->weights[b],
        .count = (double)(msw__plan_rows(t->plan, i) * msw__plan_columns(t->plan, j)),
    };
}

/* Spreads around two means become that around one without a difference of large numbers. */
static void join(branch *to, const branch *from, double scale)
{
    const double weight = to->weight + from->weight, apart = from->mean - to->mean;

    to->prune += from->prune;
    to->unify += from->unify +
                 scale * (apart * apart * (to->weight / weight) * from->weight);
    to->mean += apart * (from->weight / weight);
    to->weight = weight;
    to->count += from->count;
    to->distance += from->distance;
    to->amount += from->amount;
}

static void merge(const msw__tree *t, const msw__node *n, unsigned side, unsigned class,
                  unsigned level)
{
    for (size_t r = 0; side != MSW__NO_SIDE && r < n->rows; r++)
        for (size_t c = 0; c < n->columns; c++)
            set_label(t, (n->row + r) * t->plan->block_column_count + n->column + c, side,
                      class, level);
}

/* Whether a node of this level could begin where @p n lies. */
static bool is_node(const msw__node *n, unsigned level)
{
    const size_t half = (size_t)1 << (level - 1);

    return n->rows > half || n->columns > half;
}

typedef struct visit {
    const msw__tree *tree;
    double price;
    unsigned side;
} visit;

typedef branch part_of(const visit *v, size_t i, size_t j, unsigned level);

/* The parts of a node, each by @p part. */
static branch join_parts(const visit *v, const msw__node *n, unsigned level, part_of *part)
{
    const size_t half = (size_t)1 << (level - 1);
    branch whole = part(v, n->row, n->column, level - 1);

    for (size_t r = 0; r < n->rows; r += half)
        for (size_t c = 0; c < n->columns; c += half) {
            branch x;

            if (r + c == 0)
                continue;
            x = part(v, n->row + r, n->column + c, level - 1);
            join(&whole, &x, v->tree->scale);
        }
    return whole;
}

/* The branch that begins with this block, its best choices in the arrays. */
static branch choose(const visit *v, size_t i, size_t j, unsigned level)
{
    const msw__tree *t = v->tree;
    double cost, distance, amount;
    msw__node n;
    branch x;
    unsigned best;

    if (level == 0) {
        x = block_branch(t, i, j);
        leaf_cost(&best, &x.distance, &x.amount, t, &x, 0, v->price);
        set_label(t, i * t->plan->block_column_count + j, v->side, best, 0);
        return x;
    }
    n = msw__node_at(t->plan, i, j, level);
    x = join_parts(v, &n, level, choose);
    if (!is_node(&n, level))
        return x;
    x.amount += t->amounts.split[level][0];
    cost = leaf_cost(&best, &distance, &amount, t, &x, level, v->price);
    amount += t->amounts.split[level][1];
    if (cost + v->price * t->amounts.split[level][1] < x.distance + v->price * x.amount) {
        merge(t, &n, v->side, best, level);
        x.distance = distance;
        x.amount = amount;
    }
    return x;
}

/* With the choices that are there. */
static branch look(const visit *v, size_t i, size_t j, unsigned level)
{
    const msw__tree *t = v->tree;
    const size_t b = i * t->plan->block_column_count + j;
    const unsigned class = class_at(t, b, v->side);
    msw__node n;
    branch x;

    if (level == 0) {
        x = block_branch(t, i, j);
        x.distance = leaf_distance(&x, class);
        x.amount = leaf_amount(t, &x, class, 0);
        return x;
    }
    n = msw__node_at(t->plan, i, j, level);
    x = join_parts(v, &n, level, look);
    if (!is_node(&n, level))
        return x;
    if (level_at(t, b, v->side) == level) {
        x.distance = leaf_distance(&x, class);
        x.amount = leaf_amount(t, &x, class, level) + t->amounts.split[level][1];
    } else {
        x.amount += t->amounts.split[level][0];
    }
    return x;
}

static msw__tree_sum for_roots(const visit *v, part_of *work)
{
    const msw_plan *p = v->tree->plan;
    const size_t side = (size_t)1 << v->tree->most;
    msw__tree_sum sum = {0, 0};

    for (size_t group = 0; group < p->block_row_count; group += p->group_block_rows)
        for (size_t i = 0; i < p->group_block_rows; i += side)
            for (size_t j = 0; j < p->block_column_count; j += side) {
                const branch x = work(v, group + i, j, v->tree->most);

                sum.distance += x.distance;
                sum.amount += x.amount;
            }
    return sum;
}

msw__tree_sum msw__tree_project(const msw__tree *t, double price, unsigned side)
{
    return for_roots(&(visit){t, price, side}, choose);
}

msw__tree_sum msw__tree_sum_of(const msw__tree *t, unsigned side)
{
    return for_roots(&(visit){t, 0, side}, look);
}

double msw__tree_all_free(const msw__tree *t)
{
    const msw_plan *p = t->plan;
    const msw__node_amounts *a = &t->first;
    double amount = a->free * (double)p->rows * (double)p->columns +
                    a->label[0][MSW_CLASS_FREE] * (double)p->block_count;

    for (size_t b = 0; b < p->block_count; b++)
        for (unsigned l = msw__node_levels(p, b / p->block_column_count,
                                           b % p->block_column_count, t->most);
             l > 0; l--)
            amount += a->split[l][0];
    return amount;
}

/* Part of the way */

static void take_lower(const msw__tree *t, const msw__node *n)
{
    for (size_t r = 0; r < n->rows; r++)
        for (size_t c = 0; c < n->columns; c++) {
            const size_t b = (n->row + r) * t->plan->block_column_count + n->column + c;

            set_label(t, b, MSW__FITS, class_at(t, b, MSW__LOWER),
                      level_at(t, b, MSW__LOWER));
        }
}

static double take_node(const msw__tree *t, size_t i, size_t j, unsigned level,
                        double amount, double room)
{
    const size_t b = i * t->plan->block_column_count + j;
    const msw__node n = msw__node_at(t->plan, i, j, level);
    double more;

    if (level_at(t, b, MSW__FITS) < level && level_at(t, b, MSW__LOWER) < level) {
        const size_t half = (size_t)1 << (level - 1);

        for (size_t r = 0; r < n.rows; r += half)
            for (size_t c = 0; c < n.columns; c += half)
                amount = take_node(t, i + r, j + c, level - 1, amount, room);
        return amount;
    }
    more = look(&(visit){t, 0, MSW__LOWER}, i, j, level).amount -
           look(&(visit){t, 0, MSW__FITS}, i, j, level).amount;
    if (!(amount + more <= room))
        return amount;
    take_lower(t, &n);
    return amount + more;
}

double msw__tree_take_partly(const msw__tree *t, double amount, double room)
{
    const msw_plan *p = t->plan;
    const size_t side = (size_t)1 << t->most;

    for (size_t group = 0; group < p->block_row_count; group += p->group_block_rows)
        for (size_t i = 0; i < p->group_block_rows; i += side)
            for (size_t j = 0; j < p->block_column_count; j += side)
                amount = take_node(t, group + i, j, t->most, amount, room);
    return amount;
}

void msw__tree_keep_fitting(const msw__tree *t)
{
    for (size_t b = 0; b < t->plan->block_count; b++) {
        t->classes[b] &= MSW__LABEL;
        t->levels[b] &= 15u;
    }
}

/* Learning */

enum { CONTEXTS = 16, NONE = 3 };
#define LEAST_BITS (1.0 / 32)
#define MOST_BITS 6.0

/* How often a bit was 0 and 1 in each context. */
typedef struct counts {
    double of[CONTEXTS][2];
} counts;

/* Mean length of a bit of this value. */
static double length_of(const counts *n, unsigned value)
{
    double bits = 0, seen = 0, all = 0;

    for (size_t k = 0; k < CONTEXTS; k++) {
        const double here = n->of[k][0] + n->of[k][1];

        bits -= n->of[k][value] * log2((n->of[k][value] + 0.5) / (here + 1));
        seen += n->of[k][value];
        all += here;
    }
    bits = seen > 0 ? bits / seen : log2(2 * (all + 1));
    return fmin(fmax(bits, LEAST_BITS), MOST_BITS);
}

static void learn(double *amount, double bits, double bit)
{
    *amount = (*amount + bit * bits) / 2;
}

/* What is coded of a tree, in the order of doc/format.md, 6.3. */
typedef struct history {
    counts split[MSW__LEVELS], pruned[MSW__LEVELS], unified;
} history;

static unsigned context_of(const msw__tree *t, size_t b)
{
    const size_t columns = t->plan->block_column_count;
    const unsigned left = b % columns ? class_at(t, b - 1, MSW__FITS) : NONE;
    const unsigned top = b >= columns ? class_at(t, b - columns, MSW__FITS) : NONE;

    return 4 * left + top;
}

static void note_node(history *h, const msw__tree *t, size_t b)
{
    const size_t columns = t->plan->block_column_count;
    const unsigned context = context_of(t, b), class = class_at(t, b, MSW__FITS);
    const unsigned level = level_at(t, b, MSW__FITS);

    for (unsigned l = msw__node_levels(t->plan, b / columns, b % columns, t->most); l > 0;
         l--) {
        h->split[l].of[context][l == level]++;
        if (l == level)
            break;
    }
    h->pruned[level].of[context][class == MSW_CLASS_PRUNED]++;
    if (class != MSW_CLASS_PRUNED && level == 0)
        h->unified.of[context][class == MSW_CLASS_UNIFIED]++;
}

void msw__tree_learn(msw__tree *t, double bit)
{
    msw__node_amounts *a = &t->amounts;
    history h = {0};

    for (size_t b = 0; b < t->plan->block_count; b++)
        if (msw__node_begins(t->plan, t->levels, b))
            note_node(&h, t, b);
    for (unsigned l = 0; l <= t->most; l++) {
        const double kept = length_of(&h.pruned[l], 0);

        learn(&a->label[l][MSW_CLASS_PRUNED], length_of(&h.pruned[l], 1), bit);
        learn(&a->label[l][MSW_CLASS_UNIFIED],
              l ? kept : kept + length_of(&h.unified, 1), bit);
        learn(&a->label[l][MSW_CLASS_FREE], kept + length_of(&h.unified, 0), bit);
        learn(&a->split[l][0], length_of(&h.split[l], 0), bit);
        learn(&a->split[l][1], length_of(&h.split[l], 1), bit);
    }
}

/* Magnitudes */

void msw__tree_magnitudes(float *out, const msw__tree *t)
{
    const size_t columns = t->plan->block_column_count;

    for (size_t b = 0; b < t->plan->block_count; b++) {
        const unsigned level = level_at(t, b, MSW__FITS);
        double sum = 0, weight = 0;
        msw__node n;

        if (!msw__node_begins(t->plan, t->levels, b))
            continue;
        n = msw__node_at(t->plan, b / columns, b % columns, level);
        for (size_t r = 0; r < n.rows; r++)
            for (size_t c = 0; c < n.columns; c++) {
                const size_t k = b + r * columns + c;

                sum += (double)t->means[k] * (double)t->weights[k];
                weight += (double)t->weights[k];
            }
        for (size_t r = 0; r < n.rows; r++)
            for (size_t c = 0; c < n.columns; c++)
                out[b + r * columns + c] =
                    level ? (float)(sum / weight) : t->means[b + r * columns + c];
    }
}
