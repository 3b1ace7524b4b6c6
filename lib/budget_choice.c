/* SPDX-License-Identifier: BSD-2-Clause */
/* The joint choice of classes in all layers under one resource.
 *
 * At a price for a unit of the resource each block takes the class of least scaled cost
 * plus price. What all take together falls as the price rises: the price is bisected, in
 * the bit pattern of the double, until two neighbours are left, one that fits and one that
 * does not. What changes between them weighs the same, and is taken as far as it fits.
 *
 * Bounds on the number of pruned or unified blocks of a layer: where the unbounded choice
 * violates one, the number of that class is fixed at the bound, the blocks to be of it are
 * those for which it costs least more than the best other class, and the others choose
 * freely. Where that violates the bound of the other class, that one is tried alone; and if
 * neither does, both numbers are fixed and the choice is the joint projection. For blocks
 * of one size that is the least at the price. */
#include "budget.h"
#include "bytes.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Labels of two prices to a byte: of the one that fits, and of the lower one. */
enum { FITS = 0, LOWER = 2, LABEL = 3, NO_SIDE = 8 };

/* How many blocks, by kind and class. */
typedef struct counts {
    size_t of[MSW__BLOCK_KINDS][MSW__CLASSES];
} counts;

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

static double cost_of(const msw__share *s, const msw__candidate *x, unsigned class)
{
    if (class == MSW_CLASS_FREE)
        return 0;
    return s->scale * square(class == MSW_CLASS_PRUNED ? x->prune : x->unify);
}

/* HUGE_VAL for a class that may not be. */
static double price_of(const msw__share *s, const msw__candidate *x, unsigned class,
                       double price)
{
    if (class != MSW_CLASS_FREE && s->most[class] == 0)
        return HUGE_VAL;
    return cost_of(s, x, class) +
           price * s->amount[msw__share_block_kind(s, x->block)][class];
}

/* The class of least cost and price but for @p not; of equals the smaller one in the
 * resource. */
static unsigned cheapest(const msw__share *s, const msw__candidate *x, double price,
                         unsigned not)
{
    static const unsigned order[MSW__CLASSES] = {MSW_CLASS_PRUNED, MSW_CLASS_UNIFIED,
                                                 MSW_CLASS_FREE};
    unsigned best = MSW_CLASS_FREE;
    double least = HUGE_VAL;

    for (size_t i = 0; i < MSW__CLASSES; i++) {
        double cost;

        if (order[i] == not)
            continue;
        cost = price_of(s, x, order[i], price);
        if (cost < least) {
            least = cost;
            best = order[i];
        }
    }
    return best;
}

static void set_label(msw__share *s, size_t block, unsigned side, unsigned class)
{
    s->classes[block] = (uint8_t)((s->classes[block] & ~((unsigned)LABEL << side)) |
                                  class << side);
}

static unsigned label_of(const msw__share *s, size_t block, unsigned side)
{
    return s->classes[block] >> side & LABEL;
}

/* Selection, in place, of the candidates for which a class costs least more than the best
 * other one. */

typedef struct key {
    double cost;
    uint32_t block;
} key;

