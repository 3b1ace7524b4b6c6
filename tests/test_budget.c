/* SPDX-License-Identifier: BSD-2-Clause */
/* Budgets: the joint choice against every choice there is, and targets that are met in
 * files as they are written, in operations and in predicted seconds. */
#include "budget.h"
#include "ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The joint choice, in small */

enum { TRIALS = 1500, MOST_SHARES = 3, MOST_BLOCKS = 8, FAMILIES = 4 };

typedef struct small {
    msw_context *ctx;
    msw_plan *plans[MOST_SHARES];
    msw__candidate candidates[MOST_SHARES][MOST_BLOCKS];
    msw__candidate kept[MOST_SHARES][MOST_BLOCKS];
    uint8_t classes[MOST_SHARES][MOST_BLOCKS];
    msw__share shares[MOST_SHARES];
    size_t count, blocks; /* blocks of all */
    uint64_t random;
} small;

static float random_root(small *s, int family)
{
    switch (family) {
    case 0:
        return (float)ref_uniform(&s->random);
    case 1: /* few levels */
        return (float)ref_below(&s->random, 3);
    case 2: /* wide */
        return (float)exp(4 * ref_normal(&s->random));
    default: /* no cost at all, or the same */
        return ref_below(&s->random, 2) ? 0 : 1;
    }
}

static void make_share(small *s, size_t i, int family, bool ragged, bool bounded)
{
    const size_t blocks = 1 + ref_below(&s->random, i == 0 ? 4 : 3);
    const size_t shape[2] = {2, 4 * blocks - (ragged ? ref_below(&s->random, 4) : 0)};
    msw_plan_options o;
    msw__share *share = &s->shares[i];

    msw_plan_options_init(&o);
    o.block_rows = 2;
    o.block_columns = 4;
    assert_int_equal(msw_plan_new(&s->plans[i], s->ctx, shape, 2, &o), MSW_OK);
    assert_int_equal(s->plans[i]->block_count, blocks);
    msw__share_init(share, s->plans[i], s->candidates[i], s->classes[i]);
    for (size_t b = 0; b < blocks; b++) {
        const float x = random_root(s, family), y = random_root(s, family);

        s->candidates[i][b] = (msw__candidate){fmaxf(x, y), fminf(x, y), (uint32_t)b};
    }
    memcpy(s->kept[i], s->candidates[i], sizeof s->kept[i]);
    share->scale = ref_below(&s->random, 2) ? 1 : exp(ref_normal(&s->random));
    for (size_t kind = 0; kind < MSW__BLOCK_KINDS; kind++) {
        size_t rows, columns;

        if (!msw__share_block_size(&rows, &columns, s->plans[i], kind))
            continue;
        share->amount[kind][MSW_CLASS_FREE] = 4.0 * (double)(rows * columns);
        share->amount[kind][MSW_CLASS_UNIFIED] = 4 + (double)(rows * columns) / 8;
    }
    share->fixed = (double)ref_below(&s->random, 3);
    for (size_t k = MSW_CLASS_PRUNED; bounded && k < MSW__CLASSES; k++) {
        share->least[k] = ref_below(&s->random, blocks / 2 + 1);
        share->most[k] = share->least[k] + ref_below(&s->random, blocks);
        share->most[k] = share->most[k] < blocks ? share->most[k] : blocks;
    }
    s->blocks += blocks;
}

static void free_small(small *s)
{
    for (size_t i = 0; i < s->count; i++)
        msw_plan_free(s->plans[i]);
    s->count = s->blocks = 0;
}

/* What a choice takes and costs; false when it breaks a bound. */
static bool weigh(double *amount, double *cost, const small *s, const uint8_t *classes)
{
    *amount = *cost = 0;
    for (size_t i = 0; i < s->count; i++) {
        const msw__share *share = &s->shares[i];
        size_t n[MSW__CLASSES] = {0};

        *amount += share->fixed;
        for (size_t b = 0; b < s->plans[i]->block_count; b++) {
            const unsigned class = *classes++;
            const msw__candidate *x = &s->kept[i][b];
            const double root = class == MSW_CLASS_FREE ? 0
                                : class == MSW_CLASS_PRUNED ? (double)x->prune
                                                            : (double)x->unify;
            const bool last = b == s->plans[i]->block_count - 1 &&
                              s->plans[i]->columns % 4 != 0;

            *cost += share->scale * root * root;
            *amount += share->amount[last ? MSW__LAST_COLUMN : 0][class];
            n[class]++;
        }
        for (size_t k = MSW_CLASS_PRUNED; k < MSW__CLASSES; k++)
            if (n[k] < share->least[k] || n[k] > share->most[k])
                return false;
    }
    return true;
}

