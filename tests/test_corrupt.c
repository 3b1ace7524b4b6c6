/* SPDX-License-Identifier: BSD-2-Clause */
/* Damaged and hostile files: each is refused with a status, no byte is ignored, and no
 * more is allocated than the file is worth. */
#include "bytes.h"
#include "container.h"
#include "faults.h"
#include "file_format.h"
#include "sample_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Memory that a file may take per byte, loaded one tensor at a time. The most is that of
 * a column of blocks, 8 of which are in a byte: each takes 3 * 8 bytes for the starts of
 * its row and two for its class. */
enum { MOST_PER_BYTE = 8 * 26, MOST_BESIDE = 4096 };

static faults memory;
static msw_context *ctx;
static uint8_t *file, *damaged;
static size_t size;

/* Open and load everything of the damaged file. */
static msw_status load(size_t length)
{
    const uint64_t before = atomic_load(&memory.live);
    msw_status status;

    atomic_store(&memory.peak, before);
    status = sample_open_and_load(ctx, damaged, length);
    assert_true(atomic_load(&memory.live) == before);
    assert_true(atomic_load(&memory.peak) - before <=
                (uint64_t)MOST_PER_BYTE * length + MOST_BESIDE);
    return status;
}

static void assert_refused(msw_status status)
{
    assert_true(status == MSW_E_FORMAT || status == MSW_E_CORRUPT ||
                status == MSW_E_UNSUPPORTED);
}

static void restore(void)
{
    memcpy(damaged, file, size);
}

/* What the reader accepts is exactly what a writer writes. */
static void assert_canonical(void)
{
    msw_reader *r;
    msw_writer *w;
    uint8_t *again;

    assert_int_equal(msw_reader_open_buffer(&r, ctx, damaged, size, NULL), MSW_OK);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(sample_copy(w, r), MSW_OK);
    assert_int_equal(msw_writer_bytes(w), size);
    again = malloc(size);
    assert_non_null(again);
    assert_int_equal(msw_writer_write_buffer(w, again, size), MSW_OK);
    assert_memory_equal(again, damaged, size);
    free(again);
    msw_writer_free(w);
    msw_reader_free(r);
}

static void test_undamaged(void **state)
{
    (void)state;
    assert_int_equal(load(size), MSW_OK);
    assert_canonical();
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t length = 0; length < size; length++) {
        /* a copy of its own, so that reading beyond it shows */
        uint8_t *whole = damaged;
        damaged = malloc(length ? length : 1);
        assert_non_null(damaged);
        memcpy(damaged, file, length);
        assert_refused(load(length));
        free(damaged);
        damaged = whole;
    }
}

static void test_more_bytes(void **state)
{
    uint8_t *longer = calloc(size + 128, 1), *whole = damaged;

    (void)state;
    assert_non_null(longer);
    memcpy(longer, file, size);
    damaged = longer;
    for (size_t more = 1; more <= 128; more++)
        assert_int_equal(load(size + more), MSW_E_FORMAT);
    damaged = whole;
    free(longer);
}

static void test_every_bit(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(load(size));
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < size; i++) {
        const uint8_t old = file[i];
        const uint8_t values[4] = {0, 0xff, (uint8_t)(old + 1), (uint8_t)(old - 1)};
        for (size_t k = 0; k < 4; k++) {
            damaged[i] = values[k];
            if (values[k] != old)
                assert_refused(load(size));
        }
        damaged[i] = old;
    }
}

static void test_two_bits_of_header(void **state)
{
    msw_reader *r;

    (void)state;
    for (unsigned a = 0; a < 512; a++)
        for (unsigned b = a + 1; b < 512; b++) {
            damaged[a / 8] ^= (uint8_t)(1u << a % 8);
            damaged[b / 8] ^= (uint8_t)(1u << b % 8);
            assert_refused(msw_reader_open_buffer(&r, ctx, damaged, size, NULL));
            assert_null(r);
            damaged[a / 8] ^= (uint8_t)(1u << a % 8);
            damaged[b / 8] ^= (uint8_t)(1u << b % 8);
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
            bit[k] = (seed >> 8) % (size * 8);
            damaged[bit[k] / 8] ^= (uint8_t)(1u << bit[k] % 8);
        }
        if (memcmp(damaged, file, size) != 0)
            assert_refused(load(size));
        restore();
    }
}

