/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 as hexadecimal text. */
#ifndef MSW_TOOLS_HASH_H
#define MSW_TOOLS_HASH_H

#include <stddef.h>

enum { HASH_TEXT = 65 };
void hash_text(char out[HASH_TEXT], const void *data, size_t size);

#endif /* MSW_TOOLS_HASH_H */
