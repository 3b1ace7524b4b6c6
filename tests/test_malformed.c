/* SPDX-License-Identifier: BSD-2-Clause */
/* Files wrong in one respect that no checksum shows: sections, records, payloads. */
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

static void test_versions(void **state)
{
    (void)state;
    damage_put(damage.bytes + 8, 2, 4);
    damage_expect(MSW_E_UNSUPPORTED);
    damage_put(damage.bytes + 8, 0, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(damage.bytes + 12, 1, 4);
    damage_expect(MSW_E_UNSUPPORTED);
    damage_put(damage.bytes + CONTAINER_HEADER + 4, 3, 4); /* a flag of a section */
    damage_expect(MSW_E_UNSUPPORTED);
    damage.bytes[1] = 'm';
    damage_expect(MSW_E_FORMAT);
}

/* Sections behind those that this version knows. */
static void test_unknown_sections(void **state)
{
    container_section sections[CONTAINER_MOST];
    size_t count = container_sections(sections, damage.file, damage.size), length;
    uint8_t more[100], *whole = damage.bytes;
    const size_t old = damage.size;

    (void)state;
    memset(more, 7, sizeof more);
    for (uint32_t type = MSW__SECTION_LAST + 1; type < 20; type++)
        for (uint32_t flags = 0; flags < 3; flags++) {
            const container_section unknown = {type, flags, more, sizeof more};

            /* of any length, and again */
            sections[count] = sections[count + 1] = unknown;
            damage.bytes = container_build(&length, sections, count + 2);
            assert_non_null(damage.bytes);
            damage.size = length;
            assert_int_equal(damage_load(damage.size),
                             flags ? MSW_E_UNSUPPORTED : MSW_OK);
            damage.bytes[length - 1] ^= 1;
            assert_int_equal(damage_load(damage.size),
                             flags ? MSW_E_UNSUPPORTED : MSW_E_CORRUPT);
            free(damage.bytes);
        }
    damage.size = old;
    damage.bytes = whole;
}

/* The checksum of a skipped section is not looked for on the word of what follows it. */
static void test_unknown_before_wild(void **state)
{
    container_section sections[CONTAINER_MOST];
    const size_t count = container_sections(sections, damage.file, damage.size);
    uint8_t more[100] = {0}, *whole = damage.bytes;
    const container_section unknown = {20, 0, more, sizeof more};

    (void)state;
    for (size_t i = 0; i < 8; i++)
        sections[count + i] = unknown;
    for (size_t wild = 0; wild < 8; wild++)
        for (size_t k = 0; k < damage_abuses; k++) {
            size_t length;
            uint8_t *entry;

            damage.bytes = container_build(&length, sections, count + 8);
            assert_non_null(damage.bytes);
            entry = damage.bytes + CONTAINER_HEADER + (count + wild) * CONTAINER_ENTRY;
            damage_put(entry + 8, damage_abuse[k], 8); /* offset */
            container_repair(damage.bytes, length);
            assert_int_equal(damage_load(length), MSW_E_FORMAT);
            free(damage.bytes);
        }
    damage.bytes = whole;
}

static void expect_sections(const container_section *sections, size_t count,
                            msw_status wanted)
{
    uint8_t *whole = damage.bytes;
    size_t length;

    damage.bytes = container_build(&length, sections, count);
    assert_non_null(damage.bytes);
    assert_int_equal(damage_load(length), wanted);
    free(damage.bytes);
    damage.bytes = whole;
}

/* Each section left out, there twice, empty, in another place, or of another type. */
static void test_rearranged_sections(void **state)
{
    container_section all[CONTAINER_MOST], s[CONTAINER_MOST];
    const size_t count = container_sections(all, damage.file, damage.size);
    size_t i;

    (void)state;
    assert_int_equal(count, 5);
    expect_sections(all, count, MSW_OK);
    for (i = 0; i < count; i++) {
        memcpy(s, all, i * sizeof *s);
        memcpy(s + i, all + i + 1, (count - i - 1) * sizeof *s);
        /* metadata is the only one that nothing refers to */
        expect_sections(s, count - 1,
                        all[i].type == MSW__SECTION_METADATA ? MSW_OK : MSW_E_FORMAT);
    }
    for (i = 0; i < count; i++) {
        memcpy(s, all, (i + 1) * sizeof *s);
        memcpy(s + i + 1, all + i, (count - i) * sizeof *s);
        expect_sections(s, count + 1, MSW_E_FORMAT);
    }
    for (i = 0; i < count; i++) {
        memcpy(s, all, sizeof all);
        s[i].size = 0;
        expect_sections(s, count, MSW_E_FORMAT);
        s[i] = all[i];
        s[i].flags ^= 1;
        expect_sections(s, count, MSW_E_FORMAT);
    }
    for (i = 0; i + 1 < count; i++) {
        memcpy(s, all, sizeof all);
        s[i] = all[i + 1];
        s[i + 1] = all[i];
        expect_sections(s, count, MSW_E_FORMAT);
    }
    expect_sections(all, 0, MSW_OK);
}

/* A stream that is cut before its section is full, even where it stays contiguous. */
static void test_cut_sections(void **state)
{
    container_section s[CONTAINER_MOST];
    size_t count = container_sections(s, damage.file, damage.size);

    (void)state;
    assert_int_equal(s[count - 1].type, MSW__SECTION_TENSOR);
    assert_true(s[count - 1].size > 64);
    s[count] = s[count - 1];
    s[count - 1].size = 64;
    s[count].data += 64;
    s[count].size -= 64;
    expect_sections(s, count + 1, MSW_E_FORMAT);
}

/* Not even the number of records. */
static void test_short_index(void **state)
{
    container_section s[CONTAINER_MOST];
    const size_t count = container_sections(s, damage.file, damage.size);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const container_section old = s[i];

        for (s[i].size = 1; s[i].size < 4; s[i].size++)
            expect_sections(s, count, MSW_E_FORMAT);
        s[i] = old;
    }
}