/* The least cost of all choices that take at most so much. */
static double least_cost(const small *s, double most)
{
    uint8_t classes[MOST_SHARES * MOST_BLOCKS] = {0};
    double least = HUGE_VAL;

    for (;;) {
        double amount, cost;
        size_t b = 0;

        if (weigh(&amount, &cost, s, classes) && amount <= most * (1 + 1e-12))
            least = fmin(least, cost);
        while (b < s->blocks && classes[b] == MSW_CLASS_UNIFIED)
            classes[b++] = 0;
        if (b == s->blocks)
            return least;
        classes[b]++;
    }
}

static void gather(uint8_t *out, const small *s)
{
    for (size_t i = 0; i < s->count; i++) {
        memcpy(out, s->classes[i], s->plans[i]->block_count);
        out += s->plans[i]->block_count;
    }
}

/* True when nothing that takes as much or less costs less. */
static bool check_small(small *s)
{
    uint8_t classes[MOST_SHARES * MOST_BLOCKS], spare[MOST_BLOCKS * MSW__SPARE_BYTES];
    const double room = 40 * ref_uniform(&s->random) * (double)s->count * 2;
    double amount, cost, least;
    const msw__outcome out = msw__share_out(s->shares, s->count, room, spare);

    gather(classes, s);
    assert_true(weigh(&amount, &cost, s, classes)); /* bounds are kept */
    assert_true(fabs(amount - out.amount) <= 1e-9 * (amount + 1));
    assert_true(fabs(cost - out.distance) <= 1e-9 * (cost + 1));
    assert_memory_equal(s->candidates, s->kept, sizeof s->kept); /* in order again */
    least = least_cost(s, amount);
    if (out.reached) {
        assert_true(amount <= room * (1 + 1e-12));
    } else {
        assert_true(isinf(least_cost(s, room)) || amount > room);
        assert_true(isinf(least_cost(s, room)));
    }
    return cost <= least * (1 + 1e-6) + 1e-12;
}

static size_t misses(bool ragged, bool bounded, int family)
{
    small s = {.random = 7 + (uint64_t)family};
    size_t missed = 0;

    assert_int_equal(msw_context_new(&s.ctx, NULL), MSW_OK);
    for (int trial = 0; trial < TRIALS; trial++) {
        memset(s.candidates, 0, sizeof s.candidates);
        memset(s.kept, 0, sizeof s.kept);
        s.count = 1 + ref_below(&s.random, 2);
        for (size_t i = 0; i < s.count; i++)
            make_share(&s, i, family, ragged, bounded);
        missed += !check_small(&s);
        free_small(&s);
    }
    msw_context_free(s.ctx);
    return missed;
}

static void test_choice(void **state)
{
    (void)state;
    for (int family = 0; family < FAMILIES; family++) {
        assert_int_equal(misses(false, false, family), 0);
        assert_int_equal(misses(true, false, family), 0);
    }
}

/* With bounds and blocks of one size. */
static void test_bounded_choice(void **state)
{
    (void)state;
    for (int family = 0; family < FAMILIES; family++)
        assert_int_equal(misses(false, true, family), 0);
}

/* The object: two layers of quite different weights, the second with ragged blocks */

enum { ROWS = 192, COLUMNS = 320, ROWS_2 = 50, COLUMNS_2 = 61, LAYERS = 2 };

typedef struct net {
    msw_context *ctx;
    msw_tensor *weights[LAYERS];
    msw_plan *plans[LAYERS];
    msw_budget *budget;
} net;

