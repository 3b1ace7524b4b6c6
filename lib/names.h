/* SPDX-License-Identifier: BSD-2-Clause */
/* Unique names in the order they were added, found in logarithmic time. */
#ifndef MSW_LIB_NAMES_H
#define MSW_LIB_NAMES_H

#include "internal.h"

#define MSW__MAX_NAME 1023u

typedef struct msw__names {
    const char **names; /* not owned */
    uint32_t *sorted;   /* numbers of names, in the order of strcmp() */
    size_t count, capacity;
} msw__names;

/* UTF-8, 1 to MSW__MAX_NAME bytes, no control characters (names end up in logs). */
bool msw__name_valid(const char *name, size_t length);

/* Room for @p more names. MSW_E_RANGE beyond 2^32 - 1. */
msw_status msw__names_reserve(msw__names *n, msw_context *ctx, size_t more) MSW_NODISCARD;
/* Into the room reserved; the name must not be there yet. */
void msw__names_add(msw__names *n, const char *name);
/* Many at once: append them all in any order, then sort. Returns the number of a name
 * that is there twice, or count when there is none. */
void msw__names_append(msw__names *n, const char *name);
size_t msw__names_sort(msw__names *n);
/* Forget all but the first @p count, added by whichever of these. */
void msw__names_truncate(msw__names *n, size_t count);
/* False when it is not there. */
bool msw__names_find(size_t *out, const msw__names *n, const char *name);
void msw__names_free(msw__names *n, msw_context *ctx);

#endif /* MSW_LIB_NAMES_H */
