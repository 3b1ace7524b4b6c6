/* SPDX-License-Identifier: BSD-2-Clause */
/* How two files differ, tensor by tensor. */
#define _GNU_SOURCE
#include "facts.h"
#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: msw diff [options] A B\n"
    "A, B: .msw, safetensors, npy or npz\n"
    "\n"
    "      --tolerance T   a tensor of floats is the same when ||a - b|| <= T ||a|| (0)\n"
    "  -q, --quiet         only the exit code\n";

static const struct option options[] = {
    {"tolerance", required_argument, NULL, OPTION_TOLERANCE},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}
};

struct comparison {
    struct model a, b;
    double tolerance;
    uint64_t different, compared;
    bool quiet;
    struct problem *p;
};

struct distance {
    double largest, relative;
    size_t at;       /* of the largest */
    uint64_t values; /* that differ */
};

static void say(const struct comparison *c, const struct item *item, const char *what)
{
    if (!c->quiet)
        printf("%s: %s\n", item->name, what);
}

/* NaN equals NaN. */
static struct distance measure(const float *a, const float *b, size_t count)
{
    struct distance d = {0, 0, 0, 0};
    double sum = 0, norm = 0;

    for (size_t i = 0; i < count; i++) {
        const double x = (double)a[i], y = (double)b[i], change = fabs(x - y);

        norm += x * x;
        if (x == y || (isnan(x) && isnan(y)))
            continue;
        d.values++;
        sum += change * change;
        if (!(change <= d.largest)) {
            d.largest = change;
            d.at = i;
        }
    }
    d.relative = sum > 0 ? sqrt(sum / norm) : d.values ? (double)NAN : 0;
    return d;
}

static void print_distance(const struct item *item, const struct distance *d,
                           const float *a, const float *b)
{
    printf("%s: %llu of %zu values differ, relative distance %.3g; the most at %zu: "
           "%.9g, %.9g\n", item->name, (unsigned long long)d->values, item->count,
           d->relative, d->at, (double)a[d->at], (double)b[d->at]);
}

static int compare_values(struct comparison *c, const struct item *a, const struct item *b)
{
    msw_tensor *x = NULL, *y = NULL;
    struct distance d;

    if (model_tensor(&x, &c->a, a, c->p) == CODE_OK &&
        model_tensor(&y, &c->b, b, c->p) == CODE_OK) {
        d = measure(msw_tensor_data(x), msw_tensor_data(y), a->count);
        if (d.values && !(d.relative <= c->tolerance)) {
            c->different++;
            if (!c->quiet)
                print_distance(a, &d, msw_tensor_data(x), msw_tensor_data(y));
        }
    }
    msw_tensor_free(x);
    msw_tensor_free(y);
    return c->p->code;
}

static int compare_bytes(struct comparison *c, const struct item *a, const struct item *b)
{
    uint8_t *x = allocate(a->bytes, 1, c->p), *y = x ? allocate(a->bytes, 1, c->p) : NULL;

    if (y && model_read(x, &c->a, a, c->p) == CODE_OK &&
        model_read(y, &c->b, b, c->p) == CODE_OK && memcmp(x, y, a->bytes) != 0) {
        c->different++;
        say(c, a, "the values differ");
    }
    free(x);
    free(y);
    return c->p->code;
}

/* Whether a block is part of a node of as many blocks in both. */
static bool same_level(const uint8_t *a, const uint8_t *b, uint64_t i)
{
    return (a ? a[i] : 0) == (b ? b[i] : 0);
}

