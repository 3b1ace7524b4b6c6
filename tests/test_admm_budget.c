/* SPDX-License-Identifier: BSD-2-Clause */
/* A solver with a budget, on a problem without a network: f(W) = 1/2 ||W - A||^2. */
#include <msw/msw.h>

#include "ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 2, UPDATES = 6, STEPS = 4, LARGE_ROWS = 160, LARGE_COLUMNS = 240,
       SMALL_ROWS = 37, SMALL_COLUMNS = 50, POSITIONS = 25 };

typedef struct host {
    msw_context *ctx;
    msw_tensor *weights[LAYERS], *wanted[LAYERS], *grads[LAYERS];
    msw_plan *plans[LAYERS];
    msw_admm *admm;
} host;

static host host_with(double ramp, uint32_t relaxation, double soft_factor)
{
    static const size_t shapes[LAYERS][2] = {{LARGE_ROWS, LARGE_COLUMNS},
                                             {SMALL_ROWS, SMALL_COLUMNS}};
    msw_admm_options o;
    uint64_t random = 5;
    host h = {0};

    msw_admm_options_init(&o);
    o.updates = UPDATES;
    o.ramp = ramp;
    o.relaxation = relaxation;
    o.soft_factor = soft_factor;
    assert_int_equal(msw_context_new(&h.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_new(&h.admm, h.ctx, &o), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        float *a;

        assert_int_equal(msw_tensor_new(&h.weights[i], h.ctx, shapes[i], 2), MSW_OK);
        assert_int_equal(msw_tensor_new(&h.wanted[i], h.ctx, shapes[i], 2), MSW_OK);
        assert_int_equal(msw_tensor_new(&h.grads[i], h.ctx, shapes[i], 2), MSW_OK);
        assert_int_equal(msw_plan_new(&h.plans[i], h.ctx, shapes[i], 2, NULL), MSW_OK);
        a = msw_tensor_data(h.wanted[i]);
        for (size_t k = 0; k < msw_tensor_count(h.wanted[i]); k++)
            a[k] = (float)((i ? 0.02 : 1) * ref_normal(&random) *
                           exp(cos((double)(k / 32))));
        memcpy(msw_tensor_data(h.weights[i]), a,
               msw_tensor_count(h.wanted[i]) * sizeof *a);
        assert_int_equal(msw_admm_add_layer(h.admm, h.weights[i], h.plans[i], NULL),
                         MSW_OK);
    }
    return h;
}

static host host_new(double ramp)
{
    return host_with(ramp, MSW_RELAXATION_ADMM, 0);
}

static void host_free(host *h)
{
    msw_admm_free(h->admm);
    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_plan_free(h->plans[i]);
        msw_tensor_free(h->weights[i]);
        msw_tensor_free(h->wanted[i]);
        msw_tensor_free(h->grads[i]);
    }
    msw_context_free(h->ctx);
}

static void step(host *h)
{
    for (uint32_t i = 0; i < LAYERS; i++) {
        float *w = msw_tensor_data(h->weights[i]), *g = msw_tensor_data(h->grads[i]);
        const float *a = msw_tensor_data(h->wanted[i]);

        for (size_t k = 0; k < msw_tensor_count(h->weights[i]); k++)
            g[k] = w[k] - a[k];
        assert_int_equal(msw_admm_add_penalty(h->admm, i, h->grads[i], 1), MSW_OK);
        for (size_t k = 0; k < msw_tensor_count(h->weights[i]); k++)
            w[k] -= g[k] / (1 + (float)(msw_admm_rho(h->admm, i) *
                                        msw_admm_rho_factor(h->admm, i)));
    }
}

static msw_budget_info info_of(const host *h)
{
    msw_budget_info info;

    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(&info, h->admm), MSW_OK);
    return info;
}

static msw_unified *frozen(const host *h, uint32_t layer)
{
    msw_unified *u;

    assert_int_equal(msw_admm_unify(&u, h->admm, layer), MSW_OK);
    return u;
}

static double file_bytes(const host *h, const msw_store_options *store)
{
    msw_writer *writer;
    double bytes;

    assert_int_equal(msw_writer_new(&writer, h->ctx), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_unified *u = frozen(h, i);

        assert_int_equal(msw_writer_add_unified(writer, msw_admm_layer_name(h->admm, i), u,
                                                store), MSW_OK);
        msw_unified_free(u);
    }
    bytes = (double)msw_writer_bytes(writer);
    msw_writer_free(writer);
    return bytes;
}

