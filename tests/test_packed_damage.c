/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form damaged, with the checksums made to fit: an error, or a product that
 * stays within its arrays. What sees that it does is the address sanitizer. */
#define _POSIX_C_SOURCE 200809L
#include "bytes.h"
#include "container.h"
#include "faults.h"
#include "packed.h"
#include "packed_fixture.h"
#include "sample_model.h"

#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 37, COLUMNS = 27, PART = 32 };

/* A file, a copy of just its size to damage, and where its payload is. */
typedef struct bench {
    faults memory;
    msw_context *ctx;
    packed_file file;
    uint8_t *bytes;
    size_t payload, payload_size;
} bench;

/* The file of u. */
static void find_payload(bench *b, const msw_unified *u, msw_store_options o)
{
    container_section section;
    void *memory;

    b->file = packed_file_make(b->ctx, u, &o, 0);
    section = container_find(b->file.data, b->file.size, MSW__SECTION_PACKED);
    b->payload = (size_t)(section.data - b->file.data);
    b->payload_size = section.size;
    assert_int_equal(posix_memalign(&memory, 64, b->file.size), 0);
    b->bytes = memory;
    memcpy(b->bytes, b->file.data, b->file.size);
}

static void set_up(bench *b, const weights_spec *spec, uint32_t cpu, size_t expected_n)
{
    msw_context_options c;
    weights w;

    memset(b, 0, sizeof *b);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&b->memory);
    b->ctx = packed_context(cpu, &c);
    weights_make(&w, b->ctx, spec);
    w.u->magnitudes[0] = 0; /* a block that is in no packing */
    find_payload(b, w.u, packed_options(expected_n, 0));
    weights_free(&w);
}

static void tear_down(bench *b)
{
    packed_file_free(&b->file);
    free(b->bytes);
    msw_context_free(b->ctx);
    assert_true(faults_clean(&b->memory));
}

static bool allowed(msw_status status)
{
    return status == MSW_OK || status == MSW_E_FORMAT || status == MSW_E_CORRUPT ||
           status == MSW_E_UNSUPPORTED;
}

/* Every output, of weights that are finite. */
static bool all_written(const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (msw__float_bits(y + i) == UINT32_MAX)
            return false;
    return true;
}

/* Load it, and run it. */
static msw_status try_reader(msw_reader *r, bool trusted)
{
    static float y[ROWS * PART];
    msw_gemm_options o;
    msw_unified *u;
    msw_gemm *g;
    msw_status status, loaded;

    loaded = msw_reader_unified(&u, r, "w");
    assert_true(allowed(loaded) && !u == (loaded != MSW_OK));
    msw_unified_free(u);
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    status = msw_reader_gemm(&g, r, "w", &o);
    assert_true(allowed(status) && !g == (status != MSW_OK));
    if (status)
        assert_true(msw_reader_error(r)[0] != 0);
    /* the size of the matrix is not in the payload */
    for (size_t n = 1; !status && n <= PART; n = n * 3 + 2) {
        assert_int_equal(packed_run(y, g, ROWS, COLUMNS, n), MSW_OK);
        assert_true(trusted || all_written(y, ROWS * n));
    }
    msw_gemm_free(g);
    return status ? status : loaded;
}

static msw_status try_bytes(const bench *b, size_t size, bool trusted)
{
    const uint64_t before = atomic_load(&b->memory.live);
    msw_reader_options o;
    msw_reader *r;
    msw_status status;

    msw_reader_options_init(&o);
    o.trusted = trusted;
    status = msw_reader_open_buffer(&r, b->ctx, b->bytes, size, &o);
    if (!status) {
        status = try_reader(r, trusted);
        msw_reader_free(r);
    }
    assert_true(allowed(status));
    assert_true(atomic_load(&b->memory.live) == before);
    return status;
}

/* Enough rows of unified blocks for tables, in the wide packing and in the narrow one; with
 * strips of several block rows, and of parts of one. */
static const weights_spec specs[] = {
    {ROWS, COLUMNS, 8, 8, 4, 90, false, false, 3}, {ROWS, COLUMNS, 4, 4, 10, 70, true, false, 4},
    {ROWS, COLUMNS, 3, 2, 30, 40, false, false, 5}, {ROWS, COLUMNS, 5, 20, 0, 85, true, false, 6}};
enum { SPECS = sizeof specs / sizeof *specs };

/* Each of them for the kernels in C and for the best, with one packing or both. */
enum { SET_UPS = 2 * SPECS };

