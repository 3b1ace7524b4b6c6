/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form damaged, with the checksums made to fit: an error, or a product that
 * stays within its arrays. What sees that it does is the address sanitizer. */
#include "bytes.h"
#include "container.h"
#include "packed.h"
#include "packed_damage.h"

#include <stdlib.h>
#include <string.h>

/* Enough rows of unified blocks for tables, in the wide packing and in the narrow one; with
 * strips of several block rows, and of parts of one. */
static const weights_spec specs[] = {
    {PACKED_ROWS, PACKED_COLUMNS, 8, 8, 4, 90, false, false, 3},
    {PACKED_ROWS, PACKED_COLUMNS, 4, 4, 10, 70, true, false, 4},
    {PACKED_ROWS, PACKED_COLUMNS, 3, 2, 30, 40, false, false, 5},
    {PACKED_ROWS, PACKED_COLUMNS, 5, 20, 0, 85, true, false, 6}};
enum { SPECS = sizeof specs / sizeof *specs };

/* Each of them for the kernels in C and for the best, with one packing or both. */
enum { SET_UPS = 2 * SPECS };

static void set_up_one(packed_damage *b, size_t i, size_t round)
{
    static const size_t expected[] = {0, 1, 100};

    packed_damage_set_up(b, &specs[i / 2], i % 2 ? MSW_CPU_C : 0, expected[round % 3]);
}

/* The tests stand for packings that have tables. */
static void test_has_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        msw_reader *r;
        msw_gemm *g;
        packed_damage b;

        set_up_one(&b, i, 0);
        r = packed_open(b.ctx, &b.file, false);
        assert_int_equal(msw_reader_gemm(&g, r, "w", NULL), MSW_OK);
        if (specs[i / 2].block_columns > 2 && b.ctx->cpu != MSW_CPU_C)
            assert_true(g->packs[MSW__GEMM_WIDE].table_count > 0);
        if (specs[i / 2].block_columns > 2 && b.ctx->cpu != MSW_CPU_C)
            assert_true(g->packs[MSW__GEMM_NARROW].table_count > 0);
        msw_gemm_free(g);
        msw_reader_free(r);
        packed_damage_tear_down(&b);
    }
}

/* With checksums nothing gets through; without them, whatever is said of the weights. */
static void test_bit_flips(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        packed_damage b;
        size_t refused = 0;

        set_up_one(&b, i, i);
        assert_int_equal(packed_damage_try(&b, b.file.size, false), MSW_OK);
        for (size_t bit = i; bit < 8 * b.payload_size; bit += 29) {
            uint8_t *at = b.bytes + b.payload + bit / 8;

            *at ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(packed_damage_try(&b, b.file.size, false), MSW_E_CORRUPT);
            refused += packed_damage_try(&b, b.file.size, true) != MSW_OK;
            *at ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(refused > 0);
        packed_damage_tear_down(&b);
    }
}

/* Every word of the payload to what overflows, wraps or points elsewhere. */
static void test_field_abuse(void **state)
{
    static const uint32_t abuse[] = {
        0, 1, 2, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x3fffffff,
        0xc0000000, 0x7f800000, 64, 4096, 0x100000, 0xfffff000, 0x7fff0000, 0x00010001,
        0xfff0fff};

    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        packed_damage b;

        set_up_one(&b, i, i + 1);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4)
            for (size_t k = at / 4 % 7; k < sizeof abuse / sizeof *abuse; k += 7) {
                msw__store32(b.bytes + at, abuse[k]);
                container_repair(b.bytes, b.file.size);
                packed_damage_try(&b, b.file.size, (at / 28 + k / 7) % 2);
                memcpy(b.bytes, b.file.data, b.file.size);
            }
        packed_damage_tear_down(&b);
    }
}

/* The two highest bits of every word: with floats checked, every output is written. */
static void test_high_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i += 5) {
        packed_damage b;

        set_up_one(&b, i, 0);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4)
            for (uint32_t bit = 30; bit < 32; bit++) {
                const uint32_t kept = msw__load32(b.bytes + at);

                msw__store32(b.bytes + at, kept ^ 1u << bit);
                container_repair(b.bytes, b.file.size);
                packed_damage_try(&b, b.file.size, false);
                msw__store32(b.bytes + at, kept);
            }
        packed_damage_tear_down(&b);
    }
}

