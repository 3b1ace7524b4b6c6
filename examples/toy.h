/* SPDX-License-Identifier: BSD-2-Clause */
/* A host as small as can be, for the examples. Nothing here knows libmsw.
 *
 * Its network is one linear layer with a bias, y = W x + b, which learns to do what a
 * teacher of the same shape does. W is [out][in], row-major. */
#ifndef TOY_H
#define TOY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOY_OUTPUTS = 32, TOY_INPUTS = 64, TOY_CAUSES = 6, TOY_BATCH = 32 };
enum { TOY_WEIGHTS = TOY_OUTPUTS * TOY_INPUTS };

typedef struct toy {
    float weights[TOY_WEIGHTS], bias[TOY_OUTPUTS];
    float teacher[TOY_WEIGHTS];
    float mixture[TOY_INPUTS * TOY_CAUSES];
} toy;

static inline float toy_random(void) /* -1 to 1 */
{
    return 2 * (float)rand() / (float)RAND_MAX - 1;
}

/* A trained network: it does what the teacher does. */
static inline void toy_init(toy *t)
{
    for (int i = 0; i < TOY_WEIGHTS; i++)
        t->weights[i] = t->teacher[i] = 0.25f * toy_random();
    for (int i = 0; i < TOY_INPUTS * TOY_CAUSES; i++)
        t->mixture[i] = toy_random();
    for (int o = 0; o < TOY_OUTPUTS; o++)
        t->bias[o] = 0;
}

/* A few causes behind many inputs, as in real data: the weights have room to move. */
static inline void toy_sample(float *x, const toy *t)
{
    float causes[TOY_CAUSES];

    for (int c = 0; c < TOY_CAUSES; c++)
        causes[c] = toy_random();
    for (int i = 0; i < TOY_INPUTS; i++) {
        x[i] = 0.1f * toy_random();
        for (int c = 0; c < TOY_CAUSES; c++)
            x[i] += t->mixture[i * TOY_CAUSES + c] * causes[c];
    }
}

/* Mean loss of a new mini-batch, and its gradients. */
static inline double toy_loss(const toy *t, float *weights_grad, float *bias_grad)
{
    double loss = 0;

    memset(weights_grad, 0, sizeof t->weights);
    memset(bias_grad, 0, sizeof t->bias);
    for (int n = 0; n < TOY_BATCH; n++) {
        float x[TOY_INPUTS];

        toy_sample(x, t);
        for (int o = 0; o < TOY_OUTPUTS; o++) {
            const float *w = t->weights + o * TOY_INPUTS;
            const float *want = t->teacher + o * TOY_INPUTS;
            float error = t->bias[o];

            for (int i = 0; i < TOY_INPUTS; i++)
                error += (w[i] - want[i]) * x[i];
            loss += (double)error * (double)error / (2 * TOY_BATCH);
            for (int i = 0; i < TOY_INPUTS; i++)
                weights_grad[o * TOY_INPUTS + i] += error * x[i] / TOY_BATCH;
            bias_grad[o] += error / TOY_BATCH;
        }
    }
    return loss;
}

/* Gradient descent with momentum. */
static inline void toy_step(float *values, const float *grad, float *momentum, int count)
{
    for (int i = 0; i < count; i++) {
        momentum[i] = 0.9f * momentum[i] + grad[i];
        values[i] -= 0.01f * momentum[i];
    }
}

#endif /* TOY_H */
