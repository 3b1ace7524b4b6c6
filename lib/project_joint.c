/* SPDX-License-Identifier: BSD-2-Clause */
/* The joint projection.
 *
 * With a price delta >= 0 paid for every pruned block, a chosen block is pruned when
 * that costs less than delta more than unifying it, and the prune + unify blocks of
 * least cost minus price are chosen. The number of pruned ones grows with delta.
 * Where it is what was asked for, the choice is the projection. Where it jumps over
 * that, all blocks that change there weigh the same, and as many of them as needed
 * are changed one by one. Between two prices a label can only go from FREE or UNIFIED
 * to PRUNED or from UNIFIED to FREE; what is labelled the same at both is settled. */
#include "project.h"
#include "bytes.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The place of a candidate in the order at a price, a total order: that of cost minus
 * price. Where a large price swallows small costs, the pruned ones come first, ordered by
 * their cost without it. */
typedef struct rank {
    double cost, pruned;
    uint32_t block;
} rank;

static double square(float x)
{
    return (double)x * (double)x;
}

/* What pruning costs more than unifying. */
static double extra(const msw__candidate *x)
{
    return square(x->prune) - square(x->unify);
}

static rank rank_of(const msw__candidate *x, double delta)
{
    const double a = square(x->prune), c = square(x->unify), cost = a - delta;

    return (rank){cost < c ? cost : c, extra(x) < delta ? a : HUGE_VAL, x->block};
}

static bool before(const rank *x, const rank *y)
{
    return (x->cost < y->cost) |
           ((x->cost == y->cost) &
            ((x->pruned < y->pruned) | ((x->pruned == y->pruned) & (x->block < y->block))));
}

/* Insertion sort. */
static void sort_ranks(rank *x, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const rank moved = x[i];
        size_t k = i;

        for (; k > 0 && before(&moved, &x[k - 1]); k--)
            x[k] = x[k - 1];
        x[k] = moved;
    }
}

static void swap(msw__candidate *x, msw__candidate *y)
{
    const msw__candidate kept = *x;

    *x = *y;
    *y = kept;
}

enum { SAMPLE = 31, SMALL = 4 * SAMPLE };

/* Index of a candidate that is about number k of count: from a sample, and rather on
 * the side that leaves k among fewer. The generator makes a pattern in the data that
 * defeats the sample unlikely, the total order makes it irrelevant to the result. */
static size_t pivot_near(const msw__candidate *x, size_t count, size_t k, double delta,
                         uint64_t *random)
{
    const size_t margin = 2;
    size_t wanted = k * SAMPLE / count, at[SAMPLE], size = 0;
    rank sample[SAMPLE];

    for (; size < SAMPLE; size++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        at[size] = (size_t)((*random >> 32) * count >> 32);
        sample[size] = rank_of(&x[at[size]], delta);
    }
    sort_ranks(sample, size);
    if (k < count / 2)
        wanted = wanted + margin < SAMPLE ? wanted + margin : SAMPLE - 1;
    else
        wanted = wanted > margin ? wanted - margin : 0;
    for (size_t i = 0; i < SAMPLE; i++)
        if (x[at[i]].block == sample[wanted].block)
            return at[i];
    return at[0]; /* not reached */
}

/* Move the candidates before the one at @p pivot to the front; how many they are. The
 * pivot follows them. Without branches on the data. */
static size_t split(msw__candidate *x, size_t count, size_t pivot, double delta)
{
    const rank limit = rank_of(&x[pivot], delta);
    size_t front = 0;

    swap(&x[pivot], &x[count - 1]);
    for (size_t i = 0; i + 1 < count; i++) {
        const rank r = rank_of(&x[i], delta);
        const bool moves = before(&r, &limit);

        swap(&x[i], &x[front]);
        front += moves;
    }
    swap(&x[front], &x[count - 1]);
    return front;
}

