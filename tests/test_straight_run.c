/* SPDX-License-Identifier: BSD-2-Clause */
/* Latent weights in whole trainings: by msw_admm_run() as by the host's own loop, for every
 * pool, interrupted and resumed, diverging; with a budget and several plans. */
#include "faults.h"
#include "file_fixture.h"
#include "fixture.h"

#include <msw/msw.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 96, COLUMNS = 360, COUNT = ROWS * COLUMNS, /* more than one task */
    UPDATES = 4, EVERY = 3, STEPS = UPDATES * EVERY + 5
};

typedef struct training {
    msw_context *ctx;
    msw_plan *plan;
    msw_tensor *w, *bias;
    msw_admm *admm;
    float data[COUNT], biases[ROWS], velocity[COUNT + ROWS], gradient[COUNT];
    uint64_t step;          /* gradients given */
    double scale, jump;     /* of gradients; added to the loss from step jump_at on */
    uint64_t jump_at;
    float bad_step;         /* not 0: what the next step leaves somewhere */
    int code;               /* what it returns */
} training;

static uint32_t relaxation = MSW_RELAXATION_STRAIGHT, optimiser, rollback;
static double budget, ramp = 0.5;
static bool more_plans;

static msw_plan *new_plan(const training *t, uint32_t rows, uint32_t columns)
{
    static const size_t shape[] = {ROWS, COLUMNS};
    msw_plan_options o;
    msw_plan *plan;

    msw_plan_options_init(&o);
    o.block_rows = rows;
    o.block_columns = columns;
    assert_int_equal(msw_plan_new(&plan, t->ctx, shape, 2, &o), MSW_OK);
    return plan;
}

static void add_layers(training *t)
{
    static const size_t shape[] = {ROWS, COLUMNS};
    msw_layer_options l;

    assert_int_equal(msw_tensor_borrow(&t->w, t->ctx, t->data, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&t->bias, t->ctx, t->biases, shape, NULL, 1),
                     MSW_OK);
    msw_layer_options_init(&l);
    l.prune = 0.4;
    l.unify = 0.4;
    t->plan = new_plan(t, 4, 8);
    assert_int_equal(msw_admm_add_layer(t->admm, t->w, t->plan, &l), MSW_OK);
    assert_int_equal(msw_admm_add_layer(t->admm, t->bias, NULL, NULL), MSW_OK);
    if (more_plans) {
        msw_plan *other = new_plan(t, 2, 4);

        assert_int_equal(msw_admm_add_plan(t->admm, 0, other), MSW_OK);
        msw_plan_free(other);
    }
    if (budget > 0)
        assert_int_equal(msw_admm_set_budget(t->admm, budget, NULL), MSW_OK);
}

static void open_with(training *t, const msw_context_options *options)
{
    msw_admm_options o;

    memset(t, 0, sizeof *t);
    t->scale = 1;
    for (size_t i = 0; i < COUNT; i++)
        t->data[i] = (float)(sin((double)(i * i % 7919)) * (1 + sin((double)(i / 97))));
    for (size_t i = 0; i < ROWS; i++)
        t->biases[i] = 1;
    assert_int_equal(msw_context_new(&t->ctx, options), MSW_OK);
    msw_admm_options_init(&o);
    o.relaxation = relaxation;
    o.updates = UPDATES;
    o.update_every = EVERY;
    o.ramp = ramp;
    o.optimiser = optimiser;
    o.rollback = rollback;
    o.weight_decay = 1e-3;
    assert_int_equal(msw_admm_new(&t->admm, t->ctx, &o), MSW_OK);
    add_layers(t);
}

static void open_training(training *t)
{
    open_with(t, NULL);
}

static void close_training(training *t)
{
    msw_admm_free(t->admm);
    msw_tensor_free(t->w);
    msw_tensor_free(t->bias);
    msw_plan_free(t->plan);
    msw_context_free(t->ctx);
}

/* The host: towards a point that moves from step to step. */

static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    training *t = user;
    const double step = (double)++t->step;

    *loss = 1 + (t->jump_at && t->step >= t->jump_at ? t->jump : 0);
    for (size_t i = 0; i < COUNT; i++)
        grads[0][i] = (float)(t->scale * ((double)weights[0][i] -
                                          sin((double)i * (1 + step / 40))));
    for (size_t i = 0; i < ROWS; i++)
        grads[1][i] = weights[1][i];
    return layer_count == 2 ? 0 : -1;
}