static net net_new(const msw_budget_options *o, const msw_budget_layer *layer)
{
    static const size_t shapes[LAYERS][2] = {{ROWS, COLUMNS}, {ROWS_2, COLUMNS_2}};
    uint64_t random = 3;
    net n = {0};

    assert_int_equal(msw_context_new(&n.ctx, NULL), MSW_OK);
    assert_int_equal(msw_budget_new(&n.budget, n.ctx, o), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        float *w;

        assert_int_equal(msw_tensor_new(&n.weights[i], n.ctx, shapes[i], 2), MSW_OK);
        assert_int_equal(msw_plan_new(&n.plans[i], n.ctx, shapes[i], 2, NULL), MSW_OK);
        w = msw_tensor_data(n.weights[i]);
        for (size_t k = 0; k < msw_tensor_count(n.weights[i]); k++)
            w[k] = (float)((i ? 0.01 : 1) * ref_normal(&random) *
                           exp(sin((double)(k / 64))));
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

static msw_unified *unify(const net *n, uint32_t layer)
{
    msw_unified *u;

    assert_int_equal(msw_unified_new(&u, n->plans[layer], n->weights[layer],
                                     msw_budget_classes(n->budget, layer),
                                     n->plans[layer]->block_count), MSW_OK);
    return u;
}

/* What is really taken, by the library's public calls. */

static double file_bytes(const net *n, const msw_store_options *store)
{
    msw_writer *writer;
    uint64_t bytes;

    assert_int_equal(msw_writer_new(&writer, n->ctx), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_unified *u = unify(n, i);

        assert_int_equal(msw_writer_add_unified(writer, i ? "second" : "first", u, store),
                         MSW_OK);
        msw_unified_free(u);
    }
    bytes = msw_writer_bytes(writer);
    msw_writer_free(writer);
    return (double)bytes;
}

static double multiply_adds(const net *n, size_t columns)
{
    double sum = 0;

    for (uint32_t i = 0; i < LAYERS; i++) {
        const uint8_t *classes = msw_budget_classes(n->budget, i);
        msw_block b;

        msw_block_init(&b);
        for (size_t k = 0; k < n->plans[i]->block_count; k++) {
            assert_int_equal(msw_plan_get_block(&b, n->plans[i], k), MSW_OK);
            if (classes[k] == MSW_CLASS_FREE)
                sum += (double)(b.rows * b.columns);
            else if (classes[k] == MSW_CLASS_UNIFIED)
                sum += (double)b.rows * ceil((double)b.columns / 4);
        }
    }
    return sum * (double)columns;
}

static double seconds(const net *n, size_t columns)
{
    double sum = 0;

    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_unified *u = unify(n, i);
        msw_gemm_options o;
        msw_gemm_info info;
        msw_gemm *gemm;

        msw_gemm_options_init(&o);
        msw_gemm_info_init(&info);
        o.expected_n = columns;
        o.fallback = MSW_FALLBACK_NEVER;
        assert_int_equal(msw_gemm_new(&gemm, n->ctx, u, &o), MSW_OK);
        assert_int_equal(msw_gemm_get_info(&info, gemm, columns), MSW_OK);
        sum += info.predicted;
        msw_gemm_free(gemm);
        msw_unified_free(u);
    }
    return sum;
}

static double really(const net *n, uint32_t resource, const msw_store_options *store,
                     size_t columns)
{
    return resource == MSW_RESOURCE_BYTES           ? file_bytes(n, store)
           : resource == MSW_RESOURCE_MULTIPLY_ADDS ? multiply_adds(n, columns)
                                                    : seconds(n, columns);
}

/* Within 2 % of the target, from below, whatever is left of the network. */
static void check_targets(uint32_t resource, const msw_store_options *store)
{
    const size_t columns = resource == MSW_RESOURCE_BYTES ? 1 : 49;
    msw_budget_options o;
    msw_budget_layer layer;
    msw_budget_info first;
    net n;

    msw_budget_options_init(&o);
    msw_budget_layer_init(&layer);
    o.resource = resource;
    o.store = store;
    layer.columns = columns;
    n = net_new(&o, &layer);
    first = info_of(n.budget);
    for (int share = 85; share >= 20; share -= 5) { /* more than 1/8 for the signs */
        const double target = share / 100.0 * first.all_free;
        double taken;

        assert_int_equal(msw_budget_choose(n.budget, target), MSW_OK);
        taken = really(&n, resource, store, columns);
        assert_true(taken <= 1.001 * target && taken >= 0.98 * target);
        assert_true(fabs(info_of(n.budget).amount - taken) <=
                    (resource == MSW_RESOURCE_BYTES ? 200 : 1e-9 * target));
        assert_true(info_of(n.budget).target == target);
    }
    assert_int_equal(msw_budget_choose(n.budget, 10 * first.all_free), MSW_OK);
    assert_true(info_of(n.budget).distance == 0);
    assert_true(fabs(really(&n, resource, store, columns) - first.all_free) <=
                0.001 * first.all_free);
    assert_int_equal(msw_budget_choose(n.budget, first.all_free * 1e-4), MSW_E_RANGE);
    assert_true(info_of(n.budget).amount > first.all_free * 1e-4 ||
                resource == MSW_RESOURCE_MULTIPLY_ADDS);
    net_free(&n);
}

static void test_plain_bytes(void **state)
{
    msw_store_options store;

    (void)state;
    check_targets(MSW_RESOURCE_BYTES, NULL);
    msw_store_options_init(&store);
    store.magnitudes = store.free_weights = MSW_DTYPE_F16;
    check_targets(MSW_RESOURCE_BYTES, &store);
}

static void test_transport_bytes(void **state)
{
    msw_store_options store;

    (void)state;
    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    check_targets(MSW_RESOURCE_BYTES, &store);
    store.magnitudes = MSW_DTYPE_LOG;
    store.magnitude_bits = 4;
    store.free_weights = MSW_DTYPE_UNIFORM;
    store.free_bits = 6;
    check_targets(MSW_RESOURCE_BYTES, &store);
}

static void test_seconds(void **state)
{
    (void)state;
    check_targets(MSW_RESOURCE_SECONDS, NULL);
}

static void test_multiply_adds(void **state)
{
    msw_budget_options o;
    net n;

    (void)state;
    msw_budget_options_init(&o);
    o.resource = MSW_RESOURCE_MULTIPLY_ADDS;
    n = net_new(&o, NULL);
    for (int share = 1; share < 100; share += 7) {
        const double target = share / 100.0 * info_of(n.budget).all_free;

        assert_int_equal(msw_budget_choose(n.budget, target), MSW_OK);
        assert_true(info_of(n.budget).amount == multiply_adds(&n, 1));
        assert_true(multiply_adds(&n, 1) <= target);
        assert_true(multiply_adds(&n, 1) >= target - 64);
    }
    assert_true(info_of(n.budget).all_free ==
                (double)(ROWS * COLUMNS + ROWS_2 * COLUMNS_2));
    net_free(&n);
}

/* Blocks are cut off at the end of each group: 7 rows are one whole block and one of 3. */
static void test_groups(void **state)
{
    enum { GROUPS = 5, GROUP_ROWS = 7, INNER = 18 };
    static const size_t shape[2] = {GROUPS * GROUP_ROWS, INNER};
    msw_plan_options p;
    msw_budget_options o;
    uint64_t random = 5;
    net n = {0};

    (void)state;
    msw_plan_options_init(&p);
    p.groups = GROUPS;
    p.block_rows = p.block_columns = 4;
    msw_budget_options_init(&o);
    o.resource = MSW_RESOURCE_MULTIPLY_ADDS;
    assert_int_equal(msw_context_new(&n.ctx, NULL), MSW_OK);
    assert_int_equal(msw_budget_new(&n.budget, n.ctx, &o), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        assert_int_equal(msw_tensor_new(&n.weights[i], n.ctx, shape, 2), MSW_OK);
        assert_int_equal(msw_plan_new(&n.plans[i], n.ctx, shape, 2, &p), MSW_OK);
        for (size_t k = 0; k < shape[0] * shape[1]; k++)
            msw_tensor_data(n.weights[i])[k] = (float)ref_normal(&random);
        assert_int_equal(msw_budget_add(n.budget, n.plans[i], n.weights[i], NULL), MSW_OK);
    }
    for (int share = 5; share < 100; share += 5) {
        const double target = share / 100.0 * info_of(n.budget).all_free;

        assert_int_equal(msw_budget_choose(n.budget, target), MSW_OK);
        assert_true(info_of(n.budget).amount == multiply_adds(&n, 1));
        assert_true(multiply_adds(&n, 1) <= target);
    }
    net_free(&n);
}

/* The scale of a layer's weights does not count, its weight does. */
static void test_scale(void **state)
{
    msw_budget_options o;
    size_t pruned[2][LAYERS] = {{0}};

    (void)state;
    msw_budget_options_init(&o);
    for (uint32_t scale = MSW_SCALE_RMS; scale <= MSW_SCALE_NONE; scale++) {
        net n;

        o.scale = scale;
        n = net_new(&o, NULL);
        assert_int_equal(msw_budget_choose(n.budget, 0.3 * info_of(n.budget).all_free),
                         MSW_OK);
        for (uint32_t i = 0; i < LAYERS; i++)
            for (size_t b = 0; b < n.plans[i]->block_count; b++)
                pruned[scale][i] += msw_budget_classes(n.budget, i)[b] == MSW_CLASS_PRUNED;
        net_free(&n);
    }
    assert_true(pruned[MSW_SCALE_NONE][1] == 8 * 7); /* all of it, which is small */
    assert_true(pruned[MSW_SCALE_RMS][1] < 8 * 7 / 2);
}

static void test_bounds(void **state)
{
    msw_budget_layer layer;
    net n;

    (void)state;
    msw_budget_layer_init(&layer);
    layer.prune_min = 0.1;
    layer.prune_max = 0.2;
    layer.unify_max = 0.5;
    layer.exclude = 0;
    n = net_new(NULL, &layer);
    for (int share = 100; share > 0; share -= 20) {
        const msw_status status =
            msw_budget_choose(n.budget, share / 100.0 * info_of(n.budget).all_free);

        assert_true(status == MSW_OK || status == MSW_E_RANGE);
        for (uint32_t i = 0; i < LAYERS; i++) {
            const size_t blocks = n.plans[i]->block_count;
            size_t count[MSW__CLASSES] = {0};

            for (size_t b = 0; b < blocks; b++)
                count[msw_budget_classes(n.budget, i)[b]]++;
            assert_true(count[MSW_CLASS_PRUNED] >= blocks / 10);
            assert_true(count[MSW_CLASS_PRUNED] <= blocks / 5);
            assert_true(count[MSW_CLASS_UNIFIED] <= blocks / 2);
        }
    }
    net_free(&n);
    msw_budget_layer_init(&layer);
    layer.exclude = MSW_EXCLUDE_PRUNE;
    n = net_new(NULL, &layer);
    assert_int_equal(msw_budget_choose(n.budget, 1), MSW_E_RANGE);
    for (uint32_t i = 0; i < LAYERS; i++)
        for (size_t b = 0; b < n.plans[i]->block_count; b++)
            assert_int_equal(msw_budget_classes(n.budget, i)[b], MSW_CLASS_UNIFIED);
    net_free(&n);
}

/* Of several partitions: none of the other combinations costs less at the same target, up
 * to what the last step leaves unused. */

enum { WAYS = 3 };

static msw_plan *plan_of(msw_context *ctx, const msw_tensor *t, uint32_t rows,
                         uint32_t columns)
{
    const size_t shape[2] = {msw_tensor_dim(t, 0), msw_tensor_dim(t, 1)};
    msw_plan_options o;
    msw_plan *plan;

    msw_plan_options_init(&o);
    o.block_rows = rows;
    o.block_columns = columns;
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &o), MSW_OK);
    return plan;
}