/* A byte more at the end of each section. */
static void test_longer_sections(void **state)
{
    container_section s[CONTAINER_MOST];
    size_t count = container_sections(s, damage.file, damage.size);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const container_section old = s[i];
        uint8_t *longer = calloc(old.size + 1, 1);

        assert_non_null(longer);
        memcpy(longer, old.data, old.size);
        s[i].data = longer;
        s[i].size++;
        expect_sections(s, count, MSW_E_FORMAT);
        s[i] = old;
        free(longer);
    }
}

/* The table's checksum is all that covers some fields of a section that is skipped. */
static void test_table_of_unknown(void **state)
{
    container_section s[CONTAINER_MOST];
    const size_t count = container_sections(s, damage.file, damage.size);
    uint8_t more[10] = {0}, *whole = damage.bytes, *entry;
    size_t length;

    (void)state;
    s[count].type = 1000;
    s[count].flags = 0;
    s[count].data = more;
    s[count].size = sizeof more;
    damage.bytes = container_build(&length, s, count + 1);
    assert_non_null(damage.bytes);
    assert_int_equal(damage_load(length), MSW_OK);
    entry = damage.bytes + CONTAINER_HEADER + count * CONTAINER_ENTRY;
    for (size_t bit = 0; bit < CONTAINER_ENTRY * 8; bit++) {
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(damage_load(length), MSW_E_CORRUPT);
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(damage.bytes);
    damage.bytes = whole;
}

/* As many sections as there may be, and one more. */
static void test_most_sections(void **state)
{
    enum { MOST = 1 << 20 };
    uint8_t *whole = damage.bytes, byte = 1;
    container_section *s = malloc((MOST + 1) * sizeof *s);

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i <= MOST; i++) {
        s[i].type = 1000;
        s[i].flags = 0;
        s[i].data = &byte;
        s[i].size = 1;
    }
    for (size_t more = 0; more < 2; more++) {
        size_t length;
        damage.bytes = container_build(&length, s, MOST + more);
        assert_non_null(damage.bytes);
        assert_int_equal(damage_load(length), more ? MSW_E_FORMAT : MSW_OK);
        free(damage.bytes);
    }
    free(s);
    damage.bytes = whole;
}

