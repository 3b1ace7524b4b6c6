/* SPDX-License-Identifier: BSD-2-Clause */
/* A host that trains, for tests of what a solver saves. The functions assert. */
#ifndef MSW_TESTS_TRAINEE_H
#define MSW_TESTS_TRAINEE_H

#include "fixture.h"

enum { TRAINEE_BIAS = 5 };

/* A host: one layer in every layout, a bias without a plan, gradients from a generator. */
typedef struct trainee {
    fixture *f;
    msw_tensor *w, *bias;
    float bias_data[TRAINEE_BIAS];
    msw_admm *admm;
    struct {
        uint64_t random, done;
    } own; /* what the host goes on from */
} trainee;

typedef struct setting {
    uint32_t optimiser;
    bool importance;
    double budget; /* share of the plain bytes; 0: none */
    size_t memory; /* of importance that is collected */
    uint32_t levels; /* of a quadtree instead of shares; 0: none */
} setting;

void trainee_setup(trainee *t, fixture *f, setting s);
void trainee_teardown(trainee *t);
/* msw_loss_gradient, of the trainee that is its user. */
int trainee_on_loss(double *loss, float *const *grads, const float *const *weights,
                    uint32_t layer_count, void *user);
/* Up to so many of TRAINEE_STEPS of the whole training, frozen on its way. */
enum { TRAINEE_ADMM_STEPS = 7, TRAINEE_STEPS = 12, TRAINEE_EVERY = 3 };
void trainee_train(trainee *t, uint64_t until);

/* The file of its state, from malloc(); and back. */
uint8_t *trainee_saved(size_t *size, trainee *t);
msw_status trainee_load(trainee *t, const uint8_t *bytes, size_t size);
void trainee_assert_state(trainee *t, const uint8_t *bytes, size_t size);

/* 5 x 6 weights in blocks of 2 x 2. */
extern const layout trainee_small;

#endif /* MSW_TESTS_TRAINEE_H */
