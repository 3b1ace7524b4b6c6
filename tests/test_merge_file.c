/* SPDX-License-Identifier: BSD-2-Clause */
/* Merged blocks in files: every form keeps them, bit for bit, and refuses what is none. */
#include "bytes.h"
#include "container.h"
#include "damage.h"
#include "file_fixture.h"
#include "file_format.h"
#include "fixture.h"
#include "internal.h"
#include "merge.h"
#include "packed.h"

#include <stdlib.h>
#include <string.h>

enum { FORMS = 3 }; /* msw_encoding */

/* The last is not there on machines that are not little-endian. */
static uint32_t forms(void)
{
    return msw__packed_native() ? FORMS : FORMS - 1;
}

static msw_store_options form(uint32_t encoding)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = encoding;
    return o;
}

static uint8_t *file_of(size_t *size, msw_context *ctx, const msw_unified *u,
                        const msw_store_options *o)
{
    msw_writer *w;
    uint8_t *data;

    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_unified(w, "w", u, o), MSW_OK);
    data = file_written(w, size);
    msw_writer_free(w);
    return data;
}

static msw_unified *loaded(msw_context *ctx, const uint8_t *data, size_t size)
{
    msw_reader *r;
    msw_unified *u;

    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_OK);
    assert_int_equal(msw_reader_unified(&u, r, "w"), MSW_OK);
    msw_reader_free(r);
    return u;
}

static uint8_t *converted(size_t *size, msw_context *ctx, const uint8_t *data,
                          size_t data_size, uint32_t encoding)
{
    const msw_store_options o = form(encoding);
    msw_reader *r;
    msw_writer *w;
    uint8_t *out;

    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, data_size, NULL), MSW_OK);
    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(msw_writer_add_all(w, r, &o), MSW_OK);
    out = file_written(w, size);
    msw_writer_free(w);
    msw_reader_free(r);
    return out;
}

static void check_same(const msw_unified *a, const msw_unified *b)
{
    const size_t end = a->plan->block_row_count, blocks = a->plan->block_count;
    const size_t unified = a->magnitude_start[end];

    assert_memory_equal(a->classes, b->classes, blocks);
    assert_int_equal(a->levels != NULL, b->levels != NULL);
    assert_int_equal(a->most_level, b->most_level);
    if (a->levels)
        assert_memory_equal(a->levels, b->levels, blocks);
    if (unified) {
        assert_memory_equal(a->magnitudes, b->magnitudes, unified * sizeof(float));
        assert_memory_equal(a->signs, b->signs, (a->sign_start[end] + 7) / 8);
    }
    if (a->free_start[end])
        assert_memory_equal(a->free_weights, b->free_weights,
                            a->free_start[end] * sizeof(float));
}

/* Saved in each form, and turned into each other form: always the same weights, and the
 * same bytes as if it had been stored in that form from the start. */
static void check_forms(fixture *f)
{
    msw_tensor *w = fixture_rough_tensor(f);

    for (uint32_t levels = 0; levels <= MSW_MAX_MERGE_LEVELS; levels++) {
        msw_unified *u = fixture_quadtree(f, w, levels), *again;
        uint8_t *files[FORMS];
        size_t sizes[FORMS];

        for (uint32_t k = 0; k < forms(); k++) {
            const msw_store_options o = form(k);

            files[k] = file_of(&sizes[k], f->ctx, u, &o);
            again = loaded(f->ctx, files[k], sizes[k]);
            check_same(u, again);
            msw_unified_free(again);
        }
        for (uint32_t from = 0; from < forms(); from++)
            for (uint32_t to = 0; to < forms(); to++) {
                size_t size;
                uint8_t *data = converted(&size, f->ctx, files[from], sizes[from], to);

                again = loaded(f->ctx, data, size);
                check_same(u, again);
                if (to != MSW_ENCODING_PACKED) {
                    assert_int_equal(size, sizes[to]);
                    assert_memory_equal(data, files[to], size);
                }
                msw_unified_free(again);
                free(data);
            }
        for (uint32_t k = 0; k < forms(); k++)
            free(files[k]);
        msw_unified_free(u);
    }
    fixture_free(w);
}

