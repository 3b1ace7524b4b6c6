/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that a reader and handles made from it use together: the host's, or a copy. */
#ifndef MSW_LIB_BUFFER_H
#define MSW_LIB_BUFFER_H

#include "internal.h"

typedef struct msw__buffer {
    msw__refs refs;
    msw_context *ctx;
    const void *data;
    void *owned;    /* data, when it is a copy, */
    size_t size;    /* of so many bytes */
    void (*release)(const void *data, void *user); /* of the host's; or NULL */
    void *release_user;
} msw__buffer;

/* Of the host's memory. */
msw_status msw__buffer_new(msw__buffer **out, msw_context *ctx,
                           const void *data) MSW_NODISCARD;
/* Of memory of its own. */
msw_status msw__buffer_alloc(msw__buffer **out, msw_context *ctx, size_t size) MSW_NODISCARD;
msw__buffer *msw__buffer_ref(msw__buffer *buffer);
/* The last one calls release. NULL is fine. */
void msw__buffer_free(msw__buffer *buffer);

#endif /* MSW_LIB_BUFFER_H */
