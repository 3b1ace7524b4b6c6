/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice of classes in one layer at a price for a unit of the resource.
 *
 * Bounds on the number of pruned or unified blocks of a layer: where the unbounded choice
 * violates one, the number of that class is fixed at the bound, the blocks to be of it are
 * those for which it costs least more than the best other class, and the others choose
 * freely. Where that violates the bound of the other class, that one is tried alone; and if
 * neither does, both numbers are fixed and the choice is the joint projection. For blocks
 * of one size that is the least at the price. */
#include "budget_layer.h"

#include <math.h>
#include <string.h>

/* Blocks */

static bool ragged_columns(const msw_plan *p)
{
    return p->columns % p->block_columns != 0;
}

static bool ragged_rows(const msw_plan *p)
{
    return p->group_rows % p->block_rows != 0;
}

size_t msw__share_block_kind(const msw__share *s, size_t block)
{
    const msw_plan *p = s->plan;
    size_t kind = 0;

    if (ragged_columns(p) && block % p->block_column_count == p->block_column_count - 1)
        kind |= MSW__LAST_COLUMN;
    if (ragged_rows(p) &&
        block / p->block_column_count % p->group_block_rows == p->group_block_rows - 1)
        kind |= MSW__LAST_ROW;
    return kind;
}

bool msw__share_block_size(size_t *rows, size_t *columns, const msw_plan *p, size_t kind)
{
    *rows = kind & MSW__LAST_ROW ? p->group_rows % p->block_rows : p->block_rows;
    *columns = kind & MSW__LAST_COLUMN ? p->columns % p->block_columns : p->block_columns;
    if (!(kind & MSW__LAST_ROW) && p->group_rows < p->block_rows)
        return false;
    if (!(kind & MSW__LAST_COLUMN) && p->columns < p->block_columns)
        return false;
    return *rows > 0 && *columns > 0;
}

void msw__share_init(msw__share *s, const msw_plan *plan, msw__candidate *candidates,
                     uint8_t *classes)
{
    memset(s, 0, sizeof *s);
    s->plan = plan;
    s->candidates = candidates;
    s->classes = classes;
    s->scale = 1;
    for (size_t k = 0; k < MSW__CLASSES; k++)
        s->most[k] = plan->block_count;
}

bool msw__share_bounded(const msw__share *s)
{
    for (size_t k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++)
        if (s->least[k] > 0 || (s->most[k] > 0 && s->most[k] < s->plan->block_count))
            return true;
    return false;
}

static double square(float x)
{
    return (double)x * (double)x;
}

double msw__share_cost(const msw__share *s, const msw__candidate *x, unsigned class)
{
    if (class == MSW_CLASS_FREE)
        return 0;
    return s->scale * square(class == MSW_CLASS_PRUNED ? x->prune : x->unify);
}

/* HUGE_VAL for a class that may not be. @p amount: of the block's kind. */
static double price_of(const msw__share *s, const msw__candidate *x, unsigned class,
                       double price, const double *amount)
{
    if (class != MSW_CLASS_FREE && s->most[class] == 0)
        return HUGE_VAL;
    return msw__share_cost(s, x, class) + price * amount[class];
}

/* The class of least cost and price but for @p not; of equals the smaller one in the
 * resource. */
static unsigned cheapest(const msw__share *s, const msw__candidate *x, double price,
                         unsigned not, const double *amount)
{
    static const unsigned order[MSW__CLASSES] = {MSW_CLASS_PRUNED, MSW_CLASS_UNIFIED,
                                                 MSW_CLASS_FREE};
    unsigned best = MSW_CLASS_FREE;
    double least = HUGE_VAL;

    for (size_t i = 0; i < MSW__CLASSES; i++) {
        double cost;

        if (order[i] == not)
            continue;
        cost = price_of(s, x, order[i], price, amount);
        if (cost < least) {
            least = cost;
            best = order[i];
        }
    }
    return best;
}

/* Selection, in place, of the candidates for which a class costs least more than the best
 * other one. */

typedef struct key {
    double cost;
    uint32_t block;
} key;

static key key_of(const msw__share *s, const msw__candidate *x, double price,
                  unsigned class)
{
    const double *amount = s->amount[msw__share_block_kind(s, x->block)];
    const unsigned other = cheapest(s, x, price, class, amount);
    const double least = price_of(s, x, other, price, amount);

    return (key){price_of(s, x, class, price, amount) - least, x->block};
}

static bool before(const key *x, const key *y)
{
    return x->cost < y->cost || (x->cost == y->cost && x->block < y->block);
}

static void exchange(msw__candidate *x, msw__candidate *y)
{
    const msw__candidate kept = *x;

    *x = *y;
    *y = kept;
}

/* The k first to the front: quickselect, with a generator so that no order of the data is
 * bad every time. */
static void select_first(msw__share *s, size_t k, double price, unsigned class)
{
    msw__candidate *x = s->candidates;
    size_t count = s->plan->block_count;
    uint64_t random = 1;

    while (k > 0 && k < count) {
        size_t front = 0;
        key limit;

        random = random * 6364136223846793005u + 1442695040888963407u;
        exchange(&x[(random >> 33) % count], &x[count - 1]);
        limit = key_of(s, &x[count - 1], price, class);
        for (size_t i = 0; i + 1 < count; i++) {
            const key k_i = key_of(s, &x[i], price, class);

            if (before(&k_i, &limit))
                exchange(&x[i], &x[front++]);
        }
        exchange(&x[front], &x[count - 1]);
        if (k <= front) {
            count = front;
        } else {
            x += front + 1;
            count -= front + 1;
            k -= front + 1;
        }
    }
}

