/* SPDX-License-Identifier: BSD-2-Clause */
/* Budgets that merge blocks: the joint choice against every choice there is, and targets
 * that are met in files as they are written. */
#include "budget.h"
#include "fixture.h"
#include "ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The joint choice, in small: a layer of 2 x 2 blocks with nodes of one level, and one of
 * 2 x 3 with nodes of two, ragged at the lower edge. */

enum { SHARES = 2, MOST_BLOCKS = 8, MOST_CHOICES = 8192, TRIALS = 60 };

typedef struct choice {
    uint8_t classes[MOST_BLOCKS], levels[MOST_BLOCKS];
    double cost, amount;
} choice;

typedef struct small {
    msw_context *ctx;
    msw_plan *plans[SHARES];
    msw__candidate candidates[SHARES][MOST_BLOCKS];
    float means[SHARES][MOST_BLOCKS], weights[SHARES][MOST_BLOCKS];
    uint8_t classes[SHARES][MOST_BLOCKS], levels[SHARES][MOST_BLOCKS];
    msw__tree trees[SHARES];
    msw__share shares[SHARES];
    choice *choices[SHARES];
    size_t choice_count[SHARES];
    uint64_t random;
} small;

/* What a node costs and takes, from the definition. */
static void add_node(double *cost, double *amount, const small *s, size_t k, size_t row,
                     size_t column, unsigned level, unsigned class)
{
    const msw__tree *t = &s->trees[k];
    const size_t side = (size_t)1 << level, columns = s->plans[k]->block_column_count;
    double prune = 0, unify = 0, sum = 0, weight = 0, count = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t b = 0; b < s->plans[k]->block_count; b++) {
            const double mean = (double)s->means[k][b], h = (double)s->weights[k][b];
            const double a = (double)s->candidates[k][b].prune;
            const double c = (double)s->candidates[k][b].unify;

            if (b / columns < row || b / columns >= row + side || b % columns < column ||
                b % columns >= column + side)
                continue;
            if (pass == 0) {
                prune += a * a;
                unify += c * c;
                sum += mean * h;
                weight += h;
                count += (double)(msw__plan_rows(s->plans[k], b / columns) *
                                  msw__plan_columns(s->plans[k], b % columns));
            } else {
                unify += h * (mean - sum / weight) * (mean - sum / weight);
            }
        }
    *cost += t->scale * (class == MSW_CLASS_FREE     ? 0
                         : class == MSW_CLASS_PRUNED ? prune
                                                     : unify);
    *amount += t->amounts.label[level][class] +
               (class == MSW_CLASS_FREE ? count * t->amounts.free
                : class == MSW_CLASS_UNIFIED
                    ? count * t->amounts.sign + t->amounts.magnitude
                    : 0);
}

/* Of a whole layer. */
static void weigh(choice *c, const small *s, size_t k)
{
    const msw_plan *p = s->plans[k];
    const size_t columns = p->block_column_count;

    c->cost = 0;
    c->amount = s->shares[k].fixed;
    for (size_t b = 0; b < p->block_count; b++) {
        const unsigned level = c->levels[b];
        const size_t i = b / columns, j = b % columns, side = (size_t)1 << level;

        for (unsigned l = s->trees[k].most; l > 0; l--) { /* nodes that could begin here */
            const size_t half = (size_t)1 << (l - 1);

            if (i % (2 * half) || j % (2 * half) ||
                (i + half >= p->block_row_count && j + half >= columns))
                continue;
            if (level >= l) {
                if (level == l)
                    c->amount += s->trees[k].amounts.split[l][1];
                break;
            }
            c->amount += s->trees[k].amounts.split[l][0];
        }
        if (i % side == 0 && j % side == 0)
            add_node(&c->cost, &c->amount, s, k, i, j, level, c->classes[b]);
    }
}

