/* SPDX-License-Identifier: BSD-2-Clause */
#include "alloc.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Used when the host gave no hooks. C11 wants the size to be a multiple of the
 * alignment. */
void *msw__default_alloc(size_t size, size_t align, void *user)
{
    size_t rounded;

    (void)user;
    if (!msw__size_add(&rounded, size, align - 1))
        return NULL;
    return aligned_alloc(align, rounded & ~(align - 1));
}

void msw__default_free(void *ptr, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(ptr);
}

/* Counted before it is allocated, so that two threads cannot pass the limit together. */
static bool reserve(msw_context *ctx, size_t bytes)
{
    const uint64_t limit = ctx->options.memory_limit ? ctx->options.memory_limit : UINT64_MAX;
    uint64_t held = atomic_load_explicit(&ctx->memory, memory_order_relaxed);

    do {
        if (bytes > limit - held)
            return false;
    } while (!atomic_compare_exchange_weak(&ctx->memory, &held, held + bytes));
    return true;
}

msw_status msw__alloc(void **out, msw_context *ctx, size_t count, size_t size)
{
    const msw_allocator *a = &ctx->options.allocator;
    size_t bytes;

    *out = NULL;
    if (!msw__size_mul(&bytes, count, size))
        return MSW_E_NOMEM;
    if (bytes == 0)
        return MSW_OK;
    if (!reserve(ctx, bytes)) /* without a limit: more than a counter can count */
        return ctx->options.memory_limit ? MSW_E_LIMIT : MSW_E_NOMEM;
    *out = a->alloc(bytes, MSW__ALIGN, a->user);
    if (*out)
        return MSW_OK;
    atomic_fetch_sub(&ctx->memory, bytes);
    return MSW_E_NOMEM;
}

msw_status msw__calloc(void **out, msw_context *ctx, size_t count, size_t size)
{
    const msw_status status = msw__alloc(out, ctx, count, size);

    if (*out)
        memset(*out, 0, count * size);
    return status;
}

void msw__free(msw_context *ctx, void *ptr, size_t count, size_t size)
{
    const msw_allocator *a = &ctx->options.allocator;

    if (!ptr)
        return;
    a->free(ptr, count * size, a->user);
    atomic_fetch_sub(&ctx->memory, count * size);
}

msw_status msw__strdup(char **out, msw_context *ctx, const char *text)
{
    void *copy = NULL;
    msw_status status = MSW_OK;

    if (text) {
        status = msw__alloc(&copy, ctx, strlen(text) + 1, 1);
        if (copy)
            memcpy(copy, text, strlen(text) + 1);
    }
    *out = copy;
    return status;
}
