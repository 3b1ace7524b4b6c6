/* SPDX-License-Identifier: BSD-2-Clause */
/* An adaptive binary range coder, and raw bits beside it (doc/format.md, 6.1). What it
 * decodes from any bytes is defined: it reads zeros where there are no bytes, never
 * outside them, and the caller learns of it at the end. */
#ifndef MSW_LIB_RANGE_CODER_H
#define MSW_LIB_RANGE_CODER_H

#include "bytes.h"
#include "internal.h"

/* The probability of a bit to be 0, in units of 2^-16, and how often it was seen. */
typedef struct msw__bit_model {
    uint16_t zero, seen;
} msw__bit_model;

enum {
    MSW__RANGE_RATES = 127,  /* the last one is kept: 1/128 */
    MSW__RANGE_TAIL = 8,     /* bytes that every coded range ends with */
    MSW__RANGE_WORD = 4      /* bytes moved at a time */
};

/* However certain a bit is, it costs at least 1/358 of a bit, and a limited one 1/45: a
 * byte holds no more of them than this. */
enum { MSW__BITS_PER_BYTE = 2860, MSW__LIMITED_BITS_PER_BYTE = 353 };

extern const uint16_t msw__range_rates[MSW__RANGE_RATES]; /* 2^16 / (seen + 2) */

void msw__bit_models_reset(msw__bit_model *models, size_t count);

/* Towards what was seen, by 1 / (seen + 2) of the distance: as many parts as there were
 * observations, until 1/128. */
static inline void msw__bit_model_update(msw__bit_model *m, unsigned bit)
{
    const uint32_t ones = 0u - bit;
    const uint32_t distance = (65536u & ~ones) + ((m->zero ^ ~ones) - ~ones);
    const uint32_t step = distance * msw__range_rates[m->seen] >> 16;

    m->zero = (uint16_t)(m->zero + ((step ^ ones) - ones));
    m->seen = (uint16_t)(m->seen + (m->seen < MSW__RANGE_RATES - 1));
}

/* A probability that leaves each side 1/64, so that nothing is all but free of cost. */
static inline uint32_t msw__limited(uint32_t zero)
{
    const uint32_t least = 1u << 10, most = (1u << 16) - least;

    return zero < least ? least : zero > most ? most : zero;
}

/* Bytes that grow. Once memory fails, status says so and all else is dropped. */
typedef struct msw__growing {
    msw_context *ctx;
    uint8_t *data;
    size_t size, capacity;
    msw_status status;
} msw__growing;

typedef struct msw__encoder {
    msw__growing coded, raw;
    uint64_t low, range;
    uint64_t bits;        /* raw ones that fill no byte yet, and how many */
    unsigned bit_count;
} msw__encoder;

void msw__encoder_init(msw__encoder *e, msw_context *ctx);
void msw__encoder_free(msw__encoder *e);
void msw__encode_bit(msw__encoder *e, msw__bit_model *m, unsigned bit);
void msw__encode_limited(msw__encoder *e, msw__bit_model *m, unsigned bit);
/* The lowest @p count bits of value, at most 32. */
void msw__encode_raw(msw__encoder *e, uint32_t value, unsigned count);
/* Complete both. What is coded goes into a payload from its end, the last byte first. */
msw_status msw__encoder_finish(msw__encoder *e) MSW_NODISCARD;

typedef struct msw__decoder {
    uint64_t code, range;
    const uint8_t *begin, *at, *end; /* raw from begin on, the range backwards from at */
    uint64_t raw;                    /* bits taken */
    bool over;                       /* the range went on where there were no bytes */
} msw__decoder;

/* @p size at least MSW__RANGE_TAIL. */
void msw__decoder_init(msw__decoder *d, const uint8_t *data, size_t size);
/* Begin with the raw bits @p size bytes later, but not behind the end. */
void msw__decoder_skip(msw__decoder *d, uint64_t size);
/* True when all bytes were used, each as the encoder would have set it. */
bool msw__decoder_finish(const msw__decoder *d);
/* The last bytes of the payload. */
uint64_t msw__decoder_tail(const msw__decoder *d, uint64_t from);

static inline void msw__decoder_refill(msw__decoder *d)
{
    uint32_t word = 0;

    if (d->at - d->begin >= MSW__RANGE_WORD) {
        d->at -= MSW__RANGE_WORD;
        word = msw__load32(d->at);
    } else {
        d->over = true;
    }
    d->code = d->code << 32 | word;
    d->range <<= 32;
}

/* A bit that is 0 with probability @p zero. */
static inline unsigned msw__decode_with(msw__decoder *d, uint32_t zero)
{
    const uint64_t bound = (d->range >> 16) * zero;
    const unsigned bit = d->code >= bound;

    const uint64_t ones = UINT64_C(0) - bit;

    d->range = bound + (ones & (d->range - 2 * bound));
    d->code -= ones & bound;
    if (d->range >> 32 == 0)
        msw__decoder_refill(d);
    return bit;
}

static inline unsigned msw__decode_bit(msw__decoder *d, msw__bit_model *m)
{
    const unsigned bit = msw__decode_with(d, m->zero);

    msw__bit_model_update(m, bit);
    return bit;
}

static inline unsigned msw__decode_limited(msw__decoder *d, msw__bit_model *m)
{
    const unsigned bit = msw__decode_with(d, msw__limited(m->zero));

    msw__bit_model_update(m, bit);
    return bit;
}

/* At most 32 bits. */
static inline uint32_t msw__decode_raw(msw__decoder *d, unsigned count)
{
    const uint64_t from = d->raw >> 3;
    uint64_t bytes = from + 8 <= (uint64_t)(d->end - d->begin)
                         ? msw__load64(d->begin + (size_t)from)
                         : msw__decoder_tail(d, from);
    const uint64_t mask = (UINT64_C(1) << count) - 1;

    bytes >>= d->raw & 7;
    d->raw += count;
    return (uint32_t)(bytes & mask);
}

#endif /* MSW_LIB_RANGE_CODER_H */
