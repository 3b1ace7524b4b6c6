/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice for a target, where what blocks take is measured. */
#include "budget.h"

#include <math.h>

enum { ATTEMPTS = 12, ROUNDS = 3 /* of learning */ };
#define BYTE_OF_BIT 0.125

/* Of the target: what the next attempt aims at, and what no further one is made for. */
#define AIM 0.9975
#define CLOSE 0.995

double msw__share_all_free(const msw__share *s)
{
    double amount = s->fixed;

    if (s->tree)
        return amount + msw__tree_all_free(s->tree);
    for (size_t b = 0; b < s->plan->block_count; b++)
        amount += s->amount[msw__share_block_kind(s, b)][MSW_CLASS_FREE];
    return amount;
}

double msw__budget_around(const msw__budget_part *parts, size_t count, double rest)
{
    double around = count ? rest + msw__resource_frame(parts[0].resource.resource) : rest;

    for (size_t i = 0; i < count; i++)
        if (parts[i].share.tree)
            return around + msw__resource_merge_frame();
    return around;
}

static msw_status make_shares(msw__share **shares, void **spare, size_t *spare_size,
                              msw_context *ctx, const msw__budget_part *parts, size_t count)
{
    msw_status status;
    void *memory;

    *spare = NULL;
    *spare_size = 0;
    status = msw__alloc(&memory, ctx, count, sizeof **shares);
    *shares = memory;
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        const size_t blocks = parts[i].plan->block_count;

        (*shares)[i] = parts[i].share;
        if (msw__share_bounded(&parts[i].share) && *spare_size < blocks)
            *spare_size = blocks;
    }
    status = msw__alloc(spare, ctx, *spare_size, MSW__SPARE_BYTES);
    if (status)
        msw__free(ctx, *shares, count, sizeof **shares);
    return status;
}

static msw_status measure_all(double *out, const msw__budget_part *parts, size_t count)
{
    msw_status status = MSW_OK;

    *out = 0;
    for (size_t i = 0; i < count && !status; i++) {
        double amount;

        status = msw__resource_measure(&amount, &parts[i].share, &parts[i].resource,
                                       parts[i].plan, parts[i].weights);
        *out += amount;
    }
    return status;
}

static bool any_measured(const msw__budget_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (msw__resource_measured(&parts[i].resource))
            return true;
    return false;
}

/* What trees have learnt from choices made before. */
static void forget_learnt(msw__share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (shares[i].tree)
            shares[i].tree->amounts = shares[i].tree->first;
}

/* Trees where amounts are measured: what it takes to say them is that of a choice made
 * before. */
static msw_status learn(msw__budget_part *parts, msw__share *shares, size_t count,
                        double target, void *spare)
{
    double room = target;
    msw_status status = MSW_OK;
    bool any = false;

    forget_learnt(shares, count);
    for (size_t i = 0; i < count; i++)
        any = any || (shares[i].tree && msw__resource_measured(&parts[i].resource));
    for (int round = 0; any && round < ROUNDS && !status; round++) {
        const msw__outcome found = msw__share_out(shares, count, room, spare);
        double amount;

        for (size_t i = 0; i < count; i++)
            if (shares[i].tree && msw__resource_measured(&parts[i].resource))
                msw__tree_learn(shares[i].tree, BYTE_OF_BIT);
        status = measure_all(&amount, parts, count);
        room = fmax(found.amount + (AIM * target - amount), target / 2);
    }
    return status;
}

/* What is really taken by what fits a room, as a function of the room, brought close below
 * the target: between the largest room found to be small enough and the smallest one found
 * to be too large, first by what was taken too much or too little. */
static msw_status solve_measured(msw__outcome *out, msw__budget_part *parts,
                                 msw__share *shares, size_t count, double target,
                                 void *spare)
{
    double low = 0, high = HUGE_VAL, room = target, best = -1, best_amount = 0;
    msw_status status = MSW_OK;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        double amount;

        *out = msw__share_out(shares, count, room, spare);
        status = measure_all(&amount, parts, count);
        if (status)
            return status;
        if (amount <= target) {
            low = room;
            if (amount >= best_amount) {
                best = room;
                best_amount = amount;
            }
            if (amount >= CLOSE * target || out->price == 0)
                break;
        } else if (!out->reached) {
            break; /* this is the least */
        } else {
            high = out->amount; /* more room than that gives the same or more */
        }
        room = out->amount + (AIM * target - amount);
        if (!(room > low && room < high))
            room = isfinite(high) ? (low + high) / 2 : 2 * low;
    }
    if (best >= 0) {
        *out = msw__share_out(shares, count, best, spare);
        out->reached = true;
        out->amount = best_amount;
    } else {
        *out = msw__share_out(shares, count, 0, spare);
        status = measure_all(&out->amount, parts, count);
        out->reached = out->amount <= target;
    }
    return status;
}

msw_status msw__budget_solve(msw__outcome *out, msw_context *ctx, msw__budget_part *parts,
                             size_t count, double target, double rest)
{
    const double around = msw__budget_around(parts, count, rest), room = target - around;
    msw__share *shares;
    size_t spare_size;
    msw_status status;
    void *spare;

    *out = (msw__outcome){0};
    status = make_shares(&shares, &spare, &spare_size, ctx, parts, count);
    if (status)
        return status;
    status = learn(parts, shares, count, room, spare);
    if (!status && any_measured(parts, count) && room > 0)
        status = solve_measured(out, parts, shares, count, room, spare);
    else if (!status)
        *out = msw__share_out(shares, count, room, spare);
    out->amount += around;
    msw__free(ctx, spare, spare_size, MSW__SPARE_BYTES);
    msw__free(ctx, shares, count, sizeof *shares);
    return status;
}

msw_status msw__budget_pick(size_t *picked, msw_context *ctx, const msw__budget_part *parts,
                            const size_t *first, size_t layers, double target, double rest)
{
    msw__share *shares;
    size_t spare_size;
    msw_status status;
    void *spare;

    status = make_shares(&shares, &spare, &spare_size, ctx, parts, first[layers]);
    if (status)
        return status;
    forget_learnt(shares, first[layers]); /* whatever was chosen before */
    msw__share_pick(picked, shares, first, layers,
                    target - msw__budget_around(parts, first[layers], rest), spare);
    msw__free(ctx, spare, spare_size, MSW__SPARE_BYTES);
    msw__free(ctx, shares, first[layers], sizeof *shares);
    return MSW_OK;
}
