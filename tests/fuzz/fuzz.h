/* SPDX-License-Identifier: BSD-2-Clause */
/* What libFuzzer calls, and calls of ours. */
#ifndef MSW_TESTS_FUZZ_H
#define MSW_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

#endif /* MSW_TESTS_FUZZ_H */
