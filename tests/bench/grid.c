/* SPDX-License-Identifier: BSD-2-Clause */
/* Never slower than the BLAS: a walk over many products, tuned. The file keeps one line
 * for each that is done, so that a later run goes on where this one ended. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CELLS = 400, MOST_PRODUCTS = 1 << 28, TRIES = 6 };
static const double allowed_ratio = 1.05, allowed_seconds = 100e-9;

typedef struct totals {
    int cells, slower, model_loses;
} totals;

static const size_t sides[] = {16, 20, 64, 100, 256, 500, 512, 1024, 2048, 4096};
static const size_t columns[] = {1, 2, 4, 8, 16, 32, 49, 64, 196, 256, 784, 1024};
static const unsigned blocks[][2] = {{1, 1}, {4, 4}, {8, 8}, {1, 8}, {16, 16}, {8, 4}, {3, 5}};
static const unsigned mixes[][2] = {{0, 0}, {0, 100}, {50, 40}, {75, 20}, {90, 10}, {95, 0},
                                    {50, 0}};

#define PICK(a, seed) (a)[random_below(seed, (uint32_t)(sizeof(a) / sizeof *(a)))]

static cell next_cell(uint32_t *seed)
{
    for (;;) {
        const unsigned *block = PICK(blocks, seed), *mix = PICK(mixes, seed);
        const cell c = {PICK(sides, seed), PICK(sides, seed), PICK(columns, seed), block[0],
                        block[1], mix[0], mix[1]};

        if (c.m * c.k * c.n <= MOST_PRODUCTS)
            return c;
    }
}

static size_t lines_in(const char *file)
{
    FILE *f = fopen(file, "r");
    size_t lines = 0;
    int ch;

    while (f && (ch = getc(f)) != EOF)
        lines += ch == '\n';
    if (f)
        fclose(f);
    return lines;
}

static bool slower(const result *r)
{
    return r->own > r->rival * allowed_ratio && r->own > r->rival + allowed_seconds;
}

/* Does what the cost model chooses lose? It may choose the BLAS, too. */
static bool model_loses(msw_context *ctx, const settings *s, const cell *c, const rival *blas)
{
    settings untuned = *s;
    result r;

    untuned.tune = false;
    r = measure_cell(ctx, &untuned, c, blas, 1);
    return slower(&r);
}

static void run_one(msw_context *ctx, const settings *s, const cell *c, const rival *blas,
                    FILE *f, totals *t)
{
    const rival twice[2] = {*blas, *blas};
    result r = measure_cell(ctx, s, c, twice, 2);
    const double noise = r.rivals[0] / r.rivals[1];
    bool loses;

    r.rival = r.rivals[0];
    for (int i = 1; i < TRIES && slower(&r); i++)
        r = measure_cell(ctx, s, c, blas, 1);
    loses = model_loses(ctx, s, c, blas);
    t->cells++;
    t->slower += slower(&r);
    t->model_loses += loses;
    fprintf(f, "{\"M\":%zu,\"K\":%zu,\"N\":%zu,\"block\":\"%ux%u\",\"mix\":\"%u/%u/%u\","
            "\"kernel\":\"%s\",\"seconds_msw\":%.4g,\"seconds_rival\":%.4g,\"ratio\":%.3f,"
            "\"noise\":%.3f,\"slower\":%d,\"model_loses\":%d}\n", c->m, c->k, c->n,
            c->block_rows, c->block_columns, c->pruned, c->unified,
            100 - c->pruned - c->unified, r.kernel, r.own, r.rival, r.rival / r.own, noise,
            slower(&r), loses);
    fflush(f);
}

int run_grid(const settings *s, const rival *blas, const char *file)
{
    const size_t done = lines_in(file);
    msw_context *ctx = make_context(s, s->threads);
    FILE *f = checked(fopen(file, "a"));
    settings here = *s;
    uint32_t seed = 2026;
    totals t = {0};

    here.tune = here.fallback = here.warm = true;
    for (size_t i = 0; i < CELLS; i++) {
        const cell c = next_cell(&seed);

        if (i >= done)
            run_one(ctx, &here, &c, blas, f, &t);
    }
    fclose(f);
    msw_context_free(ctx);
    printf("%d products measured now, %zu before: slower than the BLAS %d; the cost model "
           "alone in %d\n", t.cells, done, t.slower, t.model_loses);
    return t.slower != 0;
}