static key key_of(const msw__share *s, const msw__candidate *x, double price, unsigned class)
{
    const unsigned other = cheapest(s, x, price, class);

    return (key){price_of(s, x, class, price) - price_of(s, x, other, price), x->block};
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

static size_t total(const counts *n, unsigned class)
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
static counts label_with(msw__share *s, double price, unsigned side, unsigned class,
                         size_t n)
{
    const size_t blocks = s->plan->block_count;
    const bool fixed = class != MSW_CLASS_FREE;
    counts c = {{{0}}};

    if (fixed)
        select_first(s, n, price, class);
    for (size_t i = 0; i < blocks; i++) {
        const msw__candidate *x = &s->candidates[i];
        const unsigned label = fixed && i < n
                                   ? class
                                   : cheapest(s, x, price, fixed ? class : LABEL);

        c.of[msw__share_block_kind(s, x->block)][label]++;
        if (side != NO_SIDE)
            set_label(s, x->block, side, label);
    }
    return c;
}

/* Both numbers: no price matters any more. */
static counts label_jointly(msw__share *s, unsigned side, size_t prune, size_t unify,
                            void *spare)
{
    const size_t blocks = s->plan->block_count;
    msw__candidate *candidates = spare;
    uint8_t *labels = (uint8_t *)(candidates + blocks);
    counts c = {{{0}}};

    unify = unify < blocks - prune ? unify : blocks - prune;
    memcpy(candidates, s->candidates, blocks * sizeof *candidates);
    msw__project_classes(labels, candidates, blocks, prune, unify);
    for (size_t b = 0; b < blocks; b++) {
        c.of[msw__share_block_kind(s, b)][labels[b]]++;
        if (side != NO_SIDE)
            set_label(s, b, side, labels[b]);
    }
    return c;
}

/* What a layer comes to at a price, and which numbers a bound has fixed. */
typedef struct choice {
    counts counts;
    bool bound[MSW__CLASSES];
} choice;

static choice label_layer(msw__share *s, double price, unsigned side, void *spare)
{
    choice c = {.counts = label_with(s, price, side, MSW_CLASS_FREE, 0)};
    size_t wanted[MSW__CLASSES] = {0};

    if (!msw__share_bounded(s))
        return c;
    for (unsigned k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++)
        wanted[k] = clamp(s, total(&c.counts, k), k);
    if (wanted[MSW_CLASS_PRUNED] == total(&c.counts, MSW_CLASS_PRUNED) &&
        wanted[MSW_CLASS_UNIFIED] == total(&c.counts, MSW_CLASS_UNIFIED))
        return c;
    for (unsigned k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++) {
        const unsigned other = MSW_CLASS_PRUNED + MSW_CLASS_UNIFIED - k;

        if (wanted[k] == total(&c.counts, k))
            continue;
        c.counts = label_with(s, price, side, k, wanted[k]);
        if (within(s, total(&c.counts, other), other)) {
            c.bound[k] = true;
            return c;
        }
        wanted[other] = clamp(s, total(&c.counts, other), other);
    }
    c.counts = label_jointly(s, side, wanted[MSW_CLASS_PRUNED], wanted[MSW_CLASS_UNIFIED],
                             spare);
    c.bound[MSW_CLASS_PRUNED] = c.bound[MSW_CLASS_UNIFIED] = true;
    return c;
}

static double amount_of(const msw__share *s, const counts *n)
{
    double amount = s->fixed;

    for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++)
        for (size_t class = 0; class < MSW__CLASSES; class++)
            amount += (double)n->of[kind][class] * s->amount[kind][class];
    return amount;
}

double msw__share_amount(const msw__share *s)
{
    counts n = {{{0}}};

    for (size_t b = 0; b < s->plan->block_count; b++)
        n.of[msw__share_block_kind(s, b)][s->classes[b]]++;
    return amount_of(s, &n);
}

/* All layers */

typedef struct joint {
    msw__share *shares;
    size_t count;
    double room;
    void *spare;
} joint;

static double amount_at(const joint *j, double price, unsigned side)
{
    double amount = 0;

    for (size_t i = 0; i < j->count; i++) {
        const choice c = label_layer(&j->shares[i], price, side, j->spare);

        amount += amount_of(&j->shares[i], &c.counts);
    }
    return amount;
}

/* Twice what the largest cost is for the least amount that two classes differ by: there
 * no cost counts any more. */
static double highest_price(const joint *j)
{
    double most = DBL_MIN, least = HUGE_VAL;

    for (size_t i = 0; i < j->count; i++) {
        const msw__share *s = &j->shares[i];

        for (size_t b = 0; b < s->plan->block_count; b++)
            most = fmax(most, s->scale * square(s->candidates[b].prune));
        for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++)
            for (size_t a = 0; a < MSW__CLASSES; a++)
                for (size_t b = 0; b < a; b++) {
                    const double gap = fabs(s->amount[kind][a] - s->amount[kind][b]);

                    if (gap > 0)
                        least = fmin(least, gap);
                }
    }
    return fmin(2 * most / least, DBL_MAX);
}

static void keep_fitting(msw__share *s)
{
    for (size_t b = 0; b < s->plan->block_count; b++)
        s->classes[b] &= LABEL;
}

/* Whether a block may go from one class to another: a number that a bound has fixed must
 * stay, and no other may leave its bounds. */
static bool may_change(const msw__share *s, const choice *c, const size_t *n, unsigned from,
                       unsigned to)
{
    if (c->bound[from] || c->bound[to])
        return false;
    if (from != MSW_CLASS_FREE && n[from] <= s->least[from])
        return false;
    return to == MSW_CLASS_FREE || n[to] < s->most[to];
}

