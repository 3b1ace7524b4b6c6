/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts that files are made of: checksum, half precision, names, class maps. */
#include "bytes.h"
#include "crc32c.h"
#include "f16.h"
#include "faults.h"
#include "file_format.h"
#include "names.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Known answers: RFC 3720, appendix B.4. */
static void test_crc_known(void **state)
{
    uint8_t data[32];

    (void)state;
    assert_int_equal(msw__crc32c(0, NULL, 0), 0);
    assert_int_equal(msw__crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof data);
    assert_int_equal(msw__crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(msw__crc32c(0, data, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    assert_int_equal(msw__crc32c(0, data, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = (uint8_t)(31 - i);
    assert_int_equal(msw__crc32c(0, data, 32), 0x113fdb5c);
}

static uint32_t crc_by_bits(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void test_crc_by_bits(void **state)
{
    uint8_t data[600];
    uint32_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
    for (size_t from = 0; from < 9; from++)
        for (size_t size = 0; size < sizeof data - from; size += size < 100 ? 1 : 31) {
            const uint32_t wanted = crc_by_bits(data + from, size);
            const size_t half = size / 3;

            assert_int_equal(msw__crc32c(0, data + from, size), wanted);
            assert_int_equal(msw__crc32c(msw__crc32c(0, data + from, half),
                                         data + from + half, size - half),
                             wanted);
        }
}

/* The value of a half by its definition. */
static double half_value(uint16_t half)
{
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double size = exponent ? ldexp(1024 + mantissa, exponent - 25)
                                 : ldexp(mantissa, -24);

    return half & 0x8000 ? -size : size;
}

static void test_f16_exact(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        const float value = msw__f16_to((uint16_t)half);

        if ((half & 0x7fff) > 0x7c00) {
            assert_true(isnan(value));
            assert_true((msw__f16_from(value) & 0x7fff) > 0x7c00);
        } else {
            assert_int_equal(msw__f16_from(value), half);
            if ((half & 0x7fff) < 0x7c00)
                assert_true((double)value == half_value((uint16_t)half));
            else
                assert_true(isinf(value));
        }
    }
}

/* Around the middle of every two neighbours, where rounding turns. */
static void test_f16_rounding(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7c00; half++) {
        const double low = half_value((uint16_t)half);
        const double high = half == 0x7bff ? 65536 : half_value((uint16_t)(half + 1));
        const float middle = (float)((low + high) / 2); /* exact: 11 bits and one more */
        const uint32_t even = half & 1 ? half + 1 : half;

        assert_int_equal(msw__f16_from(middle), even);
        assert_int_equal(msw__f16_from(-middle), even | 0x8000);
        assert_int_equal(msw__f16_from(nextafterf(middle, 0)), half);
        assert_int_equal(msw__f16_from(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(msw__f16_from(nextafterf((float)low, INFINITY)), half);
        assert_int_equal(msw__f16_from(-nextafterf((float)high, 0)), (half + 1) | 0x8000);
    }
    assert_int_equal(msw__f16_from(INFINITY), 0x7c00);
    assert_int_equal(msw__f16_from(-1e30f), 0xfc00);
    assert_int_equal(msw__f16_from(1e-45f), 0);
}

/* Every number of blocks against every set of classes. */
static void test_class_map(void **state)
{
    enum { MOST = 45 };
    uint8_t classes[MOST], map[MOST], back[MOST];
    uint32_t seed = 3;

    (void)state;
    for (uint32_t set = 1; set < 8; set++) {
        msw__class_code code;

        assert_true(msw__class_code_from(&code, set));
        for (size_t blocks = code.count; blocks < MOST; blocks++) {
            const size_t bytes = msw__class_map_bytes(&code, blocks);

            for (size_t i = 0; i < blocks; i++) {
                seed = seed * 1664525u + 1013904223u;
                classes[i] = code.class_of[i < code.count ? i : (seed >> 16) % code.count];
            }
            msw__class_map_encode(map, classes, blocks, &code);
            assert_int_equal(bytes, (blocks + code.digits - 1) / code.digits);
            assert_true(msw__class_map_decode(back, map, blocks, &code));
            assert_memory_equal(back, classes, blocks);
            /* from its own end */
            memset(back, 0xee, sizeof back);
            memcpy(back + blocks - bytes, map, bytes);
            assert_true(msw__class_map_decode(back, back + blocks - bytes, blocks, &code));
            assert_memory_equal(back, classes, blocks);
        }
    }
    for (uint32_t set = 8; set < 600; set++) {
        msw__class_code code;
        assert_false(msw__class_code_from(&code, set));
    }
}

/* All codes of one or two bytes: what is accepted is what encoding gives. */
static void test_class_map_is_unique(void **state)
{
    (void)state;
    for (uint32_t set = 1; set < 8; set++)
        for (size_t blocks = 1; blocks <= 16; blocks++) {
            msw__class_code code;
            size_t bytes, accepted = 0, possible = 0;

            assert_true(msw__class_code_from(&code, set));
            bytes = msw__class_map_bytes(&code, blocks);
            if (bytes > 2)
                continue;
            for (uint32_t value = 0; value < (bytes == 1 ? 0x100u : 0x10000u); value++) {
                uint8_t map[2], again[2] = {0}, classes[16];

                msw__store16(map, (uint16_t)value);
                if (!msw__class_map_decode(classes, map, blocks, &code))
                    continue;
                accepted++;
                msw__class_map_encode(again, classes, blocks, &code);
                assert_memory_equal(again, map, bytes);
            }
            /* surjections: n^b - n (n-1)^b + ... */
            if (code.count == 1)
                possible = 1;
            else if (code.count == 2)
                possible = ((size_t)1 << blocks) - 2;
            else
                possible = (size_t)lround(pow(3, (double)blocks) -
                                          3 * pow(2, (double)blocks) + 3);
            assert_int_equal(accepted, possible);
        }
}

/* As many numbers as a width has. */
static void test_index_bytes(void **state)
{
    (void)state;
    assert_int_equal(msw__index_bytes(1), 1);
    assert_int_equal(msw__index_bytes(256), 1);
    assert_int_equal(msw__index_bytes(257), 2);
    assert_int_equal(msw__index_bytes(65536), 2);
    assert_int_equal(msw__index_bytes(65537), 4);
}

static void test_names_sort(void **state)
{
    static const char *const texts[] = {"b", "a", "c", "aa", "\xc3\xa9", "Z", "b"};
    msw__names n = {NULL, NULL, 0, 0};
    faults memory;
    msw_context *ctx;
    size_t at;

    (void)state;
    memset(&memory, 0, sizeof memory);
    ctx = faults_context(&memory);
    assert_non_null(ctx);
    assert_false(msw__names_find(&at, &n, "a"));
    assert_int_equal(msw__names_reserve(&n, ctx, SIZE_MAX),
                     SIZE_MAX > UINT32_MAX ? MSW_E_RANGE : MSW_E_NOMEM);
    assert_int_equal(msw__names_reserve(&n, ctx, 7), MSW_OK);
    for (size_t i = 0; i < 6; i++)
        msw__names_append(&n, texts[i]);
    assert_int_equal(msw__names_sort(&n), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(msw__names_find(&at, &n, texts[i]));
        assert_int_equal(at, i);
    }
    assert_false(msw__names_find(&at, &n, "ab"));
    msw__names_append(&n, texts[6]);
    at = msw__names_sort(&n);
    assert_true(at == 0 || at == 6);
    msw__names_free(&n, ctx);
    msw_context_free(ctx);
    assert_true(faults_clean(&memory));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_known),    cmocka_unit_test(test_crc_by_bits),
        cmocka_unit_test(test_f16_exact),    cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_class_map),    cmocka_unit_test(test_class_map_is_unique),
        cmocka_unit_test(test_index_bytes),  cmocka_unit_test(test_names_sort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