/* All trees: whatever the library's check takes for one. */
static void list_choices(small *s, size_t k)
{
    const size_t blocks = s->plans[k]->block_count;
    size_t combinations = 1;
    unsigned most;

    s->choice_count[k] = 0;
    for (size_t b = 0; b < blocks; b++)
        combinations *= 3 + 2 * (size_t)s->trees[k].most;
    for (size_t n = 0; n < combinations; n++) {
        choice c = {.cost = 0};
        size_t rest = n;

        for (size_t b = 0; b < blocks; b++) {
            const size_t kinds = 3 + 2 * (size_t)s->trees[k].most, x = rest % kinds;

            c.levels[b] = (uint8_t)(x < 3 ? 0 : (x - 1) / 2);
            c.classes[b] = (uint8_t)(x < 3 ? x : 1 + (x - 1) % 2);
            rest /= kinds;
        }
        if (!msw__merge_valid(&most, s->plans[k], c.classes, c.levels))
            continue;
        weigh(&c, s, k);
        assert_true(s->choice_count[k] < MOST_CHOICES);
        s->choices[k][s->choice_count[k]++] = c;
    }
}

static double random_root(small *s, int family)
{
    return family == 0   ? ref_uniform(&s->random)
           : family == 1 ? (double)ref_below(&s->random, 3)
                         : exp(2 * ref_normal(&s->random));
}

static void make_share(small *s, size_t k, int family)
{
    static const size_t shapes[SHARES][2] = {{4, 8}, {3, 12}};
    msw__tree *t = &s->trees[k];
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.block_rows = 2;
    o.block_columns = 4;
    assert_int_equal(msw_plan_new(&s->plans[k], s->ctx, shapes[k], 2, &o), MSW_OK);
    msw__share_init(&s->shares[k], s->plans[k], s->candidates[k], s->classes[k]);
    for (size_t b = 0; b < s->plans[k]->block_count; b++) {
        const double x = random_root(s, family), y = random_root(s, family);

        s->candidates[k][b] =
            (msw__candidate){(float)fmax(x, y), (float)fmin(x, y), (uint32_t)b};
        s->means[k][b] = (float)(random_root(s, family) / 2);
        s->weights[k][b] = family == 1 ? 8 : (float)(4 + 8 * ref_uniform(&s->random));
    }
    *t = (msw__tree){.plan = s->plans[k], .candidates = s->candidates[k],
                     .means = s->means[k], .weights = s->weights[k],
                     .classes = s->classes[k], .levels = s->levels[k],
                     .most = k == 0 ? 1 : 2,
                     .scale = ref_below(&s->random, 2) ? 1 : exp(ref_normal(&s->random))};
    t->amounts = (msw__node_amounts){.free = 2, .sign = 0.125, .magnitude = 3};
    for (size_t l = 0; l <= t->most; l++) {
        for (size_t class = 0; class < MSW__CLASSES; class++)
            t->amounts.label[l][class] = family == 1 ? 0.25 : ref_uniform(&s->random);
        t->amounts.split[l][0] = family == 1 ? 0 : ref_uniform(&s->random) / 4;
        t->amounts.split[l][1] = family == 1 ? 0 : ref_uniform(&s->random) / 4;
    }
    s->shares[k].scale = t->scale;
    s->shares[k].tree = t;
    s->shares[k].fixed = 2;
    list_choices(s, k);
}

/* The choice that is there among all, and its cost. */
static choice found(const small *s, size_t k)
{
    choice c = {.cost = 0};
    unsigned most;

    memcpy(c.classes, s->classes[k], s->plans[k]->block_count);
    memcpy(c.levels, s->levels[k], s->plans[k]->block_count);
    assert_true(msw__merge_valid(&most, s->plans[k], c.classes, c.levels));
    assert_true(most <= s->trees[k].most);
    weigh(&c, s, k);
    return c;
}

static double least_cost(const small *s, double amount)
{
    double least = HUGE_VAL;

    for (size_t i = 0; i < s->choice_count[0]; i++)
        for (size_t j = 0; j < s->choice_count[1]; j++)
            if (s->choices[0][i].amount + s->choices[1][j].amount <= amount * (1 + 1e-12))
                least = fmin(least, s->choices[0][i].cost + s->choices[1][j].cost);
    return least;
}

static double least_amount(const small *s)
{
    double least[SHARES] = {HUGE_VAL, HUGE_VAL};

    for (size_t k = 0; k < SHARES; k++)
        for (size_t i = 0; i < s->choice_count[k]; i++)
            least[k] = fmin(least[k], s->choices[k][i].amount);
    return least[0] + least[1];
}