static void set_up_one(bench *b, size_t i, size_t round)
{
    static const size_t expected[] = {0, 1, 100};

    set_up(b, &specs[i / 2], i % 2 ? MSW_CPU_C : 0, expected[round % 3]);
}

/* The tests stand for packings that have tables. */
static void test_has_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        msw_reader *r;
        msw_gemm *g;
        bench b;

        set_up_one(&b, i, 0);
        r = packed_open(b.ctx, &b.file, false);
        assert_int_equal(msw_reader_gemm(&g, r, "w", NULL), MSW_OK);
        if (specs[i / 2].block_columns > 2 && b.ctx->cpu != MSW_CPU_C)
            assert_true(g->packs[MSW__GEMM_WIDE].table_count > 0);
        if (specs[i / 2].block_columns > 2 && b.ctx->cpu != MSW_CPU_C)
            assert_true(g->packs[MSW__GEMM_NARROW].table_count > 0);
        msw_gemm_free(g);
        msw_reader_free(r);
        tear_down(&b);
    }
}

/* With checksums nothing gets through; without them, whatever is said of the weights. */
static void test_bit_flips(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        bench b;
        size_t refused = 0;

        set_up_one(&b, i, i);
        assert_int_equal(try_bytes(&b, b.file.size, false), MSW_OK);
        for (size_t bit = i; bit < 8 * b.payload_size; bit += 29) {
            uint8_t *at = b.bytes + b.payload + bit / 8;

            *at ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(try_bytes(&b, b.file.size, false), MSW_E_CORRUPT);
            refused += try_bytes(&b, b.file.size, true) != MSW_OK;
            *at ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(refused > 0);
        tear_down(&b);
    }
}

/* Every word of the payload to what overflows, wraps or points elsewhere. */
static void test_field_abuse(void **state)
{
    static const uint32_t abuse[] = {0, 1, 2, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe,
                                     0xffffffff, 0x3fffffff, 0xc0000000, 0x7f800000, 64, 4096,
                                     0x100000, 0xfffff000, 0x7fff0000, 0x00010001, 0xfff0fff};

    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        bench b;

        set_up_one(&b, i, i + 1);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4)
            for (size_t k = at / 4 % 7; k < sizeof abuse / sizeof *abuse; k += 7) {
                msw__store32(b.bytes + at, abuse[k]);
                container_repair(b.bytes, b.file.size);
                try_bytes(&b, b.file.size, (at / 28 + k / 7) % 2);
                memcpy(b.bytes, b.file.data, b.file.size);
            }
        tear_down(&b);
    }
}

/* The two highest bits of every word: with floats checked, every output is written. */
static void test_high_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < SET_UPS; i += 5) {
        bench b;

        set_up_one(&b, i, 0);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4)
            for (uint32_t bit = 30; bit < 32; bit++) {
                const uint32_t kept = msw__load32(b.bytes + at);

                msw__store32(b.bytes + at, kept ^ 1u << bit);
                container_repair(b.bytes, b.file.size);
                try_bytes(&b, b.file.size, false);
                msw__store32(b.bytes + at, kept);
            }
        tear_down(&b);
    }
}

/* Words swapped with others: places, headers and counts that are right elsewhere. */
static void test_swaps(void **state)
{
    uint32_t seed = 9;

    (void)state;
    for (size_t i = 0; i < SET_UPS; i++) {
        bench b;

        set_up_one(&b, i, i + 2);
        for (int round = 0; round < 200; round++) {
            const uint32_t words = (uint32_t)(b.payload_size / 4);
            uint8_t *from = b.bytes + b.payload + 4 * random_below(&seed, words);
            uint8_t *to = b.bytes + b.payload + 4 * random_below(&seed, words);
            const uint32_t kept = msw__load32(from);

            msw__store32(from, msw__load32(to));
            msw__store32(to, kept);
            container_repair(b.bytes, b.file.size);
            try_bytes(&b, b.file.size, round % 2);
            memcpy(b.bytes, b.file.data, b.file.size);
        }
        tear_down(&b);
    }
}

/* Strips whose slices are the same run together. */
static void test_order_of_free_records(void **state)
{
    enum { WIDTH = 4, HEIGHT = 2, RECORD = 1 + WIDTH * HEIGHT };
    const weights_spec spec = {ROWS, COLUMNS, HEIGHT, WIDTH, 0, 0, false, false, 5};
    uint8_t strips[ROWS];
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

/* The file cut off, and the payload cut off in a file that is otherwise right. */
static void test_truncated(void **state)
{
    bench b;
    container_section sections[CONTAINER_MOST];
    size_t count;

    (void)state;
    set_up(&b, &specs[0], 0, 0);
    count = container_sections(sections, b.file.data, b.file.size);
    for (size_t size = 0; size < b.file.size; size++)
        assert_int_not_equal(try_bytes(&b, size, true), MSW_OK);
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
            assert_int_equal(try_bytes(&b, b.file.size, false), MSW_E_FORMAT);
            b.bytes = bytes;
            b.file.size = kept;
            free(file);
        }
    tear_down(&b);
}

