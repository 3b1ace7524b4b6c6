/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels are meant to reach, and where they stand; and from which share of
 * pruned and unified blocks on they are faster than the dense libraries. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Ratios to the fastest dense library. */
typedef struct goal {
    const char *group;
    cell c;
    bool hot;
    double must, goal;
} goal;

static const goal goals[] = {
    {"unified", {512, 512, 1024, 8, 8, 0, 100}, false, 2.3, 3.0},
    {"unified", {1024, 1024, 256, 8, 8, 0, 100}, false, 2.4, 3.0},
    {"unified", {2048, 512, 192, 8, 8, 0, 100}, false, 2.4, 3.0},
    {"unified", {2048, 2048, 512, 8, 8, 0, 100}, false, 2.7, 3.0},
    {"convolution's shape", {512, 4608, 196, 8, 8, 0, 100}, false, 2.2, 2.6},
    {"convolution's shape", {256, 2304, 784, 8, 8, 0, 100}, false, 2.2, 2.6},
    {"convolution's shape", {64, 576, 3136, 8, 8, 0, 100}, false, 1.6, 2.1},
    {"few columns", {512, 512, 16, 8, 8, 0, 100}, false, 2.4, 3.3},
    {"few columns", {512, 512, 8, 8, 8, 0, 100}, false, 4, 5.5},
    {"few columns", {4096, 4096, 8, 8, 8, 0, 100}, false, 6, 8},
    {"few columns", {512, 512, 4, 8, 8, 0, 100}, true, 7, 10},
    {"few columns", {4096, 4096, 4, 8, 8, 0, 100}, true, 12, 16},
    {"one column", {512, 512, 1, 8, 8, 0, 100}, true, 6.5, 9},
    {"one column", {2048, 2048, 1, 8, 8, 0, 100}, true, 11, 15},
    {"one column", {4096, 4096, 1, 8, 8, 0, 100}, true, 18, 25},
    {"one column", {512, 512, 1, 4, 4, 0, 100}, true, 5, 7},
    {"one column", {4096, 4096, 1, 4, 4, 0, 100}, true, 12, 16},
    {"mixed", {512, 512, 768, 8, 8, 50, 40}, false, 2.5, 3.2},
    {"mixed", {512, 512, 768, 4, 4, 50, 40}, false, 2.1, 2.7},
    {"mixed", {512, 512, 768, 8, 8, 75, 20}, false, 3.9, 5.0},
    {"mixed", {512, 512, 768, 8, 8, 90, 10}, false, 6.5, 9},
    {"pruned", {512, 512, 768, 8, 8, 50, 0}, false, 1.8, 1.95},
    {"pruned", {512, 512, 768, 8, 8, 75, 0}, false, 3.4, 3.8},
    {"pruned", {512, 512, 768, 8, 8, 90, 0}, false, 7.5, 9},
    {"pruned", {512, 512, 768, 8, 8, 95, 0}, false, 10, 13},
};

/* Speed-ups over the same product with all blocks unified. */
static const goal mixes[] = {
    {"mixed against unified", {2048, 2048, 0, 8, 8, 50, 40}, true, 1, 1.5},
    {"mixed against unified", {2048, 2048, 0, 8, 8, 75, 20}, true, 1, 2.5},
    {"mixed against unified", {2048, 2048, 0, 8, 8, 90, 10}, true, 1, 5},
};

static const cell threaded[] = {
    {512, 512, 1024, 8, 8, 0, 100}, {1024, 1024, 256, 8, 8, 0, 100},
    {2048, 512, 192, 8, 8, 0, 100}, {4096, 4096, 1, 8, 8, 0, 100},
};