static void check_small(small *s, int family)
{
    choice got[SHARES];
    msw__outcome out;
    double room, amount, cost;

    for (size_t k = 0; k < SHARES; k++)
        make_share(s, k, family);
    room = 10 + 130 * ref_uniform(&s->random);
    out = msw__share_out(s->shares, SHARES, room, NULL);
    for (size_t k = 0; k < SHARES; k++)
        got[k] = found(s, k);
    amount = got[0].amount + got[1].amount;
    cost = got[0].cost + got[1].cost;
    assert_true(fabs(amount - out.amount) <= 1e-9 * (amount + 1));
    assert_true(fabs(cost - out.distance) <= 1e-9 * (cost + 1));
    assert_true(cost <= least_cost(s, amount) * (1 + 1e-9) + 1e-12);
    if (out.reached)
        assert_true(amount <= room * (1 + 1e-12));
    else
        assert_true(least_amount(s) > room && amount <= least_amount(s) + 1e-4);
    for (size_t k = 0; k < SHARES; k++)
        msw_plan_free(s->plans[k]);
}

static void test_choice(void **state)
{
    small s = {.random = 5};

    (void)state;
    assert_int_equal(msw_context_new(&s.ctx, NULL), MSW_OK);
    for (size_t k = 0; k < SHARES; k++) {
        s.choices[k] = malloc(MOST_CHOICES * sizeof *s.choices[k]);
        assert_non_null(s.choices[k]);
    }
    for (int trial = 0; trial < TRIALS; trial++)
        check_small(&s, trial % 3);
    for (size_t k = 0; k < SHARES; k++)
        free(s.choices[k]);
    msw_context_free(s.ctx);
}

/* Two halves that are the same, of which only one fits: the first, node by node. */
static void test_in_part(void **state)
{
    small s = {.random = 1};
    double all, none;

    (void)state;
    assert_int_equal(msw_context_new(&s.ctx, NULL), MSW_OK);
    s.choices[1] = malloc(MOST_CHOICES * sizeof *s.choices[1]);
    assert_non_null(s.choices[1]);
    make_share(&s, 1, 1);
    for (size_t b = 0; b < 6; b++) {
        s.candidates[1][b] = (msw__candidate){3, 1, (uint32_t)b};
        s.means[1][b] = 1;
        s.weights[1][b] = 8;
    }
    s.trees[1].most = 1;
    s.trees[1].exclude = MSW_EXCLUDE_PRUNE;
    s.trees[1].scale = 1;
    all = msw__share_out(&s.shares[1], 1, 1000, NULL).amount;
    none = msw__share_out(&s.shares[1], 1, 0, NULL).amount;
    assert_int_equal(s.levels[1][0], 1);
    assert_int_equal(s.levels[1][2], 1); /* a node of 2 x 1 blocks at the edge */
    assert_true(all > none);
    /* of 2 + 96, with blocks of 16 and of 8 weights in the second row */
    for (double room = none; room < all; room += 1) {
        const msw__outcome out = msw__share_out(&s.shares[1], 1, room, NULL);
        const choice c = found(&s, 1);

        assert_true(out.reached && fabs(c.amount - out.amount) <= 1e-9);
        assert_true(out.amount <= room && out.amount > room - 34);
        for (size_t b = 0; b < 6; b++)
            assert_int_not_equal(s.classes[1][b], MSW_CLASS_PRUNED);
    }
    msw_plan_free(s.plans[1]);
    free(s.choices[1]);
    msw_context_free(s.ctx);
}

/* Four blocks that are the same, and a node that takes too much: block by block. */
static void test_in_part_of_a_node(void **state)
{
    small s = {.random = 1};
    double all, none;

    (void)state;
    assert_int_equal(msw_context_new(&s.ctx, NULL), MSW_OK);
    s.choices[0] = malloc(MOST_CHOICES * sizeof *s.choices[0]);
    assert_non_null(s.choices[0]);
    make_share(&s, 0, 1);
    for (size_t b = 0; b < 4; b++) {
        s.candidates[0][b] = (msw__candidate){3, 1, (uint32_t)b};
        s.means[0][b] = 1;
        s.weights[0][b] = 8;
    }
    s.trees[0].exclude = MSW_EXCLUDE_PRUNE;
    s.trees[0].scale = 1;
    s.trees[0].amounts.split[1][1] = 1000;
    all = msw__share_out(&s.shares[0], 1, 1000, NULL).amount;
    none = msw__share_out(&s.shares[0], 1, 0, NULL).amount;
    assert_true(all > none + 40);
    for (double room = none; room < all; room += 1) {
        const double amount = msw__share_out(&s.shares[0], 1, room, NULL).amount;

        assert_true(amount <= room && amount > room - 14); /* a block: 16.25 or 4.25 */
    }
    msw_plan_free(s.plans[0]);
    free(s.choices[0]);
    msw_context_free(s.ctx);
}

