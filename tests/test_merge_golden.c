/* SPDX-License-Identifier: BSD-2-Clause */
/* Files with merged blocks that must stay readable, and what a reader says of them. */
#include "file_fixture.h"
#include "fixture.h"
#include "internal.h"
#include "merge.h"
#include "packed_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1, COLUMNS = 2, STORES = 3 /* in each of the two files */ };

/* With price in the place of the share to prune. */
static const sample_layer layers[] = {
    {"small blocks", {40, 27}, 2, MSW_WEIGHTS_OI, 0, 2, 3, 1, COLUMNS, 0.05, 0, 0, 0, 21,
     NULL, 2},
    {"groups", {34, 2, 3, 3}, 4, MSW_WEIGHTS_OIHW, 0, 3, 4, 2, ROWS, 0.02, 0, 0, 0, 22, NULL,
     1},
    {"single weights", {40, 18}, 2, MSW_WEIGHTS_IO, 0, 1, 1, 1, 0, 0.1, 0, 0, 0, 23, NULL,
     4},
};
enum { LAYERS = sizeof layers / sizeof *layers };

/* Of the first file: plain, plain with f16, transport with rounded values; of the second
 * one the packed form for kernels in C and for AVX-512, few columns too. */
static msw_store_options store(bool packed, size_t k)
{
    msw_store_options o;

    if (packed)
        return packed_options(k == 2 ? 1 : 64, k == 0 ? MSW_CPU_C : MSW_CPU_AVX512);
    msw_store_options_init(&o);
    if (k == 1)
        o.magnitudes = o.free_weights = MSW_DTYPE_F16;
    if (k < 2)
        return o;
    o.encoding = MSW_ENCODING_TRANSPORT;
    o.magnitudes = MSW_DTYPE_LOG;
    o.magnitude_bits = 2;
    o.free_weights = MSW_DTYPE_UNIFORM;
    o.free_bits = 6;
    return o;
}

static void add_all(msw_writer *w, bool packed)
{
    for (size_t i = 0; i < LAYERS; i++)
        for (size_t k = 0; k < STORES; k++) {
            const msw_store_options o = store(packed, k);
            msw_unified *u = sample_unified(file_ctx, &layers[i]);
            char name[64];

            snprintf(name, sizeof name, "%s, %lu", layers[i].name, (unsigned long)k);
            assert_non_null(u);
            assert_int_equal(msw_writer_add_unified(w, name, u, &o), MSW_OK);
            msw_unified_free(u);
        }
}

/* Nodes of every level that there may be, merged ones of both classes, and blocks of all
 * three that are not. */
static void test_layers(void **state)
{
    bool level_seen[MSW_MAX_MERGE_LEVELS + 1] = {false}, seen[2][3] = {{false}};

    (void)state;
    for (size_t i = 0; i < LAYERS; i++) {
        msw_unified *u = sample_unified(file_ctx, &layers[i]);

        assert_non_null(u);
        assert_int_equal(u->most_level, layers[i].levels);
        for (size_t b = 0; b < u->plan->block_count; b++) {
            level_seen[u->levels[b]] = true;
            seen[u->levels[b] > 0][u->classes[b]] = true;
        }
        msw_unified_free(u);
    }
    for (unsigned level = 0; level <= MSW_MAX_MERGE_LEVELS; level++)
        assert_true(level_seen[level]);
    for (unsigned k = 0; k < 3; k++) {
        assert_true(seen[0][k]);
        assert_int_equal(seen[1][k], k != MSW_CLASS_FREE);
    }
}

static void check_values(const msw_unified *got, const msw_unified *want)
{
    const size_t end = want->plan->block_row_count;

    assert_memory_equal(got->classes, want->classes, want->plan->block_count);
    assert_memory_equal(got->levels, want->levels, want->plan->block_count);
    assert_memory_equal(got->signs, want->signs, (want->sign_start[end] + 7) / 8);
    assert_memory_equal(got->magnitudes, want->magnitudes,
                        want->magnitude_start[end] * sizeof(float));
    assert_memory_equal(got->free_weights, want->free_weights,
                        want->free_start[end] * sizeof(float));
}

