/* SPDX-License-Identifier: BSD-2-Clause */
#include "random.h"

/* splitmix64: one multiply-xorshift chain over a counter. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

struct rng rng_make(uint64_t seed, uint64_t stream)
{
    return (struct rng){mix(mix(seed + 1) + stream)};
}

uint64_t rng_next(struct rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(rng->state);
}

uint32_t rng_below(struct rng *rng, uint32_t bound)
{
    return (uint32_t)(((rng_next(rng) >> 32) * bound) >> 32);
}

float rng_symmetric(struct rng *rng)
{
    return (float)(rng_next(rng) >> 40) * 0x1p-23f - 1.0f;
}

void rng_shuffle(struct rng *rng, uint32_t *items, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = rng_below(rng, i);
        uint32_t kept = items[i - 1];

        items[i - 1] = items[j];
        items[j] = kept;
    }
}