/* What classes and levels take is learnt: what never differs takes next to nothing. */
static void test_learning(void **state)
{
    enum { SIDE = 32 };
    static const layout grid = {MSW_WEIGHTS_OI, 0, {4 * SIDE, 4 * SIDE}, 2, 4, 4, 0, false,
                                false};
    fixture f = fixture_setup(&grid, NULL);
    uint8_t *classes = malloc(SIDE * SIDE), *levels = malloc(SIDE * SIDE);
    msw__tree t = {.plan = f.plan, .classes = classes, .levels = levels, .most = 1};
    uint64_t random = 4;

    (void)state;
    assert_true(classes && levels);
    memset(classes, MSW_CLASS_PRUNED, SIDE * SIDE);
    memset(levels, 0, SIDE * SIDE);
    for (int round = 0; round < 20; round++)
        msw__tree_learn(&t, 1);
    assert_true(t.amounts.label[0][MSW_CLASS_PRUNED] < 0.05);
    assert_true(t.amounts.label[0][MSW_CLASS_UNIFIED] > 4);
    assert_true(t.amounts.split[1][0] < 0.05);
    assert_true(t.amounts.split[1][1] > 4);
    /* columns, and rows, at random are told by what is above, and to the left */
    for (int turned = 0; turned < 2; turned++) {
        uint8_t line[SIDE];

        for (size_t k = 0; k < SIDE; k++)
            line[k] = ref_below(&random, 2) ? MSW_CLASS_PRUNED : MSW_CLASS_UNIFIED;
        for (size_t b = 0; b < SIDE * SIDE; b++)
            classes[b] = line[turned ? b / SIDE : b % SIDE];
        for (int round = 0; round < 20; round++)
            msw__tree_learn(&t, 1);
        assert_true(t.amounts.label[0][MSW_CLASS_PRUNED] < 0.3);
        assert_true(t.amounts.label[0][MSW_CLASS_UNIFIED] < 0.3);
    }
    /* one of three at random: log2 3 bits each, and one for every other node that splits */
    for (size_t b = 0; b < SIDE * SIDE; b++)
        classes[b] = (uint8_t)ref_below(&random, 3);
    for (size_t i = 0; i < SIDE; i += 2)
        for (size_t j = 0; j < SIDE; j += 2)
            if (ref_below(&random, 2))
                for (size_t k = 0; k < 4; k++) {
                    levels[(i + k / 2) * SIDE + j + k % 2] = 1;
                    classes[(i + k / 2) * SIDE + j + k % 2] = MSW_CLASS_PRUNED;
                }
    for (int round = 0; round < 20; round++)
        msw__tree_learn(&t, 8);
    for (unsigned k = 0; k < 3; k++)
        assert_true(fabs(t.amounts.label[0][k] / 8 - log2(3)) < 0.15);
    assert_true(fabs(t.amounts.split[1][0] / 8 - 1) < 0.3);
    assert_true(fabs(t.amounts.split[1][1] / 8 - 1) < 0.3);
    assert_true(t.amounts.label[1][MSW_CLASS_PRUNED] / 8 < 0.2);
    free(levels);
    free(classes);
    fixture_teardown(&f);
}

/* The object: layers whose weights have patches of several sizes and strengths */

enum { LAYERS = 2 };

typedef struct net {
    msw_context *ctx;
    msw_tensor *weights[LAYERS];
    msw_plan *plans[LAYERS];
    msw_budget *budget;
} net;

