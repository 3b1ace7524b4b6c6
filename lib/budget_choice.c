/* SPDX-License-Identifier: BSD-2-Clause */
/* The joint choice of classes in all layers under one resource.
 *
 * At a price for a unit of the resource each block takes the class of least scaled cost
 * plus price. What all take together falls as the price rises: the price is bisected, in
 * the bit pattern of the double, until two neighbours are left, one that fits and one that
 * does not. What changes between them weighs the same, and is taken as far as it fits. */
#include "budget_layer.h"
#include "bytes.h"

#include <float.h>
#include <math.h>
#include <string.h>

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
        const msw__layer_choice c = msw__share_label(&j->shares[i], price, side, j->spare);

        amount += c.amount;
    }
    return amount;
}

/* Trees may differ by less than counts; that a node costs as much as its blocks together, at
 * most 256, is nothing beside it. */
#define LEAST_GAP 1e-6

/* Twice what the largest cost is for the least amount that two classes differ by: there
 * no cost counts any more. */
static double highest_price(const joint *j)
{
    double most = DBL_MIN, least = HUGE_VAL;

    for (size_t i = 0; i < j->count; i++) {
        const msw__share *s = &j->shares[i];

        for (size_t b = 0; b < s->plan->block_count; b++)
            most = fmax(most, msw__share_cost(s, &s->candidates[b], MSW_CLASS_PRUNED));
        if (s->tree)
            least = fmin(least, LEAST_GAP);
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
    if (s->tree) {
        msw__tree_keep_fitting(s->tree);
        return;
    }
    for (size_t b = 0; b < s->plan->block_count; b++)
        s->classes[b] &= MSW__LABEL;
}

/* Whether a block may go from one class to another: a number that a bound has fixed must
 * stay, and no other may leave its bounds. */
static bool may_change(const msw__share *s, const msw__layer_choice *c, const size_t *n,
                       unsigned from, unsigned to)
{
    if (c->bound[from] || c->bound[to])
        return false;
    if (from != MSW_CLASS_FREE && n[from] <= s->least[from])
        return false;
    return to == MSW_CLASS_FREE || n[to] < s->most[to];
}

/* What the lower price would have, as far as there is room. */
static double take_partly(msw__share *s, const msw__layer_choice *c, double amount,
                          double room)
{
    size_t n[MSW__CLASSES];

    if (s->tree)
        return msw__tree_take_partly(s->tree, amount, room);
    for (unsigned k = 0; k < MSW__CLASSES; k++)
        n[k] = msw__counts_total(&c->counts, k);
    for (size_t b = 0; b < s->plan->block_count; b++) {
        const unsigned from = msw__label_of(s, b, MSW__FITS);
        const unsigned to = msw__label_of(s, b, MSW__LOWER);
        const double *of = s->amount[msw__share_block_kind(s, b)];

        if (from == to || !(amount + (of[to] - of[from]) <= room) ||
            !may_change(s, c, n, from, to))
            continue;
        msw__set_label(s, b, MSW__FITS, to);
        amount += of[to] - of[from];
        n[from]--;
        n[to]++;
    }
    return amount;
}

static double distance_of(const msw__share *s)
{
    double distance = 0;

    if (s->tree)
        return msw__tree_sum_of(s->tree, MSW__FITS).distance;
    for (size_t i = 0; i < s->plan->block_count; i++) {
        const msw__candidate *x = &s->candidates[i];

        distance += msw__share_cost(s, x, s->classes[x->block]);
    }
    return distance;
}

msw__outcome msw__share_out(msw__share *shares, size_t count, double room, void *spare)
{
    const joint j = {shares, count, room, spare};
    uint64_t lower = 0, fits = msw__double_bits(highest_price(&j));
    msw__outcome out = {0};

    out.reached = true;
    if (amount_at(&j, 0, MSW__NO_SIDE) <= room) {
        fits = 0;
    } else if (!(amount_at(&j, msw__double_of(fits), MSW__NO_SIDE) <= room)) {
        out.reached = false;
        lower = fits;
    }
    while (out.reached && fits > lower + 1) {
        const uint64_t middle = lower + (fits - lower) / 2;

        if (amount_at(&j, msw__double_of(middle), MSW__NO_SIDE) <= room)
            fits = middle;
        else
            lower = middle;
    }
    out.price = msw__double_of(fits);
    out.amount = amount_at(&j, out.price, MSW__FITS);
    for (size_t i = 0; i < count && fits > lower; i++) {
        const msw__layer_choice c =
            msw__share_label(&shares[i], out.price, MSW__FITS, spare);

        msw__share_label(&shares[i], msw__double_of(lower), MSW__LOWER, spare);
        out.amount = take_partly(&shares[i], &c, out.amount, room);
    }
    for (size_t i = 0; i < count; i++) {
        keep_fitting(&shares[i]);
        out.distance += distance_of(&shares[i]);
        if (msw__share_bounded(&shares[i]))
            msw__share_sort(&shares[i]);
    }
    return out;
}

/* Partitions */

/* Cost and amount of a share at a price. */
static double weigh(double *amount, msw__share *s, double price, void *spare)
{
    const msw__layer_choice c = msw__share_label(s, price, MSW__FITS, spare);
    double cost = c.cost;

    *amount = c.amount;
    for (size_t i = 0; !s->tree && i < s->plan->block_count; i++) {
        const msw__candidate *x = &s->candidates[i];

        cost += msw__share_cost(s, x, msw__label_of(s, x->block, MSW__FITS));
    }
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
        if (shares[i].tree)
            memset(shares[i].tree->levels, 0, shares[i].plan->block_count);
        msw__share_sort(&shares[i]);
    }
}
