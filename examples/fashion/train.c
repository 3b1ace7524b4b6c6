/* SPDX-License-Identifier: BSD-2-Clause */
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool trainer_new(struct trainer *t, const struct dataset *set, struct values *weights,
                 uint64_t seed)
{
    bool good;

    *t = (struct trainer){.set = set,
                          .weights = weights,
                          .parts = WORKERS,
                          .learning_rate = 0.02f,
                          .momentum = 0.9f,
                          .weight_decay = 5e-4f};
    t->rng = rng_make(seed, 1000);
    t->order = malloc(set->count * sizeof *t->order);
    good = t->order != NULL && values_new(&t->gradient) && values_new(&t->velocity);
    for (int i = 0; good && i < WORKERS; i++)
        good = activations_new(&t->worker[i].activations, PART) &&
               values_new(&t->worker[i].gradient);
    if (!good) {
        trainer_free(t);
        return false;
    }
    for (uint32_t i = 0; i < set->count; i++)
        t->order[i] = i;
    t->next = set->count; /* shuffle before the first batch */
    return true;
}

void trainer_free(struct trainer *t)
{
    for (int i = 0; i < WORKERS; i++) {
        activations_free(&t->worker[i].activations);
        values_free(&t->worker[i].gradient);
    }
    values_free(&t->gradient);
    values_free(&t->velocity);
    free(t->order);
    *t = (struct trainer){0};
}

int trainer_epoch_steps(const struct trainer *t)
{
    return (int)(t->set->count / BATCH);
}

/* Moved a little and perhaps mirrored: the class of a garment stays the same. */
static void augmented(float *out, const uint8_t *image, int shift, struct rng rng)
{
    uint32_t range = (uint32_t)(2 * shift + 1);
    int dx = (int)rng_below(&rng, range) - shift;
    int dy = (int)rng_below(&rng, range) - shift;

    image_augment(out, image, dx, dy, rng_below(&rng, 2) != 0);
}

static void worker_gradient(struct trainer *t, struct worker *worker,
                            const uint32_t *order, uint64_t batch_seed)
{
    struct activations *a = &worker->activations;
    uint8_t labels[PART];

    for (int i = 0; i < PART; i++) {
        augmented(a->images + i * IMAGE_SIZE,
                  t->set->images + (size_t)order[i] * IMAGE_SIZE, t->shift,
                  rng_make(batch_seed, order[i]));
        labels[i] = t->set->labels[order[i]];
    }
    memset(worker->gradient.all, 0, PARAMETER_VALUES * sizeof(float));
    network_forward(a, t->weights, PART);
    worker->loss = network_backward(&worker->gradient, a, t->weights, labels, PART,
                                    1.0f / (float)(t->parts * PART));
}

static void add_up_gradients(struct trainer *t)
{
#ifdef _OPENMP
#pragma omp parallel for schedule(static)
#endif
    for (int i = 0; i < PARAMETER_VALUES; i++) {
        float sum = t->worker[0].gradient.all[i];

        for (int j = 1; j < t->parts; j++)
            sum += t->worker[j].gradient.all[i];
        t->gradient.all[i] = sum;
    }
}

double trainer_gradient(struct trainer *t)
{
    const uint32_t *order;
    uint64_t batch_seed;
    double loss = 0.0;

    if (t->set->count - t->next < BATCH) {
        rng_shuffle(&t->rng, t->order, t->set->count);
        t->next = 0;
    }
    order = t->order + t->next;
    t->next += BATCH;
    batch_seed = rng_next(&t->rng);
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1)
#endif
    for (int i = 0; i < t->parts; i++)
        worker_gradient(t, &t->worker[i], order + (t->first_part + i) * PART, batch_seed);
    add_up_gradients(t);
    for (int i = 0; i < t->parts; i++)
        loss += t->worker[i].loss;
    return loss / (t->parts * PART);
}

double trainer_loss(struct trainer *t, int parts)
{
    double part_loss[WORKERS] = {0.0}, loss = 0.0;

#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1)
#endif
    for (int i = 0; i < WORKERS; i++)
        for (int part = i; part < parts; part += WORKERS) {
            struct activations *a = &t->worker[i].activations;
            size_t first = (size_t)part * PART;

            for (size_t k = 0; k < PART; k++)
                image_normalise(a->images + k * IMAGE_SIZE,
                                t->set->images + (first + k) * IMAGE_SIZE);
            network_forward(a, t->weights, PART);
            part_loss[i] += network_backward(&t->worker[i].gradient, a, t->weights,
                                             t->set->labels + first, PART, 0.0f);
        }
    for (int i = 0; i < WORKERS; i++)
        loss += part_loss[i];
    return loss / (parts * PART);
}

void trainer_step(struct trainer *t)
{
    float *weights = t->weights->all;
    float *velocity = t->velocity.all;
    const float *gradient = t->gradient.all;

#ifdef _OPENMP
#pragma omp parallel for schedule(static)
#endif
    for (int i = 0; i < PARAMETER_VALUES; i++) {
        velocity[i] =
            t->momentum * velocity[i] + gradient[i] + t->weight_decay * weights[i];
        weights[i] -= t->learning_rate * velocity[i];
    }
}

float cosine_rate(float first, int step, int steps)
{
    const float pi = 3.14159265f;

    return 0.5f * first * (1.0f + cosf(pi * ((float)step + 0.5f) / (float)steps));
}

static int worker_correct(struct worker *worker, const struct values *weights,
                          const struct dataset *set, uint32_t first)
{
    struct activations *a = &worker->activations;
    int correct = 0;
    int count = set->count - first < PART ? (int)(set->count - first) : PART;

    for (int i = 0; i < count; i++)
        image_normalise(a->images + i * IMAGE_SIZE,
                        set->images + ((size_t)first + (size_t)i) * IMAGE_SIZE);
    network_classify(a, weights, count);
    for (int i = 0; i < count; i++)
        correct +=
            network_class(a->scores + i * CLASSES) == set->labels[first + (uint32_t)i];
    return correct;
}

double trainer_accuracy(struct trainer *t, const struct dataset *set)
{
    int correct = 0;

#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) reduction(+ : correct)
#endif
    for (int i = 0; i < WORKERS; i++)
        for (uint32_t first = (uint32_t)i * PART; first < set->count; first += BATCH)
            correct += worker_correct(&t->worker[i], t->weights, set, first);
    return 100.0 * correct / set->count;
}