static void momentum(float *w, float *velocity, const float *g, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        velocity[i] = 0.9f * velocity[i] + g[i];
        w[i] -= 0.05f * velocity[i];
    }
}

static int on_step(float *const *weights, const float *const *grads, uint32_t layer_count,
                   void *user)
{
    training *t = user;

    (void)layer_count;
    momentum(weights[0], t->velocity, grads[0], COUNT);
    momentum(weights[1], t->velocity + COUNT, grads[1], ROWS);
    if (t->bad_step != 0)
        weights[0][COUNT / 2] = t->bad_step;
    return t->code;
}

static msw_status run_with(training *t, bool own_step, uint64_t steps)
{
    msw_host host;

    msw_host_init(&host);
    host.loss_gradient = on_loss;
    host.step = own_step ? on_step : NULL;
    host.user = t;
    return msw_admm_run(t->admm, &host, steps);
}

static void own_loop(training *t, uint64_t steps)
{
    float bias_gradient[ROWS];
    float *grads[] = {t->gradient, bias_gradient}, *weights[] = {t->data, t->biases};
    double loss;

    assert_int_equal(msw_admm_show_latent(t->admm), MSW_OK); /* begins */
    assert_int_equal(msw_admm_show_blocks(t->admm), MSW_OK);
    for (uint64_t i = 1; i <= steps; i++) {
        assert_int_equal(on_loss(&loss, grads, (const float *const *)weights, 2, t), 0);
        assert_int_equal(msw_admm_show_latent(t->admm), MSW_OK);
        assert_int_equal(on_step(weights, (const float *const *)grads, 2, t), 0);
        assert_int_equal(msw_admm_show_blocks(t->admm), MSW_OK);
        if (i % EVERY == 0)
            assert_int_equal(msw_admm_update(t->admm), MSW_OK);
    }
}

static uint64_t hash_of(const training *t)
{
    uint64_t hash;

    assert_int_equal(msw_admm_hash(&hash, t->admm), MSW_OK);
    return hash;
}

static void assert_same(const training *a, const training *b)
{
    assert_memory_equal(a->data, b->data, sizeof a->data);
    assert_memory_equal(a->biases, b->biases, sizeof a->biases);
    assert_int_equal(msw_admm_updates(a->admm), msw_admm_updates(b->admm));
    assert_int_equal(hash_of(a), hash_of(b));
}

/* Blocks of 4 x 8 in numbers: of each unified one, all have one absolute value. */
static size_t blocks_of_one_size(const training *t)
{
    size_t count = 0;

    for (size_t b = 0; b < COUNT / 32; b++) {
        const float *w = t->data + b / (COLUMNS / 8) * 4 * COLUMNS + b % (COLUMNS / 8) * 8;
        bool same = true;

        for (size_t i = 0; i < 32; i++)
            same = same && fabsf(w[i / 8 * COLUMNS + i % 8]) == fabsf(*w);
        count += same;
    }
    return count;
}

static void a_run_is_the_own_loop(void **state)
{
    static training run, loop;

    (void)state;
    open_training(&run);
    open_training(&loop);
    assert_int_equal(run_with(&run, true, STEPS), MSW_OK);
    own_loop(&loop, STEPS);
    assert_same(&run, &loop);
    assert_int_equal(msw_admm_updates(run.admm), STEPS / EVERY);
    assert_int_equal(blocks_of_one_size(&run), COUNT / 32 * 2 * 2 / 5);
    assert_int_equal(msw_admm_freeze(run.admm), MSW_OK);
    assert_int_equal(msw_admm_freeze(loop.admm), MSW_OK);
    assert_same(&run, &loop);
    assert_int_equal(run_with(&run, true, STEPS), MSW_OK);
    assert_int_equal(blocks_of_one_size(&run), COUNT / 32 * 2 * 2 / 5);
    close_training(&run);
    close_training(&loop);
}

