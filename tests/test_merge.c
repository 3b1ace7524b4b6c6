/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive blocks: the projection against all trees there are, and what keeps merged blocks
 * tied. */
#include "fixture.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All trees of a small grid, by trying each. */

enum { MOST_BLOCKS = 16, MOST_PENDING = 32 };

typedef struct place {
    size_t row, column; /* in blocks */
    unsigned level;
} place;

typedef struct search {
    const fixture *f;
    const msw_tensor *weights;
    const float *h; /* importance of each weight of the view; NULL: none */
    const msw_quadtree_options *options;
    double unit;    /* the price is in */
    double costs[MSW_MAX_MERGE_LEVELS + 1][MOST_BLOCKS][MSW_CLASS_UNIFIED + 1]; /* 0: not
                                                                                  known */
    double least;
} search;

static bool divides(const search *s, const place *p)
{
    const size_t half = (size_t)1 << p->level >> 1;

    return p->level > 0 && (p->row + half < s->f->info.block_row_count ||
                            p->column + half < s->f->info.block_column_count);
}

static bool inside(const place *p, size_t row, size_t column)
{
    return row >> p->level == p->row >> p->level &&
           column >> p->level == p->column >> p->level;
}

static double bits_or(double bits, double standard)
{
    return bits > 0 ? bits : bits < 0 ? 0 : standard;
}

/* Of saying whether a node is split. */
static double split_cost(const search *s)
{
    return s->unit * s->options->price * bits_or(s->options->split_bits, 1);
}

/* Distance and bits of a node as one block of a class, from the definition. */
static double node_cost(const search *s, const place *p, msw_class class)
{
    const msw_plan_info *i = &s->f->info;
    const double label = bits_or(s->options->class_bits, 1.6);
    double sum = 0, squares = 0, weight = 0, count = 0, distance = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < i->rows * i->columns; k++) {
            const size_t row = k / i->columns, column = k % i->columns;
            const double v = fabs((double)*fixture_at(s->f, s->weights, k));
            const double h = s->h ? (double)s->h[k] : 1;

            if (!inside(p, row / i->block_rows, column / i->block_columns))
                continue;
            if (pass == 0) {
                sum += h * v;
                squares += h * v * v;
                weight += h;
                count++;
            } else {
                distance += h * (v - sum / weight) * (v - sum / weight);
            }
        }
    if (class == MSW_CLASS_PRUNED)
        return squares + s->unit * s->options->price * label;
    if (class == MSW_CLASS_FREE)
        return s->unit * s->options->price * (label + count * s->options->free_bits);
    return distance +
           s->unit * s->options->price * (label + count + s->options->magnitude_bits);
}

static double known_cost(search *s, const place *p, msw_class class)
{
    double *cost =
        &s->costs[p->level][p->row * s->f->info.block_column_count + p->column][class];

    if (*cost == 0)
        *cost = node_cost(s, p, class);
    return *cost;
}

static void try_all(search *s, const place *pending, size_t count, double cost)
{
    place rest[MOST_PENDING];
    place p;

    if (count == 0) {
        s->least = fmin(s->least, cost);
        return;
    }
    p = pending[count - 1];
    memcpy(rest, pending, (count - 1) * sizeof *rest);
    if (divides(s, &p))
        cost += split_cost(s);
    if (p.level == 0 || divides(s, &p))
        for (int class = p.level > 0; class <= MSW_CLASS_UNIFIED; class++)
            if (!(class == MSW_CLASS_PRUNED && s->options->exclude & MSW_EXCLUDE_PRUNE) &&
                !(class == MSW_CLASS_UNIFIED && s->options->exclude & MSW_EXCLUDE_UNIFY))
                try_all(s, rest, count - 1, cost + known_cost(s, &p, (msw_class)class));
    if (p.level > 0) {
        const size_t half = (size_t)1 << (p.level - 1);
        size_t total = count - 1;

        for (size_t part = 0; part < 4; part++) {
            const place x = {p.row + part / 2 * half, p.column + part % 2 * half,
                             p.level - 1};

            if (x.row < s->f->info.block_row_count &&
                x.column < s->f->info.block_column_count)
                rest[total++] = x;
        }
        try_all(s, rest, total, cost);
    }
}