/* Every bit of the narrow packing and of what lies behind it says something of the weights:
 * changed, they are others, or there are none. But for the one that only promises a kernel
 * that there is nothing to pass over. */
static void test_no_idle_bits(void **state)
{
    static const weights_spec small[] = {{PACKED_ROWS, 11, 8, 8, 4, 90, false, false, 3},
                                         {PACKED_ROWS, 11, 3, 2, 30, 40, false, false, 5}};
    enum { AT_SKIPS = 40 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        msw_unified *good;
        msw_reader *r;
        packed_damage b;

        packed_damage_set_up(&b, &small[i], 0, 1);
        r = packed_open(b.ctx, &b.file, false);
        assert_int_equal(msw_reader_unified(&good, r, "w"), MSW_OK);
        msw_reader_free(r);
        for (size_t bit = 0; bit < 8 * b.payload_size; bit++) {
            uint8_t *at = b.bytes + b.payload + bit / 8;
            msw_unified *u;

            *at ^= (uint8_t)(1 << bit % 8);
            container_repair(b.bytes, b.file.size);
            assert_int_equal(msw_reader_open_buffer(&r, b.ctx, b.bytes, b.file.size, NULL),
                             MSW_OK);
            if (msw_reader_unified(&u, r, "w") == MSW_OK && bit != 8 * AT_SKIPS)
                assert_false(packed_same(u, good));
            msw_unified_free(u);
            msw_reader_free(r);
            *at ^= (uint8_t)(1 << bit % 8);
        }
        msw_unified_free(good);
        packed_damage_tear_down(&b);
    }
}

/* Words swapped with others: places, headers and counts that are right elsewhere. */
static void test_swaps(void **state)
{
    uint32_t seed = 9;

    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        packed_damage b;

        set_up_one(&b, i, i + 2);
        for (int round = 0; round < 200; round++) {
            const uint32_t words = (uint32_t)(b.payload_size / 4);
            uint8_t *from = b.bytes + b.payload + 4 * random_below(&seed, words);
            uint8_t *to = b.bytes + b.payload + 4 * random_below(&seed, words);
            const uint32_t kept = msw__load32(from);

            msw__store32(from, msw__load32(to));
            msw__store32(to, kept);
            container_repair(b.bytes, b.file.size);
            packed_damage_try(&b, b.file.size, round % 2);
            memcpy(b.bytes, b.file.data, b.file.size);
        }
        packed_damage_tear_down(&b);
    }
}

/* Strips whose slices are the same run together. */
static void test_order_of_free_records(void **state)
{
    enum { WIDTH = 4, HEIGHT = 2, RECORD = 1 + WIDTH * HEIGHT };
    const weights_spec spec = {PACKED_ROWS, PACKED_COLUMNS, HEIGHT, WIDTH, 0, 0,
                               false, false, 5};
    uint8_t strips[PACKED_ROWS];
    msw_context *ctx = packed_context(MSW_CPU_C, NULL);
    msw__packed_walk walk = {.strips = strips, .values = true};
    msw__gemm_table table;
    msw__packing w;
    uint32_t *place, first;
    weights t;

    (void)state;
    weights_make(&t, ctx, &spec);
    walk.plan = t.u->plan;
    msw__gemm_table_init(&table, MSW_CPU_C);
    assert_int_equal(msw__wide_pack(&w, ctx, t.u, table.traits[MSW__GEMM_WIDE]), MSW_OK);
    assert_null(msw__wide_check(&w, &walk));
    place = w.code + MSW__WIDE_HEADER;
    first = *place;
    *place = place[RECORD];
    assert_non_null(msw__wide_check(&w, &walk)); /* twice the same */
    place[RECORD] = first;
    assert_non_null(msw__wide_check(&w, &walk));
    msw__packing_free(&w, ctx);
    weights_free(&t);
    msw_context_free(ctx);
}

/* Strips that do not exist, with rows that would be theirs, that never end, that come
 * twice: two changes at a time, each of which alone another check would see. */