static void change_record(bench *b, void (*change)(msw__record *r, uint32_t value),
                          uint32_t value)
{
    container_section index = container_find(b->bytes, b->file.size, MSW__SECTION_INDEX);
    uint8_t *at = index.data + MSW__COUNT_BYTES;
    msw__record record;
    const char *name;

    assert_true(msw__record_decode(&record, &name, at, index.size - MSW__COUNT_BYTES));
    change(&record, value);
    msw__record_encode(at, &record, "w");
    container_repair(b->bytes, b->file.size);
}

/* Change the record of the index and see. */
static msw_status try_record(bench *b, void (*change)(msw__record *r, uint32_t value),
                             uint32_t value)
{
    msw_status status;

    change_record(b, change, value);
    status = try_bytes(b, b->file.size, value % 2);
    memcpy(b->bytes, b->file.data, b->file.size);
    return status;
}

static void set_wide(msw__record *r, uint32_t value)
{
    r->layouts[MSW__GEMM_WIDE] = value;
}

static void set_narrow(msw__record *r, uint32_t value)
{
    r->layouts[MSW__GEMM_NARROW] = value;
}

static void set_both(msw__record *r, uint32_t value)
{
    r->layouts[0] = r->layouts[1] = value;
}

static void set_rows(msw__record *r, uint32_t value)
{
    r->block_rows = value;
}

static void set_columns(msw__record *r, uint32_t value)
{
    r->block_columns = value;
}

static void set_floats(msw__record *r, uint32_t value)
{
    r->free_weights = value;
}

static void set_classes(msw__record *r, uint32_t value)
{
    r->classes = value;
}

static void test_records(void **state)
{
    bench b;
    msw_status status;

    (void)state;
    set_up(&b, &specs[0], 0, 0);
    assert_int_equal(try_record(&b, set_both, 0), MSW_E_FORMAT);
    assert_int_equal(try_record(&b, set_wide, 0), MSW_E_FORMAT);
    assert_int_equal(try_record(&b, set_narrow, 0), MSW_E_FORMAT);
    /* a packing of a later version is passed over, as long as there is another */
    status = try_record(&b, set_wide, 99);
    assert_true(status == MSW_OK);
    status = try_record(&b, set_narrow, 99);
    assert_true(status == MSW_OK);
    assert_int_equal(try_record(&b, set_both, 99), MSW_E_UNSUPPORTED);
    for (uint32_t i = 0; i < 256; i++) {
        try_record(&b, set_wide, msw__layout(MSW__WIDE_LAYOUT, 32, i));
        try_record(&b, set_wide, msw__layout(MSW__WIDE_LAYOUT, i, 8));
        try_record(&b, set_narrow, msw__layout(MSW__NARROW_LAYOUT, i, 8));
        if (i != specs[0].block_rows)
            assert_int_not_equal(try_record(&b, set_rows, i), MSW_OK);
        if (i != specs[0].block_columns)
            assert_int_not_equal(try_record(&b, set_columns, i), MSW_OK);
        if (i)
            assert_int_equal(try_record(&b, set_floats, i), MSW_E_FORMAT);
        if (i != 7)
            assert_int_not_equal(try_record(&b, set_classes, i), MSW_OK);
    }
    tear_down(&b);
}

/* Groups: load them, and run the convolution. */

enum { GROUPS = 3, OUTPUTS = 7, CHANNELS = 4, SIDE = 5 };

static const sample_layer grouped = {
    .name = "w", .shape = {GROUPS * OUTPUTS, CHANNELS, 3, 3}, .rank = 4,
    .weights = MSW_WEIGHTS_OIHW, .block_rows = 4, .block_columns = 4, .groups = GROUPS,
    .permuted = 1, .prune = 0.3, .unify = 0.5, .seed = 9};

