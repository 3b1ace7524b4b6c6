/* SPDX-License-Identifier: BSD-2-Clause */
/* A solver whose layers have nodes of merged blocks instead of shares: its Z is their
 * projection, its budget is met, and training keeps what freezing has fixed. */
#include "fixture.h"
#include "internal.h"
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 72, COLUMNS = 100, COUNT = ROWS * COLUMNS, BLOCKS = 18 * 25, UPDATES = 8 };

static const size_t shape[2] = {ROWS, COLUMNS};

typedef struct host {
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *w, *grad, *z, *h;
    float wanted[COUNT];
    msw_quadtree_options quadtree;
    msw_admm *admm;
} host;

/* Patches of several strengths. */
static void fill(float *x)
{
    uint64_t random = 11;

    for (size_t k = 0; k < COUNT; k++) {
        const size_t i = k / COLUMNS / 12, j = k % COLUMNS / 12;

        x[k] = (float)(ref_normal(&random) * exp(1.5 * sin((double)(7 * i + 3 * j))));
    }
}

static void open_solver(host *h, const msw_admm_options *options)
{
    msw_layer_options l;

    msw_layer_options_init(&l);
    l.name = "w";
    l.quadtree = &h->quadtree;
    assert_int_equal(msw_admm_new(&h->admm, h->ctx, options), MSW_OK);
    assert_int_equal(msw_admm_add_layer(h->admm, h->w, h->plan, &l), MSW_OK);
}

