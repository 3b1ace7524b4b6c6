/* SPDX-License-Identifier: BSD-2-Clause */
#include "envelope.h"

#include <math.h>

/* With prices alpha and beta of sum u and sum w, a block minimises
 *
 *   c / (u + lambda) + g / (w + lambda) + alpha u + beta w
 *
 * alone: u + lambda = sqrt(c / alpha) and w + lambda = sqrt(g / beta), and where that gives
 * u > w both + lambda = sqrt((c + g) / (alpha + beta)); then cut to [0, 1]. The sums fall as
 * their prices rise, sum w also where alpha is always the one for its beta: the dual function
 * is concave, and stays so when it is maximised over alpha. */

typedef struct envelope {
    msw__envelope_block *blocks;
    size_t count;
    double free, kept, lambda;
    double alpha, beta;
    double alpha_most, beta_most; /* at which all u, all w are 0 */
} envelope;

/* Stands for 1 / sqrt(0): any float but 0 times it is far more than 1. */
#define UNBOUNDED 1e150
/* Of the sums; that of u is the argument of the other search. */
#define TOLERANCE 1e-11
enum { STEPS = 200 };
/* So that rounding leaves nothing above 0. */
#define ABOVE (1 + 1e-9)

static double inverse_root(double price)
{
    return price > 0 ? 1 / sqrt(price) : UNBOUNDED;
}

static double cut(double x)
{
    return x > 0 ? (x < 1 ? x : 1) : 0;
}

typedef struct prices {
    double rest, mean, both; /* 1 / sqrt() of alpha, beta and their sum */
} prices;

static prices prices_of(const envelope *e)
{
    return (prices){inverse_root(e->alpha), inverse_root(e->beta),
                    inverse_root(e->alpha + e->beta)};
}

static void of_block(double *u, double *w, const msw__envelope_block *x, const prices *p,
                     double lambda)
{
    *u = (double)x->rest * p->rest - lambda;
    *w = (double)x->mean * p->mean - lambda;
    if (*u > *w)
        *u = *w = (double)x->whole * p->both - lambda;
    *u = cut(*u);
    *w = cut(*w);
}

static void sum_up(double *all_u, double *all_w, const envelope *e)
{
    const prices p = prices_of(e);

    *all_u = *all_w = 0;
    for (size_t b = 0; b < e->count; b++) {
        double u, w;

        of_block(&u, &w, &e->blocks[b], &p, e->lambda);
        *all_u += u;
        *all_w += w;
    }
}

/* How much more than asked for. */
static double excess_free(envelope *e, double alpha)
{
    double u, w;

    e->alpha = alpha;
    sum_up(&u, &w, e);
    return u - e->free;
}

/* The price at which nothing is in excess: 0, or a root of a falling function. Regula falsi
 * that halves the older value (Illinois), and the geometric mean where that is slow. */
static void search(envelope *e, double most, double goal,
                   double (*excess)(envelope *e, double price))
{
    double low = most * 1e-60, high = most, at_low, at_high = -goal;
    int side = 0;

    if (excess(e, 0) <= TOLERANCE * goal)
        return;
    at_low = excess(e, low);
    if (!(goal > 0) || !(at_low > 0)) {
        excess(e, goal > 0 ? low : most);
        return;
    }
    for (int i = 0; i < STEPS && high > low * (1 + 1e-15); i++) {
        double price = i % 4 == 3 || !(high < 4 * low)
                           ? sqrt(low) * sqrt(high)
                           : (low * at_high - high * at_low) / (at_high - at_low);
        double x;

        if (!(price > low && price < high))
            price = low + (high - low) / 2;
        x = excess(e, price);
        if (fabs(x) <= TOLERANCE * goal)
            return;
        if (x > 0) {
            low = price;
            at_low = x;
            at_high = side > 0 ? at_high / 2 : at_high;
            side = 1;
        } else {
            high = price;
            at_high = x;
            at_low = side < 0 ? at_low / 2 : at_low;
            side = -1;
        }
    }
    excess(e, high);
}

/* With no pruned block more there is none to unify: alpha is 0, unless it is needed. */
static double excess_kept(envelope *e, double beta)
{
    double u, w;

    e->beta = beta;
    e->alpha = 0;
    if (e->free < e->kept)
        search(e, e->alpha_most, e->free, excess_free);
    sum_up(&u, &w, e);
    return w - e->kept;
}

static float factor(double share, double lambda)
{
    return (float)((1 + lambda) * share / (share + lambda));
}

void msw__envelope(msw__envelope_block *blocks, size_t count, size_t free, size_t kept,
                   double lambda)
{
    envelope e = {.blocks = blocks, .count = count, .free = (double)free,
                  .kept = (double)kept, .lambda = lambda};
    prices p;

    for (size_t b = 0; b < count; b++) {
        const double rest = (double)blocks[b].rest / lambda;
        const double whole = (double)blocks[b].whole / lambda;

        e.alpha_most = fmax(e.alpha_most, ABOVE * rest * rest);
        e.beta_most = fmax(e.beta_most, ABOVE * whole * whole);
    }
    search(&e, e.beta_most, e.kept, excess_kept);
    p = prices_of(&e);
    for (size_t b = 0; b < count; b++) {
        double u, w;

        of_block(&u, &w, &blocks[b], &p, lambda);
        blocks[b].rest = factor(u, lambda);
        blocks[b].mean = factor(w, lambda);
    }
}
