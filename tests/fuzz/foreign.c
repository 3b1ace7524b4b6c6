/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a safetensors, npy or npz file for the program msw: a problem with a text,
 * or arrays that can all be read, and be read again with the same result. */
#include "fuzz.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>

/* An npz may say that it holds more than there is memory. */
enum { MEMORY = 64 << 20, MOST_BYTES = 1 << 20 };

static void require(int condition)
{
    if (!condition)
        abort();
}

static void read_twice(struct model *m, const struct item *item)
{
    uint8_t *first = calloc(item->bytes + 1, 1), *second = calloc(item->bytes + 1, 1);
    struct problem p = {CODE_OK, ""}, q = {CODE_OK, ""};

    require(first && second);
    require(model_read(first, m, item, &p) == model_read(second, m, item, &q));
    require(p.code != CODE_OK || memcmp(first, second, item->bytes) == 0);
    require(p.code == CODE_OK || p.text[0]);
    free(first);
    free(second);
}

static void read_item(struct model *m, const struct item *item)
{
    struct problem p = {CODE_OK, ""};
    char shape[SHAPE_TEXT];
    msw_tensor *tensor;

    require(item->count == 0 || item->bytes / item->count == element_size(item->type));
    require(shape_text(shape, item)[0]);
    if (item->bytes > MOST_BYTES)
        return;
    read_twice(m, item);
    if (item_is_tensor(item)) {
        require((model_tensor(&tensor, m, item, &p) == CODE_OK) == (tensor != NULL));
        require(!tensor || msw_tensor_count(tensor) == item->count);
        msw_tensor_free(tensor);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problem p = {CODE_OK, ""};
    uint8_t *copy = malloc(size ? size : 1);
    msw_context_options o;
    msw_context *ctx;
    struct model m;

    msw_context_options_init(&o);
    o.memory_limit = MEMORY;
    require(copy && msw_context_new(&ctx, &o) == MSW_OK);
    memcpy(copy, data, size);
    /* Files of libmsw's own have targets of their own. */
    if (size >= 4 && memcmp(data, "\x89MSW", 4) != 0 &&
        model_open_buffer(&m, ctx, copy, size, &p) == CODE_OK) {
        for (size_t i = 0; i < m.count; i++)
            read_item(&m, &m.items[i]);
        model_close(&m);
    } else {
        require(p.code == CODE_OK || p.text[0]);
    }
    msw_context_free(ctx);
    free(copy);
    return 0;
}