/* It learns: the built-in optimiser moves latent weights towards the target. */
static void built_in_optimisers(void **state)
{
    static training t;

    (void)state;
    for (optimiser = 0; optimiser <= MSW_OPTIMISER_ADAM; optimiser++) {
        static float before[COUNT];
        size_t flips = 0;

        open_training(&t);
        assert_int_equal(run_with(&t, false, 1), MSW_OK);
        memcpy(before, t.data, sizeof before);
        t.scale = 5;
        assert_int_equal(msw_admm_set_learning_rate(t.admm, 0.05), MSW_OK);
        assert_int_equal(run_with(&t, false, STEPS), MSW_OK);
        assert_int_equal(blocks_of_one_size(&t), COUNT / 32 * 2 * 2 / 5);
        for (size_t i = 0; i < COUNT; i++)
            flips += before[i] * t.data[i] < 0;
        assert_true(flips > COUNT / 20);
        assert_int_equal(msw_admm_freeze(t.admm), MSW_OK);
        assert_int_equal(run_with(&t, false, STEPS), MSW_OK);
        close_training(&t);
    }
    optimiser = MSW_OPTIMISER_SGD;
}

static void train(training *t)
{
    assert_int_equal(run_with(t, true, STEPS), MSW_OK);
    assert_int_equal(msw_admm_freeze(t->admm), MSW_OK);
    assert_int_equal(run_with(t, true, EVERY), MSW_OK);
}

/* Pools in every order, and that fail once the work has begun. */
static void any_number_of_threads(void **state)
{
    static training alone, t;
    static const pool_mode modes[] = {POOL_REVERSED, POOL_THREADS};
    msw_context_options o;
    pool p = {0};

    (void)state;
    open_training(&alone);
    train(&alone);
    for (uint32_t threads = 2; threads <= 5; threads++) {
        msw_context_options_init(&o);
        o.threads = threads;
        open_with(&t, &o);
        train(&t);
        assert_same(&t, &alone);
        close_training(&t);
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        msw_context_options_init(&o);
        p.mode = modes[i];
        o.parallel_for = pool_run;
        o.parallel_user = &p;
        o.threads = 4;
        open_with(&t, &o);
        train(&t);
        assert_same(&t, &alone);
        close_training(&t);
    }
    close_training(&alone);
}

/* The step in between cannot fail. */
static void a_failing_pool(void **state)
{
    static training t, whole;
    static const pool_mode modes[] = {POOL_FAILING, POOL_PARTIAL};
    msw_context_options o;
    pool p = {0};

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        msw_context_options_init(&o);
        o.parallel_for = pool_run;
        o.parallel_user = &p;
        o.threads = 4;
        p.mode = POOL_IN_ORDER;
        open_with(&t, &o);
        open_training(&whole);
        own_loop(&t, EVERY);
        own_loop(&whole, EVERY);
        p.mode = modes[i];
        assert_int_equal(msw_admm_show_latent(t.admm), MSW_OK);
        assert_int_equal(msw_admm_show_latent(whole.admm), MSW_OK);
        for (size_t k = 0; k < COUNT; k++)
            whole.data[k] = t.data[k] = -t.data[k] + 0.125f;
        assert_int_equal(msw_admm_show_blocks(t.admm), MSW_OK);
        assert_int_equal(msw_admm_show_blocks(whole.admm), MSW_OK);
        assert_same(&t, &whole);
        assert_true(msw_admm_update(t.admm) != MSW_OK);
        assert_same(&t, &whole);
        p.mode = POOL_IN_ORDER;
        assert_int_equal(msw_admm_update(t.admm), MSW_OK);
        assert_int_equal(msw_admm_update(whole.admm), MSW_OK);
        assert_same(&t, &whole);
        close_training(&t);
        close_training(&whole);
    }
}

/* Resuming */

static uint8_t *saved(size_t *size, const training *t)
{
    msw_writer *writer;
    uint8_t *bytes;

    assert_int_equal(msw_writer_new(&writer, t->ctx), MSW_OK);
    assert_int_equal(msw_admm_save(writer, t->admm), MSW_OK);
    bytes = file_written(writer, size);
    msw_writer_free(writer);
    return bytes;
}

static msw_status load(training *t, const uint8_t *bytes, size_t size)
{
    msw_reader *reader;
    msw_status status;

    assert_int_equal(msw_reader_open_buffer(&reader, t->ctx, bytes, size, NULL), MSW_OK);
    status = msw_admm_load(t->admm, reader);
    msw_reader_free(reader);
    return status;
}

