/* SPDX-License-Identifier: BSD-2-Clause */
/* The range coder by itself, and the claims that numbers coded by it begin with. */
#include "faults.h"
#include "quantiser.h"
#include "transport.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BITS = 20000, MODELS = 7 };

static faults memory;
static msw_context *ctx;

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* A payload as the format has it: raw bits, then the range backwards. */
static uint8_t *assemble(size_t *size, const msw__encoder *e)
{
    uint8_t *data = malloc(e->raw.size + e->coded.size);

    assert_non_null(data);
    if (e->raw.size)
        memcpy(data, e->raw.data, e->raw.size);
    for (size_t i = 0; i < e->coded.size; i++)
        data[e->raw.size + i] = e->coded.data[e->coded.size - 1 - i];
    *size = e->raw.size + e->coded.size;
    return data;
}

/* Bit i of a sequence in which 1 has probability share / 256, 0 and 256 included. */
static unsigned bit_at(uint32_t *seed, uint32_t share)
{
    return (next(seed) & 255) < share;
}

static uint8_t *encode(size_t *size, uint32_t share, size_t count)
{
    msw__bit_model models[MODELS];
    uint32_t seed = share;
    msw__encoder e;
    uint8_t *data;

    msw__bit_models_reset(models, MODELS);
    msw__encoder_init(&e, ctx);
    for (size_t i = 0; i < count; i++) {
        const unsigned bit = bit_at(&seed, share);

        if (i % MODELS)
            msw__encode_bit(&e, &models[i % MODELS], bit);
        else
            msw__encode_limited(&e, &models[0], bit);
        if (i % 5 == 0)
            msw__encode_raw(&e, (uint32_t)i * 2654435761u, (unsigned)(i % 33));
    }
    assert_int_equal(msw__encoder_finish(&e), MSW_OK);
    data = assemble(size, &e);
    msw__encoder_free(&e);
    return data;
}

/* Whether the sequence comes back; *finished: what the decoder says of the bytes. */
static bool decodes(bool *finished, const uint8_t *data, size_t size, uint32_t share,
                    size_t count)
{
    msw__bit_model models[MODELS];
    uint32_t seed = share;
    bool same = true;
    msw__decoder d;

    msw__bit_models_reset(models, MODELS);
    msw__decoder_init(&d, data, size);
    for (size_t i = 0; i < count; i++) {
        const unsigned bit = bit_at(&seed, share);

        same &= bit == (i % MODELS ? msw__decode_bit(&d, &models[i % MODELS])
                                   : msw__decode_limited(&d, &models[0]));
        if (i % 5 == 0) {
            const uint64_t mask = (UINT64_C(1) << i % 33) - 1;
            same &= msw__decode_raw(&d, (unsigned)(i % 33)) ==
                    ((uint32_t)i * 2654435761u & mask);
        }
    }
    *finished = msw__decoder_finish(&d);
    return same;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t share = 0; share <= 256; share += 8)
        for (size_t count = 0; count < BITS; count = 3 * count + 1) {
            bool finished;
            size_t size;
            uint8_t *data = encode(&size, share, count);

            assert_true(decodes(&finished, data, size, share, count));
            assert_true(finished);
            free(data);
        }
}

/* A carry through all that is written, to the first byte. The interval is kept around 1/256
 * until it is shorter than the words written, 00 ff ff ..., and then goes above it. */
static void test_longest_carry(void **state)
{
    enum { MOST = 2000, LONG = 40 };
    static uint32_t zeros[MOST];
    static unsigned bits[MOST];
    uint64_t above = UINT64_C(1) << 56; /* from low to 1/256 */
    uint32_t seed = 3;
    msw__encoder e;
    msw__decoder d;
    size_t count = 0, size;
    uint8_t *data;

    (void)state;
    msw__encoder_init(&e, ctx);
    for (bool last = false; !last; count++) {
        const size_t written = e.coded.size;
        uint64_t bound;
        msw__bit_model m = {0};

        assert_true(count < MOST);
        zeros[count] = 3000 + next(&seed) % 59000;
        bound = (e.range >> 16) * zeros[count];
        last = written >= LONG && bound > above;
        bits[count] = last || bound <= above;
        m.zero = (uint16_t)zeros[count];
        if (last)
            assert_int_equal(e.coded.data[0], 0);
        msw__encode_bit(&e, &m, bits[count]);
        above -= bits[count] && !last ? bound : 0;
        above <<= e.coded.size > written ? 32 : 0;
    }
    assert_int_equal(e.coded.data[0], 1);
    for (size_t i = 1; i < LONG; i++)
        assert_int_equal(e.coded.data[i], 0);
    assert_int_equal(msw__encoder_finish(&e), MSW_OK);
    data = assemble(&size, &e);
    msw__encoder_free(&e);
    msw__decoder_init(&d, data, size);
    for (size_t i = 0; i < count; i++) {
        msw__bit_model m = {.zero = (uint16_t)zeros[i]};

        assert_int_equal(msw__decode_bit(&d, &m), bits[i]);
    }
    free(data);
}

