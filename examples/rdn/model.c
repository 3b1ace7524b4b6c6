/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include <string.h>
#include <sys/stat.h>

#include "../must.h"
#include "memory.h"
#include "weights.h"

void model_dense(struct model *m, const struct network *net, msw_context *ctx,
                 uint32_t fallback)
{
    m->bytes = m->bytes_plain = 0;
    forward_new(&m->forward, net, ctx);
    for (size_t i = 0; i < net->count; i++) {
        const struct layer *l = &net->layers[i];

        if (l->kind == LAYER_CONV) {
            msw_unified *u = weights_free(ctx, l);

            forward_set_layer(&m->forward, i, u, l->bias, fallback);
            m->bytes += (layer_weight_count(l) + l->channels) * sizeof(float);
            msw_unified_free(u);
        }
    }
}

/* The same contents in a file that is quick to load instead of small. */
static uint64_t plain_bytes(msw_context *ctx, msw_reader *reader)
{
    uint64_t bytes;
    msw_store_options half;
    msw_writer *writer;

    msw_store_options_init(&half);
    half.magnitudes = half.free_weights = MSW_DTYPE_F16;
    must(msw_writer_new(&writer, ctx), "writer");
    must(msw_writer_add_all(writer, reader, &half), "plain form");
    bytes = msw_writer_bytes(writer);
    msw_writer_free(writer);
    return bytes;
}

void model_open(struct model *m, const struct network *net, msw_context *ctx,
                const char *path)
{
    struct stat file;
    msw_reader *reader;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    must(stat(path, &file) == 0 ? MSW_OK : MSW_E_IO, path);
    m->bytes = (uint64_t)file.st_size;
    m->bytes_plain = plain_bytes(ctx, reader);
    forward_new(&m->forward, net, ctx);
    for (size_t i = 0; i < net->count; i++) {
        const struct layer *l = &net->layers[i];

        if (l->kind == LAYER_CONV) {
            float *bias = allocate_floats(l->channels);
            msw_unified *u = weights_load(bias, reader, l);

            forward_set_layer(&m->forward, i, u, bias, MSW_FALLBACK_NEVER);
            msw_unified_free(u);
            free(bias);
        }
    }
    msw_reader_free(reader);
}

void model_free(struct model *m)
{
    forward_free(&m->forward);
}

struct image model_upscale(struct model *m, const struct image *image)
{
    struct forward *f = &m->forward;
    const size_t last = f->net->count - 1, scale = f->net->layers[last].scale;
    struct image out = image_new(image->height * scale, image->width * scale);

    forward_start(f, image->pixels, 1, image->height, image->width);
    memcpy(out.pixels, forward_run(f, 1), forward_size(f, last) * sizeof(float));
    return out;
}
