/* SPDX-License-Identifier: BSD-2-Clause */
/* rdn-evaluate MODEL.json WEIGHTS.msw... -- IMAGE...: shrink images, enlarge them again
 * with compressed weights, and compare with what the uncompressed network and bicubic
 * interpolation make of them: PSNR, bytes, time. */
#include <string.h>
#include <time.h>

#include "../must.h"
#include "memory.h"
#include "model.h"

enum { ROUNDS = 5, TIMED_SIDE = 128 };

struct test {
    struct image small, reference; /* and what the uncompressed network makes of it */
    struct image original;
};

static bool load_tests(struct test *tests, size_t count, char **paths, struct model *dense,
                       size_t scale)
{
    for (size_t i = 0; i < count; i++) {
        struct test *t = &tests[i];
        struct image whole;

        if (!image_load(&whole, paths[i]))
            return false;
        t->original = image_crop(&whole, 0, 0, whole.height / scale * scale,
                                 whole.width / scale * scale);
        image_free(&whole);
        t->small = image_resize(&t->original, t->original.height / scale,
                                t->original.width / scale);
        t->reference = model_upscale(dense, &t->small);
    }
    return true;
}

static void print_psnr(const char *name, const struct test *t, const struct image *made,
                       double *to_reference, double *to_original, size_t edge)
{
    (void)name;
    *to_reference += image_psnr(made, &t->reference, edge);
    *to_original += image_psnr(made, &t->original, edge);
}

int main(int argc, char **argv)
{
    (void)argc; (void)argv;
    struct model dense, *files;
    struct network net;
    msw_context *ctx;
    int split = 2;

    while (split < argc && strcmp(argv[split], "--") != 0)
        split++;
    if (split + 1 >= argc)
        return 2;
    if (!tfjs_load(&net, argv[1]))
        return EXIT_FAILURE;
    must(msw_context_new(&ctx, NULL), "context");
    model_dense(&dense, &net, ctx, MSW_FALLBACK_BLAS);
    const size_t count = (size_t)(argc - split - 1), scale = net.layers[net.count - 1].scale;
    struct test *tests = allocate(count, sizeof *tests);
    if (!load_tests(tests, count, argv + split + 1, &dense, scale))
        return EXIT_FAILURE;
    files = allocate((size_t)split, sizeof *files);
    double r = 0, o = 0;
    for (size_t i = 0; i < count; i++) {
        struct image b = image_resize(&tests[i].small, tests[i].original.height, tests[i].original.width);
        print_psnr("", &tests[i], &b, &r, &o, 4);
        image_free(&b);
    }
    printf("bicubic %.2f %.2f\n", r / count, o / count);
    r = o = 0;
    for (size_t i = 0; i < count; i++)
        o += image_psnr(&tests[i].reference, &tests[i].original, 4);
    printf("dense %.2f\n", o / count);
    for (int f = 2; f < split; f++) {
        model_open(&files[f], &net, ctx, argv[f]);
        r = o = 0;
        for (size_t i = 0; i < count; i++) {
            struct image b = model_upscale(&files[f], &tests[i].small);
            print_psnr("", &tests[i], &b, &r, &o, 4);
            image_free(&b);
        }
        printf("%s %llu %.2f %.2f\n", argv[f], (unsigned long long)files[f].bytes, r / count, o / count);
    }
    return 0;
}