static msw_status try_conv(msw_reader *r)
{
    float *x = calloc(GROUPS * CHANNELS * SIDE * SIDE, sizeof *x);
    float *y = calloc(GROUPS * OUTPUTS * SIDE * SIDE, sizeof *y);
    msw_conv_options o;
    msw_conv_call call;
    msw_unified *u;
    msw_conv *c;
    msw_status status, loaded = msw_reader_unified(&u, r, "w");

    assert_true(x && y);
    assert_true(allowed(loaded) && !u == (loaded != MSW_OK));
    msw_unified_free(u);
    msw_conv_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    o.pad_top = o.pad_left = o.pad_bottom = o.pad_right = 1;
    status = msw_reader_conv(&c, r, "w", &o);
    assert_true(allowed(status) && !c == (status != MSW_OK));
    msw_conv_call_init(&call);
    call.x = x;
    call.y = y;
    call.batch = 1;
    call.height = call.width = SIDE;
    if (!status)
        assert_int_equal(msw_conv_run(c, &call), MSW_OK);
    msw_conv_free(c);
    free(x);
    free(y);
    return status ? status : loaded;
}

static msw_status try_groups(const bench *b, bool trusted)
{
    const uint64_t before = atomic_load(&b->memory.live);
    msw_reader_options o;
    msw_reader *r;
    msw_status status;

    msw_reader_options_init(&o);
    o.trusted = trusted;
    status = msw_reader_open_buffer(&r, b->ctx, b->bytes, b->file.size, &o);
    if (!status) {
        status = try_conv(r);
        msw_reader_free(r);
    }
    assert_true(allowed(status));
    assert_true(atomic_load(&b->memory.live) == before);
    return status;
}

static void set_up_groups(bench *b, uint32_t cpu)
{
    msw_context_options c;
    msw_unified *u;

    memset(b, 0, sizeof *b);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&b->memory);
    b->ctx = packed_context(cpu, &c);
    u = sample_unified(b->ctx, &grouped);
    assert_non_null(u);
    find_payload(b, u, packed_options(0, 0));
    msw_unified_free(u);
}

/* Every word of every group's packings, and words of another group in their place. */
static void test_groups(void **state)
{
    static const uint32_t abuse[] = {0, 1, 0xffff, 0x80000000, 0xffffffff, 0x3fffffff, 64};
    enum { ABUSES = sizeof abuse / sizeof *abuse };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bench b;
        size_t refused = 0;

        set_up_groups(&b, i ? MSW_CPU_C : 0);
        assert_int_equal(try_groups(&b, false), MSW_OK);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4) {
            msw__store32(b.bytes + at, abuse[at / 4 % ABUSES]);
            refused += try_groups(&b, true) != MSW_OK;
            memcpy(b.bytes + at, b.file.data + b.payload + at * 37 % b.payload_size / 4 * 4, 4);
            container_repair(b.bytes, b.file.size);
            refused += try_groups(&b, false) != MSW_OK;
            memcpy(b.bytes, b.file.data, b.file.size);
        }
        assert_true(refused > 0);
        tear_down(&b);
    }
}

static void set_groups(msw__record *r, uint32_t value)
{
    r->groups = value;
}

/* Other numbers of groups than there are packings of. */
static void test_groups_count(void **state)
{
    static const uint32_t others[] = {1, 7, 21};
    bench b;

    (void)state;
    set_up_groups(&b, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        change_record(&b, set_groups, others[i]);
        assert_int_equal(try_groups(&b, false), MSW_E_FORMAT);
        memcpy(b.bytes, b.file.data, b.file.size);
    }
    tear_down(&b);
}

/* Many blocks in few bytes: memory stays what the format promises. */
static void test_memory(void **state)
{
    static const weights_spec wide[] = {{8, 60000, 8, 8, 100, 0, false, false, 1},
                                        {6000, 8, 8, 8, 100, 0, false, false, 1},
                                        {64, 30000, 1, 64, 100, 0, true, false, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        const msw_store_options o = packed_options(0, 0);
        faults memory = {0};
        msw_context *ctx = faults_context(&memory);
        uint64_t before;
        packed_file f;
        msw_reader *r;
        msw_unified *u;
        weights w;

        weights_make(&w, ctx, &wide[i]);
        f = packed_file_make(ctx, w.u, &o, 0);
        weights_free(&w);
        before = atomic_load(&memory.live);
        atomic_store(&memory.peak, before);
        r = packed_open(ctx, &f, false);
        assert_int_equal(msw_reader_unified(&u, r, "w"), MSW_OK);
        assert_true(atomic_load(&memory.peak) - before <= 208 * (uint64_t)f.size + 4096);
        msw_unified_free(u);
        msw_reader_free(r);
        packed_file_free(&f);
        msw_context_free(ctx);
        assert_true(faults_clean(&memory));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_has_tables),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_field_abuse),
        cmocka_unit_test(test_high_bits),
        cmocka_unit_test(test_swaps),
        cmocka_unit_test(test_order_of_free_records),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_count),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