static void fill(msw_tensor *t, double scale, uint64_t random)
{
    const size_t columns = t->shape[1];

    for (size_t k = 0; k < msw_tensor_count(t); k++) {
        const size_t i = k / columns / 8, j = k % columns / 8;
        const double patch = exp(1.5 * sin((double)(i / 4 * 7 + j / 4 * 3)) +
                                 0.3 * sin((double)(5 * i + 11 * j)));

        msw_tensor_data(t)[k] = (float)(scale * patch * ref_normal(&random));
    }
}

static net net_new(const msw_budget_options *o, const msw_budget_layer *layer,
                   const msw_context_options *context)
{
    static const size_t shapes[LAYERS][2] = {{192, 320}, {50, 61}};
    net n = {0};

    assert_int_equal(msw_context_new(&n.ctx, context), MSW_OK);
    assert_int_equal(msw_budget_new(&n.budget, n.ctx, o), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_plan_options p;

        msw_plan_options_init(&p);
        p.block_rows = p.block_columns = 4;
        assert_int_equal(msw_tensor_new(&n.weights[i], n.ctx, shapes[i], 2), MSW_OK);
        assert_int_equal(msw_plan_new(&n.plans[i], n.ctx, shapes[i], 2, &p), MSW_OK);
        fill(n.weights[i], i ? 0.01 : 1, 3 + i);
        assert_int_equal(msw_budget_add(n.budget, n.plans[i], n.weights[i], layer), MSW_OK);
    }
    return n;
}

static void net_free(net *n)
{
    msw_budget_free(n->budget);
    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_plan_free(n->plans[i]);
        msw_tensor_free(n->weights[i]);
    }
    msw_context_free(n->ctx);
}

static msw_budget_info info_of(const msw_budget *b)
{
    msw_budget_info info;

    msw_budget_info_init(&info);
    assert_int_equal(msw_budget_get_info(&info, b), MSW_OK);
    return info;
}

/* The file as it is written, and the distance of what is in it; magnitudes not rounded. */
static double file_bytes(double *distance, const net *n, const msw_store_options *store)
{
    msw_writer *writer;
    uint64_t bytes;

    *distance = 0;
    assert_int_equal(msw_writer_new(&writer, n->ctx), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        const size_t count = msw_tensor_count(n->weights[i]);
        const float *w = msw_tensor_data(n->weights[i]);
        double square = 0, sum = 0;
        msw_tensor *dense;
        msw_unified *u;

        assert_int_equal(msw_unified_new_merged(&u, n->plans[i], n->weights[i],
                                                msw_budget_classes(n->budget, i),
                                                msw_budget_merge_levels(n->budget, i),
                                                n->plans[i]->block_count), MSW_OK);
        assert_int_equal(msw_writer_add_unified(writer, i ? "second" : "first", u, store),
                         MSW_OK);
        assert_int_equal(msw_tensor_new(&dense, n->ctx, n->weights[i]->shape, 2),
                         MSW_OK);
        assert_int_equal(msw_unified_to_dense(dense, u), MSW_OK);
        for (size_t k = 0; k < count; k++) {
            const double off = (double)w[k] - (double)msw_tensor_data(dense)[k];

            square += (double)w[k] * (double)w[k];
            sum += off * off;
        }
        *distance += sum / square * (double)count;
        msw_tensor_free(dense);
        msw_unified_free(u);
    }
    bytes = msw_writer_bytes(writer);
    msw_writer_free(writer);
    return (double)bytes;
}

static msw_store_options store_of(uint32_t encoding)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = encoding;
    if (encoding == MSW_ENCODING_TRANSPORT) {
        o.magnitudes = MSW_DTYPE_LOG;
        o.magnitude_bits = 2;
        o.free_weights = MSW_DTYPE_UNIFORM;
        o.free_bits = 6;
    }
    return o;
}

static net merging_net(const msw_store_options *store, uint32_t levels)
{
    msw_budget_options o;
    msw_budget_layer l;

    msw_budget_options_init(&o);
    o.store = store;
    msw_budget_layer_init(&l);
    l.levels = levels;
    return net_new(&o, &l, NULL);
}

/* At most the target and within two percent of it, with distances as they are; and nearer
 * to the weights than without merging. */