/* What the lower price would have, as far as there is room. */
static double take_partly(msw__share *s, const choice *c, double amount, double room)
{
    size_t n[MSW__CLASSES];

    for (unsigned k = 0; k < MSW__CLASSES; k++)
        n[k] = total(&c->counts, k);
    for (size_t b = 0; b < s->plan->block_count; b++) {
        const unsigned from = label_of(s, b, FITS), to = label_of(s, b, LOWER);
        const double *of = s->amount[msw__share_block_kind(s, b)];

        if (from == to || !(amount + (of[to] - of[from]) <= room) ||
            !may_change(s, c, n, from, to))
            continue;
        set_label(s, b, FITS, to);
        amount += of[to] - of[from];
        n[from]--;
        n[to]++;
    }
    return amount;
}

static double distance_of(const msw__share *s)
{
    double distance = 0;

    for (size_t i = 0; i < s->plan->block_count; i++)
        distance += cost_of(s, &s->candidates[i], s->classes[s->candidates[i].block]);
    return distance;
}

static void by_block(msw__share *s)
{
    msw__candidate *x = s->candidates;

    for (size_t i = 0; i < s->plan->block_count; i++)
        while (x[i].block != i)
            exchange(&x[i], &x[x[i].block]);
}

msw__outcome msw__share_out(msw__share *shares, size_t count, double room, void *spare)
{
    const joint j = {shares, count, room, spare};
    uint64_t lower = 0, fits = msw__double_bits(highest_price(&j));
    msw__outcome out = {0};

    out.reached = true;
    if (amount_at(&j, 0, NO_SIDE) <= room) {
        fits = 0;
    } else if (!(amount_at(&j, msw__double_of(fits), NO_SIDE) <= room)) {
        out.reached = false;
        lower = fits;
    }
    while (out.reached && fits > lower + 1) {
        const uint64_t middle = lower + (fits - lower) / 2;

        if (amount_at(&j, msw__double_of(middle), NO_SIDE) <= room)
            fits = middle;
        else
            lower = middle;
    }
    out.price = msw__double_of(fits);
    out.amount = amount_at(&j, out.price, FITS);
    for (size_t i = 0; i < count && fits > lower; i++) {
        const choice c = label_layer(&shares[i], out.price, FITS, spare);

        label_layer(&shares[i], msw__double_of(lower), LOWER, spare);
        out.amount = take_partly(&shares[i], &c, out.amount, room);
    }
    for (size_t i = 0; i < count; i++) {
        keep_fitting(&shares[i]);
        out.distance += distance_of(&shares[i]);
        if (msw__share_bounded(&shares[i]))
            by_block(&shares[i]);
    }
    return out;
}

/* Partitions */

/* Cost and amount of a share at a price. */
static double weigh(double *amount, msw__share *s, double price, void *spare)
{
    const choice c = label_layer(s, price, FITS, spare);
    double cost = 0;

    for (size_t i = 0; i < s->plan->block_count; i++) {
        const msw__candidate *x = &s->candidates[i];

        cost += cost_of(s, x, label_of(s, x->block, FITS));
    }
    *amount = amount_of(s, &c.counts);
    return cost;
}

/* Of each layer the share that costs least with its price; what all take. Of equals the
 * first. */
static double pick_at(size_t *picked, msw__share *shares, const size_t *first,
                      size_t layers, double price, void *spare)
{
    double all = 0;

    for (size_t l = 0; l < layers; l++) {
        double least = HUGE_VAL, taken = 0;

        picked[l] = first[l];
        for (size_t i = first[l]; i < first[l + 1]; i++) {
            double amount;
            const double cost = weigh(&amount, &shares[i], price, spare) + price * amount;

            if (cost < least) {
                least = cost;
                taken = amount;
                picked[l] = i;
            }
        }
        all += taken;
    }
    return all;
}

void msw__share_pick(size_t *picked, msw__share *shares, const size_t *first, size_t layers,
                     double room, void *spare)
{
    const joint j = {shares, first[layers], room, spare};
    uint64_t lower = 0, fits = msw__double_bits(highest_price(&j));

    if (pick_at(picked, shares, first, layers, 0, spare) <= room)
        fits = 0;
    else if (!(pick_at(picked, shares, first, layers, msw__double_of(fits), spare) <= room))
        lower = fits;
    while (fits > lower + 1) {
        const uint64_t middle = lower + (fits - lower) / 2;

        if (pick_at(picked, shares, first, layers, msw__double_of(middle), spare) <= room)
            fits = middle;
        else
            lower = middle;
    }
    pick_at(picked, shares, first, layers, msw__double_of(fits), spare);
    for (size_t i = 0; i < first[layers]; i++) {
        memset(shares[i].classes, MSW_CLASS_FREE, shares[i].plan->block_count);
        by_block(&shares[i]);
    }
}
