/* SPDX-License-Identifier: BSD-2-Clause */
/* Models written to memory and read back. The functions assert. */
#ifndef MSW_TESTS_FILE_FIXTURE_H
#define MSW_TESTS_FILE_FIXTURE_H

#include "faults.h"
#include "sample_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

extern msw_context *file_ctx;
extern char file_log[256]; /* the last line */

int file_set_up(void **state);
int file_tear_down(void **state);
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, file_set_up, file_tear_down)

msw_writer *file_new_writer(void);
/* All that it would write; free(). */
uint8_t *file_written(msw_writer *w, size_t *size);
msw_reader *file_open(const uint8_t *data, size_t size);
/* A file of tests/golden; free(). */
uint8_t *file_golden(const char *name, size_t *size);

/* What was read is what was written, within what f16 keeps: one layer, or the whole of
 * the sample model with its entries and metadata. */
void file_check_layer(msw_reader *r, const sample_layer *layer);
void file_check_all(msw_reader *r);

#endif /* MSW_TESTS_FILE_FIXTURE_H */