static void check_target(uint32_t encoding, double target)
{
    const msw_store_options store = store_of(encoding);
    double single = 0;

    for (uint32_t levels = 0; levels <= MSW_MAX_MERGE_LEVELS; levels++) {
        net n = merging_net(&store, levels);
        msw_budget_info info;
        double bytes, distance;
        bool merged = false;

        assert_int_equal(msw_budget_choose(n.budget, target), MSW_OK);
        info = info_of(n.budget);
        bytes = file_bytes(&distance, &n, &store);
        assert_true(bytes <= 1.002 * target && bytes > 0.98 * target);
        assert_true(info.amount <= target && info.target == target);
        assert_true(fabs(info.amount - bytes) < 0.01 * target);
        assert_true(fabs(distance - info.distance) <= 1e-4 * distance);
        assert_true(info.all_free > 1.5 * target && info.all_free < 300000);
        for (size_t b = 0; levels && b < n.plans[0]->block_count; b++)
            merged = merged || msw_budget_merge_levels(n.budget, 0)[b];
        assert_int_equal(merged, levels > 0);
        if (levels == 0) {
            assert_null(msw_budget_merge_levels(n.budget, 0));
            single = distance;
        } else {
            assert_true(distance < single);
        }
        net_free(&n);
    }
}

static void test_plain(void **state)
{
    (void)state;
    check_target(MSW_ENCODING_PLAIN, 12000);
    check_target(MSW_ENCODING_PLAIN, 60000);
}

static void test_transport(void **state)
{
    (void)state;
    check_target(MSW_ENCODING_TRANSPORT, 7000);
    check_target(MSW_ENCODING_TRANSPORT, 10000);
}

/* A choice does not depend on those before it: what was learnt for another target is
 * forgotten. */
static void test_again(void **state)
{
    const msw_store_options store = store_of(MSW_ENCODING_TRANSPORT);
    net n = merging_net(&store, 2);
    const size_t blocks = n.plans[0]->block_count;
    uint8_t *kept = malloc(2 * blocks);

    (void)state;
    assert_non_null(kept);
    assert_int_equal(msw_budget_choose(n.budget, 9000), MSW_OK);
    memcpy(kept, msw_budget_classes(n.budget, 0), blocks);
    memcpy(kept + blocks, msw_budget_merge_levels(n.budget, 0), blocks);
    assert_int_equal(msw_budget_choose(n.budget, 30000), MSW_OK);
    assert_memory_not_equal(kept, msw_budget_classes(n.budget, 0), blocks);
    assert_int_equal(msw_budget_choose(n.budget, 9000), MSW_OK);
    assert_memory_equal(kept, msw_budget_classes(n.budget, 0), blocks);
    assert_memory_equal(kept + blocks, msw_budget_merge_levels(n.budget, 0), blocks);
    /* less than there can be: all pruned in the largest nodes */
    assert_int_equal(msw_budget_choose(n.budget, 200), MSW_E_RANGE);
    assert_int_equal(msw_budget_merge_levels(n.budget, 0)[0], 2);
    assert_int_equal(msw_budget_classes(n.budget, 0)[0], MSW_CLASS_PRUNED);
    free(kept);
    net_free(&n);
}

/* The same bits for any number of threads. */
static void test_threads(void **state)
{
    static const uint32_t counts[] = {1, 2, 8};
    uint8_t kept[2][48 * 80];

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        const msw_store_options store = store_of(MSW_ENCODING_TRANSPORT);
        msw_context_options context;
        msw_budget_options o;
        msw_budget_layer l;
        net n;

        msw_context_options_init(&context);
        context.threads = counts[k];
        msw_budget_options_init(&o);
        o.store = &store;
        msw_budget_layer_init(&l);
        l.levels = 3;
        n = net_new(&o, &l, &context);
        assert_int_equal(n.plans[0]->block_count, sizeof kept[0]);
        assert_int_equal(msw_budget_choose(n.budget, 9000), MSW_OK);
        if (k) {
            assert_memory_equal(kept[0], msw_budget_classes(n.budget, 0), sizeof kept[0]);
            assert_memory_equal(kept[1], msw_budget_merge_levels(n.budget, 0),
                                sizeof kept[1]);
        }
        memcpy(kept[0], msw_budget_classes(n.budget, 0), sizeof kept[0]);
        memcpy(kept[1], msw_budget_merge_levels(n.budget, 0), sizeof kept[1]);
        net_free(&n);
    }
}