/* Numbers that overflow, wrap or index out of something. */
static const uint64_t abuse[] = {
    0, 1, 2, 63, 64, 65, 127, 128, 254, 255, 256, 32767, 32768, 65534, 65535, 65536,
    0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x100000000, 0x100000001,
    0x3fffffffffffffff, 0x4000000000000000, 0x7fffffffffffffff, 0x8000000000000000,
    0xfffffffffffffff0, 0xffffffffffffffff};
enum { ABUSES = sizeof abuse / sizeof *abuse };

static void put(uint8_t *at, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* With a value at every place, of every width, checksums repaired: refused, or another
 * file that a writer could have written. */
static void abuse_range(size_t from, size_t to, size_t most)
{
    for (size_t i = from; i < to; i++)
        for (size_t width = 1; width <= most && i + width <= to; width *= 2)
            for (size_t k = 0; k < ABUSES; k++) {
                msw_status status;

                if (width < 8 && abuse[k] >> 8 * width)
                    continue;
                put(damaged + i, abuse[k], width);
                container_repair(damaged, size);
                status = load(size);
                if (status)
                    assert_refused(status);
                else if (memcmp(damaged, file, size) != 0)
                    assert_canonical();
                restore();
            }
}

static void test_abuse_of_contents(void **state)
{
    const size_t payload =
        (size_t)(container_find(file, size, MSW__SECTION_PERMUTATION).data - file);

    (void)state;
    abuse_range(CONTAINER_HEADER, payload, 8);
    abuse_range(payload, size, 2); /* no wider numbers there, but floats */
}

/* Header and table have no other right value at all. */
static void test_abuse_of_fields(void **state)
{
    static const struct field {
        size_t at, width;
    } header[] = {{0, 8}, {8, 4}, {12, 4}, {16, 4}, {20, 4}, {24, 8},
                  {36, 8}, {44, 8}, {52, 8}},
      section[] = {{0, 4}, {4, 4}, {8, 8}, {16, 8}, {24, 8}, {36, 4}};
    const size_t count = msw__load32(file + 20);

    (void)state;
    for (size_t s = 0; s <= count; s++) {
        const struct field *fields = s ? section : header;
        const size_t field_count =
            s ? sizeof section / sizeof *section : sizeof header / sizeof *header;
        const size_t base = s ? CONTAINER_HEADER + (s - 1) * CONTAINER_ENTRY : 0;

        for (size_t f = 0; f < field_count; f++)
            for (size_t k = 0; k < ABUSES; k++) {
                put(damaged + base + fields[f].at, abuse[k], fields[f].width);
                if (memcmp(damaged, file, size) != 0) {
                    container_repair(damaged, size);
                    assert_refused(load(size));
                }
                restore();
            }
    }
}

/* One change to the sample, with checksums repaired, and what becomes of it. */
static void expect(msw_status wanted)
{
    container_repair(damaged, size);
    assert_int_equal(load(size), wanted);
    restore();
}

static void test_versions(void **state)
{
    (void)state;
    put(damaged + 8, 2, 4);
    expect(MSW_E_UNSUPPORTED);
    put(damaged + 8, 0, 4);
    expect(MSW_E_FORMAT);
    put(damaged + 12, 1, 4);
    expect(MSW_E_UNSUPPORTED);
    put(damaged + CONTAINER_HEADER + 4, 3, 4); /* a flag of a section */
    expect(MSW_E_UNSUPPORTED);
    damaged[1] = 'm';
    expect(MSW_E_FORMAT);
}

/* Sections behind those that this version knows. */
static void test_unknown_sections(void **state)
{
    container_section sections[CONTAINER_MOST];
    size_t count = container_sections(sections, file, size), length;
    uint8_t more[100], *whole = damaged;
    const size_t old = size;

    (void)state;
    memset(more, 7, sizeof more);
    for (uint32_t type = MSW__SECTION_WRITTEN + 1; type < 20; type++)
        for (uint32_t flags = 0; flags < 3; flags++) {
            const container_section unknown = {type, flags, more, sizeof more};

            sections[count] = sections[count + 1] = unknown; /* of any length, and again */
            damaged = container_build(&length, sections, count + 2);
            assert_non_null(damaged);
            size = length;
            assert_int_equal(load(size), flags ? MSW_E_UNSUPPORTED : MSW_OK);
            damaged[length - 1] ^= 1;
            assert_int_equal(load(size), flags ? MSW_E_UNSUPPORTED : MSW_E_CORRUPT);
            free(damaged);
        }
    size = old;
    damaged = whole;
}

/* The checksum of a skipped section is not looked for on the word of what follows it. */
static void test_unknown_before_wild(void **state)
{
    container_section sections[CONTAINER_MOST];
    const size_t count = container_sections(sections, file, size);
    uint8_t more[100] = {0}, *whole = damaged;
    const container_section unknown = {20, 0, more, sizeof more};

    (void)state;
    for (size_t i = 0; i < 8; i++)
        sections[count + i] = unknown;
    for (size_t wild = 0; wild < 8; wild++)
        for (size_t k = 0; k < ABUSES; k++) {
            size_t length;
            uint8_t *entry;

            damaged = container_build(&length, sections, count + 8);
            assert_non_null(damaged);
            entry = damaged + CONTAINER_HEADER + (count + wild) * CONTAINER_ENTRY;
            put(entry + 8, abuse[k], 8); /* offset */
            container_repair(damaged, length);
            assert_int_equal(load(length), MSW_E_FORMAT);
            free(damaged);
        }
    damaged = whole;
}

static void expect_sections(const container_section *sections, size_t count,
                            msw_status wanted)
{
    uint8_t *whole = damaged;
    size_t length;

    damaged = container_build(&length, sections, count);
    assert_non_null(damaged);
    assert_int_equal(load(length), wanted);
    free(damaged);
    damaged = whole;
}

/* Each section left out, there twice, empty, in another place, or of another type. */
static void test_rearranged_sections(void **state)
{
    container_section all[CONTAINER_MOST], s[CONTAINER_MOST];
    const size_t count = container_sections(all, file, size);
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
    size_t count = container_sections(s, file, size);

    (void)state;
    assert_int_equal(s[count - 1].type, MSW__SECTION_TENSOR);
    assert_true(s[count - 1].size > 64);
    s[count] = s[count - 1];
    s[count - 1].size = 64;
    s[count].data += 64;
    s[count].size -= 64;
    expect_sections(s, count + 1, MSW_E_FORMAT);
}

/* A byte more at the end of each section. */
static void test_longer_sections(void **state)
{
    container_section s[CONTAINER_MOST];
    size_t count = container_sections(s, file, size);

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
    const size_t count = container_sections(s, file, size);
    uint8_t more[10] = {0}, *whole = damaged, *entry;
    size_t length;

    (void)state;
    s[count].type = 1000;
    s[count].flags = 0;
    s[count].data = more;
    s[count].size = sizeof more;
    damaged = container_build(&length, s, count + 1);
    assert_non_null(damaged);
    assert_int_equal(load(length), MSW_OK);
    entry = damaged + CONTAINER_HEADER + count * CONTAINER_ENTRY;
    for (size_t bit = 0; bit < CONTAINER_ENTRY * 8; bit++) {
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(load(length), MSW_E_CORRUPT);
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(damaged);
    damaged = whole;
}

/* As many sections as there may be, and one more. */
static void test_most_sections(void **state)
{
    enum { MOST = 1 << 20 };
    uint8_t *whole = damaged, byte = 1;
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
        damaged = container_build(&length, s, MOST + more);
        assert_non_null(damaged);
        assert_int_equal(load(length), more ? MSW_E_FORMAT : MSW_OK);
        free(damaged);
    }
    free(s);
    damaged = whole;
}

/* The record of a layer in the damaged file's index. */
static uint8_t *record_of(const char *name)
{
    const container_section index = container_find(damaged, size, MSW__SECTION_INDEX);
    uint8_t *at = index.data + MSW__COUNT_BYTES;
    const uint8_t *end = index.data + index.size;

    while (at < end) {
        msw__record r;
        const char *found;

        assert_true(msw__record_decode(&r, &found, at, (size_t)(end - at)));
        if (!strcmp(found, name))
            return at;
        at += msw__record_bytes(r.kind, r.rank, r.name_length);
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
    assert_int_equal(msw_reader_open_buffer(&r, ctx, file, size, NULL), MSW_OK);
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
    return container_find(damaged, size, kind == MSW_ENTRY_UNIFIED ? MSW__SECTION_UNIFIED
                                                                   : MSW__SECTION_TENSOR)
               .data + at;
}

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
        {"conv.bias", 8, 8, UINT64_C(1) << 62, MSW_E_FORMAT}, /* times 4 wraps to 0 */
        {"batch norm", 8, 8, UINT64_C(1) << 63, MSW_E_FORMAT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        put(record_of(edits[i].name) + edits[i].at, edits[i].value, edits[i].width);
        expect(edits[i].wanted);
    }
    put(container_find(damaged, size, MSW__SECTION_INDEX).data, sample_layer_count - 1, 4);
    expect(MSW_E_FORMAT);
    put(container_find(damaged, size, MSW__SECTION_INDEX).data, sample_layer_count + 1, 4);
    expect(MSW_E_FORMAT);
    put(container_find(damaged, size, MSW__SECTION_INDEX).data, 0, 4);
    expect(MSW_E_FORMAT);
    memcpy(record_of("all pruned") + 40, "conv.bias\0", 10); /* not its length */
    expect(MSW_E_FORMAT);
}

static void test_names_twice(void **state)
{
    container_section metadata;

    (void)state;
    memcpy(record_of("fc") + 40, "io", 2);
    expect(MSW_E_FORMAT);
    metadata = container_find(damaged, size, MSW__SECTION_METADATA);
    memcpy(metadata.data + 4 + 10, "empty", 5); /* instead of "model" */
    expect(MSW_E_FORMAT);
}

static void test_metadata_records(void **state)
{
    static const struct edit {
        size_t at, width;
        uint64_t value;
    } edits[] = {{0, 4, 0}, {0, 4, 2}, {0, 4, 4}, {0, 4, UINT32_MAX},
                 {4, 2, 0}, {4, 2, 4}, {4, 2, 6}, {4, 2, 0xffff},
                 {6, 8, 0}, {6, 8, 5}, {6, 8, 7}, {6, 8, UINT64_MAX}, {6, 8, UINT64_MAX - 16},
                 {14, 1, 0}, {14, 1, 0x80}, {19, 1, 'x'}, {26, 1, 1}};
    container_section metadata;

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        metadata = container_find(damaged, size, MSW__SECTION_METADATA);
        put(metadata.data + edits[i].at, edits[i].value, edits[i].width);
        expect(MSW_E_FORMAT);
    }
}

