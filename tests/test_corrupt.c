/* SPDX-License-Identifier: BSD-2-Clause */
/* Damaged files, blindly: each is refused with a status, no byte is ignored, and no
 * more is allocated than the file is worth. */
#include "bytes.h"
#include "container.h"
#include "damage.h"
#include "file_format.h"
#include "sample_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_undamaged(void **state)
{
    (void)state;
    assert_int_equal(damage_load(damage.size), MSW_OK);
    damage_canonical();
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t length = 0; length < damage.size; length++) {
        /* a copy of its own, so that reading beyond it shows */
        uint8_t *whole = damage.bytes;
        damage.bytes = malloc(length ? length : 1);
        assert_non_null(damage.bytes);
        memcpy(damage.bytes, damage.file, length);
        damage_refused(damage_load(length));
        free(damage.bytes);
        damage.bytes = whole;
    }
}

static void test_more_bytes(void **state)
{
    uint8_t *longer = calloc(damage.size + 128, 1), *whole = damage.bytes;

    (void)state;
    assert_non_null(longer);
    memcpy(longer, damage.file, damage.size);
    damage.bytes = longer;
    for (size_t more = 1; more <= 128; more++)
        assert_int_equal(damage_load(damage.size + more), MSW_E_FORMAT);
    damage.bytes = whole;
    free(longer);
}

static void test_every_bit(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < damage.size * 8; bit++) {
        damage.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        damage_refused(damage_load(damage.size));
        damage.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < damage.size; i++) {
        const uint8_t old = damage.file[i];
        const uint8_t values[4] = {0, 0xff, (uint8_t)(old + 1), (uint8_t)(old - 1)};
        for (size_t k = 0; k < 4; k++) {
            damage.bytes[i] = values[k];
            if (values[k] != old)
                damage_refused(damage_load(damage.size));
        }
        damage.bytes[i] = old;
    }
}

static void test_two_bits_of_header(void **state)
{
    msw_reader *r;

    (void)state;
    for (unsigned a = 0; a < 512; a++)
        for (unsigned b = a + 1; b < 512; b++) {
            damage.bytes[a / 8] ^= (uint8_t)(1u << a % 8);
            damage.bytes[b / 8] ^= (uint8_t)(1u << b % 8);
            damage_refused(
                msw_reader_open_buffer(&r, damage.ctx, damage.bytes, damage.size, NULL));
            assert_null(r);
            damage.bytes[a / 8] ^= (uint8_t)(1u << a % 8);
            damage.bytes[b / 8] ^= (uint8_t)(1u << b % 8);
        }
}

static void test_random_three_bits(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (int trial = 0; trial < 20000; trial++) {
        size_t bit[3];
        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            bit[k] = (seed >> 8) % (damage.size * 8);
            damage.bytes[bit[k] / 8] ^= (uint8_t)(1u << bit[k] % 8);
        }
        if (memcmp(damage.bytes, damage.file, damage.size) != 0)
            damage_refused(damage_load(damage.size));
        damage_restore();
    }
}

/* With a value at every place, of every width, checksums repaired: refused, or another
 * file that a writer could have written. */
static void abuse_range(size_t from, size_t to, size_t most)
{
    for (size_t i = from; i < to; i++)
        for (size_t width = 1; width <= most && i + width <= to; width *= 2)
            for (size_t k = 0; k < damage_abuses; k++) {
                msw_status status;

                if (width < 8 && damage_abuse[k] >> 8 * width)
                    continue;
                damage_put(damage.bytes + i, damage_abuse[k], width);
                container_repair(damage.bytes, damage.size);
                status = damage_load(damage.size);
                if (status)
                    damage_refused(status);
                else if (memcmp(damage.bytes, damage.file, damage.size) != 0)
                    damage_canonical();
                damage_restore();
            }
}

static void test_abuse_of_contents(void **state)
{
    const size_t payload =
        (size_t)(container_find(damage.file, damage.size, MSW__SECTION_PERMUTATION).data -
                 damage.file);

    (void)state;
    abuse_range(CONTAINER_HEADER, payload, 8);
    abuse_range(payload, damage.size, 2); /* no wider numbers there, but floats */
}

/* Header and table have no other right value at all. */
static void test_abuse_of_fields(void **state)
{
    static const struct field {
        size_t at, width;
    } header[] = {{0, 8}, {8, 4}, {12, 4}, {16, 4}, {20, 4}, {24, 8},
                  {36, 8}, {44, 8}, {52, 8}},
      section[] = {{0, 4}, {4, 4}, {8, 8}, {16, 8}, {24, 8}, {36, 4}};
    const size_t count = msw__load32(damage.file + 20);

    (void)state;
    for (size_t s = 0; s <= count; s++) {
        const struct field *fields = s ? section : header;
        const size_t field_count =
            s ? sizeof section / sizeof *section : sizeof header / sizeof *header;
        const size_t base = s ? CONTAINER_HEADER + (s - 1) * CONTAINER_ENTRY : 0;

        for (size_t f = 0; f < field_count; f++)
            for (size_t k = 0; k < damage_abuses; k++) {
                damage_put(damage.bytes + base + fields[f].at, damage_abuse[k],
                           fields[f].width);
                if (memcmp(damage.bytes, damage.file, damage.size) != 0) {
                    container_repair(damage.bytes, damage.size);
                    damage_refused(damage_load(damage.size));
                }
                damage_restore();
            }
    }
}