/* Several grids, each with nodes: the pick is at least as good as each grid alone. */
static void test_any_plan(void **state)
{
    const msw_store_options store = store_of(MSW_ENCODING_PLAIN);
    static const uint32_t sides[] = {2, 4, 8};
    double distances[4];

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        net n = merging_net(&store, 2);
        msw_plan *plans[3];
        msw_budget_options o;
        msw_budget_layer l;
        msw_budget *b;

        msw_budget_options_init(&o);
        msw_budget_layer_init(&l);
        l.levels = 2;
        assert_int_equal(msw_budget_new(&b, n.ctx, &o), MSW_OK);
        for (size_t i = 0; i < 3; i++) {
            msw_plan_options p;

            msw_plan_options_init(&p);
            p.block_rows = p.block_columns = sides[i];
            assert_int_equal(msw_plan_new(&plans[i], n.ctx, n.weights[0]->shape,
                                          2, &p), MSW_OK);
        }
        assert_int_equal(k < 3 ? msw_budget_add(b, plans[k], n.weights[0], &l)
                               : msw_budget_add_any(b, plans, 3, n.weights[0], &l), MSW_OK);
        assert_int_equal(msw_budget_choose(b, 15000), MSW_OK);
        distances[k] = info_of(b).distance;
        for (size_t i = 0; i < 3; i++)
            msw_plan_free(plans[i]);
        msw_budget_free(b);
        net_free(&n);
    }
    assert_true(distances[3] <= fmin(fmin(distances[0], distances[1]), distances[2]));
}

/* Weights of a layer that several grids fit. */
static msw_tensor *patches(msw_context *ctx, size_t side, bool rough, uint64_t random)
{
    const size_t shape[2] = {side, side};
    msw_tensor *t;

    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    for (size_t k = 0; k < side * side; k++) {
        const double i = (double)(k / side / 8), j = (double)(k % side / 8);
        const double scale = rough ? exp(4 * sin(i) + 2 * cos(j)) : 1;

        msw_tensor_data(t)[k] = (float)(scale * ref_normal(&random));
    }
    return t;
}

static msw_plan *grid(msw_context *ctx, size_t side, uint32_t rows, uint32_t columns)
{
    const size_t shape[2] = {side, side};
    msw_plan_options o;
    msw_plan *plan;

    msw_plan_options_init(&o);
    o.block_rows = rows;
    o.block_columns = columns;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &o), MSW_OK);
    return plan;
}

/* Plans are picked by what is known at first, whatever was chosen before. */
static void test_pick_again(void **state)
{
    enum { SIDE = 48, NETS = 4, GRIDS = 4 };
    static const uint32_t sides[GRIDS][2] = {{1, 2}, {2, 2}, {3, 2}, {2, 3}};
    msw_store_options store = store_of(MSW_ENCODING_TRANSPORT);
    msw_tensor *w[NETS];
    msw_plan *plans[GRIDS];
    msw_budget_options o;
    msw_budget *used;
    msw_context *ctx;
    msw_budget_layer l;

    (void)state;
    store.magnitudes = store.free_weights = MSW_DTYPE_UNIFORM;
    store.magnitude_bits = store.free_bits = 4;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    msw_budget_options_init(&o);
    o.store = &store;
    msw_budget_layer_init(&l);
    l.levels = 4;
    for (size_t k = 0; k < GRIDS; k++)
        plans[k] = grid(ctx, SIDE, sides[k][0], sides[k][1]);
    assert_int_equal(msw_budget_new(&used, ctx, &o), MSW_OK);
    for (size_t k = 0; k < NETS; k++) {
        w[k] = patches(ctx, SIDE, k & 1, 17 + k);
        assert_int_equal(msw_budget_add_any(used, plans, GRIDS, w[k], &l), MSW_OK);
    }
    for (double target = 500; target < 3000; target += 250) {
        msw_budget *fresh;

        assert_int_equal(msw_budget_new(&fresh, ctx, &o), MSW_OK);
        for (size_t k = 0; k < NETS; k++)
            assert_int_equal(msw_budget_add_any(fresh, plans, GRIDS, w[k], &l), MSW_OK);
        assert_int_equal(msw_budget_choose(used, target), msw_budget_choose(fresh, target));
        for (uint32_t k = 0; k < NETS; k++)
            assert_ptr_equal(msw_budget_plan(used, k), msw_budget_plan(fresh, k));
        assert_true(info_of(used).distance == info_of(fresh).distance);
        assert_true(info_of(used).all_free == info_of(fresh).all_free);
        msw_budget_free(fresh);
    }
    msw_budget_free(used);
    for (size_t k = 0; k < NETS; k++)
        msw_tensor_free(w[k]);
    for (size_t k = 0; k < GRIDS; k++)
        msw_plan_free(plans[k]);
    msw_context_free(ctx);
}

