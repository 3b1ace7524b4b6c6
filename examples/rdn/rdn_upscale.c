/* SPDX-License-Identifier: BSD-2-Clause */
/* rdn-upscale MODEL.json [WEIGHTS.msw] IMAGE OUT.png: enlarge an image, with the weights of
 * the model or with compressed ones. To OUT.f32 go the numbers as they are. */
#include <errno.h>
#include <string.h>

#include "../must.h"
#include "image.h"
#include "model.h"

static bool ends_in(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool save_floats(const struct image *image, const char *path)
{
    const size_t count = image->height * image->width * IMAGE_CHANNELS;
    FILE *file = fopen(path, "wb");
    bool good = file != NULL && fwrite(image->pixels, sizeof(float), count, file) == count;

    if (file != NULL && fclose(file) != 0)
        good = false;
    if (!good)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return good;
}

int main(int argc, char **argv)
{
    struct image image, enlarged;
    struct model model;
    struct network net;
    bool good;
    msw_context *ctx;

    if (argc != 4 && argc != 5) {
        fputs("usage: rdn-upscale MODEL.json [WEIGHTS.msw] IMAGE OUT.png\n", stderr);
        return 2;
    }
    if (!tfjs_load(&net, argv[1]))
        return EXIT_FAILURE;
    if (!image_load(&image, argv[argc - 2])) {
        network_free(&net);
        return EXIT_FAILURE;
    }
    must(msw_context_new(&ctx, NULL), "context");
    if (argc == 5)
        model_open(&model, &net, ctx, argv[2]);
    else
        model_dense(&model, &net, ctx, MSW_FALLBACK_BLAS);
    enlarged = model_upscale(&model, &image);
    good = ends_in(argv[argc - 1], ".f32") ? save_floats(&enlarged, argv[argc - 1])
                                           : image_save(&enlarged, argv[argc - 1]);
    image_free(&image);
    image_free(&enlarged);
    model_free(&model);
    msw_context_free(ctx);
    network_free(&net);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