/* Without the payloads' checksums: other weights or an error, and nothing worse. */
static void test_trusted_bits(void **state)
{
    const size_t payloads =
        (size_t)(container_find(damage.file, damage.size, MSW__SECTION_PERMUTATION).data -
                 damage.file);
    size_t loaded = 0, refused = 0;
    msw_reader_options o;

    (void)state;
    msw_reader_options_init(&o);
    o.trusted = 1;
    for (size_t bit = payloads * 8; bit < damage.size * 8; bit++) {
        msw_status status;
        msw_reader *r;

        damage.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        status = msw_reader_open_buffer(&r, damage.ctx, damage.bytes, damage.size, &o);
        if (!status) {
            status = sample_load_all(r);
            msw_reader_free(r);
        }
        assert_true(status == MSW_OK || status == MSW_E_FORMAT);
        loaded += status == MSW_OK;
        refused += status != MSW_OK;
        damage.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(loaded > 0 && refused > 0); /* signs, say, and padding */
}

/* Memory that all but suffices: a status, and nothing kept. */
static void test_limit(void **state)
{
    const uint64_t before = atomic_load(&damage.memory.live);
    msw_context_options o;
    msw_context *small;
    uint64_t needed;

    (void)state;
    msw_context_options_init(&o);
    atomic_store(&damage.memory.peak, before);
    assert_int_equal(sample_open_and_load(damage.ctx, damage.file, damage.size), MSW_OK);
    needed = atomic_load(&damage.memory.peak) - before;
    for (o.memory_limit = 1024; o.memory_limit < needed; o.memory_limit += 64) {
        assert_int_equal(msw_context_new(&small, &o), MSW_OK);
        assert_int_equal(sample_open_and_load(small, damage.file, damage.size),
                         MSW_E_LIMIT);
        msw_context_free(small);
    }
}

/* A reader goes on once there is room again. */
static void test_limit_passes(void **state)
{
    msw_context_options o;
    msw_context *small;
    msw_tensor *rest;
    msw_unified *u;
    msw_reader *r;
    size_t left;

    (void)state;
    msw_context_options_init(&o);
    o.memory_limit = 1 << 20;
    assert_int_equal(msw_context_new(&small, &o), MSW_OK);
    assert_int_equal(msw_reader_open_buffer(&r, small, damage.file, damage.size, NULL),
                     MSW_OK);
    left = (size_t)(o.memory_limit - msw_context_memory(small)) - 512;
    left /= sizeof(float);
    assert_int_equal(msw_tensor_new(&rest, small, &left, 1), MSW_OK);
    assert_int_equal(msw_reader_unified(&u, r, "all pruned"), MSW_E_LIMIT);
    assert_null(u);
    assert_non_null(strstr(msw_reader_error(r), "all pruned"));
    msw_tensor_free(rest);
    assert_int_equal(msw_reader_unified(&u, r, "all pruned"), MSW_OK);
    msw_unified_free(u);
    msw_reader_free(r);
    msw_context_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(test_undamaged),
        DAMAGE_TRANSPORT_TEST(test_undamaged),
        DAMAGE_TEST(test_every_truncation),
        DAMAGE_TRANSPORT_TEST(test_every_truncation),
        DAMAGE_TEST(test_more_bytes),
        DAMAGE_TRANSPORT_TEST(test_more_bytes),
        DAMAGE_TEST(test_every_bit),
        DAMAGE_TRANSPORT_TEST(test_every_bit),
        DAMAGE_TEST(test_every_byte),
        DAMAGE_TRANSPORT_TEST(test_every_byte),
        DAMAGE_TEST(test_two_bits_of_header),
        DAMAGE_TRANSPORT_TEST(test_two_bits_of_header),
        DAMAGE_TEST(test_random_three_bits),
        DAMAGE_TRANSPORT_TEST(test_random_three_bits),
        DAMAGE_TEST(test_abuse_of_contents),
        DAMAGE_TRANSPORT_TEST(test_abuse_of_contents),
        DAMAGE_TEST(test_abuse_of_fields),
        DAMAGE_TRANSPORT_TEST(test_abuse_of_fields),
        DAMAGE_TEST(test_trusted_bits),
        DAMAGE_TRANSPORT_TEST(test_trusted_bits),
        DAMAGE_TEST(test_limit),
        DAMAGE_TRANSPORT_TEST(test_limit),
        DAMAGE_TEST(test_limit_passes),
        DAMAGE_TRANSPORT_TEST(test_limit_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
