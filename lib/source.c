/* SPDX-License-Identifier: BSD-2-Clause */
#include "source.h"

#include "os.h"

#include <stdio.h>
#include <string.h>

/* Bytes got, 0 at the end, negative on error. */
static int64_t read_some(const msw__source *s, uint64_t offset, void *data, size_t size)
{
    if (s->io.read_at)
        return s->io.read_at(offset, data, size, s->io.user);
    return msw__os_read_at(s->file, offset, data, size);
}

static msw_status fail(const msw__source *s, int64_t got, size_t wanted, char *reason,
                       size_t size)
{
    if (got == 0)
        snprintf(reason, size, "it ends before its length");
    else if (got > 0)
        snprintf(reason, size, "read callback says %lld bytes of %llu", (long long)got,
                 (unsigned long long)wanted);
    else if (s->io.read_at)
        snprintf(reason, size, "read callback returned %lld", (long long)got);
    else
        msw__os_error_text(reason, size, (int)got);
    return got > 0 ? MSW_E_HOST : MSW_E_IO;
}

msw_status msw__source_read(const msw__source *s, uint64_t offset, void *data, size_t size,
                            char *reason, size_t reason_size)
{
    uint8_t *to = data;

    if (s->memory) {
        memcpy(to, s->memory + offset, size);
        return MSW_OK;
    }
    while (size > 0) {
        const int64_t got = read_some(s, offset, to, size);
        if (got <= 0 || (uint64_t)got > size)
            return fail(s, got, size, reason, reason_size);
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return MSW_OK;
}

void msw__source_close(msw__source *s)
{
    if (s->file >= 0)
        msw__os_close(s->file);
    s->file = -1;
}