static void test_forms(void **state)
{
    (void)state;
    fixture_for_all(check_forms);
}

/* Rounded magnitudes of a node stay equal. */
static void test_rounded(void **state)
{
    static const uint32_t dtypes[] = {MSW_DTYPE_F16, MSW_DTYPE_UNIFORM, MSW_DTYPE_LOG};
    fixture f = fixture_setup(&fixture_layouts[1], NULL);
    msw_tensor *w = fixture_rough_tensor(&f);
    msw_unified *u = fixture_quadtree(&f, w, 2);
    const size_t count = u->magnitude_start[u->plan->block_row_count];

    (void)state;
    for (uint32_t k = 0; k < 4; k++) { /* the last one: f16 in the plain form */
        msw_store_options o = form(k < 3 ? MSW_ENCODING_TRANSPORT : MSW_ENCODING_PLAIN);
        msw_unified *again;
        uint8_t *data;
        size_t size;

        o.magnitudes = o.free_weights = dtypes[k % 3];
        o.magnitude_bits = o.free_bits = dtypes[k % 3] == MSW_DTYPE_F16 ? 0 : 5;
        data = file_of(&size, f.ctx, u, &o);
        again = loaded(f.ctx, data, size);
        assert_memory_equal(u->levels, again->levels, u->plan->block_count);
        for (size_t m = 0; m < count; m++) {
            const float change = again->magnitudes[m] - u->magnitudes[m];

            assert_true(again->magnitudes[m] == again->magnitudes[u->leaders[m]]);
            assert_true(change < 0.3f && change > -0.3f);
        }
        msw_unified_free(again);
        free(data);
    }
    msw_unified_free(u);
    fixture_free(w);
    fixture_teardown(&f);
}

/* The same blocks, merged or not: what is merged takes less, in the forms that say so. */
static void test_smaller(void **state)
{
    enum { SIDE = 16, BLOCKS = SIDE * SIDE };
    static const layout grid = {MSW_WEIGHTS_OI, 0, {64, 64}, 2, 4, 4, 0, false, false};
    fixture f = fixture_setup(&grid, NULL);
    msw_tensor *w = fixture_random_tensor(&f), *same;
    uint8_t classes[BLOCKS], levels[BLOCKS];
    msw_unified *merged, *single;

    (void)state;
    for (size_t b = 0; b < BLOCKS; b++) {
        const size_t quarter = b / SIDE / 4 + b % SIDE / 4;

        classes[b] = quarter % 2 ? MSW_CLASS_PRUNED : MSW_CLASS_UNIFIED;
        levels[b] = 2;
    }
    assert_int_equal(msw_unified_new_merged(&merged, f.plan, w, classes, levels, BLOCKS),
                     MSW_OK);
    same = fixture_dense(&f, merged);
    assert_int_equal(msw_unified_new(&single, f.plan, same, classes, BLOCKS), MSW_OK);
    for (uint32_t k = MSW_ENCODING_PLAIN; k <= MSW_ENCODING_TRANSPORT; k++) {
        const msw_store_options o = form(k);
        size_t size, single_size;

        free(file_of(&size, f.ctx, merged, &o));
        free(file_of(&single_size, f.ctx, single, &o));
        /* in the plain form 120 magnitudes of 4 bytes and 240 classes less; in each a
         * section more, of at most 104 bytes with its entry */
        assert_true(size < single_size + 104 - (k == MSW_ENCODING_PLAIN ? 480 : 0));
    }
    msw_unified_free(single);
    msw_unified_free(merged);
    fixture_free(same);
    fixture_free(w);
    fixture_teardown(&f);
}

/* All pruned, in nodes as large as can be: the payload of the transport form is as long as
 * its blocks need it. */
