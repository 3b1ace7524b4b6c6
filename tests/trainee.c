/* SPDX-License-Identifier: BSD-2-Clause */
#include "trainee.h"

#include "file_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const layout trainee_small = {.weights = MSW_WEIGHTS_OI, .shape = {5, 6},
                              .rank = 2, .block_rows = 2, .block_columns = 2};

/* In the transport form, so that amounts are measured. */
static void set_budget(trainee *t, double share, bool merging)
{
    msw_store_options store;
    msw_budget_options o;
    msw_budget_layer layer;

    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    msw_budget_options_init(&o);
    o.store = &store;
    assert_int_equal(msw_admm_set_budget(t->admm,
                                         400 + share * 4 * (double)msw_tensor_count(t->w),
                                         &o), MSW_OK);
    msw_budget_layer_init(&layer);
    layer.prune_max = merging ? 0 : 0.5;
    layer.weight = 3;
    assert_int_equal(msw_admm_set_budget_layer(t->admm, 0, &layer), MSW_OK);
}

void trainee_setup(trainee *t, fixture *f, setting s)
{
    static const size_t bias_shape[1] = {TRAINEE_BIAS};
    msw_admm_options o;
    msw_layer_options l;
    msw_quadtree_options q;

    memset(t, 0, sizeof *t);
    t->f = f;
    t->w = fixture_random_tensor(f);
    t->own.random = 77;
    assert_int_equal(msw_tensor_borrow(&t->bias, f->ctx, t->bias_data, bias_shape, NULL, 1),
                     MSW_OK);
    msw_admm_options_init(&o);
    o.updates = 4;
    o.update_every = TRAINEE_EVERY;
    o.optimiser = s.optimiser;
    o.rollback = 1;
    o.ramp = 0.5;
    o.importance_memory = s.memory;
    assert_int_equal(msw_admm_new(&t->admm, f->ctx, &o), MSW_OK);
    msw_layer_options_init(&l);
    msw_quadtree_options_init(&q);
    q.levels = s.levels;
    q.price = 0.04;
    q.magnitude_bits = 8;
    q.free_bits = 10;
    l.prune = s.levels ? 0 : 0.3;
    l.unify = s.levels ? 0 : 0.4;
    l.quadtree = s.levels ? &q : NULL;
    assert_int_equal(msw_admm_add_layer(t->admm, t->w, f->plan, &l), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t->admm, t->bias, NULL, NULL), MSW_OK);
    if (s.budget > 0)
        set_budget(t, s.budget, s.levels > 0);
    if (s.importance) {
        msw_tensor *h = fixture_random_tensor(f);

        for (size_t i = 0; i < msw_tensor_count(h); i++)
            *fixture_at(f, h, i) = fabsf(*fixture_at(f, h, i)) + 0.1f;
        assert_int_equal(msw_admm_set_importance(t->admm, 0, h), MSW_OK);
        fixture_free(h);
    }
}

void trainee_teardown(trainee *t)
{
    msw_admm_free(t->admm);
    msw_tensor_free(t->bias);
    fixture_free(t->w);
}

int trainee_on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    trainee *t = user;

    *loss = 1 + ref_uniform(&t->own.random);
    for (size_t i = 0; i < msw_tensor_count(t->w); i++)
        grads[0][i] = (float)ref_normal(&t->own.random);
    for (size_t i = 0; i < TRAINEE_BIAS; i++)
        grads[1][i] = weights[1][i] - (float)i;
    return layer_count == 2 ? 0 : -1;
}

void trainee_train(trainee *t, uint64_t until)
{
    msw_host host;

    msw_host_init(&host);
    host.user = t;
    host.loss_gradient = trainee_on_loss;
    for (; t->own.done < until; t->own.done++) {
        if (t->own.done == TRAINEE_ADMM_STEPS)
            assert_int_equal(msw_admm_freeze(t->admm), MSW_OK);
        if (t->own.done == 2)
            assert_int_equal(msw_admm_set_learning_rate(t->admm, 0.02), MSW_OK);
        assert_int_equal(msw_admm_run(t->admm, &host, 1), MSW_OK);
    }
}

uint8_t *trainee_saved(size_t *size, trainee *t)
{
    msw_writer *writer;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&writer, t->f->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, t->admm), MSW_OK);
    assert_int_equal(msw_writer_add_metadata(writer, "host", &t->own, sizeof t->own),
                     MSW_OK);
    bytes = file_written(writer, size);
    msw_writer_free(writer);
    return bytes;
}

msw_status trainee_load(trainee *t, const uint8_t *bytes, size_t size)
{
    const void *own;
    msw_reader *reader;
    size_t own_size;
    msw_status status = msw_reader_open_buffer(&reader, t->f->ctx, bytes, size, NULL);

    if (status)
        return status;
    status = msw_admm_load(t->admm, reader);
    if (!status && msw_reader_get_metadata(&own, &own_size, reader, "host") == MSW_OK &&
        own_size == sizeof t->own)
        memcpy(&t->own, own, sizeof t->own);
    msw_reader_free(reader);
    return status;
}

void trainee_assert_state(trainee *t, const uint8_t *bytes, size_t size)
{
    size_t now_size;
    uint8_t *now = trainee_saved(&now_size, t);

    assert_int_equal(now_size, size);
    assert_memory_equal(now, bytes, size);
    free(now);
}