static void test_strips(void **state)
{
    enum { BLOCK = 8, STRIPS = 4 };
    const weights_spec spec = {STRIPS * BLOCK, 8, BLOCK, 8, 0, 0, false, false, 5};
    uint8_t strips[STRIPS];
    msw_context *ctx = packed_context(MSW_CPU_C, NULL);
    msw__packed_walk walk = {.strips = strips, .values = true};
    msw__gemm_table table;
    msw__packing w;
    uint32_t *second;
    weights t;

    (void)state;
    weights_make(&t, ctx, &spec);
    walk.plan = t.u->plan;
    msw__gemm_table_init(&table, MSW_CPU_C);
    assert_int_equal(msw__wide_pack(&w, ctx, t.u, table.traits[MSW__GEMM_WIDE]), MSW_OK);
    assert_null(msw__wide_check(&w, &walk));
    assert_int_equal(w.code[0], 0 | MSW__STRIP_FIRST | MSW__STRIP_LAST);
    second = w.code + MSW__WIDE_HEADER + 1 + 8 * BLOCK; /* one free record */
    assert_int_equal(second[0], 1 | MSW__STRIP_FIRST | MSW__STRIP_LAST);

    w.code[0] = STRIPS | MSW__STRIP_FIRST | MSW__STRIP_LAST;
    w.code[1] = STRIPS * BLOCK;
    assert_string_equal(msw__wide_check(&w, &walk), "the order of its strips");
    w.code[0] = 1 | MSW__STRIP_FIRST | MSW__STRIP_LAST; /* and then once more */
    w.code[1] = BLOCK;
    assert_string_equal(msw__wide_check(&w, &walk), "the order of its strips");
    w.code[0] = 0 | MSW__STRIP_FIRST;
    w.code[1] = 0;
    w.stages[0].finished--;
    assert_string_equal(msw__wide_check(&w, &walk), "a strip without an end");
    w.code[0] |= MSW__STRIP_LAST;
    w.stages[0].finished++;
    assert_null(msw__wide_check(&w, &walk));
    msw__packing_free(&w, ctx);
    weights_free(&t);
    msw_context_free(ctx);
}

/* The file cut off, and the payload cut off in a file that is otherwise right. */
static void test_truncated(void **state)
{
    packed_damage b;
    container_section sections[CONTAINER_MOST];
    size_t count;

    (void)state;
    packed_damage_set_up(&b, &specs[0], 0, 0);
    count = container_sections(sections, b.file.data, b.file.size);
    for (size_t size = 0; size < b.file.size; size++)
        assert_int_not_equal(packed_damage_try(&b, size, true), MSW_OK);
    for (size_t i = 0; i < count; i++)
        for (size_t size = 64; sections[i].type == MSW__SECTION_PACKED &&
                               size < b.payload_size; size += 64) {
            container_section cut[CONTAINER_MOST];
            const size_t kept = b.file.size;
            uint8_t *bytes = b.bytes, index[128], *file;
            msw__record record;
            const char *name;

            memcpy(cut, sections, sizeof cut);
            assert_true(msw__record_decode(&record, &name,
                                           sections[0].data + MSW__COUNT_BYTES,
                                           sections[0].size - MSW__COUNT_BYTES));
            record.payload = size;
            memcpy(index, sections[0].data, MSW__COUNT_BYTES);
            msw__record_encode(index + MSW__COUNT_BYTES, &record, name);
            cut[0].data = index;
            cut[i].size = size;
            file = container_build(&b.file.size, cut, count);
            assert_non_null(file);
            b.bytes = file; /* malloc() aligns to less: a copy */
            assert_int_equal(packed_damage_try(&b, b.file.size, false), MSW_E_FORMAT);
            b.bytes = bytes;
            b.file.size = kept;
            free(file);
        }
    packed_damage_tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_has_tables),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_field_abuse),
        cmocka_unit_test(test_high_bits),
        cmocka_unit_test(test_no_idle_bits),
        cmocka_unit_test(test_swaps),
        cmocka_unit_test(test_order_of_free_records),
        cmocka_unit_test(test_strips),
        cmocka_unit_test(test_truncated),
    };

    return packed_missing() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