/* What the tree costs that was found. */
static double cost_found(const search *s, const msw_unified *u, const place *p)
{
    const size_t first = p->row * s->f->info.block_column_count + p->column;
    const uint8_t *levels = msw_unified_merge_levels(u);
    const unsigned level = levels ? levels[first] : 0;
    const double bit = divides(s, p) ? split_cost(s) : 0;
    double cost = bit;

    if (level == p->level)
        return bit + node_cost(s, p, (msw_class)msw_unified_classes(u)[first]);
    assert_true(level < p->level);
    for (size_t part = 0; part < 4; part++) {
        const size_t half = (size_t)1 << (p->level - 1);
        const place x = {p->row + part / 2 * half, p->column + part % 2 * half,
                         p->level - 1};

        if (x.row < s->f->info.block_row_count &&
            x.column < s->f->info.block_column_count)
            cost += cost_found(s, u, &x);
    }
    return cost;
}

static void check_least(const layout *l, uint32_t levels, double price, uint32_t exclude,
                        bool weighted, uint64_t random)
{
    fixture f = fixture_setup(l, NULL);
    const place root = {0, 0, levels};
    msw_tensor *w, *h;
    msw_quadtree_options o;
    search s = {.f = &f, .options = &o, .least = HUGE_VAL};
    float normal[256];
    msw_unified *u;
    double sum = 0, square = 0;

    f.random = random;
    w = fixture_random_tensor(&f);
    h = fixture_random_tensor(&f);
    for (size_t k = 0; k < msw_tensor_count(w); k++) { /* blocks of several scales */
        *fixture_at(&f, w, k) *= (float)exp(ref_normal(&f.random) / 2);
        *fixture_at(&f, h, k) = 0.1f + fabsf(*fixture_at(&f, h, k));
        sum += (double)*fixture_at(&f, h, k);
    }
    for (size_t k = 0; k < msw_tensor_count(w); k++) {
        const double v = (double)*fixture_at(&f, w, k);

        normal[k] = (float)((double)*fixture_at(&f, h, k) / sum *
                            (double)msw_tensor_count(w));
        square += (weighted ? (double)normal[k] : 1) * v * v / (double)msw_tensor_count(w);
    }
    msw_quadtree_options_init(&o);
    o.price = price;
    o.magnitude_bits = 6;
    o.free_bits = 12;
    o.levels = levels;
    o.class_bits = random % 3 == 0 ? 0 : random % 3 == 1 ? 0.3 : -1;
    o.split_bits = random % 3 == 0 ? 0 : random % 3 == 1 ? 0.4 : -1;
    o.exclude = exclude;
    o.importance = weighted ? h : NULL;
    s.weights = w;
    s.h = weighted ? normal : NULL;
    s.unit = square;
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, &o), MSW_OK);
    try_all(&s, &root, 1, 0);
    assert_true(fabs(cost_found(&s, u, &root) - s.least) <= 1e-6 * s.least);
    msw_unified_free(u);
    fixture_free(h);
    fixture_free(w);
    fixture_teardown(&f);
}

/* Grids of 2x4, 3x3, 1x5, 5x2 blocks. */
static void test_least_of_all_trees(void **state)
{
    static const layout grids[] = {
        {MSW_WEIGHTS_OI, 0, {4, 8}, 2, 2, 2, 0, false, false},
        {MSW_WEIGHTS_OI, 0, {5, 6}, 2, 2, 2, 0, false, false},
        {MSW_WEIGHTS_OI, 0, {2, 9}, 2, 2, 2, 0, false, true},
        {MSW_WEIGHTS_IO, 0, {2, 13}, 2, 3, 1, 0, true, false},
    };
    static const double prices[] = {0.003, 0.02, 0.05, 0.1, 0.3};

    (void)state;
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++)
        for (size_t k = 0; k < sizeof prices / sizeof *prices; k++) {
            check_least(&grids[g], g == 1 ? 2 : 3, prices[k], 0, false, 7 + k);
            check_least(&grids[g], 2, prices[k], 0, true, 17 + k);
        }
    check_least(&grids[0], 2, 0.05, MSW_EXCLUDE_PRUNE, false, 3);
    check_least(&grids[0], 2, 0.05, MSW_EXCLUDE_UNIFY, false, 4);
}

