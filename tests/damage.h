/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of the sample model and a copy of it to be damaged. The functions assert. */
#ifndef MSW_TESTS_DAMAGE_H
#define MSW_TESTS_DAMAGE_H

#include "faults.h"

#include <msw/msw.h>

extern struct damage {
    faults memory;
    msw_context *ctx;
    uint8_t *file, *bytes; /* the good one, the damaged one */
    size_t size;           /* of both */
    uint64_t most;         /* memory that a byte may take */
} damage;

/* Another file, from malloc(), and what a byte of it may take. */
int damage_set_up_with(uint8_t *(*make)(size_t *size, msw_context *ctx), uint64_t most);
int damage_set_up(void **state);
int damage_set_up_transport(void **state);
int damage_tear_down(void **state);
#define DAMAGE_TEST(name) \
    cmocka_unit_test_setup_teardown(name, damage_set_up, damage_tear_down)
/* The same with a file in the transport form. */
#define DAMAGE_TRANSPORT_TEST(name)                                         \
    {                                                                       \
        "transport " #name, name, damage_set_up_transport, damage_tear_down, NULL \
    }

/* Numbers that overflow, wrap or index out of something. */
extern const uint64_t damage_abuse[];
extern const size_t damage_abuses;

void damage_restore(void);
/* Little-endian. */
void damage_put(uint8_t *at, uint64_t value, size_t width);
/* Open and load everything: no more memory than length is worth, and none kept. */
msw_status damage_load(size_t length);
/* A status that a damaged file may have. */
void damage_refused(msw_status status);
/* One change, with checksums repaired, and what becomes of it. Restores the file. */
void damage_expect(msw_status wanted);
/* What the reader accepted is exactly what a writer writes. */
void damage_canonical(void);

#endif /* MSW_TESTS_DAMAGE_H */