/* The record of a layer in the damaged file's index. */
static uint8_t *record_of(const char *name)
{
    const container_section index =
        container_find(damage.bytes, damage.size, MSW__SECTION_INDEX);
    uint8_t *at = index.data + MSW__COUNT_BYTES;
    const uint8_t *end = index.data + index.size;

    while (at < end) {
        msw__record r;
        const char *found;

        assert_true(msw__record_decode(&r, &found, at, (size_t)(end - at)));
        if (!strcmp(found, name))
            return at;
        at += msw__record_bytes(&r);
    }
    fail();
    return NULL;
}

/* The payload of a layer. */
static uint8_t *payload_of(const char *name)
{
    msw_entry e;
    msw_reader *r;
    size_t at = 0;
    uint32_t kind = 0;

    msw_entry_init(&e);
    assert_int_equal(
        msw_reader_open_buffer(&r, damage.ctx, damage.file, damage.size, NULL), MSW_OK);
    for (uint32_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < msw_reader_count(r); i++) {
            const sample_layer *layer = &sample_layers[i];
            assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
            if (pass == 0 && !strcmp(e.name, name))
                kind = e.kind;
            if (pass == 1 && !strcmp(e.name, name))
                i = msw_reader_count(r);
            else if (pass == 1 && e.kind == kind) {
                size_t permutations = 0, columns = 1;
                for (uint32_t d = 0; d < layer->rank; d++)
                    columns *= layer->shape[d];
                columns /= layer->shape[layer->weights == MSW_WEIGHTS_IO];
                if (layer->permuted & 1)
                    permutations += layer->shape[layer->weights == MSW_WEIGHTS_IO];
                if (layer->permuted & 2)
                    permutations += columns * msw__index_bytes(columns);
                at += (size_t)e.bytes - permutations;
            }
        }
    msw_reader_free(r);
    return container_find(damage.bytes, damage.size,
                          kind == MSW_ENTRY_UNIFIED ? MSW__SECTION_UNIFIED
                                                    : MSW__SECTION_TENSOR)
               .data +
           at;
}

/* More elements than the payload has: on 32 bits more than there can be. */
#define TOO_LARGE (SIZE_MAX > UINT32_MAX ? MSW_E_FORMAT : MSW_E_UNSUPPORTED)