static double distance_with(const net *n, msw_plan *const *plans, double target)
{
    msw_budget *b;
    double distance;

    assert_int_equal(msw_budget_new(&b, n->ctx, NULL), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++)
        assert_int_equal(msw_budget_add(b, plans[i], n->weights[i], NULL), MSW_OK);
    distance = msw_budget_choose(b, target) ? HUGE_VAL : info_of(b).distance;
    msw_budget_free(b);
    return distance;
}

static void test_partitions(void **state)
{
    static const uint32_t sides[WAYS][2] = {{8, 8}, {2, 4}, {4, 32}};
    net n = net_new(NULL, NULL);
    msw_plan *ways[LAYERS][WAYS];
    msw_budget *b;

    (void)state;
    /* rows of the first layer in bands of 4 x 32 whose magnitudes are nearly equal */
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            float *w = msw_tensor_data(n.weights[0]) + r * COLUMNS + c;

            *w = (*w < 0 ? -1.0f : 1.0f) * (1 + 0.1f * sinf(*w)) *
                 (float)(1 + (r / 4 * 7 + c / 32 * 3) % 5);
        }
    assert_int_equal(msw_budget_new(&b, n.ctx, NULL), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        for (int k = 0; k < WAYS; k++)
            ways[i][k] = plan_of(n.ctx, n.weights[i], sides[k][0], sides[k][1]);
        assert_int_equal(msw_budget_add_any(b, ways[i], WAYS, n.weights[i], NULL), MSW_OK);
        assert_ptr_equal(msw_budget_plan(b, i), ways[i][0]);
    }
    for (double target = 30000; target < 200000; target *= 1.5) {
        double least = HUGE_VAL;

        assert_int_equal(msw_budget_choose(b, target), MSW_OK);
        assert_true(info_of(b).amount <= target);
        assert_ptr_equal(msw_budget_plan(b, 0), ways[0][2]);
        for (int k = 0; k < WAYS * WAYS; k++) {
            msw_plan *plans[LAYERS] = {ways[0][k % WAYS], ways[1][k / WAYS]};

            least = fmin(least, distance_with(&n, plans, target));
        }
        assert_true(info_of(b).distance <= 1.02 * least);
    }
    assert_int_equal(msw_budget_add_any(b, ways[0], 0, n.weights[0], NULL), MSW_E_INVAL);
    assert_int_equal(msw_budget_add_any(b, ways[1], WAYS, n.weights[0], NULL), MSW_E_INVAL);
    msw_budget_free(b);
    for (uint32_t i = 0; i < LAYERS; i++)
        for (int k = 0; k < WAYS; k++)
            msw_plan_free(ways[i][k]);
    net_free(&n);
}