/* The entry says the highest level, and counts of nodes fit the levels. */
static void check_told(msw_reader *r, size_t i, const msw_unified *u)
{
    uint64_t nodes[MSW_MAX_MERGE_LEVELS + 1] = {0}, all = 0;
    msw_unified_info info = fixture_info(u);
    msw_entry e;

    msw_entry_init(&e);
    assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
    assert_int_equal(e.merge_levels, layers[i / STORES].levels);
    assert_int_equal(e.reserved, 0);
    for (size_t b = 0; b < u->plan->block_count; b++)
        if (msw__node_begins(u->plan, u->levels, b))
            nodes[u->levels[b]]++;
    assert_memory_equal(info.nodes, nodes, sizeof nodes);
    for (unsigned level = 0; level <= MSW_MAX_MERGE_LEVELS; level++)
        all += info.nodes[level];
    assert_int_equal(all, msw__node_count(u->plan, u->levels));
}

/* The tensors of the file, densely, are those of the other one. */
static void check_file(const char *name, const char *dense_name, bool packed)
{
    size_t size, dense_size, at = 0;
    uint8_t *data = file_golden(name, &size), *dense = file_golden(dense_name, &dense_size);
    msw_reader *r = file_open(data, size);

    assert_int_equal(msw_reader_count(r), LAYERS * STORES);
    for (size_t i = 0; i < LAYERS * STORES; i++) {
        msw_unified *want = sample_unified(file_ctx, &layers[i / STORES]), *got;
        msw_tensor *t;
        msw_entry e;

        msw_entry_init(&e);
        assert_int_equal(msw_reader_get_entry(&e, r, i), MSW_OK);
        assert_int_equal(msw_reader_unified(&got, r, e.name), MSW_OK);
        check_told(r, i, got);
        if (packed || i % STORES == 0)
            check_values(got, want);
        assert_int_equal(msw_tensor_new(&t, file_ctx, e.shape, e.rank), MSW_OK);
        assert_int_equal(msw_unified_to_dense(t, got), MSW_OK);
        for (size_t k = 0; k < t->count; k++, at += 4) {
            const uint8_t *b = dense + at;
            const uint32_t bits = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                                  (uint32_t)b[3] << 24;

            assert_true(at + 4 <= dense_size);
            assert_memory_equal(&t->data[k], &bits, 4);
        }
        msw_tensor_free(t);
        msw_unified_free(got);
        msw_unified_free(want);
    }
    assert_int_equal(at, dense_size);
    msw_reader_free(r);
    free(dense);
    free(data);
}

/* A file that an earlier version wrote still loads, and the same layers still give the
 * same bytes. */
static void test_golden(void **state)
{
    size_t size, again_size;
    uint8_t *data = file_golden("ok-1-merged.msw", &size), *again;
    msw_writer *w = file_new_writer();

    (void)state;
    check_file("ok-1-merged.msw", "ok-1-merged.dense", false);
    add_all(w, false);
    again = file_written(w, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    msw_writer_free(w);
    free(again);
    free(data);
}

static void test_golden_packed(void **state)
{
    (void)state;
    if (!packed_missing())
        check_file("ok-1-merged-packed.msw", "ok-1-merged-packed.dense", true);
}

/* An entry of before the level was in it is not written beyond its end. */
static void test_older_entry(void **state)
{
    union {
        msw_entry entry;
        unsigned char bytes[sizeof(msw_entry)];
    } e;
    size_t size;
    uint8_t *data = file_golden("ok-1-merged.msw", &size);
    msw_reader *r = file_open(data, size);

    (void)state;
    memset(&e, 0x5a, sizeof e);
    e.entry.size = offsetof(msw_entry, merge_levels);
    assert_int_equal(msw_reader_get_entry(&e.entry, r, 0), MSW_OK);
    for (size_t i = offsetof(msw_entry, merge_levels); i < sizeof e.bytes; i++)
        assert_int_equal(e.bytes[i], 0x5a);
    msw_reader_free(r);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_layers),
        FILE_TEST(test_golden),
        FILE_TEST(test_golden_packed),
        FILE_TEST(test_older_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