static void open_host(host *h, const msw_context_options *context, double ramp,
                      uint32_t relaxation)
{
    msw_plan_options p;
    msw_admm_options o;

    memset(h, 0, sizeof *h);
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 4;
    assert_int_equal(msw_context_new(&h->ctx, context), MSW_OK);
    assert_int_equal(msw_plan_new(&h->plan, h->ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_tensor_new(&h->w, h->ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_tensor_new(&h->grad, h->ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_tensor_new(&h->z, h->ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_tensor_new(&h->h, h->ctx, shape, 2), MSW_OK);
    fill(h->wanted);
    memcpy(h->w->data, h->wanted, sizeof h->wanted);
    for (size_t k = 0; k < COUNT; k++)
        h->h->data[k] = (float)(1 + k % 5);
    msw_quadtree_options_init(&h->quadtree);
    h->quadtree.levels = 3;
    h->quadtree.price = 0.05;
    h->quadtree.magnitude_bits = h->quadtree.free_bits = 8;
    msw_admm_options_init(&o);
    o.updates = UPDATES;
    o.ramp = ramp;
    o.rho = 0.3;
    o.rho_end = 30;
    o.relaxation = relaxation;
    open_solver(h, &o);
}

static void close_host(host *h)
{
    msw_admm_free(h->admm);
    msw_tensor_free(h->h);
    msw_tensor_free(h->z);
    msw_tensor_free(h->grad);
    msw_tensor_free(h->w);
    msw_plan_free(h->plan);
    msw_context_free(h->ctx);
}

/* The minimum of 1/2 ||W - wanted||^2 and the penalty. */
static void step(host *h)
{
    const float rho = (float)(msw_admm_rho(h->admm, 0) * msw_admm_rho_factor(h->admm, 0));

    for (size_t k = 0; k < COUNT; k++)
        h->grad->data[k] = h->w->data[k] - h->wanted[k];
    assert_int_equal(msw_admm_add_penalty(h->admm, 0, h->grad, 1), MSW_OK);
    for (size_t k = 0; k < COUNT; k++)
        h->w->data[k] -= h->grad->data[k] / (1 + rho);
}

static void update(host *h)
{
    step(h);
    assert_int_equal(msw_admm_update(h->admm), MSW_OK);
}

static msw_unified *frozen(const host *h)
{
    msw_unified *u;

    assert_int_equal(msw_admm_unify(&u, h->admm, 0), MSW_OK);
    return u;
}

/* Z is the one-shot projection of @p v, but for the rounding of means to floats. */
static void check_z(host *h, const msw_tensor *v)
{
    uint64_t counts[3] = {0};
    msw_tensor *dense;
    msw_unified *u;

    assert_int_equal(msw_unified_from_quadtree(&u, h->plan, v, &h->quadtree), MSW_OK);
    assert_int_equal(u->most_level, 3);
    assert_int_equal(msw_tensor_new(&dense, h->ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_unified_to_dense(dense, u), MSW_OK);
    assert_int_equal(msw_admm_get_z(h->z, h->admm, 0), MSW_OK);
    for (size_t k = 0; k < COUNT; k++)
        assert_true(fabsf(h->z->data[k] - dense->data[k]) <=
                    1e-5f * (fabsf(dense->data[k]) + 0.01f));
    for (size_t b = 0; b < BLOCKS; b++)
        counts[u->classes[b]]++;
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(msw_admm_class_count(h->admm, 0, (msw_class)k), counts[k]);
        assert_true(counts[k] > 0);
    }
    msw_tensor_free(dense);
    msw_unified_free(u);
}

/* V = W + U of the next update, from the penalty, rho h (W - Z + U). */
static void find_v(host *h, const float *importance)
{
    memset(h->grad->data, 0, COUNT * sizeof(float));
    assert_int_equal(msw_admm_add_penalty(h->admm, 0, h->grad, 1), MSW_OK);
    assert_int_equal(msw_admm_get_z(h->z, h->admm, 0), MSW_OK);
    for (size_t k = 0; k < COUNT; k++)
        h->grad->data[k] =
            h->z->data[k] + h->grad->data[k] / (float)msw_admm_rho(h->admm, 0) /
                                (importance ? importance[k] : 1);
}

static void check_projection(bool weighted)
{
    float normal[COUNT];
    host h;

    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    for (size_t k = 0; k < COUNT; k++)
        normal[k] = h.h->data[k] / 3; /* their mean is 3 */
    if (weighted) {
        assert_int_equal(msw_admm_set_importance(h.admm, 0, h.h), MSW_OK);
        h.quadtree.importance = h.h; /* the solver has taken its copy */
    }
    step(&h); /* with the first Z, of the weights as they were */
    memcpy(h.grad->data, h.wanted, sizeof h.wanted);
    check_z(&h, h.grad);
    for (int k = 0; k < UPDATES; k++) {
        step(&h);
        find_v(&h, weighted ? normal : NULL);
        assert_int_equal(msw_admm_update(h.admm), MSW_OK);
        check_z(&h, h.grad);
    }
    close_host(&h);
}

static void test_projection(void **state)
{
    (void)state;
    check_projection(false);
    check_projection(true);
}

/* W and Z meet; what is frozen is in the nodes of the last Z, and retraining keeps it. */
static void test_training(void **state)
{
    msw_verify_info v;
    msw_unified *u, *after;
    double first;
    host h;

    (void)state;
    open_host(&h, NULL, 0.5, MSW_RELAXATION_ADMM);
    update(&h);
    first = msw_admm_residual(h.admm, 0, MSW_RESIDUAL_PRIMAL);
    for (int k = 1; k < 3 * UPDATES; k++)
        update(&h);
    assert_true(msw_admm_residual(h.admm, 0, MSW_RESIDUAL_PRIMAL) < 0.05 * first);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    u = frozen(&h);
    assert_true(u->most_level > 0);
    msw_verify_info_init(&v);
    for (int k = 0; k < 5; k++) {
        for (size_t i = 0; i < COUNT; i++)
            h.grad->data[i] = h.w->data[i] - h.wanted[i];
        assert_int_equal(msw_admm_mask_gradient(h.admm, 0, h.grad), MSW_OK);
        for (size_t i = 0; i < COUNT; i++)
            h.w->data[i] -= 0.3f * h.grad->data[i] + 0.01f;
        assert_int_equal(msw_admm_mask_weights(h.admm, 0), MSW_OK);
        assert_int_equal(msw_unified_verify(&v, u, h.w), MSW_OK);
        assert_int_equal(v.violations, 0);
    }
    after = frozen(&h);
    assert_memory_equal(u->levels, after->levels, BLOCKS);
    assert_memory_equal(u->classes, after->classes, BLOCKS);
    msw_unified_free(after);
    msw_unified_free(u);
    close_host(&h);
}

/* The slower the ramp raises the price, the more blocks are free at first. */
static void test_ramp(void **state)
{
    uint64_t free_blocks[3];

    (void)state;
    for (int k = 0; k < 3; k++) {
        host h;

        open_host(&h, NULL, k / 2.0, MSW_RELAXATION_ADMM);
        assert_int_equal(msw_admm_update(h.admm), MSW_OK);
        free_blocks[k] = msw_admm_class_count(h.admm, 0, MSW_CLASS_FREE);
        close_host(&h);
    }
    assert_true(free_blocks[0] < free_blocks[1] && free_blocks[1] < free_blocks[2]);
}

/* Soft projection takes the weights themselves to their nodes. */
static void test_soft(void **state)
{
    msw_unified *u;
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_SOFT);
    for (int k = 0; k < 100; k++)
        assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    assert_true(msw_admm_residual(h.admm, 0, MSW_RESIDUAL_PRIMAL) < 0.02);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    u = frozen(&h);
    assert_true(u->most_level > 0);
    msw_unified_free(u);
    close_host(&h);
}

/* What header and sections take of a file is estimated for larger ones. */
enum { FRAME = 144 };

/* The budget's file, and nodes of the layer's levels. */
static void check_budget(uint32_t encoding, double target, bool trained)
{
    msw_store_options store;
    msw_budget_options o;
    msw_budget_info info;
    msw_writer *writer;
    msw_unified *u;
    double bytes;
    host h;

    open_host(&h, NULL, 0.5, MSW_RELAXATION_ADMM);
    msw_store_options_init(&store);
    store.encoding = encoding;
    msw_budget_options_init(&o);
    o.store = &store;
    assert_int_equal(msw_admm_set_budget(h.admm, target, &o), MSW_OK);
    for (int k = 0; trained && k < UPDATES; k++)
        update(&h);
    assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(&info, h.admm), MSW_OK);
    u = frozen(&h);
    assert_true(u->most_level > 0 && u->most_level <= 3);
    assert_int_equal(msw_writer_new(&writer, h.ctx), MSW_OK);
    assert_int_equal(msw_writer_add_unified(writer, "w", u, &store), MSW_OK);
    bytes = (double)msw_writer_bytes(writer);
    assert_true(bytes <= target + FRAME && bytes > 0.98 * target - FRAME);
    assert_true(fabs(info.amount - bytes) < 0.005 * target + FRAME);
    msw_writer_free(writer);
    msw_unified_free(u);
    close_host(&h);
}

static void test_budget(void **state)
{
    (void)state;
    for (int trained = 0; trained < 2; trained++) {
        check_budget(MSW_ENCODING_PLAIN, 10000, trained);
        check_budget(MSW_ENCODING_TRANSPORT, 5000, trained);
    }
}

/* The same bits for any number of threads. */
static void test_threads(void **state)
{
    static const uint32_t counts[] = {1, 2, 8};
    uint64_t hash[2], first[2] = {0};

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        msw_context_options c;
        host h;

        msw_context_options_init(&c);
        c.threads = counts[k];
        open_host(&h, &c, 0, MSW_RELAXATION_ADMM);
        for (int i = 0; i < 3; i++)
            update(&h);
        assert_int_equal(msw_admm_hash(&hash[0], h.admm), MSW_OK);
        assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
        assert_int_equal(msw_admm_hash(&hash[1], h.admm), MSW_OK);
        if (k == 0)
            memcpy(first, hash, sizeof first);
        assert_memory_equal(hash, first, sizeof first);
        close_host(&h);
    }
}

/* The hash tells nodes apart that have the same weights. */
static void test_hash(void **state)
{
    uint64_t hash[2];

    (void)state;
    for (uint32_t levels = 0; levels < 2; levels++) {
        host h;

        open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
        msw_admm_free(h.admm);
        for (size_t k = 0; k < COUNT; k++)
            h.w->data[k] = 0;
        h.quadtree.levels = levels;
        open_solver(&h, NULL);
        h.w->data[0] = 1; /* all but one block pruned */
        assert_int_equal(msw_admm_freeze(h.admm), MSW_OK);
        assert_int_equal(msw_admm_hash(&hash[levels], h.admm), MSW_OK);
        close_host(&h);
    }
    assert_true(hash[0] != hash[1]);
}

/* A byte for each block between updates; 5 more during one. */
static void test_memory(void **state)
{
    msw_admm_memory with, without;
    msw_layer_options l;
    msw_admm *plain;
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    assert_int_equal(msw_admm_update(h.admm), MSW_OK);
    msw_admm_memory_init(&with);
    msw_admm_memory_init(&without);
    assert_int_equal(msw_admm_get_memory(&with, h.admm), MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.5;
    assert_int_equal(msw_admm_new(&plain, h.ctx, NULL), MSW_OK);
    assert_int_equal(msw_admm_add_layer(plain, h.w, h.plan, &l), MSW_OK);
    assert_int_equal(msw_admm_update(plain), MSW_OK);
    assert_int_equal(msw_admm_get_memory(&without, plain), MSW_OK);
    assert_int_equal(with.state - without.state, BLOCKS);
    assert_int_equal(with.scratch - without.scratch, 5 * BLOCKS);
    msw_admm_free(plain);
    close_host(&h);
}

/* What cannot be combined, as early as it is known. */

static int own(const msw_projection_call *call, void *user)
{
    (void)call;
    (void)user;
    return 0;
}

static void refuse_layer(host *h, uint32_t relaxation, int k)
{
    msw_quadtree_options q = h->quadtree;
    msw_admm_options o;
    msw_layer_options l;
    msw_admm *admm;

    msw_admm_options_init(&o);
    o.relaxation = relaxation;
    assert_int_equal(msw_admm_new(&admm, h->ctx, &o), MSW_OK);
    msw_layer_options_init(&l);
    l.quadtree = &q;
    l.prune = k == 0 ? 0.1 : 0;
    l.unify = k == 1 ? 0.1 : 0;
    l.per_row = k == 2;
    q.importance = k == 3 ? h->w : NULL;
    q.levels = k == 4 ? MSW_MAX_MERGE_LEVELS + 1 : 2;
    q.price = k == 5 ? -1 : 0.1;
    assert_int_equal(msw_admm_add_layer(admm, h->w, h->plan, &l),
                     k < 6 || relaxation != MSW_RELAXATION_ADMM ? MSW_E_INVAL : MSW_OK);
    assert_int_equal(msw_admm_error(admm)[0] != 0,
                     k < 6 || relaxation != MSW_RELAXATION_ADMM);
    assert_int_equal(msw_admm_layer_count(admm),
                     k == 6 && relaxation == MSW_RELAXATION_ADMM);
    msw_admm_free(admm);
}

static void test_refused_layers(void **state)
{
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    for (int k = 0; k < 7; k++)
        refuse_layer(&h, MSW_RELAXATION_ADMM, k);
    refuse_layer(&h, MSW_RELAXATION_ENVELOPE, 6);
    refuse_layer(&h, MSW_RELAXATION_STRAIGHT, 6);
    close_host(&h);
}

static void check_refused(const host *h, msw_status status)
{
    assert_int_equal(status, MSW_E_INVAL);
    assert_non_null(strstr(msw_admm_error(h->admm), "quadtree"));
}

static void test_refused(void **state)
{
    msw_store_options packed;
    msw_budget_options o;
    msw_budget_layer l;
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    check_refused(&h, msw_admm_set_projection(h.admm, 0, own, NULL));
    assert_int_equal(msw_admm_set_projection(h.admm, 0, NULL, NULL), MSW_OK);
    check_refused(&h, msw_admm_set_ratios(h.admm, 0, 0.5, 0));
    assert_int_equal(msw_admm_set_ratios(h.admm, MSW_ALL_LAYERS, 0.5, 0), MSW_OK);
    msw_budget_options_init(&o);
    o.resource = MSW_RESOURCE_MULTIPLY_ADDS;
    check_refused(&h, msw_admm_set_budget(h.admm, 6000, &o));
    o.resource = MSW_RESOURCE_SECONDS;
    check_refused(&h, msw_admm_set_budget(h.admm, 1, &o));
    o.resource = MSW_RESOURCE_BYTES;
    msw_store_options_init(&packed);
    packed.encoding = MSW_ENCODING_PACKED;
    o.store = &packed;
    check_refused(&h, msw_admm_set_budget(h.admm, 6000, &o));
    msw_budget_layer_init(&l);
    l.prune_max = 0.5;
    check_refused(&h, msw_admm_set_budget_layer(h.admm, 0, &l));
    check_refused(&h, msw_admm_set_budget_layer(h.admm, MSW_ALL_LAYERS, &l));
    l.prune_max = 0;
    l.unify_min = 0.1;
    check_refused(&h, msw_admm_set_budget_layer(h.admm, 0, &l));
    l.unify_min = 0;
    l.store = &packed;
    check_refused(&h, msw_admm_set_budget_layer(h.admm, 0, &l));
    l.store = NULL;
    l.levels = 2;
    assert_int_equal(msw_admm_set_budget_layer(h.admm, 0, &l), MSW_E_INVAL);
    assert_int_equal(msw_admm_set_budget(h.admm, 6000, NULL), MSW_OK);
    update(&h);
    close_host(&h);
}

/* A layer that comes after its budget is refused when that is first used. */
static void test_refused_late(void **state)
{
    msw_layer_options l;
    msw_budget_options o;
    msw_admm *admm;
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    assert_int_equal(msw_admm_new(&admm, h.ctx, NULL), MSW_OK);
    msw_budget_options_init(&o);
    o.resource = MSW_RESOURCE_MULTIPLY_ADDS;
    assert_int_equal(msw_admm_set_budget(admm, 6000, &o), MSW_OK);
    msw_layer_options_init(&l);
    l.quadtree = &h.quadtree;
    assert_int_equal(msw_admm_add_layer(admm, h.w, h.plan, &l), MSW_OK);
    assert_int_equal(msw_admm_update(admm), MSW_E_INVAL);
    assert_int_equal(msw_admm_freeze(admm), MSW_E_INVAL);
    assert_memory_equal(h.w->data, h.wanted, sizeof h.wanted);
    msw_admm_free(admm);
    close_host(&h);
}

/* A state whose levels or magnitudes are no nodes. */

static msw_status load_with(host *h, const uint8_t *bytes, size_t size, const char *changed,
                            size_t at, uint8_t byte)
{
    msw_status status;
    msw_writer *w;
    msw_reader *r;
    uint8_t *other;

    assert_int_equal(msw_reader_open_buffer(&r, h->ctx, bytes, size, NULL), MSW_OK);
    assert_int_equal(msw_writer_new(&w, h->ctx), MSW_OK);
    for (size_t i = 0; i < msw_reader_metadata_count(r); i++) {
        const char *key = msw_reader_metadata_key(r, i);
        const void *value;
        uint8_t copy[COUNT];
        size_t length;

        assert_int_equal(msw_reader_get_metadata(&value, &length, r, key), MSW_OK);
        assert_true(length <= sizeof copy);
        memcpy(copy, value, length);
        if (!strcmp(key, changed))
            copy[at] = byte;
        assert_int_equal(msw_writer_add_metadata(w, key, copy, length), MSW_OK);
    }
    for (size_t i = 0; i < msw_reader_count(r); i++) {
        msw_tensor *t;
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_int_equal(msw_reader_tensor(&t, r, e.name), MSW_OK);
        if (!strcmp(e.name, changed))
            t->data[at] /= 2;
        assert_int_equal(msw_writer_add_tensor(w, e.name, t, NULL), MSW_OK);
        msw_tensor_free(t);
    }
    msw_reader_free(r);
    size = (size_t)msw_writer_bytes(w);
    other = malloc(size);
    assert_non_null(other);
    assert_int_equal(msw_writer_write_buffer(w, other, size), MSW_OK);
    msw_writer_free(w);
    assert_int_equal(msw_reader_open_buffer(&r, h->ctx, other, size, NULL), MSW_OK);
    status = msw_admm_load(h->admm, r);
    msw_reader_free(r);
    free(other);
    return status;
}

static uint8_t *saved(host *h, size_t *size)
{
    msw_writer *w;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&w, h->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(w, h->admm), MSW_OK);
    *size = (size_t)msw_writer_bytes(w);
    bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(msw_writer_write_buffer(w, bytes, *size), MSW_OK);
    msw_writer_free(w);
    return bytes;
}

static void read_bytes(uint8_t out[BLOCKS], host *h, const uint8_t *bytes, size_t size,
                       const char *key)
{
    const void *value;
    size_t length;
    msw_reader *r;

    assert_int_equal(msw_reader_open_buffer(&r, h->ctx, bytes, size, NULL), MSW_OK);
    assert_int_equal(msw_reader_get_metadata(&value, &length, r, key), MSW_OK);
    assert_int_equal(length, BLOCKS);
    memcpy(out, value, BLOCKS);
    msw_reader_free(r);
}

static void test_corrupt(void **state)
{
    static const char levels[] = "msw.admm.0.levels", magnitudes[] = "msw.admm.0.magnitudes";
    uint8_t there[BLOCKS], classes[BLOCKS];
    size_t size, merged = 0;
    uint8_t *bytes;
    host h;

    (void)state;
    open_host(&h, NULL, 0, MSW_RELAXATION_ADMM);
    update(&h);
    bytes = saved(&h, &size);
    assert_int_equal(load_with(&h, bytes, size, "", 0, 0), MSW_OK);
    read_bytes(there, &h, bytes, size, levels);
    read_bytes(classes, &h, bytes, size, "msw.admm.0.classes");
    while (!(there[merged] && classes[merged] == MSW_CLASS_UNIFIED && merged % 25 % 8 < 7))
        assert_true(++merged + 1 < BLOCKS);
    for (unsigned level = 0; level < 6; level++) /* one block of a node alone */
        assert_int_equal(load_with(&h, bytes, size, levels, merged, (uint8_t)level),
                         level == there[merged] ? MSW_OK : MSW_E_CORRUPT);
    /* not the first, and so not the one that the others are compared with */
    assert_int_equal(load_with(&h, bytes, size, magnitudes, merged + 1, 0), MSW_E_CORRUPT);
    assert_int_equal(load_with(&h, bytes, size, "", 0, 0), MSW_OK);
    free(bytes);
    close_host(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_projection), cmocka_unit_test(test_training),
        cmocka_unit_test(test_ramp),       cmocka_unit_test(test_soft),
        cmocka_unit_test(test_budget),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_hash),       cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused_layers), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_late), cmocka_unit_test(test_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
