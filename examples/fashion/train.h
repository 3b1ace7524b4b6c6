/* SPDX-License-Identifier: BSD-2-Clause */
/* Mini-batches, their gradient, and stochastic gradient descent. */
#ifndef FASHION_TRAIN_H
#define FASHION_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "data.h"
#include "network.h"
#include "random.h"

/*
 * A mini-batch is cut into as many parts as there are workers, each with its own
 * gradient, summed up in a fixed order: so the result does not depend on how many
 * threads there are.
 */
enum { BATCH = 64, WORKERS = 4, PART = BATCH / WORKERS };

struct worker {
    struct activations activations;
    struct values gradient;
    double loss;
};

struct trainer {
    const struct dataset *set;
    struct values *weights; /* the caller's */
    struct values gradient; /* of the mean loss of the last mini-batch */
    struct values velocity; /* momentum */
    struct worker worker[WORKERS];
    struct rng rng;
    uint32_t *order;        /* the images in this epoch's order */
    uint32_t next;          /* first image in `order` not yet used */
    int first_part, parts;  /* of each mini-batch, that this trainer works on: all */
    float learning_rate, momentum, weight_decay;
    int shift;              /* images are moved by up to so many pixels, and mirrored */
};

/* `set` and `weights` must outlive the trainer. */
bool trainer_new(struct trainer *t, const struct dataset *set, struct values *weights,
                 uint64_t seed);
void trainer_free(struct trainer *t);

/* Mini-batches in one epoch; the few images that fill no batch wait for another one. */
int trainer_epoch_steps(const struct trainer *t);

/* Loss of the next mini-batch, or of the trainer's parts of it, and its gradient in
 * t->gradient. */
double trainer_gradient(struct trainer *t);

/* Mean loss over the first images of the set, `parts` times PART of them, as they are. */
double trainer_loss(struct trainer *t, int parts);

/* weights -= learning_rate * velocity, velocity = momentum * velocity + gradient */
void trainer_step(struct trainer *t);

/* From `first` down to nearly 0 along half a cosine. */
float cosine_rate(float first, int step, int steps);

/* Share of the images whose class the network finds, in percent. */
double trainer_accuracy(struct trainer *t, const struct dataset *set);

#endif