static double seconds(const host *h)
{
    double sum = 0;

    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_unified *u = frozen(h, i);
        msw_gemm_options o;
        msw_gemm_info info;
        msw_gemm *gemm;

        msw_gemm_options_init(&o);
        msw_gemm_info_init(&info);
        o.expected_n = POSITIONS;
        o.fallback = MSW_FALLBACK_NEVER;
        assert_int_equal(msw_gemm_new(&gemm, h->ctx, u, &o), MSW_OK);
        assert_int_equal(msw_gemm_get_info(&info, gemm, POSITIONS), MSW_OK);
        sum += info.predicted;
        msw_gemm_free(gemm);
        msw_unified_free(u);
    }
    return sum;
}

/* Blocks that are not at the edge have 8 x 8 weights: 64 or 16 multiply-adds. */
static double multiply_adds(const host *h)
{
    double sum = 0;

    for (uint32_t i = 0; i < LAYERS; i++) {
        msw_unified *u = frozen(h, i);
        msw_block b;
        msw_plan_info info;

        msw_plan_info_init(&info);
        msw_block_init(&b);
        assert_int_equal(msw_plan_get_info(&info, h->plans[i]), MSW_OK);
        for (size_t k = 0; k < info.block_count; k++) {
            const uint8_t class = msw_unified_classes(u)[k];

            assert_int_equal(msw_plan_get_block(&b, h->plans[i], k), MSW_OK);
            sum += class == MSW_CLASS_FREE ? (double)(b.rows * b.columns)
                   : class == MSW_CLASS_UNIFIED
                       ? (double)b.rows * ceil((double)b.columns / 4) : 0;
        }
        msw_unified_free(u);
    }
    return POSITIONS * sum;
}

typedef struct wish {
    uint32_t resource;
    const msw_store_options *store;
    double target;
} wish;

static double really(const host *h, const wish *w)
{
    return w->resource == MSW_RESOURCE_BYTES           ? file_bytes(h, w->store)
           : w->resource == MSW_RESOURCE_MULTIPLY_ADDS ? multiply_adds(h) : seconds(h);
}

static void set_budget(host *h, const wish *w)
{
    msw_budget_options o;
    msw_budget_layer layer;

    msw_budget_options_init(&o);
    o.resource = w->resource;
    o.store = w->store;
    msw_budget_layer_init(&layer);
    layer.columns = POSITIONS;
    assert_int_equal(msw_admm_set_budget(h->admm, w->target, &o), MSW_OK);
    assert_int_equal(msw_admm_set_budget_layer(h->admm, MSW_ALL_LAYERS, &layer), MSW_OK);
}

/* From the first projection to the last along the ramp; then within 2 % in the end. */
static void check(const wish *w)
{
    host h = host_new(0.5);
    double amount = HUGE_VAL;

    set_budget(&h, w);
    for (int k = 0; k < UPDATES; k++) {
        for (int s = 0; s < STEPS; s++)
            step(&h);
        assert_int_equal(msw_admm_update(h.admm), MSW_OK);
        assert_true(info_of(&h).amount <= info_of(&h).target * (1 + 1e-9));
        assert_true(info_of(&h).amount >= 0.98 * info_of(&h).target);
        assert_true(info_of(&h).target <= amount * 1.03);
        amount = info_of(&h).amount;
    }
    assert_true(info_of(&h).target == w->target);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    assert_true(really(&h, w) <= 1.003 * w->target);
    assert_true(really(&h, w) >= 0.98 * w->target);
    /* in C a unified block may be no faster than a free one */
    assert_true(w->resource == MSW_RESOURCE_SECONDS ||
                msw_admm_class_count(h.admm, 0, MSW_CLASS_UNIFIED) > 0);
    host_free(&h);
    h = host_new(0); /* frozen at once */
    set_budget(&h, w);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    assert_true(really(&h, w) <= 1.003 * w->target);
    assert_true(really(&h, w) >= 0.98 * w->target);
    host_free(&h);
}

/* Seconds mean something only against those of the same kernels. */
static double seconds_all_free(void)
{
    host h = host_new(0);
    double s;

    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    s = seconds(&h);
    host_free(&h);
    return s;
}

