/* SPDX-License-Identifier: BSD-2-Clause */
/* A solver's weights and structure as one number. */
#include "admm.h"
#include "bytes.h"
#include "elements.h"

#define OFFSET_BASIS UINT64_C(0xcbf29ce484222325)
#define PRIME UINT64_C(0x100000001b3)

uint64_t msw__hash_word(uint64_t h, uint32_t word)
{
    return (h ^ word) * PRIME;
}

uint64_t msw__hash_words(uint64_t h, uint64_t two)
{
    return msw__hash_word(msw__hash_word(h, (uint32_t)two), (uint32_t)(two >> 32));
}

static uint64_t hash_floats(uint64_t h, const float *x, size_t stride, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h = msw__hash_word(h, msw__float_bits(x + i * stride));
    return h;
}

static uint64_t hash_tensor(uint64_t h, const msw_tensor *t)
{
    const msw__elements e = msw__elements_of(t);

    for (size_t i = 0; i < t->count;) {
        size_t n = t->count - i;
        const float *x = msw__elements_at(&e, i, &n);

        h = hash_floats(h, x, e.stride, n);
        i += n;
    }
    return h;
}

static uint64_t hash_bytes(uint64_t h, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h = msw__hash_word(h, bytes[i]);
    return h;
}

static uint64_t hash_layer(uint64_t h, const msw__layer *l)
{
    h = hash_tensor(h, l->weights);
    if (l->d) {
        h = hash_tensor(h, l->d);
        if (l->z)
            return hash_tensor(h, l->z);
        h = hash_bytes(h, l->classes, l->plan->block_count);
        h = hash_bytes(h, l->levels, l->levels ? l->plan->block_count : 0);
        h = hash_floats(h, l->magnitudes, 1, l->plan->block_count);
        h = hash_bytes(h, l->signs, msw__sign_bytes(l->plan));
    }
    if (l->latent) {
        h = hash_tensor(h, l->latent);
        h = hash_bytes(h, l->classes, l->plan->block_count);
    }
    if (l->frozen) {
        h = hash_bytes(h, l->frozen->classes, l->plan->block_count);
        h = hash_bytes(h, l->frozen->levels, l->frozen->levels ? l->plan->block_count : 0);
        h = hash_bytes(h, l->frozen->signs,
                       (l->frozen->sign_start[l->plan->block_row_count] + 7) / 8);
    }
    return h;
}

uint64_t msw__admm_hash(const msw_admm *admm)
{
    uint64_t h = OFFSET_BASIS;

    for (uint32_t i = 0; i < admm->layer_count; i++)
        h = hash_layer(h, &admm->layers[i]);
    return h;
}

msw_status msw_admm_hash(uint64_t *out, const msw_admm *admm)
{
    if (!out)
        return MSW_E_INVAL;
    *out = 0;
    if (!admm)
        return MSW_E_INVAL;
    if (admm->state == MSW__BUSY)
        return MSW_E_STATE;
    *out = msw__admm_hash(admm);
    return MSW_OK;
}