/* Without levels no blocks are merged, without a price nothing changes. */
static void check_trivial(fixture *f)
{
    msw_tensor *w = fixture_random_tensor(f), *same;
    msw_unified *u = fixture_quadtree(f, w, 0);
    msw_quadtree_options o;

    assert_null(msw_unified_merge_levels(u));
    msw_unified_free(u);
    msw_quadtree_options_init(&o);
    o.levels = MSW_MAX_MERGE_LEVELS;
    assert_int_equal(msw_unified_from_quadtree(&u, f->plan, w, &o), MSW_OK);
    same = fixture_dense(f, u);
    assert_true(fixture_same_bits(f, w, same));
    fixture_free(same);
    msw_unified_free(u);
    fixture_free(w);
}

static void test_trivial(void **state)
{
    (void)state;
    fixture_for_all(check_trivial);
}

/* First block of the node of block b, from the definition. */
static size_t first_of(const fixture *f, const msw_unified *u, size_t b)
{
    const size_t columns = f->info.block_column_count;
    const size_t in_group = f->info.block_row_count / f->info.groups;
    const unsigned level = msw_unified_merge_levels(u) ? msw_unified_merge_levels(u)[b] : 0;
    const size_t i = b / columns, j = b % columns, group = i / in_group * in_group;

    return (group + ((i - group) >> level << level)) * columns + (j >> level << level);
}

/* Means over nodes from the definition, by first block. @p signs NULL: all positive. */
static void node_means(double *means, const fixture *f, const msw_unified *u,
                       const msw_tensor *t, const msw_tensor *signs, bool absolute)
{
    float v[MSW_MAX_BLOCK * MSW_MAX_BLOCK], s[MSW_MAX_BLOCK * MSW_MAX_BLOCK];
    double *counts = calloc(f->info.block_count, sizeof *counts);

    assert_non_null(counts);
    memset(means, 0, f->info.block_count * sizeof *means);
    for (size_t b = 0; b < f->info.block_count; b++) {
        const size_t n = ref_gather(v, t, f->plan, b), first = first_of(f, u, b);

        if (signs)
            ref_gather(s, signs, f->plan, b);
        for (size_t i = 0; i < n; i++)
            means[first] += absolute                 ? fabs((double)v[i])
                            : signs && signbit(s[i]) ? -(double)v[i]
                                                     : (double)v[i];
        counts[first] += (double)n;
    }
    for (size_t b = 0; b < f->info.block_count; b++)
        means[b] = counts[b] > 0 ? means[b] / counts[b] : 0;
    free(counts);
}

/* All weights of unified nodes have one absolute value, bit for bit, pruned ones none. */
static void check_tied(const fixture *f, const msw_unified *u, const msw_tensor *t)
{
    float v[MSW_MAX_BLOCK * MSW_MAX_BLOCK], first[MSW_MAX_BLOCK * MSW_MAX_BLOCK];

    for (size_t b = 0; b < f->info.block_count; b++) {
        const size_t n = ref_gather(v, t, f->plan, b);
        const uint8_t class = msw_unified_classes(u)[b];

        ref_gather(first, t, f->plan, first_of(f, u, b));
        for (size_t i = 0; class != MSW_CLASS_FREE && i < n; i++)
            assert_true(fabsf(v[i]) ==
                        (class == MSW_CLASS_PRUNED ? 0 : fabsf(first[0])));
    }
}

static void check_values(fixture *f)
{
    msw_tensor *w = fixture_rough_tensor(f);
    msw_unified *u = fixture_quadtree(f, w, 3);
    msw_tensor *dense = fixture_dense(f, u);
    double *means = malloc(f->info.block_count * sizeof *means);
    const uint8_t *classes = msw_unified_classes(u);
    uint64_t magnitudes = 0;

    assert_non_null(means);
    node_means(means, f, u, w, NULL, true);
    for (size_t b = 0; b < f->info.block_count; b++) {
        const size_t first = first_of(f, u, b);

        magnitudes += classes[b] == MSW_CLASS_UNIFIED && first == b;
        assert_int_equal(classes[b], classes[first]);
        if (classes[b] == MSW_CLASS_UNIFIED)
            assert_true(fabs((double)msw_unified_magnitude(u, b) - means[first]) <=
                        1e-7 * means[first]);
    }
    check_tied(f, u, dense);
    assert_int_equal(fixture_info(u).magnitudes, magnitudes);
    assert_int_equal(fixture_verify(u, dense).violations, 0);
    free(means);
    fixture_free(dense);
    msw_unified_free(u);
    fixture_free(w);
}

