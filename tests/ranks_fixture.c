/* SPDX-License-Identifier: BSD-2-Clause */
#include "ranks_fixture.h"

#include "ref.h"

#include <math.h>
#include <string.h>

/* Returns when all ranks have called it. */
static void wait_for_all(group *g)
{
    unsigned round;

    pthread_mutex_lock(&g->mutex);
    round = g->rounds;
    if (++g->waiting == g->count) {
        g->waiting = 0;
        g->rounds++;
        pthread_cond_broadcast(&g->all_here);
    }
    while (g->rounds == round)
        pthread_cond_wait(&g->all_here, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

/* Every rank adds up for itself, in the same order. */
static int allreduce(void *data, size_t count, msw_real type, void *user)
{
    const size_t size = count * (type == MSW_REAL_DOUBLE ? sizeof(double) : sizeof(float));
    rank *r = user;
    group *g = r->of;
    void *sum = malloc(size);

    if (!sum || ++r->sums == g->broken_at) {
        free(sum);
        return 77;
    }
    if (r->sums == r->stop_at)
        msw_admm_stop(r->admm);
    g->data[r->number] = data;
    wait_for_all(g);
    memcpy(sum, g->data[0], size); /* not from 0 on, which loses -0 */
    for (unsigned k = 1; k < g->count; k++)
        for (size_t i = 0; i < count; i++)
            if (type == MSW_REAL_DOUBLE)
                ((double *)sum)[i] += ((const double *)g->data[k])[i];
            else
                ((float *)sum)[i] += ((const float *)g->data[k])[i];
    wait_for_all(g);
    memcpy(data, sum, size);
    free(sum);
    return 0;
}

int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                         uint32_t layer_count, void *user)
{
    rank *r = user;
    const double mean = r->first_sample + 0.5 * (r->samples - 1);

    *loss = 0;
    r->calls++;
    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < (l < 3 ? (size_t)COUNT : ROWS); i++) {
            const double target = (double)(i * 37 % (101 + l)) / 50 - 1 + 0.1 * mean;
            const double off = (double)weights[l][i] - target - 0.01 * r->calls;

            grads[l][i] = (float)off;
            *loss += 0.5 * off * off;
        }
    if (r->calls != r->bad_at)
        return 0;
    if (r->ask_stop)
        msw_admm_stop(r->admm);
    if (r->bad_loss != 0)
        *loss = r->bad_loss;
    if (r->bad_gradient != 0)
        grads[1][7] = r->bad_gradient;
    return r->code;
}

int step(float *const *weights, const float *const *grads, uint32_t layer_count,
                void *user)
{
    rank *r = user;

    for (uint32_t l = 0; l < layer_count; l++)
        for (size_t i = 0; i < (l < 3 ? (size_t)COUNT : ROWS); i++)
            weights[l][i] -= 0.1f * grads[l][i];
    if (++r->steps == r->bad_at && r->bad_step != 0)
        weights[0][3] += r->bad_step;
    return 0;
}

static int progress(const msw_admm_progress *p, void *user)
{
    rank *r = user;

    (void)p;
    r->progress_calls++;
    return r->progress_code;
}

msw_tensor *borrow(const rank *r, unsigned layer, float *data)
{
    static const size_t shape[2] = {ROWS, COLUMNS}, bias[1] = {ROWS};
    const bool last = layer == LAYERS - 1;
    msw_tensor *t;

    assert_int_equal(msw_tensor_borrow(&t, r->ctx, data, last ? bias : shape, NULL,
                                       last ? 1 : 2), MSW_OK);
    return t;
}

uint32_t relaxation;
bool own_projection;
bool merging;

static void add_layers(rank *r)
{
    static const size_t shape[2] = {ROWS, COLUMNS};
    static const double prune[3] = {0.3, 0, 0.5}, unify[3] = {0.5, 0, 0.5};
    msw_plan_options p;

    msw_plan_options_init(&p);
    p.block_rows = 4;
    p.block_columns = 5;
    assert_int_equal(msw_plan_new(&r->plan, r->ctx, shape, 2, &p), MSW_OK);
    for (unsigned l = 0; l < LAYERS; l++) {
        msw_quadtree_options q;
        msw_layer_options o;
        msw_tensor *t;

        msw_layer_options_init(&o);
        msw_quadtree_options_init(&q);
        q.levels = 2;
        q.price = 0.05;
        q.free_bits = q.magnitude_bits = 8;
        o.quadtree = merging && l % 2 == 0 ? &q : NULL;
        o.prune = l < 3 && !o.quadtree ? prune[l] : 0;
        o.unify = l < 3 && !o.quadtree ? unify[l] : 0;
        t = borrow(r, l, r->w + l * COUNT);
        assert_int_equal(msw_admm_add_layer(r->admm, t, l < 3 ? r->plan : NULL, &o),
                         MSW_OK);
        msw_tensor_free(t);
    }
}

