/* SPDX-License-Identifier: BSD-2-Clause */
#include "buffer.h"

msw_status msw__buffer_new(msw__buffer **out, msw_context *ctx, const void *data)
{
    void *memory;
    const msw_status status = msw__calloc(&memory, ctx, 1, sizeof **out);

    *out = memory;
    if (status)
        return status;
    atomic_init(&(*out)->refs, 1);
    (*out)->ctx = msw_context_ref(ctx);
    (*out)->data = data;
    return MSW_OK;
}

msw_status msw__buffer_alloc(msw__buffer **out, msw_context *ctx, size_t size)
{
    void *memory;
    msw_status status = msw__buffer_new(out, ctx, NULL);

    if (status)
        return status;
    status = msw__alloc(&memory, ctx, size, 1);
    (*out)->data = (*out)->owned = memory;
    (*out)->size = size;
    if (status) {
        msw__buffer_free(*out);
        *out = NULL;
    }
    return status;
}

msw__buffer *msw__buffer_ref(msw__buffer *buffer)
{
    msw__refs_take(&buffer->refs);
    return buffer;
}

void msw__buffer_free(msw__buffer *buffer)
{
    msw_context *ctx;

    if (!buffer || !msw__refs_drop(&buffer->refs))
        return;
    ctx = buffer->ctx;
    if (buffer->release)
        buffer->release(buffer->data, buffer->release_user);
    msw__free(ctx, buffer->owned, buffer->size, 1);
    msw__free(ctx, buffer, 1, sizeof *buffer);
    msw_context_free(ctx);
}