static void test_records(void **state)
{
    static const struct edit {
        const char *name;
        size_t at, width;
        uint64_t value;
        msw_status wanted;
    } edits[] = {
        {"fc", 0, 1, 2, MSW_E_FORMAT},             /* kind */
        {"fc", 0, 1, 1, MSW_E_FORMAT},
        {"fc", 1, 1, 0, MSW_E_FORMAT},             /* rank */
        {"fc", 1, 1, 1, MSW_E_FORMAT},
        {"fc", 1, 1, 5, MSW_E_FORMAT},
        {"fc", 2, 1, 2, MSW_E_FORMAT},             /* dtypes */
        {"fc", 3, 1, 2, MSW_E_FORMAT},
        {"fc", 2, 1, 0, MSW_E_FORMAT},             /* f32: the payload is too short */
        {"fc", 4, 1, 4, MSW_E_FORMAT},             /* flags */
        {"fc", 4, 1, 1, MSW_E_FORMAT},             /* a permutation that is not there */
        {"fc", 5, 1, 0, MSW_E_FORMAT},             /* classes */
        {"fc", 5, 1, 8, MSW_E_FORMAT},
        {"fc", 5, 1, 5, MSW_E_FORMAT},
        {"fc", 6, 2, 0, MSW_E_FORMAT},             /* name */
        {"fc", 6, 2, 1, MSW_E_FORMAT},
        {"fc", 6, 2, 3, MSW_E_FORMAT},
        {"fc", 6, 2, 1024, MSW_E_FORMAT},
        {"fc", 8, 8, 0, MSW_E_FORMAT},             /* shape */
        {"fc", 8, 8, 6, MSW_E_FORMAT},
        {"fc", 8, 8, UINT64_C(1) << 32, MSW_E_UNSUPPORTED},
        {"fc", 8, 8, UINT64_MAX, MSW_E_UNSUPPORTED},
        {"fc", 24, 1, 4, MSW_E_FORMAT},            /* weights */
        {"fc", 24, 1, 2, MSW_E_FORMAT},
        {"fc", 25, 1, 2, MSW_E_FORMAT},            /* reduction */
        {"fc", 26, 1, 0, MSW_E_FORMAT},            /* block */
        {"fc", 26, 1, 65, MSW_E_FORMAT},
        {"fc", 27, 1, 0, MSW_E_FORMAT},
        {"fc", 27, 1, 5, MSW_E_FORMAT},
        {"fc", 28, 4, 0, MSW_E_FORMAT},            /* groups */
        {"fc", 28, 4, 2, MSW_E_FORMAT},
        {"fc", 32, 8, 0, MSW_E_FORMAT},            /* payload */
        {"fc", 32, 8, UINT64_MAX, MSW_E_FORMAT},
        {"fc", 40, 1, 0, MSW_E_FORMAT},            /* name */
        {"fc", 40, 1, 0xff, MSW_E_FORMAT},
        {"fc", 42, 1, 'x', MSW_E_FORMAT},
        {"conv.bias", 2, 1, 1, MSW_E_FORMAT},
        {"conv.bias", 4, 1, 1, MSW_E_FORMAT},
        {"conv.bias", 5, 1, 1, MSW_E_FORMAT},
        {"conv.bias", 1, 1, 0, MSW_E_FORMAT},
        {"conv.bias", 3, 1, 1, MSW_E_FORMAT},      /* f16: payload is left over */
        {"conv.bias", 3, 1, 2, MSW_E_FORMAT},
        {"conv.bias", 8, 8, 7, MSW_E_FORMAT},
        {"conv.bias", 8, 8, UINT64_C(1) << 62, TOO_LARGE}, /* times 4 wraps to 0 */
        {"batch norm", 8, 8, UINT64_C(1) << 63, TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        damage_put(record_of(edits[i].name) + edits[i].at, edits[i].value,
                   edits[i].width);
        damage_expect(edits[i].wanted);
    }
    damage_put(container_find(damage.bytes, damage.size, MSW__SECTION_INDEX).data,
               sample_layer_count - 1, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(container_find(damage.bytes, damage.size, MSW__SECTION_INDEX).data,
               sample_layer_count + 1, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(container_find(damage.bytes, damage.size, MSW__SECTION_INDEX).data, 0, 4);
    damage_expect(MSW_E_FORMAT);
    memcpy(record_of("all pruned") + 40, "conv.bias\0", 10); /* not its length */
    damage_expect(MSW_E_FORMAT);
}

/* Two payloads that only together, modulo 2^64, have the stream's length. */
static void test_wrapping_payloads(void **state)
{
    static const struct field {
        const char *name;
        size_t at; /* of the upper half of its payload's length */
    } fields[2] = {{"fc", 36}, {"conv", 52}};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        damage_put(record_of(fields[i].name) + fields[i].at, UINT32_C(1) << 31, 4);
    damage_expect(MSW_E_FORMAT);
}

static void test_names_twice(void **state)
{
    container_section metadata;

    (void)state;
    memcpy(record_of("fc") + 40, "io", 2);
    damage_expect(MSW_E_FORMAT);
    metadata = container_find(damage.bytes, damage.size, MSW__SECTION_METADATA);
    memcpy(metadata.data + 4 + 10, "empty", 5); /* instead of "model" */
    damage_expect(MSW_E_FORMAT);
}

static void test_metadata_records(void **state)
{
    static const struct edit {
        size_t at, width;
        uint64_t value;
    } edits[] = {{0, 4, 0}, {0, 4, 2}, {0, 4, 4}, {0, 4, UINT32_MAX},
                 {4, 2, 0}, {4, 2, 4}, {4, 2, 6}, {4, 2, 0xffff},
                 {6, 8, 0}, {6, 8, 5}, {6, 8, 7},
                 {6, 8, UINT64_MAX}, {6, 8, UINT64_MAX - 16},
                 {14, 1, 0}, {14, 1, 0x80}, {19, 1, 'x'}, {26, 1, 1}};
    container_section metadata;

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        metadata = container_find(damage.bytes, damage.size, MSW__SECTION_METADATA);
        damage_put(metadata.data + edits[i].at, edits[i].value, edits[i].width);
        damage_expect(MSW_E_FORMAT);
    }
}

/* Memory with zeros behind it: what reads too far finds what it may be looking for. */
static void *alloc_zeros(size_t size, size_t align, void *user)
{
    const size_t bytes = (size + 2 * align - 1) / align * align;
    void *memory = aligned_alloc(align, bytes);

    (void)user;
    return memory ? memset(memory, 0, bytes) : NULL;
}

static void free_zeros(void *ptr, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(ptr);
}

/* A value that ends where its section does, so that its 0 would be behind. */
static void test_metadata_end(void **state)
{
    msw_context_options o;
    msw_context *ctx;
    msw_writer *w;
    msw_reader *r;
    container_section s;
    uint8_t *data;
    size_t size;

    (void)state;
    msw_context_options_init(&o);
    o.allocator = (msw_allocator){alloc_zeros, free_zeros, NULL};
    assert_int_equal(msw_context_new(&ctx, &o), MSW_OK);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_metadata(w, "key", "value", 5), MSW_OK);
    assert_int_equal(sample_add(w, ctx, &sample_layers[0]), MSW_OK);
    size = (size_t)msw_writer_bytes(w);
    data = malloc(size);
    assert_non_null(data);
    assert_int_equal(msw_writer_write_buffer(w, data, size), MSW_OK);
    s = container_find(data, size, MSW__SECTION_METADATA);
    assert_int_equal(msw__load64(s.data + MSW__COUNT_BYTES + 2), 5);
    assert_int_equal(s.data[s.size], 0);
    damage_put(s.data + MSW__COUNT_BYTES + 2, 6, 8);
    container_repair(data, size);
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_E_FORMAT);
    free(data);
    msw_writer_free(w);
    msw_context_free(ctx);
}