/* Bits of probability p take p log 1/p. */
static void test_cost(void **state)
{
    (void)state;
    for (uint32_t share = 0; share <= 256; share += 16) {
        const double p = share / 256.0, q = 1 - p;
        const double entropy = p > 0 && q > 0 ? -p * log2(p) - q * log2(q) : 0;
        msw__bit_model model;
        uint32_t seed = 7;
        double least, bits;
        msw__encoder e;

        msw__bit_models_reset(&model, 1);
        msw__encoder_init(&e, ctx);
        for (size_t i = 0; i < BITS; i++)
            msw__encode_bit(&e, &model, bit_at(&seed, share));
        assert_int_equal(msw__encoder_finish(&e), MSW_OK);
        bits = 8.0 * (double)e.coded.size;
        least = BITS * entropy;
        assert_true(bits < least * 1.02 + BITS * 0.003 + 96);
        assert_true(bits > least * 0.97);
        msw__encoder_free(&e);
    }
}

/* However certain, bits are not free: what the limits of memory rest on. */
static void test_least_cost(void **state)
{
    (void)state;
    for (unsigned limited = 0; limited < 2; limited++) {
        const size_t count = 1 << 20;
        const unsigned per_byte =
            limited ? MSW__LIMITED_BITS_PER_BYTE : MSW__BITS_PER_BYTE;
        msw__bit_model model;
        msw__encoder e;

        msw__bit_models_reset(&model, 1);
        msw__encoder_init(&e, ctx);
        for (size_t i = 0; i < count; i++) {
            if (limited)
                msw__encode_limited(&e, &model, 1);
            else
                msw__encode_bit(&e, &model, 1);
        }
        assert_int_equal(msw__encoder_finish(&e), MSW_OK);
        assert_true(count / per_byte <= e.coded.size);
        assert_true(e.coded.size < count / per_byte + 32); /* no looser than it need be */
        msw__encoder_free(&e);
    }
}

/* A number of bytes that is not right, or a bit that does not belong, is noticed. */
static void test_damage(void **state)
{
    const size_t count = 300;
    bool finished;
    size_t size;
    uint8_t *data = encode(&size, 100, count);

    (void)state;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bool same;

        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        same = decodes(&finished, data, size, 100, count);
        assert_false(same && finished);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t less = 1; less <= size - MSW__RANGE_TAIL; less++) {
        uint8_t *part = malloc(size - less); /* reading beyond it shows */

        assert_non_null(part);
        memcpy(part, data, size - less);
        decodes(&finished, part, size - less, 100, count);
        assert_false(finished);
        memcpy(part, data + less, size - less);
        decodes(&finished, part, size - less, 100, count);
        assert_false(finished);
        free(part);
    }
    free(data);
}

/* All zeros and all ones are no way out of the bytes either. */
static void test_nonsense(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte += 255)
        for (size_t size = MSW__RANGE_TAIL; size < 40; size++) {
            uint8_t *data = malloc(size);
            bool finished;

            assert_non_null(data);
            memset(data, (int)byte, size);
            decodes(&finished, data, size, 128, BITS);
            assert_false(finished);
            free(data);
        }
}

static void test_skip(void **state)
{
    uint8_t data[12] = {0};
    msw__decoder d;

    (void)state;
    msw__decoder_init(&d, data, sizeof data);
    msw__decoder_skip(&d, 4);
    assert_true(msw__decoder_finish(&d));
    msw__decoder_init(&d, data, sizeof data);
    msw__decoder_skip(&d, 5); /* into the range */
    assert_false(msw__decoder_finish(&d));
    msw__decode_raw(&d, 32); /* all that is left, but it was to be left out */
    assert_false(msw__decoder_finish(&d));
    msw__decoder_init(&d, data, sizeof data);
    msw__decoder_skip(&d, UINT64_MAX);
    assert_false(msw__decoder_finish(&d));
}

