/* SPDX-License-Identifier: BSD-2-Clause */
/* The only way to memory, and the only place where sizes are added and multiplied. */
#ifndef MSW_LIB_ALLOC_H
#define MSW_LIB_ALLOC_H

#include <msw/base.h>
#include <stdbool.h>

/* Everything is 64-byte aligned: cache lines, and the widest vectors. */
#define MSW__ALIGN 64u

/* *out = a * b or a + b; false when that overflows, *out is then unspecified. */
static inline bool msw__size_mul(size_t *out, size_t a, size_t b)
{
    *out = a * b;
    return a == 0 || b <= SIZE_MAX / a;
}

static inline bool msw__size_add(size_t *out, size_t a, size_t b)
{
    *out = a + b;
    return *out >= a;
}

/* @p count elements of @p size bytes, not initialised, counted against the memory
 * limit. count 0 gives NULL and MSW_OK. MSW_E_NOMEM also when the size overflows;
 * MSW_E_LIMIT beyond the limit. *out is NULL on failure. */
msw_status msw__alloc(void **out, msw_context *ctx, size_t count, size_t size) MSW_NODISCARD;
/* The same, all zero. */
msw_status msw__calloc(void **out, msw_context *ctx, size_t count, size_t size) MSW_NODISCARD;
/* NULL is fine. count and size as given to msw__alloc(). */
void msw__free(msw_context *ctx, void *ptr, size_t count, size_t size);
/* A copy of a string, NULL for NULL. Free with msw__free(ctx, s, strlen(s) + 1, 1). */
msw_status msw__strdup(char **out, msw_context *ctx, const char *text) MSW_NODISCARD;

#endif /* MSW_LIB_ALLOC_H */
