/* SPDX-License-Identifier: BSD-2-Clause */
#include "hash.h"

#include <stdint.h>
#include <sys/types.h>
#include <sha2.h>

void hash_text(char out[HASH_TEXT], const void *data, size_t size)
{
    SHA2_CTX state;

    SHA256Init(&state);
    SHA256Update(&state, data, size);
    SHA256End(&state, out);
}