/* Of every payload: fc is class map (9 blocks in 2 bytes), 3 magnitudes, free weights,
 * signs; io is free throughout. */
static void test_payloads(void **state)
{
    (void)state;
    payload_of("fc")[0] = 243; /* no five digits to base 3 */
    expect(MSW_E_FORMAT);
    payload_of("fc")[1] = (uint8_t)(payload_of("fc")[1] + 81); /* behind the last block */
    expect(MSW_E_FORMAT);
    payload_of("fc")[0] = 0; /* other classes, other sizes */
    expect(MSW_E_FORMAT);
    payload_of("fc")[3] = 0xbc; /* -1 */
    expect(MSW_E_FORMAT);
    payload_of("fc")[3] = 0x7c; /* infinity or NaN */
    expect(MSW_E_FORMAT);
    payload_of("fc")[2 + 2 * 3 + 1] = 0xfc; /* free weight */
    expect(MSW_E_FORMAT);
    payload_of("io")[0] = 1; /* the second of one class */
    expect(MSW_E_FORMAT);
    put(payload_of("io") + 1, 0x7f800000, 4);
    expect(MSW_E_FORMAT);
    put(payload_of("io") + 1, 0xffc00000, 4);
    expect(MSW_E_FORMAT);
    put(payload_of("batch norm"), 0x7e00, 2);
    expect(MSW_E_FORMAT);
    put(payload_of("batch norm"), 0xfc00, 2);
    expect(MSW_E_FORMAT);
    put(payload_of("conv.bias"), 0x7f800000, 4); /* allowed */
    expect(MSW_OK);
    put(payload_of("all unified \xc3\xa9") + 1, 0x80000001, 4);
    expect(MSW_E_FORMAT);
    put(payload_of("all unified \xc3\xa9") + 1, 0x7fc00000, 4);
    expect(MSW_E_FORMAT);
}

