/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers as the transport form keeps them. */
#include "quantiser.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static msw__quantiser quantiser(uint32_t dtype, uint32_t parameter)
{
    msw__quantiser q;

    assert_true(msw__quantiser_from(&q, dtype, parameter));
    return q;
}

static uint32_t key_of(const msw__quantiser *q, float value)
{
    uint32_t key;

    assert_int_equal(msw__quantise(&key, q, value), MSW_OK);
    return key;
}

static void test_parameters(void **state)
{
    msw__quantiser q;

    (void)state;
    assert_false(msw__quantiser_from(&q, 4, 0));
    assert_false(msw__quantiser_from(&q, UINT32_MAX, 0));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_F32, 1));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_F16, 1));
    assert_true(msw__quantiser_from(&q, MSW_DTYPE_LOG, 7));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_LOG, 8));
    assert_true(
        msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0x00800000)); /* least normal */
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0x007fffff));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0xbf800000)); /* -1 */
    assert_true(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0x7f7fffff));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0x7f800000));
    assert_false(msw__quantiser_from(&q, MSW_DTYPE_UNIFORM, 0x7fc00000));
}

static void test_uniform(void **state)
{
    const msw__quantiser q = quantiser(MSW_DTYPE_UNIFORM, msw__step_parameter(0.25));
    uint32_t key;

    (void)state;
    assert_int_equal(key_of(&q, 0), 0);
    assert_int_equal(key_of(&q, 0.124f), 0);
    assert_int_equal(key_of(&q, -0.126f), 1);
    assert_int_equal(key_of(&q, 10), 40);
    assert_int_equal(key_of(&q, 32767 * 0.25f), 32767);
    assert_int_equal(msw__quantise(&key, &q, 32768 * 0.25f), MSW_E_RANGE);
    assert_int_equal(msw__quantise(&key, &q, 3e38f), MSW_E_RANGE);
    assert_int_equal(msw__quantise(&key, &q, NAN), MSW_E_NUMERIC);
    assert_int_equal(msw__quantise(&key, &q, -INFINITY), MSW_E_NUMERIC);
    assert_true(msw__dequantise(&q, 40) == 10);
}

static void test_log(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 7; bits++) {
        const msw__quantiser q = quantiser(MSW_DTYPE_LOG, bits);
        uint32_t seed = 1;

        for (int i = 0; i < 2000; i++) {
            const float value = ldexpf(1 + (float)next(&seed) * 0x1p-24f, i % 200 - 100);
            const float stored = msw__dequantise(&q, key_of(&q, value));
            const float step = ldexpf(1, i % 200 - 100 - (int)bits);

            /* the nearest of the multiples of 2^(exponent - bits) */
            assert_true(stored == floorf(value / step + 0.5f) * step);
        }
        for (uint32_t k = 1u << bits; k < 2u << bits; k++) /* from halfway on up */
            assert_true(msw__dequantise(&q, key_of(&q, (float)k + 0.5f)) == (float)(k + 1));
        assert_int_equal(key_of(&q, 0), 0);
        assert_true(isfinite(msw__dequantise(&q, key_of(&q, 3.4028235e38f))));
    }
}

static void test_halves(void **state)
{
    const msw__quantiser q = quantiser(MSW_DTYPE_F16, 0);
    uint32_t key;

    (void)state;
    assert_int_equal(key_of(&q, -65504), 0x7bff);
    assert_int_equal(msw__quantise(&key, &q, 65505), MSW_E_RANGE);
    assert_int_equal(msw__quantise(&key, &q, NAN), MSW_E_NUMERIC);
}

/* What was stored and read is stored as the same key again. */
static void test_idempotent(void **state)
{
    static const double steps[] = {1.2e-38, 1e-20, 0.001, 0.3, 1, 1e30, 1.03e34};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const msw__quantiser q =
            quantiser(MSW_DTYPE_UNIFORM, msw__step_parameter(steps[i]));

        for (uint32_t key = 0; key < 1u << MSW__KEY_BITS_UNIFORM; key++)
            assert_int_equal(key_of(&q, msw__dequantise(&q, key)), key);
    }
    for (uint32_t bits = 0; bits <= 7; bits++) {
        const msw__quantiser q = quantiser(MSW_DTYPE_LOG, bits);

        for (uint32_t key = 0; key < 0x7f800000u >> (23 - bits); key++)
            assert_int_equal(key_of(&q, msw__dequantise(&q, key)), key);
    }
}

static void test_steps(void **state)
{
    (void)state;
    assert_true(msw__step_for(0, 7) == 1);
    assert_true(msw__step_for(14, 7) == 2);
    assert_true(isnormal((float)msw__step_for(1e-38f, 32767)));
    for (uint32_t bits = 2; bits <= 15; bits++) {
        const uint32_t levels = (1u << bits) - 1;
        uint32_t seed = bits;

        for (int i = 0; i < 1000; i++) {
            const float largest = 1 + (float)next(&seed) * 0x1p-20f;
            const msw__quantiser q = quantiser(
                MSW_DTYPE_UNIFORM, msw__step_parameter(msw__step_for(largest, levels)));

            assert_int_equal(key_of(&q, largest), levels);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