static void test_targets(void **state)
{
    msw_store_options transport, small;

    (void)state;
    msw_store_options_init(&transport);
    transport.encoding = MSW_ENCODING_TRANSPORT;
    small = transport;
    small.magnitudes = MSW_DTYPE_LOG;
    small.magnitude_bits = 3;
    small.free_weights = MSW_DTYPE_UNIFORM;
    small.free_bits = 5;
    check(&(wish){MSW_RESOURCE_BYTES, NULL, 40000});
    check(&(wish){MSW_RESOURCE_BYTES, &transport, 30000});
    check(&(wish){MSW_RESOURCE_BYTES, &small, 10000});
    check(&(wish){MSW_RESOURCE_MULTIPLY_ADDS, NULL, 300000});
    check(&(wish){MSW_RESOURCE_SECONDS, NULL, 0.5 * seconds_all_free()});
}

/* The penalty of each layer is that of its factor, which goes as 1 / mean w^2. */
static void test_factor(void **state)
{
    static const wish bytes = {MSW_RESOURCE_BYTES, NULL, 40000};
    host h = host_new(0);
    double square[LAYERS] = {0};

    (void)state;
    for (uint32_t i = 0; i < LAYERS; i++)
        assert_true(msw_admm_rho_factor(h.admm, i) == 1);
    set_budget(&h, &bytes);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    for (uint32_t i = 0; i < LAYERS; i++) {
        const size_t count = msw_tensor_count(h.weights[i]);
        float *w = msw_tensor_data(h.weights[i]), *g = msw_tensor_data(h.grads[i]);
        const float *a = msw_tensor_data(h.wanted[i]);
        const double rho = msw_admm_rho(h.admm, i) * msw_admm_rho_factor(h.admm, i);
        float first;

        for (size_t k = 0; k < count; k++)
            square[i] += (double)a[k] * (double)a[k] / (double)count;
        /* the gradient is linear in W, with rho as its slope */
        memset(g, 0, count * sizeof *g);
        assert_int_equal(msw_admm_add_penalty(h.admm, i, h.grads[i], 1), MSW_OK);
        first = g[0];
        memset(g, 0, count * sizeof *g);
        w[0] += 8;
        assert_int_equal(msw_admm_add_penalty(h.admm, i, h.grads[i], 1), MSW_OK);
        w[0] -= 8;
        assert_true(fabs((double)(g[0] - first) / 8 / rho - 1) < 1e-3);
    }
    assert_true(fabs(msw_admm_rho_factor(h.admm, 1) / msw_admm_rho_factor(h.admm, 0) /
                     (square[0] / square[1]) - 1) < 1e-9);
    host_free(&h);
}

/* The layer of small weights is not what pays. */
static void test_layers_share(void **state)
{
    static const wish bytes = {MSW_RESOURCE_BYTES, NULL, 40000};
    host h = host_new(0);

    (void)state;
    set_budget(&h, &bytes);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_true(msw_admm_class_count(h.admm, 1, MSW_CLASS_PRUNED) < 5 * 7 / 2);
    host_free(&h);
}

static void test_bounds(void **state)
{
    static const wish bytes = {MSW_RESOURCE_BYTES, NULL, 50000};
    msw_budget_layer layer;
    host h = host_new(0);

    (void)state;
    set_budget(&h, &bytes);
    msw_budget_layer_init(&layer);
    layer.exclude = MSW_EXCLUDE_PRUNE | MSW_EXCLUDE_UNIFY;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 1, &layer), MSW_OK);
    layer.exclude = 0;
    layer.prune_min = layer.prune_max = 0.02;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 0, &layer), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_int_equal(msw_admm_class_count(h.admm, 1, MSW_CLASS_FREE), 5 * 7);
    assert_int_equal(msw_admm_class_count(h.admm, 0, MSW_CLASS_PRUNED), 20 * 30 / 50);
    assert_int_equal(msw_admm_set_target(h.admm, 15000), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_int_equal(msw_admm_class_count(h.admm, 0, MSW_CLASS_PRUNED), 20 * 30 / 50);
    host_free(&h);
}