static void test_values(void **state)
{
    (void)state;
    fixture_for_all(check_values);
}

/* Some layouts do get merged nodes of both classes, and free blocks: or this tests
 * nothing. */
static void test_there_are_nodes(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_tensor *w = fixture_rough_tensor(&f);
    msw_unified *u = fixture_quadtree(&f, w, 4);
    bool seen[MSW_CLASS_UNIFIED + 1][MSW_MAX_MERGE_LEVELS + 1] = {{false}};

    (void)state;
    assert_non_null(msw_unified_merge_levels(u));
    for (size_t b = 0; b < f.info.block_count; b++)
        seen[msw_unified_classes(u)[b]][msw_unified_merge_levels(u)[b]] = true;
    assert_true(seen[MSW_CLASS_FREE][0]);
    assert_true(seen[MSW_CLASS_PRUNED][1] || seen[MSW_CLASS_PRUNED][2]);
    assert_true(seen[MSW_CLASS_UNIFIED][1] || seen[MSW_CLASS_UNIFIED][2]);
    msw_unified_free(u);
    fixture_free(w);
    fixture_teardown(&f);
}

/* Projections on the structure */

static void check_project(fixture *f)
{
    msw_tensor *w = fixture_rough_tensor(f), *structure;
    msw_unified *u = fixture_quadtree(f, w, 3);
    double *means = malloc(f->info.block_count * sizeof *means);

    assert_non_null(means);
    structure = fixture_dense(f, u);
    for (int k = 0; k < KINDS; k++) {
        msw_tensor *before = fixture_random_tensor(f);
        msw_tensor *after = fixture_copy(f, before), *once;
        float z[MSW_MAX_BLOCK * MSW_MAX_BLOCK];

        node_means(means, f, u, before, k == SQUARED ? NULL : structure, false);
        assert_int_equal(fixture_project_in_place(after, u, (kind)k), MSW_OK);
        check_tied(f, u, after);
        for (size_t b = 0; b < f->info.block_count; b++) {
            const double mean = means[first_of(f, u, b)];

            ref_gather(z, after, f->plan, b);
            if (msw_unified_classes(u)[b] == MSW_CLASS_UNIFIED)
                assert_true(fabs(fabs((double)z[0]) - fabs(mean)) <= 1e-6);
        }
        once = fixture_copy(f, after);
        assert_int_equal(fixture_project_in_place(after, u, (kind)k), MSW_OK);
        assert_true(fixture_same_bits(f, once, after));
        fixture_free(once);
        fixture_free(after);
        fixture_free(before);
    }
    free(means);
    msw_unified_free(u);
    fixture_free(structure);
    fixture_free(w);
}

static void test_project(void **state)
{
    (void)state;
    fixture_for_all(check_project);
}

/* What refit has is what projecting leaves, bit for bit, and so again after a step. */
static void check_refit(fixture *f)
{
    msw_tensor *w = fixture_rough_tensor(f), *moved = fixture_random_tensor(f), *dense;
    msw_unified *u = fixture_quadtree(f, w, 4), *refit;

    assert_int_equal(msw_unified_refit(&refit, u, moved), MSW_OK);
    assert_int_equal(msw_unified_project(moved, u), MSW_OK);
    dense = fixture_dense(f, refit);
    for (size_t i = 0; i < msw_tensor_count(dense); i++)
        assert_true(*fixture_at(f, dense, i) == *fixture_at(f, moved, i));
    assert_int_equal(fixture_verify(refit, moved).violations, 0);
    assert_int_equal(fixture_verify(u, moved).violations, 0);
    if (msw_unified_merge_levels(u))
        assert_memory_equal(msw_unified_merge_levels(u), msw_unified_merge_levels(refit),
                            f->info.block_count);
    msw_unified_free(refit);
    fixture_free(dense);
    msw_unified_free(u);
    fixture_free(moved);
    fixture_free(w);
}