static const cell sparse[] = {
    {512, 512, 768, 4, 4, 50, 0}, {512, 512, 768, 4, 4, 95, 0},
    {512, 512, 768, 8, 8, 50, 0}, {512, 512, 768, 8, 8, 90, 0},
    {512, 512, 768, 16, 16, 50, 0}, {512, 512, 768, 16, 16, 95, 0},
};

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static void print_goal(const settings *s, const char *group, const cell *c, double must,
                       double aim, double ratio, const result *r)
{
    if (s->json) {
        print_result(s, c, r);
        return;
    }
    printf("%-22s %5zu %5zu %5zu  %2ux%-2u %3u/%3u/%3u  %6.2f %6.2f %8.2f  %-6s %s\n",
           group, c->m, c->k, c->n, c->block_rows, c->block_columns, c->pruned, c->unified,
           100 - c->pruned - c->unified, must, aim, ratio,
           ratio >= aim ? "goal" : ratio >= must ? "must" : "-", r->rival_name);
    fflush(stdout);
}

static bool wanted(const settings *s, const char *group)
{
    return !s->group || !strcmp(s->group, group);
}

static void dense_goals(msw_context *ctx, const settings *s, const rival *rivals,
                        size_t count)
{
    for (size_t i = 0; i < LENGTH(goals); i++) {
        const goal *g = &goals[i];
        settings here = *s;
        result r;

        if (!wanted(s, g->group))
            continue;
        here.hot = g->hot;
        r = measure_cell(ctx, &here, &g->c, rivals, count);
        print_goal(&here, g->group, &g->c, g->must, g->goal, r.rival / r.own, &r);
    }
}

static void mixed_goals(msw_context *ctx, const settings *s)
{
    settings here = *s;

    if (!wanted(s, mixes[0].group))
        return;
    here.hot = true;
    for (size_t n = 1; n <= 8; n += 7) {
        const cell unified = {2048, 2048, n, 8, 8, 0, 100};
        const double base = measure_cell(ctx, &here, &unified, NULL, 0).own;

        for (size_t i = 0; i < LENGTH(mixes); i++) {
            cell c = mixes[i].c;
            result r;

            c.n = n;
            r = measure_cell(ctx, &here, &c, NULL, 0);
            r.rival = base;
            strcpy(r.rival_name, "0/100/0");
            print_goal(&here, mixes[i].group, &c, mixes[i].must, mixes[i].goal,
                       base / r.own, &r);
        }
    }
}

static void avx2_goal(const settings *s)
{
    static const cell c = {512, 512, 1024, 8, 8, 0, 100};
    settings here = *s;
    rival rivals[MAX_RIVALS];
    size_t count;
    msw_context *ctx;
    result r;

    if (!wanted(s, "AVX2 against AVX2"))
        return;
    count = find_rivals(rivals, s->blas, "Haswell");
    here.isa = "avx2";
    ctx = make_context(&here, 1);
    r = measure_cell(ctx, &here, &c, rivals, count);
    print_goal(&here, "AVX2 against AVX2", &c, 2.2, 2.7, r.rival / r.own, &r);
    msw_context_free(ctx);
}

/* The same product by one thread, as a rival that shares the machine's moods. */
typedef struct alone {
    weights w;
    msw_gemm *g;
    msw_gemm_call call;
} alone;

static void *prepare_alone(const rival *r, const problem *p)
{
    const cell *c = p->c;
    const weights_spec spec = {.rows = c->m, .columns = c->k, .block_rows = c->block_rows,
                               .block_columns = c->block_columns, .pruned = c->pruned,
                               .unified = c->unified, .seed = 1};
    alone *a = checked(calloc(1, sizeof *a));
    msw_gemm_options o;

    weights_make(&a->w, r->library, &spec);
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    o.expected_n = c->n;
    if (msw_gemm_new(&a->g, r->library, a->w.u, &o))
        fail("msw_gemm_new");
    msw_gemm_call_init(&a->call);
    a->call.x = p->x;
    a->call.y = p->y;
    a->call.n = a->call.ldx = a->call.ldy = c->n;
    return a;
}

static void run_alone(void *state, const problem *p)
{
    const alone *a = state;

    (void)p;
    if (msw_gemm_run(a->g, &a->call))
        fail("msw_gemm_run");
}