/* Before the first step, in the middle of a round, after the last planned update. */
static void resumes_to_the_same_bits(void **state)
{
    static const uint64_t moments[] = {0, 1, EVERY, EVERY + 1, UPDATES * EVERY + 1};
    static training whole, part;

    (void)state;
    for (rollback = 0; rollback <= 1; rollback++)
        for (size_t k = 0; k < sizeof moments / sizeof *moments; k++) {
            uint8_t *bytes;
            size_t size;

            open_training(&whole);
            open_training(&part);
            assert_int_equal(run_with(&whole, false, moments[k]), MSW_OK);
            bytes = saved(&size, &whole);
            assert_int_equal(load(&part, bytes, size), MSW_OK);
            part.step = whole.step;
            assert_same(&part, &whole);
            assert_int_equal(run_with(&whole, false, STEPS), MSW_OK);
            assert_int_equal(run_with(&part, false, STEPS), MSW_OK);
            assert_same(&part, &whole);
            assert_int_equal(msw_admm_freeze(whole.admm), MSW_OK);
            assert_int_equal(msw_admm_freeze(part.admm), MSW_OK);
            assert_same(&part, &whole);
            close_training(&whole);
            close_training(&part);
            free(bytes);
        }
    rollback = 0;
}

/* Into a solver that is in the middle of a step, which is forgotten. */
static void loads_in_the_middle_of_a_step(void **state)
{
    static training whole, part;
    uint8_t *bytes;
    size_t size;

    (void)state;
    open_training(&whole);
    open_training(&part);
    own_loop(&whole, EVERY + 1);
    bytes = saved(&size, &whole);
    assert_int_equal(msw_admm_show_latent(part.admm), MSW_OK);
    assert_int_equal(load(&part, bytes, size), MSW_OK);
    assert_same(&part, &whole);
    assert_int_equal(msw_admm_show_blocks(part.admm), MSW_E_STATE);
    memcpy(part.velocity, whole.velocity, sizeof part.velocity);
    part.step = whole.step;
    own_loop(&whole, EVERY);
    own_loop(&part, EVERY);
    assert_same(&part, &whole);
    close_training(&whole);
    close_training(&part);
    free(bytes);
}

/* That of latent weights elsewhere, and of anything else there. */
static void other_relaxations_are_refused(void **state)
{
    static training straight, other;

    (void)state;
    open_training(&straight);
    assert_int_equal(run_with(&straight, false, EVERY), MSW_OK);
    for (relaxation = 0; relaxation < MSW_RELAXATION_STRAIGHT; relaxation++) {
        uint8_t *bytes, *others;
        size_t size, others_size;
        uint64_t before;

        open_training(&other);
        assert_int_equal(run_with(&other, false, EVERY), MSW_OK);
        bytes = saved(&size, &straight);
        others = saved(&others_size, &other);
        before = hash_of(&other);
        assert_int_equal(load(&other, bytes, size), MSW_E_INVAL);
        assert_int_equal(hash_of(&other), before);
        before = hash_of(&straight);
        if (relaxation != MSW_RELAXATION_SOFT) { /* it has no state to tell it by */
            assert_int_equal(load(&straight, others, others_size), MSW_E_INVAL);
            assert_int_equal(hash_of(&straight), before);
        }
        close_training(&other);
        free(bytes);
        free(others);
    }
    relaxation = MSW_RELAXATION_STRAIGHT;
    close_training(&straight);
}

/* What goes wrong in a run */

static void not_in_the_middle_of_a_step(void **state)
{
    static training t;

    (void)state;
    open_training(&t);
    assert_int_equal(msw_admm_show_latent(t.admm), MSW_OK);
    assert_int_equal(run_with(&t, true, 1), MSW_E_STATE);
    assert_int_equal(t.step, 0);
    assert_int_equal(msw_admm_show_blocks(t.admm), MSW_OK);
    assert_int_equal(run_with(&t, true, 1), MSW_OK);
    close_training(&t);
}

/* A step that fails, or leaves what is not finite: the weights are in blocks all the same,
 * and a run goes on. */