static void check_pruned(size_t rows, size_t columns, uint32_t encoding)
{
    const layout l = {MSW_WEIGHTS_OI, 0, {rows, columns}, 2, 1, 1, 0, false, false};
    faults memory = {0};
    msw_context_options options;
    fixture f;
    msw_tensor *w;
    msw_quadtree_options o;
    const msw_store_options store = form(encoding);
    msw_unified *u, *again;
    uint64_t before, most;
    uint8_t *data;
    size_t size;

    msw_context_options_init(&options);
    options.allocator = faults_allocator(&memory);
    f = fixture_setup(&l, &options);
    w = fixture_random_tensor(&f);
    msw_quadtree_options_init(&o);
    o.price = 100;
    o.levels = MSW_MAX_MERGE_LEVELS;
    assert_int_equal(msw_unified_from_quadtree(&u, f.plan, w, &o), MSW_OK);
    assert_int_equal(fixture_info(u).pruned_blocks, rows * columns);
    data = file_of(&size, f.ctx, u, &store);
    before = atomic_load(&memory.live);
    atomic_store(&memory.peak, before);
    again = loaded(f.ctx, data, size);
    most = encoding == MSW_ENCODING_TRANSPORT ? 21000 : 256;
    assert_true(atomic_load(&memory.peak) - before <= most * size + 4096);
    check_same(u, again);
    msw_unified_free(again);
    msw_unified_free(u);
    free(data);
    fixture_free(w);
    fixture_teardown(&f);
    assert_true(faults_clean(&memory));
}

static void test_all_pruned(void **state)
{
    (void)state;
    for (uint32_t k = MSW_ENCODING_PLAIN; k <= MSW_ENCODING_TRANSPORT; k++) {
        check_pruned(20000, 1, k);
        check_pruned(20000, 2, k);
        check_pruned(10000, 3, k);
        check_pruned(100, 100, k);
        check_pruned(1, 20000, k);
        check_pruned(17, 33, k);
    }
}

/* Damage */

static uint8_t *make(size_t *size, msw_context *ctx, uint32_t encoding)
{
    /* blocks of 3 x 5: odd edges in groups */
    static const size_t shape[] = {21, 42};
    msw_plan_options p;
    const msw_store_options o = form(encoding);
    float *values = malloc(21 * 42 * sizeof *values);
    uint64_t random = 5;
    uint8_t classes[70], levels[70] = {0};
    msw_tensor *t = NULL;
    msw_plan *plan = NULL;
    msw_unified *u = NULL;
    msw_writer *w = NULL;
    uint8_t *data = NULL;

    for (size_t i = 0; values && i < 21 * 42; i++)
        values[i] = (float)ref_normal(&random);
    for (size_t b = 0; b < 63; b++)
        classes[b] = (uint8_t)ref_below(&random, 3);
    for (size_t r = 0; r < 2; r++)
        for (size_t c = 0; c < 2; c++) {
            classes[9 * r + c] = MSW_CLASS_UNIFIED;      /* at (0, 0) */
            classes[9 * r + 4 + c] = MSW_CLASS_PRUNED;   /* at (0, 4) */
            levels[9 * r + c] = levels[9 * r + 4 + c] = 1;
        }
    for (size_t r = 4; r < 7; r++)
        for (size_t c = 4; c < 8; c++) { /* at (4, 4), cut by the lower edge */
            classes[9 * r + c] = MSW_CLASS_UNIFIED;
            levels[9 * r + c] = 2;
        }
    msw_plan_options_init(&p);
    p.block_rows = 3;
    p.block_columns = 5;
    if (values && !msw_tensor_borrow(&t, ctx, values, shape, NULL, 2) &&
        !msw_plan_new(&plan, ctx, shape, 2, &p) &&
        !msw_unified_new_merged(&u, plan, t, classes, levels, 63) &&
        !msw_writer_new(&w, ctx) && !msw_writer_add_unified(w, "w", u, &o)) {
        *size = (size_t)msw_writer_bytes(w);
        data = malloc(*size);
        if (data && msw_writer_write_buffer(w, data, *size)) {
            free(data);
            data = NULL;
        }
    }
    msw_writer_free(w);
    msw_unified_free(u);
    msw_plan_free(plan);
    msw_tensor_free(t);
    free(values);
    return data;
}

