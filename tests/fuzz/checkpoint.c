/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes as the file of a solver's state, for one of several solvers: a status, and solver
 * and weights are as they were, or a state that saved again and loaded again is the same,
 * and from which training goes on. Mutations get the layout and checksums that the file's
 * own checks ask for: what is fuzzed are the solver's. */
#include "container.h"
#include "fuzz.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY = 32 << 20, ROWS = 5, COLUMNS = 6, WEIGHTS = ROWS * COLUMNS, BIAS = 5,
       LEAST = 294 }; /* bytes of the file when all is pruned */
/* Bits of the first byte: what the solver is. */
enum { ADAM = 1, BUDGET = 2, DENSE = 4, IMPORTANCE = 8, FREEZE = 16 };

typedef struct subject {
    msw_context *ctx;
    float weights[WEIGHTS], bias[BIAS];
    msw_admm *admm;
} subject;

typedef struct saved {
    uint8_t *data;
    size_t size;
} saved;

static void require(int condition)
{
    if (!condition)
        abort();
}

/* A projection of the host's own: every second weight. */
static int every_second(const msw_projection_call *call, void *user)
{
    (void)user;
    for (size_t i = 1; i < call->count; i += 2)
        call->z[i] = 0;
    return 0;
}

static void add_weights(subject *s)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    msw_layer_options layer;
    msw_plan_options blocks;
    msw_tensor *w;
    msw_plan *plan;

    for (int i = 0; i < WEIGHTS; i++)
        s->weights[i] = (float)(i * 37 % 101) / 50 - 1;
    msw_plan_options_init(&blocks);
    blocks.block_rows = blocks.block_columns = 2;
    msw_layer_options_init(&layer);
    layer.prune = 0.3;
    layer.unify = 0.4;
    require(msw_plan_new(&plan, s->ctx, shape, 2, &blocks) == MSW_OK);
    require(msw_tensor_borrow(&w, s->ctx, s->weights, shape, NULL, 2) == MSW_OK);
    require(msw_admm_add_layer(s->admm, w, plan, &layer) == MSW_OK);
    msw_tensor_free(w);
    msw_plan_free(plan);
}

static void add_bias(subject *s)
{
    static const size_t shape[1] = {BIAS};
    msw_tensor *b;

    memset(s->bias, 0, sizeof s->bias);
    require(msw_tensor_borrow(&b, s->ctx, s->bias, shape, NULL, 1) == MSW_OK);
    require(msw_admm_add_layer(s->admm, b, NULL, NULL) == MSW_OK);
    msw_tensor_free(b);
}

static void subject_make(subject *s, msw_context *ctx, uint8_t kind)
{
    msw_admm_options o;

    s->ctx = ctx;
    msw_admm_options_init(&o);
    o.updates = 4;
    o.update_every = 2;
    o.optimiser = kind & ADAM ? MSW_OPTIMISER_ADAM : MSW_OPTIMISER_SGD;
    o.rollback = 1;
    o.ramp = 0.5;
    o.importance_memory = kind & IMPORTANCE ? 3 : 0;
    require(msw_admm_new(&s->admm, ctx, &o) == MSW_OK);
    add_weights(s);
    add_bias(s);
    if (kind & DENSE)
        require(msw_admm_set_projection(s->admm, 0, every_second, NULL) == MSW_OK);
    else if (kind & BUDGET)
        require(msw_admm_set_budget(s->admm, LEAST + 40, NULL) == MSW_OK);
}

static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    (void)user;
    require(layer_count == 2);
    for (int i = 0; i < WEIGHTS; i++)
        grads[0][i] = weights[0][i] / 2 + (float)(i % 3);
    for (int i = 0; i < BIAS; i++)
        grads[1][i] = weights[1][i] - (float)i;
    *loss = 1;
    return 0;
}

static msw_status train(subject *s, uint64_t steps)
{
    msw_host host;

    msw_host_init(&host);
    host.loss_gradient = on_loss;
    return msw_admm_run(s->admm, &host, steps);
}

/* Numbers of a state may be as large as floats are, and it may be frozen already. */
static void require_clean(msw_status status)
{
    require(status == MSW_OK || status == MSW_E_NUMERIC || status == MSW_E_DIVERGED ||
            status == MSW_E_STATE || status == MSW_E_RANGE); /* a budget that is too small */
}

static saved save(const subject *s)
{
    saved file;
    msw_writer *w;

    require(msw_writer_new(&w, s->ctx) == MSW_OK);
    require(msw_admm_save(w, s->admm) == MSW_OK);
    file.size = (size_t)msw_writer_bytes(w);
    file.data = malloc(file.size);
    require(file.data && msw_writer_write_buffer(w, file.data, file.size) == MSW_OK);
    msw_writer_free(w);
    return file;
}

static msw_status load(subject *s, const uint8_t *data, size_t size)
{
    msw_reader *r;
    msw_status status = msw_reader_open_buffer(&r, s->ctx, data, size, NULL);

    if (status)
        return status;
    status = msw_admm_load(s->admm, r);
    require((status == MSW_OK) == (msw_admm_error(s->admm)[0] == 0));
    msw_reader_free(r);
    return status;
}

static void check_same(const subject *s, saved was)
{
    saved is = save(s);

    require(is.size == was.size && memcmp(is.data, was.data, was.size) == 0);
    free(is.data);
}

/* Saved, loaded into another solver, saved; and it goes on. */
static void check_loaded(subject *s, uint8_t kind)
{
    saved once = save(s);
    subject other;

    subject_make(&other, s->ctx, kind);
    require(load(&other, once.data, once.size) == MSW_OK);
    check_same(&other, once);
    require(memcmp(other.bias, s->bias, sizeof s->bias) == 0);
    require_clean(train(&other, 5));
    require_clean(msw_admm_freeze(other.admm));
    require_clean(train(&other, 1));
    msw_admm_free(other.admm);
    free(once.data);
}

/* One for all inputs: making one asks the processor what it can, which takes long where
 * that is emulated. */
static msw_context *shared_context(void)
{
    static msw_context *ctx;
    msw_context_options o;

    msw_context_options_init(&o);
    o.memory_limit = MEMORY;
    require(ctx || msw_context_new(&ctx, &o) == MSW_OK);
    return ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msw_context *ctx = shared_context();
    const uint64_t before = msw_context_memory(ctx);
    const uint8_t kind = size ? data[0] : 0;
    uint8_t *file = malloc(size + 1); /* aligned as files are */
    subject s;
    saved was;

    require(file != NULL);
    if (size > 1)
        memcpy(file, data + 1, size - 1);
    subject_make(&s, ctx, kind);
    require(train(&s, 3) == MSW_OK);
    if (kind & FREEZE)
        require(msw_admm_freeze(s.admm) == MSW_OK);
    was = save(&s);
    if (load(&s, file, size ? size - 1 : 0) == MSW_OK)
        check_loaded(&s, kind);
    else
        check_same(&s, was);
    free(was.data);
    msw_admm_free(s.admm);
    require(msw_context_memory(ctx) == before);
    free(file);
    return 0;
}

#ifdef MSW_FUZZ
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, capacity);
    if (size > 1 && seed % 8)
        container_relayout(data + 1, size - 1);
    if (size > 1)
        container_repair(data + 1, size - 1);
    return size;
}
#endif
