/* SPDX-License-Identifier: BSD-2-Clause */
/* Data-parallel runs: ranks are threads, whose sums wait for each other.
 * Assertions come after all have ended. A run that hangs fails by the time limit. */
#ifndef MSW_TESTS_RANKS_FIXTURE_H
#define MSW_TESTS_RANKS_FIXTURE_H

#include "faults.h"

#include <msw/msw.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Layers are large enough for more than one task. */
enum {
    MOST = 4, LAYERS = 4, ROWS = 192, COLUMNS = 180, COUNT = ROWS * COLUMNS,
    WEIGHTS = 3 * COUNT, ALL = WEIGHTS + ROWS, SAMPLES = 8, EVERY = 5
};

typedef struct group {
    unsigned count;
    pthread_mutex_t mutex;
    pthread_cond_t all_here;
    unsigned waiting, rounds;
    void *data[MOST];
    unsigned broken_at; /* the call that fails on every rank; 0: none */
} group;

typedef struct rank {
    group *of;
    unsigned number;
    faults memory;
    pool pool;
    msw_context *ctx;
    msw_plan *plan;
    msw_admm *admm;
    msw_host host;
    float w[ALL];
    unsigned first_sample, samples; /* of SAMPLES, in one mini-batch */

    /* In call number bad_at of loss_gradient (1 the first), or of step: */
    unsigned bad_at, calls, steps, sums;
    double bad_loss;                /* 0: as it is */
    float bad_gradient, bad_step;
    int code;
    bool ask_stop;
    unsigned stop_at;               /* the sum that asks to stop; 0: none */

    unsigned progress_calls, projections, bad_projection;
    int progress_code;
    msw_status status;
    uint64_t iterations;
    bool freezes;                   /* instead */
    pthread_t thread;
} rank;

extern group shared;
extern rank ranks[MOST];
extern uint32_t relaxation; /* of the next solvers, */
extern bool own_projection; /* that of their layer 0 is their host's */
extern bool merging;        /* layers 0 and 2 have nodes instead of shares */

/* 1/2 ||W - target||^2 for the mean target of the samples. */
int loss_gradient(double *loss, float *const *grads, const float *const *weights,
                  uint32_t layer_count, void *user);
int step(float *const *weights, const float *const *grads, uint32_t layer_count,
         void *user);
msw_tensor *borrow(const rank *r, unsigned layer, float *data);
/* Every third weight is zero, by turns 0 and -0. */
int thin_out(const msw_projection_call *call, void *user);
void open_group(unsigned count);
void close_group(void);
void run_group(uint64_t iterations);
void freeze_group(void);
uint64_t hash_of(const rank *r);
void assert_all(msw_status status);
void assert_same_bits(void);
/* ADMM past its planned updates, freezing, retraining. */
void train_group(void);

#endif /* MSW_TESTS_RANKS_FIXTURE_H */
