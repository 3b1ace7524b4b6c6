/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#include "packed_damage.h"

#include "bytes.h"
#include "container.h"
#include "file_format.h"

#include <stdlib.h>
#include <string.h>

enum { PART = 32 }; /* columns of a product, at most */

void packed_damage_open(packed_damage *b, uint32_t cpu)
{
    msw_context_options c;

    memset(b, 0, sizeof *b);
    msw_context_options_init(&c);
    c.allocator = faults_allocator(&b->memory);
    b->ctx = packed_context(cpu, &c);
}

void packed_damage_write(packed_damage *b, const msw_unified *u, msw_store_options o)
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

void packed_damage_set_up(packed_damage *b, const weights_spec *spec, uint32_t cpu,
                          size_t expected_n)
{
    weights w;

    packed_damage_open(b, cpu);
    weights_make(&w, b->ctx, spec);
    w.u->magnitudes[0] = 0; /* a block that is in no packing */
    packed_damage_write(b, w.u, packed_options(expected_n, 0));
    weights_free(&w);
}

void packed_damage_tear_down(packed_damage *b)
{
    packed_file_free(&b->file);
    free(b->bytes);
    msw_context_free(b->ctx);
    assert_true(faults_clean(&b->memory));
}

bool packed_damage_allowed(msw_status status)
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
    static float y[PACKED_ROWS * PART];
    msw_gemm_options o;
    msw_unified *u;
    msw_gemm *g;
    msw_status status, loaded;

    loaded = msw_reader_unified(&u, r, "w");
    assert_true(packed_damage_allowed(loaded) && !u == (loaded != MSW_OK));
    msw_unified_free(u);
    msw_gemm_options_init(&o);
    o.fallback = MSW_FALLBACK_NEVER;
    status = msw_reader_gemm(&g, r, "w", &o);
    assert_true(packed_damage_allowed(status) && !g == (status != MSW_OK));
    if (status)
        assert_true(msw_reader_error(r)[0] != 0);
    /* the size of the matrix is not in the payload */
    for (size_t n = 1; !status && n <= PART; n = n * 3 + 2) {
        assert_int_equal(packed_run(y, g, PACKED_ROWS, PACKED_COLUMNS, n), MSW_OK);
        assert_true(trusted || all_written(y, PACKED_ROWS * n));
    }
    msw_gemm_free(g);
    return status ? status : loaded;
}

msw_status packed_damage_try(const packed_damage *b, size_t size, bool trusted)
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
    assert_true(packed_damage_allowed(status));
    assert_true(atomic_load(&b->memory.live) == before);
    return status;
}