/* Blocks of another class or merged otherwise, when both are in unified form. */
static int compare_classes(struct comparison *c, const struct item *a, const struct item *b)
{
    msw_unified *u = NULL, *v = NULL;
    msw_unified_info x, y;
    uint64_t changed = 0, merged = 0;

    msw_unified_info_init(&x);
    msw_unified_info_init(&y);
    if (model_unified(&u, &c->a, a, c->p) == CODE_OK &&
        model_unified(&v, &c->b, b, c->p) == CODE_OK &&
        !msw_unified_get_info(&x, u) && !msw_unified_get_info(&y, v)) {
        const uint8_t *p = msw_unified_classes(u), *q = msw_unified_classes(v);
        const uint8_t *m = msw_unified_merge_levels(u), *n = msw_unified_merge_levels(v);

        if (x.blocks != y.blocks)
            say(c, a, "cut into other blocks");
        for (uint64_t i = 0; i < x.blocks && x.blocks == y.blocks; i++) {
            changed += p[i] != q[i];
            merged += !same_level(m, n, i);
        }
        if (changed && !c->quiet)
            printf("%s: %llu of %llu blocks are of another class\n", a->name,
                   (unsigned long long)changed, (unsigned long long)x.blocks);
        if (merged && !c->quiet)
            printf("%s: %llu of %llu blocks are merged otherwise\n", a->name,
                   (unsigned long long)merged, (unsigned long long)x.blocks);
    }
    msw_unified_free(u);
    msw_unified_free(v);
    return c->p->code;
}

static int compare(struct comparison *c, const struct item *a, const struct item *b)
{
    char x[SHAPE_TEXT], y[SHAPE_TEXT];

    c->compared++;
    if (!item_same_shape(a, b)) {
        c->different++;
        if (!c->quiet)
            printf("%s: shapes %s and %s\n", a->name, shape_text(x, a), shape_text(y, b));
        return c->p->code;
    }
    if (item_is_tensor(a) && item_is_tensor(b)) {
        if (a->unified && b->unified && compare_classes(c, a, b))
            return c->p->code;
        return compare_values(c, a, b);
    }
    if (a->type == b->type)
        return compare_bytes(c, a, b);
    c->different++;
    if (!c->quiet)
        printf("%s: types %s and %s\n", a->name, element_name(a->type),
               element_name(b->type));
    return c->p->code;
}

static int compare_all(struct comparison *c)
{
    for (size_t i = 0; i < c->a.count; i++) {
        const struct item *a = &c->a.items[i], *b = model_find(&c->b, a->name);

        if (problem_interrupted(c->p))
            return c->p->code;
        if (!b) {
            c->different++;
            say(c, a, "only in the first file");
        } else if (compare(c, a, b)) {
            return c->p->code;
        }
    }
    for (size_t i = 0; i < c->b.count; i++)
        if (!model_find(&c->a, c->b.items[i].name)) {
            c->different++;
            say(c, &c->b.items[i], "only in the second file");
        }
    if (!c->quiet)
        printf("%llu tensors compared, %llu differences\n",
               (unsigned long long)c->compared, (unsigned long long)c->different);
    return c->p->code;
}

static int read_options(struct comparison *c, int argc, char **argv, struct problem *p)
{
    int option;

    while ((option = getopt_long(argc, argv, "qh", options, NULL)) >= 0) {
        switch (option) {
        case OPTION_TOLERANCE:
            if (option_number(&c->tolerance, optarg, 0, HUGE_VAL, "--tolerance", p))
                return p->code;
            break;
        case 'q':
            c->quiet = true;
            break;
        case 'h':
            help_exit(help);
        default:
            return usage_problem(p, "diff");
        }
    }
    if (optind + 2 != argc)
        return problem_set(p, CODE_USAGE, "diff: two files are needed");
    return p->code;
}

int command_diff(int argc, char **argv, struct problem *p)
{
    struct comparison c;
    msw_context *ctx = NULL;

    memset(&c, 0, sizeof c);
    c.p = p;
    if (read_options(&c, argc, argv, p) == CODE_OK && context_open(&ctx, 1, p) == CODE_OK &&
        model_open(&c.a, ctx, argv[optind], p) == CODE_OK &&
        model_open(&c.b, ctx, argv[optind + 1], p) == CODE_OK)
        compare_all(&c);
    model_close(&c.a);
    model_close(&c.b);
    msw_context_free(ctx);
    return p->code ? p->code : c.different ? CODE_DIFFERENT : CODE_OK;
}