/* Of every payload: fc is class map (9 blocks in 2 bytes), 3 magnitudes, free weights,
 * signs; io is free throughout. */
static void test_payloads(void **state)
{
    (void)state;
    payload_of("fc")[0] = 243; /* no five digits to base 3 */
    damage_expect(MSW_E_FORMAT);
    payload_of("fc")[1] = (uint8_t)(payload_of("fc")[1] + 81); /* behind the last block */
    damage_expect(MSW_E_FORMAT);
    payload_of("fc")[0] = 0; /* other classes, other sizes */
    damage_expect(MSW_E_FORMAT);
    payload_of("fc")[3] = 0xbc; /* -1 */
    damage_expect(MSW_E_FORMAT);
    payload_of("fc")[3] = 0x7c; /* infinity or NaN */
    damage_expect(MSW_E_FORMAT);
    payload_of("fc")[2 + 2 * 3 + 1] = 0xfc; /* free weight */
    damage_expect(MSW_E_FORMAT);
    payload_of("io")[0] = 1; /* the second of one class */
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("io") + 1, 0x7f800000, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("io") + 1, 0xffc00000, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("batch norm"), 0x7e00, 2);
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("batch norm"), 0xfc00, 2);
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("conv.bias"), 0x7f800000, 4); /* allowed */
    damage_expect(MSW_OK);
    damage_put(payload_of("all unified \xc3\xa9") + 1, 0x80000001, 4);
    damage_expect(MSW_E_FORMAT);
    damage_put(payload_of("all unified \xc3\xa9") + 1, 0x7fc00000, 4);
    damage_expect(MSW_E_FORMAT);
}