static void test_refit(void **state)
{
    (void)state;
    fixture_for_all(check_refit);
}

/* Blocks of a node that are each unified, with different magnitudes, violate it. */
static void test_verify_finds_untied_blocks(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    const uint8_t classes[] = {2, 2, 1, 2, 2, 1}, levels[] = {1, 1, 1, 1, 1, 1};
    msw_tensor *w = fixture_random_tensor(&f), *dense;
    msw_verify_info info;
    msw_unified *u;

    (void)state;
    assert_int_equal(msw_unified_new_merged(&u, f.plan, w, classes, levels, 6), MSW_OK);
    dense = fixture_dense(&f, u);
    assert_int_equal(fixture_verify(u, dense).violations, 0);
    for (size_t r = 8; r < 16; r++)
        for (size_t c = 8; c < 16; c++)
            *fixture_at(&f, dense, r * f.info.columns + c) *= 2; /* block 4 */
    info = fixture_verify(u, dense);
    assert_int_equal(info.violations, 1);
    assert_int_equal(info.first, 4);
    assert_true(fabs(info.value) == 2 * fabs(info.expected));
    fixture_free(dense);
    msw_unified_free(u);
    fixture_free(w);
    fixture_teardown(&f);
}

/* A 3 x 6 grid of blocks in one group. */
static void test_levels_that_are_none(void **state)
{
    static const layout grid = {MSW_WEIGHTS_OI, 0, {6, 12}, 2, 2, 2, 0, false, false};
    static const struct {
        const char *classes, *levels;
        msw_status wanted;
    } cases[] = {
        {"222222222222222222", "000000000000000000", MSW_OK},
        {"220000220000000000", "110000110000000000", MSW_OK},
        {"222222222222222222", "333333333333333333", MSW_OK},
        {"222211222211222211", "222222222222222222", MSW_OK},
        {"000000000000220000", "000000000000110000", MSW_OK}, /* at the lower edge */
        {"220000220000000000", "110000100000000000", MSW_E_INVAL},
        {"220000210000000000", "110000110000000000", MSW_E_INVAL},
        {"000000000000000000", "110000110000000000", MSW_E_INVAL}, /* free */
        {"022000022000000000", "011000011000000000", MSW_E_INVAL}, /* not at a multiple */
        {"222222222222222222", "555555555555555555", MSW_E_INVAL},
        {"222222222222222222", "444444444444444444", MSW_E_INVAL}, /* as large as 3 */
        {"220000220000000000", "010000000000000000", MSW_E_INVAL},
        {"222222222222222222", "222200222200222200", MSW_OK},
        {"222222222222222222", "222200212200222200", MSW_E_INVAL},
    };
    fixture f = fixture_setup(&grid, NULL);
    msw_tensor *w = fixture_random_tensor(&f);

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint8_t classes[18], levels[18];
        msw_unified *u;

        for (size_t b = 0; b < 18; b++) {
            classes[b] = (uint8_t)(cases[k].classes[b] - '0');
            levels[b] = (uint8_t)(cases[k].levels[b] - '0');
        }
        assert_int_equal(msw_unified_new_merged(&u, f.plan, w, classes, levels, 18),
                         cases[k].wanted);
        assert_true((u != NULL) == (cases[k].wanted == MSW_OK));
        msw_unified_free(u);
    }
    fixture_free(w);
    fixture_teardown(&f);
}