static void test_target_changes(void **state)
{
    static const wish bytes = {MSW_RESOURCE_BYTES, NULL, 50000};
    host h = host_new(0);
    float before, after;

    (void)state;
    assert_int_equal(msw_admm_set_target(h.admm, 5000), MSW_E_STATE);
    set_budget(&h, &bytes);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_int_equal(msw_admm_set_target(h.admm, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_target(h.admm, 20000), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_true(info_of(&h).amount <= 20000 && info_of(&h).amount >= 19600);
    /* too little for anything: the solver stays as it is */
    assert_int_equal(msw_admm_set_target(h.admm, 50), MSW_OK);
    before = msw_tensor_data(h.weights[0])[0];
    assert_int_equal(msw_admm_update(h.admm), MSW_E_RANGE);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_E_RANGE);
    after = msw_tensor_data(h.weights[0])[0];
    assert_true(before == after);
    assert_non_null(strstr(msw_admm_error(h.admm), "budget of 50"));
    assert_int_equal(msw_admm_updates(h.admm), 2);
    assert_int_equal(msw_admm_set_target(h.admm, 6000), MSW_OK);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    assert_int_equal(msw_admm_set_target(h.admm, 5000), MSW_E_STATE);
    host_free(&h);
}

/* The first layer in bands of 4 x 32 of nearly one magnitude each, which a plan has. */

static host banded_host(msw_plan **bands)
{
    static const wish bytes = {MSW_RESOURCE_BYTES, NULL, 40000};
    static const size_t shape[2] = {LARGE_ROWS, LARGE_COLUMNS};
    host h = host_new(0);
    float *w = msw_tensor_data(h.weights[0]);
    msw_plan_options o;

    for (size_t i = 0; i < msw_tensor_count(h.weights[0]); i++)
        w[i] = (w[i] < 0 ? -1.0f : 1.0f) * (1 + 0.1f * sinf(w[i])) *
               (float)(1 + (i / LARGE_COLUMNS / 4 * 7 + i % LARGE_COLUMNS / 32 * 3) % 5);
    msw_plan_options_init(&o);
    o.block_rows = 4;
    o.block_columns = 32;
    assert_int_equal(msw_plan_new(bands, h.ctx, shape, 2, &o), MSW_OK);
    assert_int_equal(msw_admm_add_plan(h.admm, 0, *bands), MSW_OK);
    set_budget(&h, &bytes);
    return h;
}

static void test_plans(void **state)
{
    msw_plan *bands, *other_bands;
    host h = banded_host(&bands), other = banded_host(&other_bands);
    static unsigned char image[1 << 20];
    msw_writer *writer;
    msw_reader *reader;
    msw_tensor *z, *other_z;
    static const size_t shape[2] = {LARGE_ROWS, LARGE_COLUMNS};

    (void)state;
    assert_int_equal(msw_admm_add_plan(h.admm, 1, bands), MSW_E_INVAL);
    assert_int_equal(msw_admm_add_plan(h.admm, 0, NULL), MSW_E_INVAL);
    assert_ptr_equal(msw_admm_plan(h.admm, 0), h.plans[0]);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_ptr_equal(msw_admm_plan(h.admm, 0), bands);
    assert_ptr_equal(msw_admm_plan(h.admm, 1), h.plans[1]);
    assert_int_equal(msw_admm_add_plan(h.admm, 0, bands), MSW_E_STATE);
    assert_true(info_of(&h).amount <= 40000 && info_of(&h).amount >= 39200);
    /* into a solver that has not begun, and so has not picked */
    assert_int_equal(msw_writer_new(&writer, h.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, h.admm), MSW_OK);
    assert_true(msw_writer_bytes(writer) <= sizeof image);
    assert_int_equal(msw_writer_write_buffer(writer, image, sizeof image), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&reader, h.ctx, image,
                                            (size_t)msw_writer_bytes(writer), NULL),
                     MSW_OK);
    assert_int_equal(msw_admm_load(other.admm, reader), MSW_OK);
    assert_ptr_equal(msw_admm_plan(other.admm, 0), other_bands);
    assert_int_equal(msw_tensor_new(&z, h.ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_tensor_new(&other_z, h.ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_int_equal(msw_admm_update(other.admm), MSW_OK);
    assert_int_equal(msw_admm_get_z(z, h.admm, 0), MSW_OK);
    assert_int_equal(msw_admm_get_z(other_z, other.admm, 0), MSW_OK);
    assert_memory_equal(msw_tensor_data(z), msw_tensor_data(other_z),
                        msw_tensor_count(z) * sizeof(float));
    msw_tensor_free(z);
    msw_tensor_free(other_z);
    msw_reader_free(reader);
    msw_writer_free(writer);
    host_free(&other);
    msw_plan_free(other_bands);
    host_free(&h);
    msw_plan_free(bands);
    h = banded_host(&bands); /* frozen at once */
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    assert_ptr_equal(msw_admm_plan(h.admm, 0), bands);
    assert_true(file_bytes(&h, NULL) <= 40100 && file_bytes(&h, NULL) >= 39200);
    host_free(&h);
    msw_plan_free(bands);
}

static void test_misuse(void **state)
{
    msw_budget_layer layer;
    msw_budget_info info;
    host h = host_new(0);

    (void)state;
    assert_int_equal(msw_admm_set_budget(NULL, 1, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_budget(h.admm, -1, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_budget(h.admm, (double)INFINITY, NULL), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_budget_layer(h.admm, LAYERS, NULL), MSW_E_RANGE);
    msw_budget_layer_init(&layer);
    layer.importance = h.weights[0];
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 0, &layer), MSW_E_INVAL);
    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(NULL, h.admm), MSW_E_INVAL);
    assert_true(isnan(msw_admm_rho_factor(h.admm, LAYERS)));
    assert_int_equal(msw_admm_class_count(h.admm, 0, MSW_CLASS_FREE), 0);
    assert_int_equal(msw_admm_set_budget(h.admm, 15000, NULL), MSW_OK);
    assert_int_equal(msw_admm_set_budget(h.admm, 0, NULL), MSW_OK); /* none after all */
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_int_equal(msw_admm_set_budget(h.admm, 15000, NULL), MSW_E_STATE);
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 0, NULL), MSW_E_STATE);
    assert_int_equal(msw_admm_class_count(h.admm, 0, MSW_CLASS_FREE), 20 * 30);
    host_free(&h);
}

