/* SPDX-License-Identifier: BSD-2-Clause */
/* A file in the packed form and a copy of it to be damaged. The functions assert. */
#ifndef MSW_TESTS_PACKED_DAMAGE_H
#define MSW_TESTS_PACKED_DAMAGE_H

#include "faults.h"
#include "packed_fixture.h"

#include <msw/msw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A file, a copy of just its size to damage, and where its payload is. */
typedef struct packed_damage {
    faults memory;
    msw_context *ctx;
    packed_file file;
    uint8_t *bytes;
    size_t payload, payload_size;
} packed_damage;

/* A context of its own; then the file of u, made from that. */
void packed_damage_open(packed_damage *b, uint32_t cpu);
void packed_damage_write(packed_damage *b, const msw_unified *u, msw_store_options o);
/* Both, of PACKED_ROWS x PACKED_COLUMNS weights with a block that is in no packing. */
enum { PACKED_ROWS = 37, PACKED_COLUMNS = 27 };
void packed_damage_set_up(packed_damage *b, const weights_spec *spec, uint32_t cpu,
                          size_t expected_n);
void packed_damage_tear_down(packed_damage *b);

/* A status that a damaged file may have. */
bool packed_damage_allowed(msw_status status);
/* Load the first bytes and run the product: nothing kept, and all outputs written unless
 * the file is trusted. */
msw_status packed_damage_try(const packed_damage *b, size_t size, bool trusted);

#endif /* MSW_TESTS_PACKED_DAMAGE_H */