static void a_bad_step(void **state)
{
    static training t, good;

    (void)state;
    open_training(&t);
    open_training(&good);
    assert_int_equal(run_with(&t, true, EVERY + 1), MSW_OK);
    assert_int_equal(run_with(&good, true, EVERY + 1), MSW_OK);
    t.bad_step = (float)NAN;
    assert_int_equal(run_with(&t, true, 1), MSW_E_NUMERIC);
    assert_memory_equal(t.data, good.data, sizeof t.data);
    t.bad_step = 0;
    t.code = -3;
    assert_int_equal(run_with(&t, true, 1), MSW_E_HOST);
    assert_int_equal(msw_admm_host_code(t.admm), -3);
    assert_true(blocks_of_one_size(&t) > COUNT / 32 / 2);
    t.code = 0;
    assert_int_equal(run_with(&t, true, EVERY), MSW_OK);
    close_training(&t);
    close_training(&good);
}

/* Back to the last update, latent weights included. */
static void check_rollback(training *t, uint64_t steps)
{
    static float before[COUNT], latent[COUNT];
    const uint64_t hash = hash_of(t);

    memcpy(before, t->data, sizeof before);
    assert_int_equal(msw_admm_show_latent(t->admm), MSW_OK);
    memcpy(latent, t->data, sizeof latent);
    assert_int_equal(msw_admm_show_blocks(t->admm), MSW_OK);
    assert_int_equal(hash_of(t), hash);
    t->jump_at = t->step + steps;
    t->jump = 1e6;
    assert_int_equal(run_with(t, true, 2 * EVERY), MSW_E_DIVERGED);
    assert_memory_equal(t->data, before, sizeof before);
    assert_int_equal(msw_admm_show_latent(t->admm), MSW_OK);
    assert_memory_equal(t->data, latent, sizeof latent);
}

static void rolls_back(void **state)
{
    static training t;
    uint8_t *bytes;
    size_t size;

    (void)state;
    rollback = 1;
    open_training(&t);
    assert_int_equal(run_with(&t, true, 2 * EVERY), MSW_OK);
    check_rollback(&t, 2);
    close_training(&t);
    /* Gone on with from a file without a copy: the run makes one. */
    rollback = 0;
    open_training(&t);
    assert_int_equal(run_with(&t, true, 2 * EVERY), MSW_OK);
    bytes = saved(&size, &t);
    close_training(&t);
    rollback = 1;
    open_training(&t);
    assert_int_equal(load(&t, bytes, size), MSW_OK);
    check_rollback(&t, 1);
    close_training(&t);
    free(bytes);
    rollback = 0;
}

