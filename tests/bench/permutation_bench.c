/* SPDX-License-Identifier: BSD-2-Clause */
/* What orders of rows and columns gain: squared errors of the projection of synthetic
 * weights, and of a LeNet's of examples/fashion/ where its file is given.
 *
 *   permutation-bench [LENET.f32]     as fashion-train --save writes it */
#define _GNU_SOURCE
#include <msw/msw.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check(msw_status status)
{
    if (status) {
        fprintf(stderr, "%s\n", msw_status_text(status));
        exit(1);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 33) + 0.5) / 2147483648.0;
}

static double normal(uint64_t *state)
{
    return sqrt(-2 * log(uniform(state))) * cos(6.283185307179586 * uniform(state));
}

/* Layers that are searched together. */
enum { MOST_LAYERS = 4 };

typedef struct network {
    msw_context *ctx;
    msw_permutation *p;
    msw_tensor *weights[MOST_LAYERS];
    uint32_t count;
} network;

static void add(network *n, msw_tensor *t, uint32_t kind, uint32_t block,
                const msw_permutation_layer *layer)
{
    size_t shape[4];
    msw_plan_options o;
    msw_plan *plan;

    for (uint32_t d = 0; d < msw_tensor_rank(t); d++)
        shape[d] = msw_tensor_dim(t, d);
    msw_plan_options_init(&o);
    o.weights = kind;
    o.block_rows = o.block_columns = block;
    check(msw_plan_new(&plan, n->ctx, shape, msw_tensor_rank(t), &o));
    check(msw_permutation_add(n->p, plan, t, layer));
    msw_plan_free(plan);
    n->weights[n->count++] = t;
}

static void begin(network *n, msw_context *ctx)
{
    memset(n, 0, sizeof *n);
    n->ctx = ctx;
    check(msw_permutation_new(&n->p, ctx));
}

/* Searches, prints a row of the table. */
static void end(network *n, const char *what, const char *axes, const char *shares,
                uint32_t block)
{
    const double start = now();
    double seconds;

    check(msw_permutation_search(n->p, 0));
    seconds = now() - start;
    for (uint32_t i = 0; i < n->count; i++) {
        msw_permutation_info info;

        msw_permutation_info_init(&info);
        check(msw_permutation_get_info(&info, n->p, i));
        printf("| %s", what);
        if (n->count > 1)
            printf(", layer %u", i + 1);
        printf(" | %ux%u | %s | %s | %.4f | %.4f | %.1f %% |", block, block, shares, axes,
               info.given, info.found, 100 * (1 - info.found / info.given));
        if (i == 0)
            printf(" %.3f |\n", seconds);
        else
            printf(" |\n");
        msw_tensor_free(n->weights[i]);
    }
    msw_permutation_free(n->p);
}

/* Gaussian weights; the scales of rows and of columns log-normal, in random order. */
static msw_tensor *synthetic(msw_context *ctx, size_t rows, size_t columns, double sigma)
{
    const size_t shape[2] = {rows, columns};
    double *scale = malloc(columns * sizeof *scale);
    uint64_t random = 1;
    msw_tensor *t;
    float *w;

    check(msw_tensor_new(&t, ctx, shape, 2));
    w = msw_tensor_data(t);
    for (size_t c = 0; c < columns; c++)
        scale[c] = exp(sigma * normal(&random));
    for (size_t r = 0; r < rows; r++) {
        const double of_row = exp(sigma * normal(&random));

        for (size_t c = 0; c < columns; c++)
            *w++ = (float)(of_row * scale[c] * normal(&random));
    }
    free(scale);
    return t;
}

static msw_permutation_layer layer_of(double prune, double unify, uint32_t rows,
                                      uint32_t columns)
{
    msw_permutation_layer l;

    msw_permutation_layer_init(&l);
    l.prune = prune;
    l.unify = unify;
    l.row_axis = rows;
    l.column_axis = columns;
    return l;
}

static const struct {
    double prune, unify;
    const char *name;
} mixes[] = {{0.5, 0.4, "50/40"}, {0.75, 0.25, "75/25"}, {0, 0.9, "0/90"}};

enum { MIXES = sizeof mixes / sizeof *mixes };