static uint8_t *make_plain(size_t *size, msw_context *ctx)
{
    return make(size, ctx, MSW_ENCODING_PLAIN);
}

static uint8_t *make_transport(size_t *size, msw_context *ctx)
{
    return make(size, ctx, MSW_ENCODING_TRANSPORT);
}

static uint8_t *make_packed(size_t *size, msw_context *ctx)
{
    return make(size, ctx, MSW_ENCODING_PACKED);
}

static int set_up_plain(void **state)
{
    (void)state;
    return damage_set_up_with(make_plain, 256);
}

static int set_up_transport(void **state)
{
    (void)state;
    return damage_set_up_with(make_transport, 21000);
}

static int set_up_packed(void **state)
{
    (void)state;
    return damage_set_up_with(make_packed, 256);
}

/* An older reader knows no section of type 6: it refuses a file that it may not read. */
static void test_section(void **state)
{
    const container_section map =
        container_find(damage.bytes, damage.size, MSW__SECTION_MERGE_MAP);

    (void)state;
    assert_int_equal(damage_load(damage.size), MSW_OK);
    assert_int_equal(map.flags, MSW__SECTION_CRITICAL);
    assert_int_equal(map.data[0], 2);
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t length = 0; length < damage.size; length++)
        damage_refused(damage_load(length));
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

/* With checksums repaired: refused, or weights that are what a writer writes. */
static void check_repaired(size_t *accepted)
{
    msw_status status;
    msw_entry e;

    container_repair(damage.bytes, damage.size);
    status = damage_load(damage.size);
    if (status) {
        damage_refused(status);
    } else {
        msw_reader *r;

        ++*accepted;
        assert_int_equal(
            msw_reader_open_buffer(&r, damage.ctx, damage.bytes, damage.size, NULL),
            MSW_OK);
        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, 0), MSW_OK);
        msw_reader_free(r);
        if (e.encoding != MSW_ENCODING_PACKED)
            damage_canonical();
    }
    damage_restore();
}

static void test_every_bit_repaired(void **state)
{
    size_t accepted = 0;

    (void)state;
    for (size_t bit = 0; bit < damage.size * 8; bit++) {
        damage.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_repaired(&accepted);
    }
    assert_true(accepted > 0); /* signs, names */
}

/* Every byte of the map takes every value. */
static void test_every_map(void **state)
{
    container_section map =
        container_find(damage.bytes, damage.size, MSW__SECTION_MERGE_MAP);
    size_t accepted = 0;

    (void)state;
    for (size_t i = 0; i < map.size; i++)
        for (unsigned value = 0; value < 256; value++) {
            map.data[i] = (uint8_t)value;
            check_repaired(&accepted);
        }
    assert_true(accepted >= map.size);
}

/* Pruned blocks of one weight, 16 by 16 of them merged where @p merged. */
static uint8_t *pruned_file(size_t *size, msw_context *ctx, size_t rows, size_t columns,
                            uint32_t groups, bool merged)
{
    const size_t shape[] = {rows, columns};
    const msw_store_options o = form(MSW_ENCODING_PLAIN);
    uint8_t *const classes = malloc(rows * columns), *const levels = calloc(rows, columns);
    msw_plan_options p;
    msw_tensor *t;
    msw_plan *plan;
    msw_unified *u;
    uint8_t *data;

    assert_non_null(classes);
    assert_non_null(levels);
    memset(classes, MSW_CLASS_PRUNED, rows * columns);
    for (size_t i = 0; merged && i < 16; i++)
        memset(levels + i * columns, 4, 16);
    msw_plan_options_init(&p);
    p.block_rows = p.block_columns = 1;
    p.groups = groups;
    assert_int_equal(msw_tensor_new(&t, ctx, shape, 2), MSW_OK);
    assert_int_equal(msw_plan_new(&plan, ctx, shape, 2, &p), MSW_OK);
    assert_int_equal(msw_unified_new_merged(&u, plan, t, classes, levels, rows * columns),
                     MSW_OK);
    data = file_of(size, ctx, u, &o);
    msw_unified_free(u);
    msw_plan_free(plan);
    msw_tensor_free(t);
    free(levels);
    free(classes);
    return data;
}