/* Each option that is out of its range, by itself. */
static void test_options(void **state)
{
    msw_store_options store;
    msw_budget_options o;
    msw_budget_layer l;
    msw_budget *b;
    net n = net_new(NULL, NULL);

    (void)state;
#define REFUSE(change, status)                                             \
    msw_budget_options_init(&o);                                           \
    change;                                                                \
    assert_int_equal(msw_budget_new(&b, n.ctx, &o), status);               \
    assert_null(b)
    REFUSE(o.resource = MSW_RESOURCE_SECONDS + 1, MSW_E_INVAL);
    REFUSE(o.scale = MSW_SCALE_NONE + 1, MSW_E_INVAL);
    REFUSE(o.rest = -1, MSW_E_INVAL);
    REFUSE(o.rest = (double)INFINITY, MSW_E_INVAL);
    REFUSE(o.rest = (double)NAN, MSW_E_INVAL);
    REFUSE(o.size = 4, MSW_E_INVAL);
    msw_store_options_init(&store);
    store.size = 4;
    REFUSE(o.store = &store, MSW_E_INVAL);
#undef REFUSE
#define REFUSE(change, status)                                                          \
    msw_budget_layer_init(&l);                                                          \
    change;                                                                             \
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &l), status)
    REFUSE(l.size = 4, MSW_E_INVAL);
    REFUSE(l.store = &store, MSW_E_INVAL);
    REFUSE(l.prune_max = 1.5, MSW_E_INVAL);
    REFUSE(l.unify_max = 1.5, MSW_E_INVAL);
    REFUSE(l.prune_min = 0.5; l.prune_max = 0.4, MSW_E_INVAL);
    REFUSE(l.unify_min = 0.5; l.unify_max = 0.4, MSW_E_INVAL);
    REFUSE(l.unify_min = 0.5; l.exclude = MSW_EXCLUDE_UNIFY, MSW_E_INVAL);
    REFUSE(l.weight = (double)INFINITY, MSW_E_INVAL);
    REFUSE(l.weight = (double)NAN, MSW_E_INVAL);
    REFUSE(l.float_bits = 65, MSW_E_INVAL);
    REFUSE(l.importance = n.weights[1], MSW_E_INVAL); /* of another shape */