/* The first is "conv", 6 rows in 2 groups, then 12 columns. */
static void test_permutations(void **state)
{
    container_section p =
        container_find(damage.bytes, damage.size, MSW__SECTION_PERMUTATION);

    (void)state;
    p.data[0] = p.data[1]; /* twice */
    damage_expect(MSW_E_FORMAT);
    p.data[0] = 6; /* beyond the end */
    damage_expect(MSW_E_FORMAT);
    p.data[0] = 3; /* of the other group */
    p.data[3] = 2;
    damage_expect(MSW_E_FORMAT);
    p.data[0] = 0; /* fine */
    p.data[2] = 2;
    damage_expect(MSW_OK);
    p.data[6] = 12;
    damage_expect(MSW_E_FORMAT);
    p.data[0] = 0; /* fine, but not what the checksum says */
    p.data[2] = 2;
    assert_int_equal(damage_load(damage.size), MSW_E_CORRUPT);
}

/* Unused bits behind the last sign of "fc". */
static void test_sign_bits(void **state)
{
    msw_unified *u = sample_unified(damage.ctx, &sample_layers[0]);
    size_t signs, length;
    uint8_t *last;
    msw_reader *r;
    msw_entry e;

    (void)state;
    assert_non_null(u);
    signs = u->sign_start[u->plan->block_row_count];
    msw_unified_free(u);
    assert_true(signs % 8 != 0);
    msw_entry_init(&e);
    assert_int_equal(
        msw_reader_open_buffer(&r, damage.ctx, damage.file, damage.size, NULL), MSW_OK);
    assert_int_equal(msw_reader_get_entry(&e, r, 0), MSW_OK);
    length = (size_t)e.bytes;
    msw_reader_free(r);
    for (size_t bit = signs % 8; bit < 8; bit++) {
        last = payload_of("fc") + length - 1;
        *last = (uint8_t)(*last | 1u << bit);
        damage_expect(MSW_E_FORMAT);
    }
    last = payload_of("fc") + length - 1;
    *last ^= 1; /* another sign */
    damage_expect(MSW_OK);
}

/* 2^32 - 1 blocks, a terabyte of weights, on the word of a small file. */
static void test_large_claims(void **state)
{
    (void)state;
    damage_put(record_of("all pruned") + 8, 3 * UINT64_C(400000000), 8);
    damage_expect(TOO_LARGE);
    damage_put(record_of("all pruned") + 16, 3 * UINT64_C(1000000000), 8);
    damage_expect(TOO_LARGE);
    damage_put(record_of("batch norm") + 8, UINT64_C(1) << 40, 8);
    damage_expect(TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(test_versions),
        DAMAGE_TEST(test_unknown_sections),
        DAMAGE_TEST(test_unknown_before_wild),
        DAMAGE_TEST(test_rearranged_sections),
        DAMAGE_TEST(test_cut_sections),
        DAMAGE_TEST(test_short_index),
        DAMAGE_TEST(test_longer_sections),
        DAMAGE_TEST(test_table_of_unknown),
        DAMAGE_TEST(test_most_sections),
        DAMAGE_TEST(test_records),
        DAMAGE_TEST(test_wrapping_payloads),
        DAMAGE_TEST(test_names_twice),
        DAMAGE_TEST(test_metadata_records),
        DAMAGE_TEST(test_metadata_end),
        DAMAGE_TEST(test_payloads),
        DAMAGE_TEST(test_permutations),
        DAMAGE_TEST(test_sign_bits),
        DAMAGE_TEST(test_large_claims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