/* The file's record claims level 4 and a payload of so many bytes, and gets no more. */
static uint8_t *claiming_file(size_t *size, uint8_t *data, uint64_t payload)
{
    enum { COUNT = 4, FLAGS = COUNT + 4, PAYLOAD = COUNT + 32 }; /* format.md 4 */
    static uint8_t map[] = {4};
    container_section sections[16];
    size_t count = container_sections(sections, data, *size);
    bool mapped = false;
    uint8_t *out;

    for (size_t i = 0; i < count; i++) {
        if (sections[i].type == MSW__SECTION_INDEX) {
            sections[i].data[FLAGS] |= 4 << 4;
            msw__store64(sections[i].data + PAYLOAD, payload);
        }
        if (sections[i].type == MSW__SECTION_UNIFIED)
            sections[i].size = (size_t)payload;
        mapped = mapped || sections[i].type == MSW__SECTION_MERGE_MAP;
    }
    if (!mapped)
        sections[count++] =
            (container_section){MSW__SECTION_MERGE_MAP, 1, map, sizeof map};
    out = container_build(size, sections, count);
    container_repair(out, *size);
    free(data);
    return out;
}

/* Blocks that are not merged need more of a class map than the highest level says. */
static void test_short_class_map(void **state)
{
    msw_context *ctx;
    msw_reader *r;
    msw_unified *u;
    size_t size;
    uint8_t *data;

    (void)state;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    data = pruned_file(&size, ctx, 16, 4096, 1, true);
    data = claiming_file(&size, data, 32);
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_OK);
    assert_int_equal(msw_reader_unified(&u, r, "w"), MSW_E_FORMAT);
    msw_reader_free(r);
    free(data);
    msw_context_free(ctx);
}

/* Nor does a payload of no size for blocks that cannot be merged make memory for them. */
static void test_impossible_level(void **state)
{
    msw_context *ctx;
    msw_reader *r;
    size_t size;
    uint8_t *data;

    (void)state;
    assert_int_equal(msw_context_new(&ctx, NULL), MSW_OK);
    data = pruned_file(&size, ctx, 4096, 1, 4096, false);
    data = claiming_file(&size, data, 4096 / 2048);
    assert_int_equal(msw_reader_open_buffer(&r, ctx, data, size, NULL), MSW_E_FORMAT);
    free(data);
    msw_context_free(ctx);
}

#define MERGE_DAMAGE(name, form_name)                                                \
    {                                                                                \
        #form_name " " #name, name, set_up_##form_name, damage_tear_down, NULL       \
    }
#define MERGE_DAMAGES(name) \
    MERGE_DAMAGE(name, plain), MERGE_DAMAGE(name, transport)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_rounded),
        cmocka_unit_test(test_smaller),
        cmocka_unit_test(test_all_pruned),
        cmocka_unit_test(test_short_class_map),
        cmocka_unit_test(test_impossible_level),
        MERGE_DAMAGES(test_section),
        MERGE_DAMAGES(test_every_truncation),
        MERGE_DAMAGES(test_every_bit),
        MERGE_DAMAGES(test_every_bit_repaired),
        MERGE_DAMAGES(test_every_map),
        MERGE_DAMAGE(test_section, packed),
        MERGE_DAMAGE(test_every_truncation, packed),
        MERGE_DAMAGE(test_every_bit, packed),
        MERGE_DAMAGE(test_every_bit_repaired, packed),
        MERGE_DAMAGE(test_every_map, packed),
    };
    enum { ALL = sizeof tests / sizeof *tests, PACKED = 5 };

    return _cmocka_run_group_tests("tests", tests, msw__packed_native() ? ALL : ALL - PACKED,
                                   NULL, NULL);
}