#undef REFUSE
    assert_int_equal(msw_budget_layer_count(n.budget), LAYERS);
    net_free(&n);
}

/* Floats of so many bits, whatever they are stored as: what the host does with them. */
static void test_float_bits(void **state)
{
    msw_budget_layer l;

    (void)state;
    msw_budget_layer_init(&l);
    for (l.float_bits = 4; l.float_bits <= 32; l.float_bits *= 2) {
        net n = net_new(NULL, &l);
        const double weights = ROWS * COLUMNS + ROWS_2 * COLUMNS_2;
        double signs = 0, floats = 0, without;

        assert_int_equal(msw_budget_choose(n.budget, 1e9), MSW_OK);
        without = info_of(n.budget).all_free - weights * l.float_bits / 8;
        assert_true(without > 0 && without < 2000); /* class maps and records */
        assert_int_equal(msw_budget_choose(n.budget, 0.4 * info_of(n.budget).all_free),
                         MSW_OK);
        for (uint32_t i = 0; i < LAYERS; i++)
            for (size_t k = 0; k < n.plans[i]->block_count; k++) {
                const uint8_t class = msw_budget_classes(n.budget, i)[k];
                msw_block b;

                msw_block_init(&b);
                assert_int_equal(msw_plan_get_block(&b, n.plans[i], k), MSW_OK);
                signs += class == MSW_CLASS_UNIFIED ? (double)(b.rows * b.columns) : 0;
                floats += class == MSW_CLASS_UNIFIED ? 1
                          : class == MSW_CLASS_FREE  ? (double)(b.rows * b.columns) : 0;
            }
        assert_true(fabs(info_of(n.budget).amount -
                         (without + signs / 8 + floats * l.float_bits / 8)) < 1e-6);
        net_free(&n);
    }
}