/* The first is "conv", 6 rows in 2 groups, then 12 columns. */
static void test_permutations(void **state)
{
    container_section p = container_find(damaged, size, MSW__SECTION_PERMUTATION);

    (void)state;
    p.data[0] = p.data[1]; /* twice */
    expect(MSW_E_FORMAT);
    p.data[0] = 6; /* beyond the end */
    expect(MSW_E_FORMAT);
    p.data[0] = 3; /* of the other group */
    p.data[3] = 2;
    expect(MSW_E_FORMAT);
    p.data[0] = 0; /* fine */
    p.data[2] = 2;
    expect(MSW_OK);
    p.data[6] = 12;
    expect(MSW_E_FORMAT);
    p.data[0] = 0; /* fine, but not what the checksum says */
    p.data[2] = 2;
    assert_int_equal(load(size), MSW_E_CORRUPT);
}

/* Unused bits behind the last sign of "fc". */
static void test_sign_bits(void **state)
{
    msw_unified *u = sample_unified(ctx, &sample_layers[0]);
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
    assert_int_equal(msw_reader_open_buffer(&r, ctx, file, size, NULL), MSW_OK);
    assert_int_equal(msw_reader_get_entry(&e, r, 0), MSW_OK);
    length = (size_t)e.bytes;
    msw_reader_free(r);
    for (size_t bit = signs % 8; bit < 8; bit++) {
        last = payload_of("fc") + length - 1;
        *last = (uint8_t)(*last | 1u << bit);
        expect(MSW_E_FORMAT);
    }
    last = payload_of("fc") + length - 1;
    *last ^= 1; /* another sign */
    expect(MSW_OK);
}

