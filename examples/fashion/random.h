/* SPDX-License-Identifier: BSD-2-Clause */
/* A small seeded generator, so that a run can be repeated on any machine. */
#ifndef FASHION_RANDOM_H
#define FASHION_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

/* Different streams of one seed (weights, shuffling, ...) do not disturb each other. */
struct rng rng_make(uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t bound);
/* Uniform in [-1, 1). */
float rng_symmetric(struct rng *rng);
void rng_shuffle(struct rng *rng, uint32_t *items, uint32_t count);

#endif