static void test_misuse(void **state)
{
    fixture f = fixture_setup(&fixture_layouts[0], NULL);
    msw_tensor *w = fixture_random_tensor(&f);
    msw_quadtree_options good, o;
    msw_unified *u;

    (void)state;
    msw_quadtree_options_init(&good);
    good.price = 0.1;
    good.levels = 2;
    assert_int_equal(msw_unified_from_quadtree(NULL, f.plan, w, &good), MSW_E_INVAL);
    assert_int_equal(msw_unified_from_quadtree(&u, NULL, w, &good), MSW_E_INVAL);
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, NULL, &good), MSW_E_INVAL);
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, NULL), MSW_E_INVAL);
    for (int k = 0; k < 10; k++) {
        o = good;
        if (k < 3)
            o.price = k == 0 ? -1 : k == 1 ? (double)NAN : HUGE_VAL;
        o.levels = k == 3 ? MSW_MAX_MERGE_LEVELS + 1 : o.levels;
        o.magnitude_bits = k == 4 ? -1 : k == 5 ? 33 : 0;
        o.free_bits = k == 6 ? (double)NAN : k == 7 ? 33 : 0;
        o.class_bits = k == 8 ? 33 : 0;
        o.split_bits = k == 9 ? (double)NAN : 0;
        assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, &o), MSW_E_INVAL);
        assert_null(u);
    }
    o = good;
    o.exclude = 4;
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, &o), MSW_E_VERSION);
    *fixture_at(&f, w, 3) = NAN;
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, &good), MSW_E_NUMERIC);
    fixture_free(w);
    fixture_teardown(&f);
}

/* Optimisers: after steps that move every weight on its own the blocks are tied again. */

typedef enum optimiser { PLAIN, MOMENTUM, NESTEROV, ADAM, OPTIMISERS } optimiser;

static float step_of(optimiser which, float g, float *slots, size_t t)
{
    const float rate = 0.02f;

    if (which == PLAIN)
        return rate * g;
    slots[0] = 0.9f * slots[0] + (which == ADAM ? 0.1f : 1) * g;
    if (which == MOMENTUM)
        return rate * slots[0];
    if (which == NESTEROV)
        return rate * (g + 0.9f * slots[0]);
    slots[1] = 0.999f * slots[1] + 0.001f * g * g;
    return rate * slots[0] / (1 - powf(0.9f, (float)t)) /
           (sqrtf(slots[1] / (1 - powf(0.999f, (float)t))) + 1e-8f);
}

static void train(fixture *f, const msw_unified *u, msw_tensor *w, optimiser which)
{
    msw_tensor *slots[2] = {fixture_random_tensor(f), fixture_random_tensor(f)};

    for (size_t i = 0; i < msw_tensor_count(w); i++)
        *fixture_at(f, slots[1], i) = fabsf(*fixture_at(f, slots[1], i));
    assert_int_equal(msw_unified_project(w, u), MSW_OK);
    assert_int_equal(msw_unified_project_slot(slots[0], u, MSW_SLOT_LINEAR), MSW_OK);
    assert_int_equal(msw_unified_project_slot(slots[1], u, MSW_SLOT_SQUARED), MSW_OK);
    for (size_t t = 1; t <= 20; t++) {
        msw_tensor *g = fixture_random_tensor(f);

        assert_int_equal(msw_unified_project_gradient(g, u), MSW_OK);
        for (size_t i = 0; i < msw_tensor_count(w); i++) {
            float own[2] = {*fixture_at(f, slots[0], i), *fixture_at(f, slots[1], i)};

            *fixture_at(f, w, i) -= step_of(which, *fixture_at(f, g, i), own, t);
            *fixture_at(f, slots[0], i) = own[0];
            *fixture_at(f, slots[1], i) = own[1];
        }
        fixture_free(g);
        assert_int_equal(msw_unified_project(w, u), MSW_OK);
        check_tied(f, u, w);
        assert_int_equal(fixture_verify(u, w).violations, 0);
    }
    fixture_free(slots[0]);
    fixture_free(slots[1]);
}

static void check_training(fixture *f)
{
    msw_tensor *w = fixture_rough_tensor(f);
    msw_unified *u = fixture_quadtree(f, w, 4);

    for (int k = 0; k < OPTIMISERS && f->info.columns < 1000; k++)
        train(f, u, w, (optimiser)k);
    msw_unified_free(u);
    fixture_free(w);
}

static void test_training_keeps_blocks_tied(void **state)
{
    (void)state;
    fixture_for_all(check_training);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_of_all_trees),
        cmocka_unit_test(test_trivial),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_there_are_nodes),
        cmocka_unit_test(test_project),
        cmocka_unit_test(test_refit),
        cmocka_unit_test(test_verify_finds_untied_blocks),
        cmocka_unit_test(test_levels_that_are_none),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_training_keeps_blocks_tied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
