/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form with another record in the index than its payload is of; that of groups,
 * damaged; and memory that a claim may cost. */
#include "bytes.h"
#include "container.h"
#include "packed.h"
#include "packed_damage.h"
#include "sample_model.h"

#include <stdlib.h>
#include <string.h>

static const weights_spec usual = {PACKED_ROWS, PACKED_COLUMNS, 8, 8, 4, 90,
                                   false, false, 3};

static void change_record(packed_damage *b, void (*change)(msw__record *r, uint32_t value),
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
static msw_status try_record(packed_damage *b,
                             void (*change)(msw__record *r, uint32_t value), uint32_t value)
{
    msw_status status;

    change_record(b, change, value);
    status = packed_damage_try(b, b->file.size, value % 2);
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
    packed_damage b;
    msw_status status;

    (void)state;
    packed_damage_set_up(&b, &usual, 0, 0);
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
        if (i != usual.block_rows)
            assert_int_not_equal(try_record(&b, set_rows, i), MSW_OK);
        if (i != usual.block_columns)
            assert_int_not_equal(try_record(&b, set_columns, i), MSW_OK);
        if (i)
            assert_int_equal(try_record(&b, set_floats, i), MSW_E_FORMAT);
        if (i != 7)
            assert_int_not_equal(try_record(&b, set_classes, i), MSW_OK);
    }
    packed_damage_tear_down(&b);
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
    assert_true(packed_damage_allowed(loaded) && !u == (loaded != MSW_OK));
    msw_unified_free(u);
    msw_conv_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    o.pad_top = o.pad_left = o.pad_bottom = o.pad_right = 1;
    status = msw_reader_conv(&c, r, "w", &o);
    assert_true(packed_damage_allowed(status) && !c == (status != MSW_OK));
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

static msw_status try_groups(const packed_damage *b, bool trusted)
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
    assert_true(packed_damage_allowed(status));
    assert_true(atomic_load(&b->memory.live) == before);
    return status;
}

static void set_up_groups(packed_damage *b, uint32_t cpu)
{
    msw_unified *u;

    packed_damage_open(b, cpu);
    u = sample_unified(b->ctx, &grouped);
    assert_non_null(u);
    packed_damage_write(b, u, packed_options(0, 0));
    msw_unified_free(u);
}

/* Every word of every group's packings, and words of another group in their place. */
static void test_groups(void **state)
{
    static const uint32_t abuse[] = {0, 1, 0xffff, 0x80000000, 0xffffffff, 0x3fffffff, 64};
    enum { ABUSES = sizeof abuse / sizeof *abuse };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        packed_damage b;
        size_t refused = 0;

        set_up_groups(&b, i ? MSW_CPU_C : 0);
        assert_int_equal(try_groups(&b, false), MSW_OK);
        for (size_t at = b.payload; at < b.payload + b.payload_size; at += 4) {
            msw__store32(b.bytes + at, abuse[at / 4 % ABUSES]);
            refused += try_groups(&b, true) != MSW_OK;
            memcpy(b.bytes + at,
                   b.file.data + b.payload + at * 37 % b.payload_size / 4 * 4, 4);
            container_repair(b.bytes, b.file.size);
            refused += try_groups(&b, false) != MSW_OK;
            memcpy(b.bytes, b.file.data, b.file.size);
        }
        assert_true(refused > 0);
        packed_damage_tear_down(&b);
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
    packed_damage b;

    (void)state;
    set_up_groups(&b, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        change_record(&b, set_groups, others[i]);
        assert_int_equal(try_groups(&b, false), MSW_E_FORMAT);
        memcpy(b.bytes, b.file.data, b.file.size);
    }
    packed_damage_tear_down(&b);
}

/* More groups than there can be packings of: refused before there is memory for each. */
static void test_groups_memory(void **state)
{
    static const weights_spec rows = {20000, 1, 8, 1, 100, 0, false, false, 1};
    packed_damage b;
    msw_reader *r;
    msw_unified *u;
    uint64_t before;
    weights w;

    (void)state;
    packed_damage_open(&b, 0);
    weights_make(&w, b.ctx, &rows);
    packed_damage_write(&b, w.u, packed_options(0, 0));
    weights_free(&w);
    change_record(&b, set_groups, (uint32_t)rows.rows);
    before = atomic_load(&b.memory.live);
    atomic_store(&b.memory.peak, before);
    assert_int_equal(msw_reader_open_buffer(&r, b.ctx, b.bytes, b.file.size, NULL), MSW_OK);
    assert_int_equal(msw_reader_unified(&u, r, "w"), MSW_E_FORMAT);
    assert_true(atomic_load(&b.memory.peak) - before <= 16 * (uint64_t)b.file.size + 4096);
    msw_reader_free(r);
    packed_damage_tear_down(&b);
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
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_count),
        cmocka_unit_test(test_groups_memory),
        cmocka_unit_test(test_memory),
    };

    return packed_missing() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
