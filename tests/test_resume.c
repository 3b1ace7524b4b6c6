/* SPDX-License-Identifier: BSD-2-Clause */
/* A training process is killed at random moments, 50 times, and started anew each time: it
 * ends with the bits of one that nobody disturbed. Each start takes another number of
 * threads, and so much of the way that there is something left for all of them. */
#define _POSIX_C_SOURCE 200809L
#include "ref.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    OUTPUTS = 96, INPUTS = 120, COUNT = OUTPUTS * INPUTS,
    EVERY = 4, ADMM_STEPS = 200, STEPS = 306,
    SAVE_EVERY = 3, KILLS = 50
};

/* All that the host goes on from. */
typedef struct own {
    uint64_t random, done;
} own;

typedef struct trainee {
    own own;
    msw_context *ctx;
    msw_tensor *w, *bias;
    msw_plan *plan;
    msw_admm *admm;
} trainee;

static msw_status setup(trainee *t, uint32_t threads)
{
    static const size_t shape[] = {OUTPUTS, INPUTS};
    msw_context_options c;
    msw_plan_options p;
    msw_admm_options o;
    msw_layer_options l;
    msw_status status;

    memset(t, 0, sizeof *t);
    t->own.random = 3;
    msw_context_options_init(&c);
    c.threads = threads;
    status = msw_context_new(&t->ctx, &c);
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 4;
    if (!status)
        status = msw_plan_new(&t->plan, t->ctx, shape, 2, &p);
    if (!status)
        status = msw_tensor_new(&t->w, t->ctx, shape, 2);
    if (!status)
        status = msw_tensor_new(&t->bias, t->ctx, shape, 1);
    msw_admm_options_init(&o);
    o.updates = ADMM_STEPS / EVERY;
    o.update_every = EVERY;
    o.optimiser = MSW_OPTIMISER_ADAM;
    o.rollback = 1;
    if (!status)
        status = msw_admm_new(&t->admm, t->ctx, &o);
    msw_layer_options_init(&l);
    l.prune = 0.5;
    l.unify = 0.4;
    if (!status)
        status = msw_admm_add_layer(t->admm, t->w, t->plan, &l);
    if (!status)
        status = msw_admm_add_layer(t->admm, t->bias, NULL, NULL);
    return status;
}

static void teardown(trainee *t)
{
    msw_admm_free(t->admm);
    msw_tensor_free(t->w);
    msw_tensor_free(t->bias);
    msw_plan_free(t->plan);
    msw_context_free(t->ctx);
}

static int on_loss(double *loss, float *const *grads, const float *const *weights,
                   uint32_t layer_count, void *user)
{
    trainee *t = user;

    (void)layer_count;
    *loss = ref_uniform(&t->own.random);
    for (size_t i = 0; i < COUNT; i++)
        grads[0][i] = weights[0][i] - (float)ref_normal(&t->own.random);
    for (size_t i = 0; i < OUTPUTS; i++)
        grads[1][i] = weights[1][i] - (float)i;
    return 0;
}

static msw_status save(trainee *t, const char *path)
{
    msw_writer *writer;
    msw_status status = msw_writer_new(&writer, t->ctx);

    if (!status)
        status = msw_admm_save(writer, t->admm);
    if (!status)
        status = msw_writer_add_metadata(writer, "host", &t->own, sizeof t->own);
    if (!status)
        status = msw_writer_save(writer, path);
    msw_writer_free(writer);
    return status;
}

/* Nothing when there is no file. */
static msw_status resume(trainee *t, const char *path)
{
    const void *bytes;
    msw_reader *reader;
    size_t size;
    msw_status status;

    if (access(path, F_OK))
        return MSW_OK;
    status = msw_reader_open(&reader, t->ctx, path, NULL);
    if (!status)
        status = msw_admm_load(t->admm, reader);
    if (!status)
        status = msw_reader_get_metadata(&bytes, &size, reader, "host");
    if (!status)
        memcpy(&t->own, bytes, sizeof t->own);
    msw_reader_free(reader);
    return status;
}

/* The program: resume and train on, saving now and then and in the end. */
static msw_status program(const char *path, uint32_t threads, uint64_t until,
                          uint64_t save_every)
{
    msw_host host;
    msw_status status;
    trainee t;

    status = setup(&t, threads);
    msw_host_init(&host);
    host.user = &t;
    host.loss_gradient = on_loss;
    if (!status)
        status = resume(&t, path);
    while (!status && t.own.done < until) {
        if (t.own.done == ADMM_STEPS)
            status = msw_admm_freeze(t.admm);
        if (!status)
            status = msw_admm_run(t.admm, &host, 1);
        t.own.done++;
        if (!status && (t.own.done % save_every == 0 || t.own.done == until))
            status = save(&t, path);
    }
    teardown(&t);
    return status;
}

static void sleep_for(double seconds)
{
    struct timespec t = {0, (long)(seconds * 1e9)};

    nanosleep(&t, NULL);
}

/* A process that is to be killed waits for that in the end. */
static pid_t start(const char *path, uint32_t threads, uint64_t until)
{
    const pid_t child = fork();
    msw_status status;

    if (child)
        return child;
    status = program(path, threads, until, SAVE_EVERY);
    while (!status && until < STEPS)
        pause();
    _exit(status ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void kill_and_resume(const char *path, uint64_t *random)
{
    for (uint64_t i = 0; i <= KILLS; i++) {
        const pid_t child = start(path, 1 + i % 3, STEPS * (i + 1) / (KILLS + 1));
        int status = 0;

        assert_true(child > 0);
        if (i < KILLS) {
            sleep_for(0.08 * ref_uniform(random));
            kill(child, SIGKILL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (i < KILLS)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
    }
}

static uint8_t *contents(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(1 << 20);

    assert_non_null(f);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, f);
    assert_true(*size > 0 && *size < 1 << 20);
    fclose(f);
    return bytes;
}

/* With what the killed ones left beside their file. */
static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
    closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

static void killed_and_resumed_it_ends_the_same(void **state)
{
    char directory[] = "/tmp/msw-resume-XXXXXX", straight[64], killed[64];
    uint64_t random = 1 + (uint64_t)time(NULL);
    size_t size, killed_size;
    uint8_t *expected, *got;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(straight, sizeof straight, "%s/straight.msw", directory);
    snprintf(killed, sizeof killed, "%s/killed.msw", directory);
    assert_int_equal(program(straight, 1, STEPS, STEPS), MSW_OK);
    kill_and_resume(killed, &random);
    expected = contents(straight, &size);
    got = contents(killed, &killed_size);
    assert_int_equal(killed_size, size);
    assert_memory_equal(got, expected, size);
    free(expected);
    free(got);
    remove_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_and_resumed_it_ends_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