/* Bring the k first of the order to the front. */
static void select_first(msw__candidate *x, size_t count, size_t k, double delta)
{
    uint64_t random = 1;

    while (k > 0 && k < count) {
        const size_t pivot = count > SMALL ? pivot_near(x, count, k, delta, &random)
                                           : count / 2;
        const size_t front = split(x, count, pivot, delta);

        if (k <= front) {
            count = front;
        } else {
            x += front + 1;
            count -= front + 1;
            k -= front + 1;
        }
    }
}

/* Two labels to a byte: at the lower and at the upper price. */
enum { LOWER = 0, UPPER = 2, LABEL = 3 };

typedef struct joint {
    uint8_t *labels;           /* by block, of all */
    msw__candidate *active;    /* those not settled */
    size_t count;              /* ... their number */
    size_t chosen, prune;      /* how many of them to choose, and to prune of those */
} joint;

static msw_class label_at(const joint *j, size_t block, unsigned side)
{
    return (msw_class)(j->labels[block] >> side & LABEL);
}

static void set_label(joint *j, size_t block, unsigned side, msw_class label)
{
    j->labels[block] = (uint8_t)((j->labels[block] & ~(LABEL << side)) |
                                 (unsigned)label << side);
}

/* Choose at a price; how many would be pruned. */
static size_t choose(joint *j, double delta)
{
    size_t pruned = 0;

    select_first(j->active, j->count, j->chosen, delta);
    for (size_t i = 0; i < j->chosen; i++)
        pruned += extra(&j->active[i]) < delta;
    return pruned;
}

static void label(joint *j, double delta, unsigned side)
{
    for (size_t i = 0; i < j->count; i++)
        set_label(j, j->active[i].block, side,
                  i >= j->chosen ? MSW_CLASS_FREE
                  : extra(&j->active[i]) < delta ? MSW_CLASS_PRUNED : MSW_CLASS_UNIFIED);
}

/* Take out what is labelled the same at both prices. */
static void settle(joint *j)
{
    size_t kept = 0, chosen = 0, pruned = 0;

    for (size_t i = 0; i < j->count; i++) {
        const uint32_t block = j->active[i].block;
        const msw_class lower = label_at(j, block, LOWER);
        const bool settled = lower == label_at(j, block, UPPER);

        chosen += settled & (lower != MSW_CLASS_FREE);
        pruned += settled & (lower == MSW_CLASS_PRUNED);
        j->active[kept] = j->active[i];
        kept += !settled;
    }
    j->count = kept;
    j->chosen -= chosen;
    j->prune -= pruned;
}

/* Bit patterns of two prices: of any sizes, 64 steps of bisecting them lead anywhere. */
typedef struct range {
    uint64_t lower, upper;
} range;