/* Choices are those of ADMM's first Z: of the same weights. */
static void check_like_admm(void)
{
    static training straight, admm;
    static float z_data[COUNT];
    static const size_t shape[] = {ROWS, COLUMNS};
    msw_budget_info a, b;
    msw_tensor *z;

    open_training(&straight);
    relaxation = MSW_RELAXATION_ADMM;
    open_training(&admm);
    relaxation = MSW_RELAXATION_STRAIGHT;
    assert_int_equal(msw_admm_add_penalty(admm.admm, 0, admm.w, 0), MSW_OK);
    assert_int_equal(msw_admm_update(straight.admm), MSW_OK);
    assert_int_equal(msw_tensor_borrow(&z, admm.ctx, z_data, shape, NULL, 2), MSW_OK);
    assert_int_equal(msw_admm_get_z(z, admm.admm, 0), MSW_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(fabsf(z_data[i] - straight.data[i]) <= 1e-6f * fabsf(z_data[i]));
    for (int c = 0; c < 3; c++)
        assert_true(msw_admm_class_count(straight.admm, 0, (msw_class)c) ==
                    msw_admm_class_count(admm.admm, 0, (msw_class)c));
    msw_budget_info_init(&a);
    msw_budget_info_init(&b);
    assert_int_equal(msw_admm_get_budget(&a, admm.admm), MSW_OK);
    assert_int_equal(msw_admm_get_budget(&b, straight.admm), MSW_OK);
    assert_true(a.amount == b.amount && a.target == b.target);
    assert_true((budget > 0) == (b.amount > 0));
    msw_tensor_free(z);
    close_training(&admm);
    close_training(&straight);
}

static void chooses_as_admm_does(void **state)
{
    (void)state;
    check_like_admm();
    budget = 30000;
    check_like_admm();
    more_plans = true;
    check_like_admm();
    budget = 0;
    more_plans = false;
}

/* Resumed with the plan that the budget has picked. */
static void budget_and_plans(void **state)
{
    static training whole, part;
    msw_plan_info picked, loaded;
    msw_budget_info info;
    uint8_t *bytes;
    size_t size;

    (void)state;
    budget = 30000;
    more_plans = true;
    open_training(&whole);
    open_training(&part);
    assert_int_equal(run_with(&whole, false, EVERY + 1), MSW_OK);
    bytes = saved(&size, &whole);
    assert_int_equal(load(&part, bytes, size), MSW_OK);
    part.step = whole.step;
    msw_plan_info_init(&picked);
    msw_plan_info_init(&loaded);
    assert_int_equal(msw_plan_get_info(&picked, msw_admm_plan(whole.admm, 0)), MSW_OK);
    assert_int_equal(msw_plan_get_info(&loaded, msw_admm_plan(part.admm, 0)), MSW_OK);
    assert_int_equal(picked.block_count, loaded.block_count);
    assert_int_equal(run_with(&whole, false, STEPS), MSW_OK);
    assert_int_equal(run_with(&part, false, STEPS), MSW_OK);
    assert_same(&part, &whole);
    msw_budget_info_init(&info);
    assert_int_equal(msw_admm_get_budget(&info, whole.admm), MSW_OK);
    assert_true(info.target == budget && info.amount <= budget);
    assert_true(info.amount > 0.95 * budget);
    assert_int_equal(msw_admm_freeze(whole.admm), MSW_OK);
    close_training(&part);
    close_training(&whole);
    free(bytes);
    budget = 0;
    more_plans = false;
}

/* What cannot be met is said at once, and nothing has begun. */
static void a_budget_that_cannot_be_met(void **state)
{
    static training t, same;

    (void)state;
    budget = 1;
    ramp = 0;
    more_plans = true;
    open_training(&t);
    open_training(&same);
    assert_int_equal(msw_admm_update(t.admm), MSW_E_RANGE);
    assert_int_equal(msw_admm_show_latent(t.admm), MSW_E_RANGE);
    assert_same(&t, &same);
    assert_ptr_equal(msw_admm_plan(t.admm, 0), t.plan);
    assert_int_equal(msw_admm_set_budget(t.admm, 30000, NULL), MSW_OK);
    assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    close_training(&t);
    close_training(&same);
    budget = 0;
    ramp = 0.5;
    more_plans = false;
}

/* What is reported is what the allocator gave, until freezing. */
static void memory_is_reported(void **state)
{
    static training t;
    msw_context_options o;
    faults counted = {0};
    msw_admm_memory m;
    uint64_t before;

    (void)state;
    msw_context_options_init(&o);
    o.allocator = faults_allocator(&counted);
    open_with(&t, &o);
    before = counted.live;
    assert_int_equal(msw_admm_show_latent(t.admm), MSW_OK);
    assert_int_equal(msw_admm_show_blocks(t.admm), MSW_OK);
    msw_admm_memory_init(&m);
    assert_int_equal(msw_admm_get_memory(&m, t.admm), MSW_OK);
    assert_true(m.state == counted.live - before);
    assert_true(m.state >= COUNT * sizeof(float) && m.state < 1.1 * COUNT * sizeof(float));
    assert_int_equal(msw_admm_update(t.admm), MSW_OK);
    assert_true(m.state == counted.live - before);
    close_training(&t);
    assert_true(faults_clean(&counted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_the_own_loop),
        cmocka_unit_test(built_in_optimisers),
        cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(a_failing_pool),
        cmocka_unit_test(resumes_to_the_same_bits),
        cmocka_unit_test(loads_in_the_middle_of_a_step),
        cmocka_unit_test(other_relaxations_are_refused),
        cmocka_unit_test(not_in_the_middle_of_a_step),
        cmocka_unit_test(a_bad_step),
        cmocka_unit_test(rolls_back),
        cmocka_unit_test(chooses_as_admm_does),
        cmocka_unit_test(budget_and_plans),
        cmocka_unit_test(a_budget_that_cannot_be_met),
        cmocka_unit_test(memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
