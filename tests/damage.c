/* SPDX-License-Identifier: BSD-2-Clause */
#include "damage.h"

#include "container.h"
#include "sample_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Memory that a file may take per byte, loaded one tensor at a time. The most is that of
 * a column of blocks, 8 of which are in a byte: each takes 3 * 8 bytes for the starts of
 * its row and two for its class. */
enum { MOST_PER_BYTE = 8 * 26, MOST_BESIDE = 4096 };
/* In the transport form 353 blocks are in a byte, or 2860 free weights. */
enum { MOST_PER_TRANSPORT_BYTE = 353 * 26 + 2860 * 4 };

struct damage damage;

const uint64_t damage_abuse[] = {
    0, 1, 2, 63, 64, 65, 127, 128, 254, 255, 256, 32767, 32768, 65534, 65535, 65536,
    0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x100000000, 0x100000001,
    0x3fffffffffffffff, 0x4000000000000000, 0x7fffffffffffffff, 0x8000000000000000,
    0xfffffffffffffff0, 0xffffffffffffffff};
const size_t damage_abuses = sizeof damage_abuse / sizeof *damage_abuse;

/* Open and load everything of the damaged file. */
msw_status damage_load(size_t length)
{
    const uint64_t before = atomic_load(&damage.memory.live);
    msw_status status;

    atomic_store(&damage.memory.peak, before);
    status = sample_open_and_load(damage.ctx, damage.bytes, length);
    assert_true(atomic_load(&damage.memory.live) == before);
    assert_true(atomic_load(&damage.memory.peak) - before <=
                damage.most * length + MOST_BESIDE);
    return status;
}

void damage_refused(msw_status status)
{
    assert_true(status == MSW_E_FORMAT || status == MSW_E_CORRUPT ||
                status == MSW_E_UNSUPPORTED);
}

void damage_restore(void)
{
    memcpy(damage.bytes, damage.file, damage.size);
}

/* What the reader accepts is exactly what a writer writes. */
void damage_canonical(void)
{
    msw_reader *r;
    msw_writer *w;
    uint8_t *again;

    assert_int_equal(
        msw_reader_open_buffer(&r, damage.ctx, damage.bytes, damage.size, NULL), MSW_OK);
    assert_int_equal(msw_writer_new(&w, damage.ctx), MSW_OK);
    assert_int_equal(sample_copy(w, r), MSW_OK);
    assert_int_equal(msw_writer_bytes(w), damage.size);
    again = malloc(damage.size);
    assert_non_null(again);
    assert_int_equal(msw_writer_write_buffer(w, again, damage.size), MSW_OK);
    assert_memory_equal(again, damage.bytes, damage.size);
    free(again);
    msw_writer_free(w);
    msw_reader_free(r);
}

void damage_put(uint8_t *at, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* One change to the sample, with checksums repaired, and what becomes of it. */
void damage_expect(msw_status wanted)
{
    container_repair(damage.bytes, damage.size);
    assert_int_equal(damage_load(damage.size), wanted);
    damage_restore();
}

int damage_set_up_with(uint8_t *(*make)(size_t *size, msw_context *ctx), uint64_t most)
{
    memset(&damage.memory, 0, sizeof damage.memory);
    damage.most = most;
    damage.ctx = faults_context(&damage.memory);
    if (!damage.ctx)
        return 1;
    damage.file = make(&damage.size, damage.ctx);
    damage.bytes = damage.file ? malloc(damage.size) : NULL;
    if (!damage.bytes)
        return 1;
    damage_restore();
    return 0;
}

int damage_set_up(void **state)
{
    (void)state;
    return damage_set_up_with(sample_file, MOST_PER_BYTE);
}

int damage_set_up_transport(void **state)
{
    (void)state;
    return damage_set_up_with(sample_transport_file, MOST_PER_TRANSPORT_BYTE);
}

int damage_tear_down(void **state)
{
    (void)state;
    free(damage.file);
    free(damage.bytes);
    msw_context_free(damage.ctx);
    return !faults_clean(&damage.memory);
}