/* Prices at which nothing and everything chosen is pruned. */
static range price_range(const joint *j)
{
    double least = HUGE_VAL, most = DBL_MIN;

    for (size_t i = 0; i < j->count; i++) {
        const double x = extra(&j->active[i]);
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    return (range){least > 0 ? msw__double_bits(least) : 0, msw__double_bits(most) + 1};
}

/* Choose at both ends, and label and settle what they agree about. Each end moves to that
 * of @p all where it is on the wrong side. True when one of them prunes as many as asked
 * for; the labels there are then the lower ones. */
static bool choose_ends(joint *j, range *r, const range *all)
{
    size_t pruned = choose(j, msw__double_of(r->lower));

    if (pruned > j->prune) {
        r->lower = all->lower;
        pruned = choose(j, msw__double_of(r->lower));
    }
    label(j, msw__double_of(r->lower), LOWER);
    if (pruned == j->prune)
        return true;
    pruned = choose(j, msw__double_of(r->upper));
    if (pruned < j->prune) {
        r->upper = all->upper;
        pruned = choose(j, msw__double_of(r->upper));
    }
    label(j, msw__double_of(r->upper), pruned == j->prune ? LOWER : UPPER);
    if (pruned == j->prune)
        return true;
    settle(j);
    return false;
}

/* True when a price in @p r, where choose_ends() was, prunes as many as asked for; its
 * labels are then the lower ones. @p beyond, or NULL: becomes the narrowest range whose
 * ends prune @p margin blocks too few and too many. */
static bool bisect(joint *j, range *r, range *beyond, size_t margin)
{
    while (r->upper - r->lower > 1) {
        const uint64_t middle = r->lower + (r->upper - r->lower) / 2;
        const double delta = msw__double_of(middle);
        const size_t pruned = choose(j, delta);
        const bool few = pruned <= j->prune;

        *(few ? &r->lower : &r->upper) = middle;
        if (beyond && pruned + margin <= j->prune)
            beyond->lower = middle;
        if (beyond && pruned >= j->prune + margin)
            beyond->upper = middle;
        label(j, delta, few ? LOWER : UPPER);
        if (pruned == j->prune)
            return true;
        settle(j);
    }
    return false;
}

/* Where there are many blocks, the prices that some of them lead to: 3 standard deviations
 * of their number apart, or more, from the one that is looked for. A guess that is wrong
 * costs time and nothing else. */
typedef struct probe_size {
    uint32_t blocks;
    size_t margin, from; /* of so many blocks on */
} probe_size;

static const probe_size probe_sizes[] = {{1024, 48, 8192}, {256, 24, 1024}};

enum { MOST_PROBED = 1024 };

static range likely_range(const joint *j, const range *all)
{
    const probe_size *size = probe_sizes;
    msw__candidate some[MOST_PROBED];
    uint8_t labels[MOST_PROBED];
    joint probe = {labels, some, 0, 0, 0};
    range r = *all, beyond = *all;
    uint64_t random = 1;

    if (j->count < size->from)
        size++;
    if (j->count < size->from)
        return beyond;
    probe.count = size->blocks;
    for (uint32_t i = 0; i < size->blocks; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        some[i] = j->active[(size_t)((random >> 32) * j->count >> 32)];
        some[i].block = i;
        labels[i] = 0;
    }
    probe.chosen = (size_t)((double)j->chosen / (double)j->count * size->blocks);
    probe.prune = (size_t)((double)j->prune / (double)j->count * size->blocks);
    if (!choose_ends(&probe, &r, all))
        bisect(&probe, &r, &beyond, size->margin);
    return beyond;
}

/* True when a price prunes as many as asked for; the labels there are then the lower
 * ones. */
static bool find_price(joint *j)
{
    const range all = price_range(j);
    range r = likely_range(j, &all);

    return choose_ends(j, &r, &all) || bisect(j, &r, NULL, 0);
}

/* Give the lower label @p to to the first (or last) blocks of all @p count that go from
 * @p from to @p upper, at most @p most of them; how many it were. */
static size_t change(joint *j, size_t count, bool first, msw_class from, msw_class upper,
                     msw_class to, size_t most)
{
    size_t changed = 0;

    for (size_t i = 0; i < count && changed < most; i++) {
        const size_t block = first ? i : count - 1 - i;

        if (label_at(j, block, LOWER) == from && label_at(j, block, UPPER) == upper) {
            set_label(j, block, LOWER, to);
            changed++;
        }
    }
    return changed;
}

/* The number pruned jumps between the two prices: prune the rest one by one. */
static void break_ties(joint *j, size_t count)
{
    size_t need = j->prune;

    for (size_t i = 0; i < j->count; i++)
        need -= label_at(j, j->active[i].block, LOWER) == MSW_CLASS_PRUNED;
    need -= change(j, count, true, MSW_CLASS_UNIFIED, MSW_CLASS_PRUNED, MSW_CLASS_PRUNED,
                   need);
    need = change(j, count, false, MSW_CLASS_UNIFIED, MSW_CLASS_FREE, MSW_CLASS_FREE,
                  need);
    change(j, count, true, MSW_CLASS_FREE, MSW_CLASS_PRUNED, MSW_CLASS_PRUNED, need);
}

void msw__project_classes(uint8_t *classes, msw__candidate *candidates, size_t count,
                          size_t prune, size_t unify)
{
    joint j = {classes, candidates, count, prune + unify, prune};

    memset(classes, MSW_CLASS_FREE, count);
    if (j.chosen == 0)
        return;
    if (!find_price(&j))
        break_ties(&j, count);
    for (size_t b = 0; b < count; b++)
        classes[b] &= LABEL;
}
