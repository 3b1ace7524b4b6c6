/* SPDX-License-Identifier: BSD-2-Clause */
#include "range_coder.h"

#include <string.h>

enum { LEAST_CAPACITY = 256 };

#define RATE(n) (uint16_t)(65536u / ((n) + 2))
#define RATES8(n) RATE(n), RATE(n + 1), RATE(n + 2), RATE(n + 3), \
                  RATE(n + 4), RATE(n + 5), RATE(n + 6), RATE(n + 7)
#define RATES32(n) RATES8(n), RATES8(n + 8), RATES8(n + 16), RATES8(n + 24)

const uint16_t msw__range_rates[MSW__RANGE_RATES] = {
    RATES32(0), RATES32(32), RATES32(64), RATES8(96), RATES8(104), RATES8(112),
    RATE(120), RATE(121), RATE(122), RATE(123), RATE(124), RATE(125), RATE(126),
};

void msw__bit_models_reset(msw__bit_model *models, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        models[i].zero = 1u << 15;
        models[i].seen = 0;
    }
}

/* Encoding */

static bool grow(msw__growing *g, size_t more)
{
    msw_status status = MSW_OK;
    size_t capacity;
    void *memory = NULL;

    if (g->status)
        return false;
    if (g->capacity - g->size >= more)
        return true;
    if (!msw__size_mul(&capacity, g->capacity, 2))
        status = MSW_E_NOMEM;
    if (capacity < LEAST_CAPACITY)
        capacity = LEAST_CAPACITY;
    if (!status)
        status = msw__alloc(&memory, g->ctx, capacity, 1);
    g->status = status;
    if (status)
        return false;
    if (g->size)
        memcpy(memory, g->data, g->size);
    msw__free(g->ctx, g->data, g->capacity, 1);
    g->data = memory;
    g->capacity = capacity;
    return true;
}

static void put_word(msw__growing *g, uint32_t word)
{
    if (!grow(g, MSW__RANGE_WORD))
        return;
    for (int shift = 24; shift >= 0; shift -= 8)
        g->data[g->size++] = (uint8_t)(word >> shift);
}

/* One more in the last place of what is written; there always is a byte to take it. */
static void carry(msw__growing *g)
{
    for (size_t i = g->size; i-- > 0 && ++g->data[i] == 0;)
        continue;
}

void msw__encoder_init(msw__encoder *e, msw_context *ctx)
{
    memset(e, 0, sizeof *e);
    e->coded.ctx = e->raw.ctx = ctx;
    e->range = UINT64_MAX;
}

void msw__encoder_free(msw__encoder *e)
{
    msw__free(e->coded.ctx, e->coded.data, e->coded.capacity, 1);
    msw__free(e->raw.ctx, e->raw.data, e->raw.capacity, 1);
}

static void encode_with(msw__encoder *e, uint32_t zero, unsigned bit)
{
    const uint64_t bound = (e->range >> 16) * zero;

    if (bit) {
        e->low += bound;
        e->range -= bound;
        if (e->low < bound)
            carry(&e->coded);
    } else {
        e->range = bound;
    }
    if (e->range >> 32 == 0) {
        put_word(&e->coded, (uint32_t)(e->low >> 32));
        e->low <<= 32;
        e->range <<= 32;
    }
}

void msw__encode_bit(msw__encoder *e, msw__bit_model *m, unsigned bit)
{
    encode_with(e, m->zero, bit);
    msw__bit_model_update(m, bit);
}

void msw__encode_limited(msw__encoder *e, msw__bit_model *m, unsigned bit)
{
    encode_with(e, msw__limited(m->zero), bit);
    msw__bit_model_update(m, bit);
}

void msw__encode_raw(msw__encoder *e, uint32_t value, unsigned count)
{
    e->bits |= (value & ((UINT64_C(1) << count) - 1)) << e->bit_count;
    e->bit_count += count;
    for (; e->bit_count >= 8; e->bit_count -= 8, e->bits >>= 8)
        if (grow(&e->raw, 1))
            e->raw.data[e->raw.size++] = (uint8_t)e->bits;
}

msw_status msw__encoder_finish(msw__encoder *e)
{
    put_word(&e->coded, (uint32_t)(e->low >> 32));
    put_word(&e->coded, (uint32_t)e->low);
    if (e->bit_count)
        msw__encode_raw(e, 0, 8 - e->bit_count);
    return e->coded.status ? e->coded.status : e->raw.status;
}

/* Decoding */

void msw__decoder_init(msw__decoder *d, const uint8_t *data, size_t size)
{
    d->begin = data;
    d->end = data + size;
    d->at = d->end - MSW__RANGE_TAIL;
    d->code = msw__load64(d->at);
    d->range = UINT64_MAX;
    d->raw = 0;
    d->over = false;
}

void msw__decoder_skip(msw__decoder *d, uint64_t size)
{
    if (size > (uint64_t)(d->at - d->begin))
        d->over = true;
    else
        d->begin += (size_t)size;
}

uint64_t msw__decoder_tail(const msw__decoder *d, uint64_t from)
{
    const uint64_t size = (uint64_t)(d->end - d->begin);
    uint64_t value = 0;

    for (uint64_t i = size; i-- > from;)
        value = value << 8 | d->begin[i];
    return value;
}

bool msw__decoder_finish(const msw__decoder *d)
{
    const uint64_t raw_bytes = (d->raw + 7) / 8;

    return !d->over && d->code == 0 && raw_bytes == (uint64_t)(d->at - d->begin) &&
           (d->raw % 8 == 0 || d->begin[raw_bytes - 1] >> d->raw % 8 == 0);
}