/* All free, a file with a merge map takes as much when an earlier layer has several plans. */
static void test_all_free(void **state)
{
    msw_context *ctx;
    msw_plan *plans[2];
    msw_tensor *w;
    msw_budget_layer l;
    double all_free[2];

    (void)state;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    plans[0] = grid(ctx, 64, 4, 4);
    plans[1] = grid(ctx, 64, 8, 8);
    w = patches(ctx, 64, true, 5);
    msw_budget_layer_init(&l);
    l.levels = 2;
    for (size_t k = 0; k < 2; k++) {
        msw_budget *b;

        assert_int_equal(msw_budget_new(&b, ctx, NULL), MSW_OK);
        assert_int_equal(msw_budget_add_any(b, plans, 1 + k, w, NULL), MSW_OK);
        assert_int_equal(msw_budget_add(b, plans[0], w, &l), MSW_OK);
        all_free[k] = info_of(b).all_free;
        msw_budget_free(b);
    }
    assert_true(all_free[0] == all_free[1]);
    msw_tensor_free(w);
    msw_plan_free(plans[0]);
    msw_plan_free(plans[1]);
    msw_context_free(ctx);
}

/* What cannot be. */
static void test_refused(void **state)
{
    const msw_store_options packed = store_of(MSW_ENCODING_PACKED);
    net n = merging_net(NULL, 2);
    const uint32_t layers = msw_budget_layer_count(n.budget);
    msw_budget_options o;
    msw_budget_layer good, l;
    msw_budget *b;

    (void)state;
    msw_budget_layer_init(&good);
    good.levels = 2;
    for (int k = 0; k < 8; k++) {
        l = good;
        l.levels = k == 0 ? MSW_MAX_MERGE_LEVELS + 1 : 2;
        l.prune_min = k == 1 ? 0.1 : 0;
        l.prune_max = k == 2 ? 0.9 : 0;
        l.unify_min = k == 3 ? 0.1 : 0;
        l.unify_max = k == 4 ? 0.9 : 0;
        l.store = k == 5 ? &packed : NULL;
        l.reserved = k == 6;
        if (k == 7) { /* as if there were none */
            l.prune_max = l.unify_max = 1;
        }
        assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &l),
                         k == 7   ? MSW_OK
                         : k == 6 ? MSW_E_VERSION
                                  : MSW_E_INVAL);
        assert_int_equal(msw_budget_layer_count(n.budget), layers + (k == 7));
    }
    l = good;
    l.store = &packed;
    l.float_bits = 16; /* nothing is encoded */
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &l), MSW_OK);
    for (uint32_t r = MSW_RESOURCE_MULTIPLY_ADDS; r <= MSW_RESOURCE_SECONDS; r++) {
        msw_budget_options_init(&o);
        o.resource = r;
        assert_int_equal(msw_budget_new(&b, n.ctx, &o), MSW_OK);
        assert_int_equal(msw_budget_add(b, n.plans[0], n.weights[0], &good), MSW_E_INVAL);
        assert_null(msw_budget_merge_levels(b, 0));
        msw_budget_free(b);
    }
    assert_null(msw_budget_merge_levels(n.budget, 9));
    assert_null(msw_budget_merge_levels(NULL, 0));
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),   cmocka_unit_test(test_in_part),
        cmocka_unit_test(test_in_part_of_a_node),
        cmocka_unit_test(test_learning), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_transport), cmocka_unit_test(test_again),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_any_plan),
        cmocka_unit_test(test_pick_again), cmocka_unit_test(test_all_free),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