static void one(msw_context *ctx, msw_tensor *t, const char *what, uint32_t kind,
                uint32_t block, size_t mix, uint32_t rows, uint32_t columns,
                const char *axes)
{
    const msw_permutation_layer l =
        layer_of(mixes[mix].prune, mixes[mix].unify, rows, columns);
    network n;

    begin(&n, ctx);
    add(&n, msw_tensor_ref(t), kind, block, &l);
    end(&n, what, axes, mixes[mix].name, block);
}

static void single(msw_context *ctx, msw_tensor *t, const char *what, uint32_t kind,
                   uint32_t block)
{
    for (size_t mix = 0; mix < MIXES; mix++) {
        one(ctx, t, what, kind, block, mix, MSW_AXIS_OWN, MSW_AXIS_FIXED, "rows");
        one(ctx, t, what, kind, block, mix, MSW_AXIS_FIXED, MSW_AXIS_OWN, "columns");
        one(ctx, t, what, kind, block, mix, MSW_AXIS_OWN, MSW_AXIS_OWN, "both");
    }
    msw_tensor_free(t);
}

/* LeNet 20-50-500: where its weights lie in the file. */
enum {
    CONV1 = 0, CONV2 = CONV1 + 20 * 25 + 20, FC1 = CONV2 + 50 * 20 * 25 + 50,
    FC2 = FC1 + 500 * 800 + 500, VALUES = FC2 + 10 * 500 + 10
};

static msw_tensor *take(msw_context *ctx, const float *from, const size_t *shape,
                        uint32_t rank)
{
    msw_tensor *t;

    check(msw_tensor_new(&t, ctx, shape, rank));
    memcpy(msw_tensor_data(t), from, msw_tensor_count(t) * sizeof *from);
    return t;
}

/* Filters and hidden units as axes that layers share: no order is stored. */
static void chain(msw_context *ctx, const float *all, uint32_t block, size_t mix)
{
    const size_t conv2[] = {50, 20, 5, 5}, fc1[] = {500, 800}, fc2[] = {10, 500};
    msw_permutation_layer l;
    network n;

    begin(&n, ctx);
    l = layer_of(mixes[mix].prune, mixes[mix].unify, 2, 1);
    add(&n, take(ctx, all + CONV2, conv2, 4), MSW_WEIGHTS_OIHW, block, &l);
    l = layer_of(mixes[mix].prune, mixes[mix].unify, 3, 2);
    l.positions = 16;
    l.reduction = MSW_REDUCTION_KERNEL;
    add(&n, take(ctx, all + FC1, fc1, 2), MSW_WEIGHTS_OI, block, &l);
    l = layer_of(mixes[mix].prune, mixes[mix].unify, MSW_AXIS_FIXED, 3);
    add(&n, take(ctx, all + FC2, fc2, 2), MSW_WEIGHTS_OI, block, &l);
    end(&n, "LeNet", "shared", mixes[mix].name, block);
}

static void lenet(msw_context *ctx, const char *path)
{
    const size_t conv2[] = {50, 20, 5, 5}, fc1[] = {500, 800};
    float *all = malloc(VALUES * sizeof *all);
    FILE *f = fopen(path, "rb");

    if (!all || !f || fread(all, sizeof *all, VALUES, f) != VALUES) {
        fprintf(stderr, "%s: not a LeNet\n", path);
        exit(1);
    }
    fclose(f);
    for (uint32_t block = 4; block <= 8; block *= 2) {
        single(ctx, take(ctx, all + CONV2, conv2, 4), "LeNet conv2", MSW_WEIGHTS_OIHW, block);
        single(ctx, take(ctx, all + FC1, fc1, 2), "LeNet fc1", MSW_WEIGHTS_OI, block);
        for (size_t mix = 0; mix < MIXES; mix++)
            chain(ctx, all, block, mix);
    }
    free(all);
}

int main(int argc, char **argv)
{
    msw_context *ctx;

    check(msw_context_new(&ctx, NULL));
    puts("| weights | blocks | pruned/unified, % | order of | error as given | found "
         "| less | seconds |\n|---|---|---|---|---|---|---|---|");
    single(ctx, synthetic(ctx, 512, 512, 0), "512x512, no structure", MSW_WEIGHTS_OI, 8);
    single(ctx, synthetic(ctx, 512, 512, 0.5), "512x512, scales 0.5", MSW_WEIGHTS_OI, 8);
    if (argc > 1)
        lenet(ctx, argv[1]);
    msw_context_free(ctx);
    return 0;
}