static void release_alone(void *state)
{
    alone *a = state;

    msw_gemm_free(a->g);
    weights_free(&a->w);
    free(a);
}

/* In turn, each warm; of each the best of several medians, because whatever else runs
 * on the machine costs two threads more than one. */
static result measure_threads(msw_context *two, const settings *s, const cell *c,
                              const rival *one)
{
    enum { TRIES = 5 };
    result best = {0};

    for (int i = 0; i < TRIES; i++) {
        result r = measure_cell(two, s, c, one, 1);

        if (i && best.own < r.own)
            r.own = best.own;
        if (i && best.rival < r.rival)
            r.rival = best.rival;
        best = r;
    }
    return best;
}

static void thread_goals(const settings *s)
{
    settings here = *s;
    msw_context *single, *two;
    rival one;

    if (!wanted(s, "two threads"))
        return;
    single = make_context(s, 1);
    two = make_context(s, 2);
    one = (rival){"one thread", single, prepare_alone, run_alone, release_alone};
    here.threads = 2; /* by the wall clock, both */
    here.warm = true;
    for (size_t i = 0; i < LENGTH(threaded); i++) {
        const result r = measure_threads(two, &here, &threaded[i], &one);

        print_goal(&here, "two threads", &threaded[i], 1.75, 1.9, r.rival / r.own, &r);
    }
    msw_context_free(single);
    msw_context_free(two);
}

static void sparse_goals(msw_context *ctx, const settings *s)
{
    rival rsb;

    if (!wanted(s, "against librsb"))
        return;
    if (!find_rsb(&rsb)) {
        fprintf(stderr, "built without librsb\n");
        return;
    }
    for (size_t i = 0; i < LENGTH(sparse); i++) {
        const result r = measure_cell(ctx, s, &sparse[i], &rsb, 1);
        print_goal(s, "against librsb", &sparse[i], 4, 7, r.rival / r.own, &r);
    }
}

void run_goals(const settings *s, const rival *rivals, size_t count)
{
    msw_context *ctx = make_context(s, 1);

    if (!s->json)
        printf("%-22s %5s %5s %5s  %5s %11s  %6s %6s %8s  %-6s %s\n", "", "M", "K", "N",
               "block", "mix", "must", "goal", "measured", "", "against");
    dense_goals(ctx, s, rivals, count);
    mixed_goals(ctx, s);
    avx2_goal(s);
    thread_goals(s);
    sparse_goals(ctx, s);
    msw_context_free(ctx);
}

static void break_even_row(msw_context *ctx, const settings *s, cell c, const rival *rivals,
                           size_t count)
{
    static const unsigned unified[] = {0, 25, 50, 75, 100}; /* of what is not pruned */

    if (!s->json)
        printf("%12u %%", c.pruned);
    for (size_t j = 0; j < LENGTH(unified); j++) {
        result r;

        c.unified = (100 - c.pruned) * unified[j] / 100;
        r = measure_cell(ctx, s, &c, rivals, count);
        if (s->json)
            print_result(s, &c, &r);
        else
            printf("%16.2f", r.rival / r.own);
        fflush(stdout);
    }
    if (!s->json)
        printf("\n");
}

void run_break_even(const settings *s, const cell *shape, const rival *rivals, size_t count)
{
    static const unsigned pruned[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95};
    msw_context *ctx = make_context(s, s->threads);

    if (!s->json) {
        printf("How many times faster than the fastest dense library %zu x %zu x %zu is, "
               "blocks %ux%u.\n%-14s", shape->m, shape->k, shape->n, shape->block_rows,
               shape->block_columns, "pruned");
        for (unsigned share = 0; share <= 100; share += 25)
            printf("   unified %3u %%", share);
        printf("   (of the rest)\n");
    }
    for (size_t i = 0; i < LENGTH(pruned); i++) {
        cell c = *shape;

        c.pruned = pruned[i];
        break_even_row(ctx, s, c, rivals, count);
    }
    msw_context_free(ctx);
}