int thin_out(const msw_projection_call *call, void *user)
{
    rank *r = user;

    r->projections++;
    for (size_t i = 0; i < call->count; i += 3)
        call->z[i] = i % 2 ? -0.0f : 0;
    if (r->projections == r->bad_projection)
        call->z[1] = NAN;
    return 0;
}

static void open_rank(rank *r, group *g, unsigned number)
{
    msw_context_options c;
    msw_admm_options o;
    uint64_t random = 5;

    memset(r, 0, sizeof *r);
    r->of = g;
    r->number = number;
    r->samples = SAMPLES / g->count;
    r->first_sample = number * r->samples;
    for (size_t i = 0; i < ALL; i++)
        r->w[i] = (float)ref_normal(&random);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&r->memory);
    c.parallel_for = pool_run;
    c.parallel_user = &r->pool;
    assert_int_equal(msw_context_new(&r->ctx, &c), MSW_OK);
    msw_admm_options_init(&o);
    o.updates = 6;
    o.update_every = EVERY;
    o.rho = 0.1;
    o.ramp = 0.5;
    o.relaxation = relaxation;
    assert_int_equal(msw_admm_new(&r->admm, r->ctx, &o), MSW_OK);
    add_layers(r);
    if (own_projection)
        assert_int_equal(msw_admm_set_projection(r->admm, 0, thin_out, r), MSW_OK);
    msw_host_init(&r->host);
    r->host.user = r;
    r->host.loss_gradient = loss_gradient;
    r->host.progress = progress;
    r->host.allreduce = allreduce;
    r->host.rank = number;
    r->host.rank_count = g->count;
}

static void close_rank(rank *r)
{
    msw_admm_free(r->admm);
    msw_plan_free(r->plan);
    msw_context_free(r->ctx);
    assert_true(faults_clean(&r->memory));
}

group shared;
rank ranks[MOST];

void open_group(unsigned count)
{
    memset(&shared, 0, sizeof shared);
    shared.count = count;
    assert_int_equal(pthread_mutex_init(&shared.mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&shared.all_here, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        open_rank(&ranks[i], &shared, i);
}

void close_group(void)
{
    for (unsigned i = 0; i < shared.count; i++)
        close_rank(&ranks[i]);
    pthread_cond_destroy(&shared.all_here);
    pthread_mutex_destroy(&shared.mutex);
}

static void *run_rank(void *arg)
{
    rank *r = arg;

    r->status = r->freezes ? msw_admm_freeze_ranks(r->admm, &r->host)
                           : msw_admm_run(r->admm, &r->host, r->iterations);
    return NULL;
}

void run_group(uint64_t iterations)
{
    for (unsigned i = 0; i < shared.count; i++) {
        ranks[i].iterations += iterations;
        ranks[i].status = MSW_E_UNSUPPORTED;
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    }
    for (unsigned i = 0; i < shared.count; i++) {
        pthread_join(ranks[i].thread, NULL);
        ranks[i].iterations = 0;
    }
}

void freeze_group(void)
{
    for (unsigned i = 0; i < shared.count; i++)
        ranks[i].freezes = true;
    run_group(0);
    for (unsigned i = 0; i < shared.count; i++)
        ranks[i].freezes = false;
}

uint64_t hash_of(const rank *r)
{
    uint64_t h;

    assert_int_equal(msw_admm_hash(&h, r->admm), MSW_OK);
    return h;
}

void assert_all(msw_status status)
{
    for (unsigned i = 0; i < shared.count; i++)
        assert_int_equal(ranks[i].status, status);
}

void assert_same_bits(void)
{
    for (unsigned i = 1; i < shared.count; i++) {
        assert_memory_equal(ranks[i].w, ranks[0].w, sizeof ranks[0].w);
        assert_int_equal(hash_of(&ranks[i]), hash_of(&ranks[0]));
    }
}

void train_group(void)
{
    run_group(8 * EVERY + 2);
    assert_all(MSW_OK);
    assert_same_bits();
    if (shared.count > 1)
        freeze_group();
    else
        ranks[0].status = msw_admm_freeze(ranks[0].admm);
    assert_all(MSW_OK);
    assert_same_bits();
    run_group(2 * EVERY);
    assert_all(MSW_OK);
    assert_same_bits();
    for (unsigned i = 0; i < shared.count; i++)
        assert_int_equal(ranks[i].progress_calls, 10);
}