/* 2^32 - 1 blocks, a terabyte of weights, on the word of a small file. */
static void test_large_claims(void **state)
{
    (void)state;
    put(record_of("all pruned") + 8, 3 * UINT64_C(400000000), 8);
    expect(MSW_E_FORMAT);
    put(record_of("all pruned") + 16, 3 * UINT64_C(1000000000), 8);
    expect(MSW_E_FORMAT);
    put(record_of("batch norm") + 8, UINT64_C(1) << 40, 8);
    expect(MSW_E_FORMAT);
}

/* Memory that all but suffices: a status, and nothing kept. */
static void test_limit(void **state)
{
    const uint64_t before = atomic_load(&memory.live);
    msw_context_options o;
    msw_context *small;
    uint64_t needed;

    (void)state;
    msw_context_options_init(&o);
    atomic_store(&memory.peak, before);
    assert_int_equal(sample_open_and_load(ctx, file, size), MSW_OK);
    needed = atomic_load(&memory.peak) - before;
    for (o.memory_limit = 1024; o.memory_limit < needed; o.memory_limit += 64) {
        assert_int_equal(msw_context_new(&small, &o), MSW_OK);
        assert_int_equal(sample_open_and_load(small, file, size), MSW_E_LIMIT);
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
    assert_int_equal(msw_reader_open_buffer(&r, small, file, size, NULL), MSW_OK);
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

static int set_up(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof memory);
    ctx = faults_context(&memory);
    if (!ctx)
        return 1;
    file = sample_file(&size, ctx);
    damaged = file ? malloc(size) : NULL;
    if (!damaged)
        return 1;
    restore();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(file);
    free(damaged);
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_undamaged),
        TEST(test_every_truncation),
        TEST(test_more_bytes),
        TEST(test_every_bit),
        TEST(test_every_byte),
        TEST(test_two_bits_of_header),
        TEST(test_random_three_bits),
        TEST(test_abuse_of_contents),
        TEST(test_abuse_of_fields),
        TEST(test_versions),
        TEST(test_unknown_sections),
        TEST(test_unknown_before_wild),
        TEST(test_rearranged_sections),
        TEST(test_cut_sections),
        TEST(test_longer_sections),
        TEST(test_table_of_unknown),
        TEST(test_most_sections),
        TEST(test_records),
        TEST(test_names_twice),
        TEST(test_metadata_records),
        TEST(test_payloads),
        TEST(test_permutations),
        TEST(test_sign_bits),
        TEST(test_large_claims),
        TEST(test_limit),
        TEST(test_limit_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