/* One uniform key, 9, behind a claim of how long the longest is. */
static bool nine_decodes(uint32_t longest)
{
    const unsigned bits_of_length[3] = {1, 0, 0}; /* 4, in a tree of depth 3 */
    msw__bit_model length[8], next_bits[4];
    uint32_t node = 1;
    msw__quantiser q;
    msw__encoder e;
    msw__decoder d;
    float value = 0;
    bool decoded;
    size_t size;
    uint8_t *data;

    msw__bit_models_reset(length, 8);
    msw__bit_models_reset(next_bits, 4);
    msw__encoder_init(&e, ctx);
    msw__encode_raw(&e, longest, MSW__LENGTH_BITS);
    for (size_t i = 0; i < 3; i++) {
        msw__encode_bit(&e, &length[node], bits_of_length[i]);
        node = 2 * node + bits_of_length[i];
    }
    msw__encode_bit(&e, &next_bits[1], 0); /* 10 */
    msw__encode_bit(&e, &next_bits[2], 0); /* 100 */
    msw__encode_raw(&e, 1, 1);             /* negative */
    msw__encode_raw(&e, 1, 1);             /* 1001 */
    assert_int_equal(msw__encoder_finish(&e), MSW_OK);
    data = assemble(&size, &e);
    msw__encoder_free(&e);
    assert_true(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, msw__step_parameter(1)));
    msw__decoder_init(&d, data, size);
    decoded = msw__transport_values(&value, &d, 1, &q);
    assert_true(msw__decoder_finish(&d));
    assert_true(value == -9);
    free(data);
    return decoded;
}

/* There is one way to write it. */
static void test_longest(void **state)
{
    (void)state;
    assert_true(nine_decodes(4));
    for (uint32_t longest = 5; longest < 8; longest++)
        assert_false(nine_decodes(longest));
}

/* Two keys of 8 bits, 100 and 103, behind a claim of the least one and of how many bits
 * they differ in. */
static bool keys_decode(uint32_t base, uint32_t width)
{
    const uint32_t keys[2] = {100, 103};
    msw__bit_model nodes[1 << MSW__TREE_DEPTH];
    msw__quantiser q;
    msw__encoder e;
    msw__decoder d;
    float values[2];
    bool decoded;
    size_t size;
    uint8_t *data;

    assert_true(msw__quantiser_from(&q, MSW_DTYPE_LOG, 0));
    msw__bit_models_reset(nodes, sizeof nodes / sizeof *nodes);
    msw__encoder_init(&e, ctx);
    msw__encode_raw(&e, base, q.key_bits);
    msw__encode_raw(&e, width, MSW__WIDTH_BITS);
    for (size_t i = 0; i < 2; i++) {
        uint32_t node = 1;

        for (uint32_t k = width; k-- > 0; node = 2 * node + ((keys[i] - base) >> k & 1))
            msw__encode_bit(&e, &nodes[node], (keys[i] - base) >> k & 1);
    }
    assert_int_equal(msw__encoder_finish(&e), MSW_OK);
    data = assemble(&size, &e);
    msw__encoder_free(&e);
    msw__decoder_init(&d, data, size);
    decoded = msw__transport_magnitudes(values, &d, 2, &q);
    assert_true(msw__decoder_finish(&d));
    for (size_t i = 0; i < 2; i++)
        assert_true(values[i] == msw__dequantise(&q, keys[i]));
    free(data);
    return decoded;
}

/* There is one way to write them. */
static void test_key_range(void **state)
{
    (void)state;
    assert_true(keys_decode(100, 2));
    for (uint32_t width = 3; width <= 8; width++) {
        assert_false(keys_decode(100, width));
        assert_false(keys_decode(99, width));
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof memory);
    ctx = faults_context(&memory);
    return ctx == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_cost),
        TEST(test_least_cost),
        TEST(test_longest_carry),
        TEST(test_damage),
        TEST(test_nonsense),
        TEST(test_skip),
        TEST(test_longest),
        TEST(test_key_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