static void test_misuse(void **state)
{
    msw_budget_options o;
    msw_budget_layer layer;
    msw_budget *b;
    net n = net_new(NULL, NULL);

    (void)state;
    msw_budget_free(NULL);
    assert_int_equal(msw_budget_new(NULL, n.ctx, NULL), MSW_E_INVAL);
    assert_int_equal(msw_budget_new(&b, NULL, NULL), MSW_E_INVAL);
    msw_budget_options_init(&o);
    o.resource = 3;
    assert_int_equal(msw_budget_new(&b, n.ctx, &o), MSW_E_INVAL);
    assert_null(b);
    o.resource = 0;
    o.rest = -1;
    assert_int_equal(msw_budget_new(&b, n.ctx, &o), MSW_E_INVAL);
    o.rest = (double)NAN;
    assert_int_equal(msw_budget_new(&b, n.ctx, &o), MSW_E_INVAL);
    assert_int_equal(msw_budget_add(NULL, n.plans[0], n.weights[0], NULL), MSW_E_INVAL);
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[1], NULL), MSW_E_INVAL);
    assert_int_equal(msw_budget_add(n.budget, NULL, n.weights[1], NULL), MSW_E_INVAL);
    msw_budget_layer_init(&layer);
    layer.prune_min = 0.7;
    layer.unify_min = 0.4;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &layer),
                     MSW_E_INVAL);
    layer.unify_min = 0;
    layer.prune_max = 0.6;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &layer),
                     MSW_E_INVAL);
    layer.prune_max = 0;
    layer.exclude = MSW_EXCLUDE_PRUNE;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &layer),
                     MSW_E_INVAL);
    msw_budget_layer_init(&layer);
    layer.weight = -1;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &layer),
                     MSW_E_INVAL);
    layer.weight = 0;
    layer.exclude = 4;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], &layer),
                     MSW_E_VERSION);
    msw_tensor_data(n.weights[0])[5] = (float)INFINITY;
    assert_int_equal(msw_budget_add(n.budget, n.plans[0], n.weights[0], NULL),
                     MSW_E_NUMERIC);
    assert_int_equal(msw_budget_layer_count(n.budget), LAYERS);
    assert_int_equal(msw_budget_choose(n.budget, 0), MSW_E_INVAL);
    assert_int_equal(msw_budget_choose(n.budget, (double)NAN), MSW_E_INVAL);
    assert_int_equal(msw_budget_choose(NULL, 1), MSW_E_INVAL);
    assert_null(msw_budget_classes(n.budget, LAYERS));
    assert_null(msw_budget_plan(n.budget, LAYERS));
    assert_ptr_equal(msw_budget_plan(n.budget, 1), n.plans[1]);
    assert_int_equal(msw_budget_new(&b, n.ctx, NULL), MSW_OK);
    assert_int_equal(msw_budget_choose(b, 1), MSW_E_INVAL); /* no layers */
    msw_budget_free(b);
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_bounded_choice),
        cmocka_unit_test(test_plain_bytes),
        cmocka_unit_test(test_transport_bytes),
        cmocka_unit_test(test_multiply_adds),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_float_bits),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