/* Layers without a plan, without a weight that is not 0, and what cannot be met. */
static void test_odd_layers(void **state)
{
    static const size_t shape[2] = {SMALL_ROWS, SMALL_COLUMNS}, bias_shape[1] = {7};
    host h = host_new(0);
    msw_tensor *zeros, *bias;
    msw_store_options store;
    msw_budget_layer layer;
    msw_budget_info info;

    (void)state;
    assert_int_equal(msw_tensor_new(&zeros, h.ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_tensor_new(&bias, h.ctx, bias_shape, 1), MSW_OK);
    assert_int_equal(msw_admm_add_layer(h.admm, bias, NULL, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(h.admm, zeros, h.plans[1], NULL), MSW_OK);
    assert_int_equal(msw_admm_add_plan(h.admm, 2, h.plans[0]), MSW_E_INVAL); /* no plan */
    assert_int_equal(msw_admm_add_plan(h.admm, 3, h.plans[1]), MSW_OK);
    assert_int_equal(msw_admm_add_plan(h.admm, 3, h.plans[1]), MSW_OK); /* a third one */
    assert_int_equal(msw_admm_add_plan(h.admm, 4, h.plans[1]), MSW_E_RANGE);
    msw_store_options_init(&store);
    store.free_weights = MSW_DTYPE_F16;
    msw_budget_layer_init(&layer);
    layer.store = &store;
    layer.exclude = MSW_EXCLUDE_UNIFY;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 3, &layer), MSW_OK);
    layer.exclude = MSW_EXCLUDE_PRUNE;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 1, &layer), MSW_OK);
    layer.size = 4;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 1, &layer), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_target(h.admm, 1), MSW_E_STATE); /* no budget */
    assert_int_equal(msw_admm_set_budget(h.admm, 1, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_E_RANGE);
    assert_int_equal(msw_admm_set_target(h.admm, 0), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_target(h.admm, 30000), MSW_OK);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(&info, h.admm), MSW_OK);
    assert_true(info.amount <= 30000);
    assert_true(msw_admm_rho_factor(h.admm, 3) > 0);
    assert_true(isnan(msw_admm_rho_factor(NULL, 0)));
    assert_int_equal(msw_admm_class_count(h.admm, 3, MSW_CLASS_UNIFIED), 0);
    assert_int_equal(msw_admm_class_count(h.admm, 1, MSW_CLASS_PRUNED), 0);
    assert_int_equal(msw_admm_class_count(h.admm, 2, MSW_CLASS_FREE), 0);
    assert_int_equal(msw_admm_class_count(NULL, 0, MSW_CLASS_FREE), 0);
    msw_tensor_free(zeros);
    msw_tensor_free(bias);
    host_free(&h);
}