/* A layer at a price */

size_t msw__counts_total(const msw__class_counts *n, unsigned class)
{
    size_t sum = 0;

    for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++)
        sum += n->of[kind][class];
    return sum;
}

static bool within(const msw__share *s, size_t n, unsigned class)
{
    return n >= s->least[class] && n <= s->most[class];
}

static size_t clamp(const msw__share *s, size_t n, unsigned class)
{
    return n < s->least[class] ? s->least[class] : n > s->most[class] ? s->most[class] : n;
}

/* Exactly @p n blocks of a class; MSW_CLASS_FREE: as many as want to be of each. Without a
 * side the labels are only counted. */
static msw__class_counts label_with(msw__share *s, double price, unsigned side,
                                    unsigned class, size_t n)
{
    const size_t blocks = s->plan->block_count;
    const bool fixed = class != MSW_CLASS_FREE;
    msw__class_counts c = {{{0}}};

    if (fixed)
        select_first(s, n, price, class);
    for (size_t i = 0; i < blocks; i++) {
        const msw__candidate *x = &s->candidates[i];
        const size_t kind = msw__share_block_kind(s, x->block);
        const unsigned not = fixed ? class : MSW__LABEL;
        const unsigned label =
            fixed && i < n ? class : cheapest(s, x, price, not, s->amount[kind]);

        c.of[kind][label]++;
        if (side != MSW__NO_SIDE)
            msw__set_label(s, x->block, side, label);
    }
    return c;
}

/* Both numbers: no price matters any more. */
static msw__class_counts label_jointly(msw__share *s, unsigned side, size_t prune,
                                       size_t unify, void *spare)
{
    const size_t blocks = s->plan->block_count;
    msw__candidate *candidates = spare;
    uint8_t *labels = (uint8_t *)(candidates + blocks);
    msw__class_counts c = {{{0}}};

    unify = unify < blocks - prune ? unify : blocks - prune;
    memcpy(candidates, s->candidates, blocks * sizeof *candidates);
    msw__project_classes(labels, candidates, blocks, prune, unify);
    for (size_t b = 0; b < blocks; b++) {
        c.of[msw__share_block_kind(s, b)][labels[b]]++;
        if (side != MSW__NO_SIDE)
            msw__set_label(s, b, side, labels[b]);
    }
    return c;
}

/* Classes of single blocks, within the bounds. */
static msw__layer_choice label_blocks(msw__share *s, double price, unsigned side,
                                      void *spare)
{
    msw__layer_choice c = {.counts = label_with(s, price, side, MSW_CLASS_FREE, 0)};
    size_t wanted[MSW__CLASSES] = {0};

    if (!msw__share_bounded(s))
        return c;
    for (unsigned k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++)
        wanted[k] = clamp(s, msw__counts_total(&c.counts, k), k);
    if (wanted[MSW_CLASS_PRUNED] == msw__counts_total(&c.counts, MSW_CLASS_PRUNED) &&
        wanted[MSW_CLASS_UNIFIED] == msw__counts_total(&c.counts, MSW_CLASS_UNIFIED))
        return c;
    for (unsigned k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++) {
        const unsigned other = MSW_CLASS_PRUNED + MSW_CLASS_UNIFIED - k;

        if (wanted[k] == msw__counts_total(&c.counts, k))
            continue;
        c.counts = label_with(s, price, side, k, wanted[k]);
        if (within(s, msw__counts_total(&c.counts, other), other)) {
            c.bound[k] = true;
            return c;
        }
        wanted[other] = clamp(s, msw__counts_total(&c.counts, other), other);
    }
    c.counts = label_jointly(s, side, wanted[MSW_CLASS_PRUNED], wanted[MSW_CLASS_UNIFIED],
                             spare);
    c.bound[MSW_CLASS_PRUNED] = c.bound[MSW_CLASS_UNIFIED] = true;
    return c;
}

msw__layer_choice msw__share_label(msw__share *s, double price, unsigned side, void *spare)
{
    msw__layer_choice c = {{{{0}}}, {false}, 0, 0};

    if (s->tree) {
        const msw__tree_sum sum = msw__tree_project(s->tree, price, side);

        c.amount = s->fixed + sum.amount;
        c.cost = sum.distance;
    } else {
        c = label_blocks(s, price, side, spare);
        c.amount = msw__share_amount_of(s, &c.counts);
    }
    return c;
}

double msw__share_amount_of(const msw__share *s, const msw__class_counts *n)
{
    double amount = s->fixed;

    for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++)
        for (size_t class = 0; class < MSW__CLASSES; class++)
            amount += (double)n->of[kind][class] * s->amount[kind][class];
    return amount;
}

double msw__share_amount(const msw__share *s)
{
    msw__class_counts n = {{{0}}};

    if (s->tree)
        return s->fixed + msw__tree_sum_of(s->tree, MSW__FITS).amount;
    for (size_t b = 0; b < s->plan->block_count; b++)
        n.of[msw__share_block_kind(s, b)][s->classes[b]]++;
    return msw__share_amount_of(s, &n);
}

void msw__share_sort(msw__share *s)
{
    msw__candidate *x = s->candidates;

    for (size_t i = 0; i < s->plan->block_count; i++)
        while (x[i].block != i)
            exchange(&x[i], &x[x[i].block]);
}