/* Soft projection goes part of the way to what freezing would make of the weights, and
 * back from a file it goes on with the same amounts and plans. */
static void soft_projection(void **state)
{
    const double alpha = 0.6, target = 40000;
    host soft = host_with(0, MSW_RELAXATION_SOFT, alpha), again, hard = host_new(0);
    static uint8_t bytes[1 << 20];
    msw_writer *writer;
    msw_reader *reader;
    uint64_t a, b;
    size_t size;

    (void)state;
    assert_int_equal(msw_admm_set_budget(soft.admm, target, NULL), MSW_OK);
    assert_int_equal(msw_admm_set_budget(hard.admm, target, NULL), MSW_OK);
    assert_int_equal(msw_admm_freeze(hard.admm), MSW_OK);
    assert_int_equal(msw_admm_update(soft.admm), MSW_OK);
    assert_true(info_of(&soft).amount == info_of(&hard).amount);
    assert_true(info_of(&soft).amount <= target && info_of(&soft).amount > 0.98 * target);
    for (uint32_t i = 0; i < LAYERS; i++) {
        const float *w = msw_tensor_data(soft.weights[i]);
        const float *z = msw_tensor_data(hard.weights[i]);
        const float *first = msw_tensor_data(soft.wanted[i]);

        for (size_t k = 0; k < msw_tensor_count(soft.weights[i]); k++)
            assert_true(fabs(alpha * (double)first[k] + (1 - alpha) * (double)z[k] -
                             (double)w[k]) <= 1e-6 * fabs((double)w[k]));
    }
    /* What it began with stays. */
    assert_int_equal(msw_admm_set_budget(soft.admm, target, NULL), MSW_E_STATE);
    assert_int_equal(msw_admm_set_budget_layer(soft.admm, 0, NULL), MSW_E_STATE);
    assert_int_equal(msw_admm_add_plan(soft.admm, 0, soft.plans[0]), MSW_E_STATE);
    assert_int_equal(msw_admm_set_target(soft.admm, 0.9 * target), MSW_OK);
    assert_int_equal(msw_writer_new(&writer, soft.ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, soft.admm), MSW_OK);
    size = (size_t)msw_writer_bytes(writer);
    assert_true(size <= sizeof bytes);
    assert_int_equal(msw_writer_write_buffer(writer, bytes, size), MSW_OK);
    msw_writer_free(writer);
    again = host_with(0, MSW_RELAXATION_SOFT, alpha);
    assert_int_equal(msw_admm_set_budget(again.admm, target, NULL), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&reader, again.ctx, bytes, size, NULL), MSW_OK);
    assert_int_equal(msw_admm_load(again.admm, reader), MSW_OK);
    msw_reader_free(reader);
    for (int k = 0; k < 30; k++) {
        assert_int_equal(msw_admm_update(soft.admm), MSW_OK);
        assert_int_equal(msw_admm_update(again.admm), MSW_OK);
    }
    assert_true(msw_admm_residual(soft.admm, 0, MSW_RESIDUAL_PRIMAL) < 1e-4);
    assert_int_equal(msw_admm_freeze(soft.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(again.admm), MSW_OK);
    assert_int_equal(msw_admm_hash(&a, soft.admm), MSW_OK);
    assert_int_equal(msw_admm_hash(&b, again.admm), MSW_OK);
    assert_int_equal(a, b);
    assert_true(info_of(&soft).amount <= 0.9 * target);
    host_free(&soft);
    host_free(&again);
    host_free(&hard);
}

/* Along the ramp the budget falls from all free to the target. */
static void soft_ramp(void **state)
{
    host h = host_with(1, MSW_RELAXATION_SOFT, 0.9);
    double last = HUGE_VAL;

    (void)state;
    assert_int_equal(msw_admm_set_budget(h.admm, 40000, NULL), MSW_OK);
    for (int k = 0; k < UPDATES; k++) {
        assert_int_equal(msw_admm_update(h.admm), MSW_OK);
        assert_true(info_of(&h).target < last);
        assert_true(info_of(&h).amount <= info_of(&h).target);
        last = info_of(&h).target;
    }
    assert_true(last == 40000);
    host_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_factor),
        cmocka_unit_test(test_layers_share), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_target_changes), cmocka_unit_test(test_plans),
        cmocka_unit_test(test_misuse),       cmocka_unit_test(test_odd_layers),
        cmocka_unit_test(soft_projection),
        cmocka_unit_test(soft_ramp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
