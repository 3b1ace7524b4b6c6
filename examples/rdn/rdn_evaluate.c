/* SPDX-License-Identifier: BSD-2-Clause */
/* rdn-evaluate MODEL.json PICTURE.png WEIGHTS.msw... -- IMAGE...: shrink the images, enlarge
 * them again, and print a line for bicubic interpolation, the uncompressed network and
 * each file:
 *
 *   name, bytes of the weights, bytes in the plain form, PSNR to what the uncompressed
 *   network makes of an image, PSNR to the image itself, milliseconds for an image of
 *   128x128 pixels
 *
 * PSNR is of 8-bit range over all channels, without an edge, and its mean is over the
 * images. The picture shows the middle of the first image in all ways, side by side. */
#include <string.h>
#include <time.h>

#include "../must.h"
#include "memory.h"
#include "model.h"

enum { ROUNDS = 7, TIMED_SIDE = 128, EDGE = 8, SHOWN = 192, GAP = 4 };

struct sample {
    struct image original, small, reference; /* the last from the uncompressed network */
};

/* A way to enlarge images; without a model, bicubic interpolation. */
struct way {
    const char *name;
    bool has_model;
    struct model model;
    double psnr_reference, psnr_original;
    double seconds[ROUNDS];
};

static struct image enlarge(struct way *w, const struct image *small, size_t scale)
{
    return w->has_model ? model_upscale(&w->model, small)
                        : image_resize(small, small->height * scale, small->width * scale);
}

static bool load_sample(struct sample *s, const char *path, size_t scale)
{
    struct image whole;

    if (!image_load(&whole, path))
        return false;
    if (whole.height < SHOWN || whole.width < SHOWN) {
        fprintf(stderr, "%s: smaller than %d pixels\n", path, SHOWN);
        image_free(&whole);
        return false;
    }
    s->original = image_crop(&whole, 0, 0, whole.height / scale * scale,
                             whole.width / scale * scale);
    s->small = image_resize(&s->original, whole.height / scale, whole.width / scale);
    image_free(&whole);
    return true;
}

static void compare(struct way *w, const struct sample *samples, size_t count,
                    size_t scale)
{
    for (size_t i = 0; i < count; i++) {
        const struct sample *s = &samples[i];
        struct image made = enlarge(w, &s->small, scale);

        w->psnr_reference += image_psnr(&made, &s->reference, EDGE) / (double)count;
        w->psnr_original += image_psnr(&made, &s->original, EDGE) / (double)count;
        image_free(&made);
    }
}

static double thread_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Alternating, so that all meet the same disturbances; medians shrug most off. */
static void time_all(struct way *ways, size_t count, size_t scale)
{
    struct image image = image_new(TIMED_SIDE, TIMED_SIDE);

    for (size_t i = 0; i < (size_t)TIMED_SIDE * TIMED_SIDE * IMAGE_CHANNELS; i++)
        image.pixels[i] = (float)(i * 7919 % 256);
    for (int round = -1; round < ROUNDS; round++) /* the first is not counted */
        for (size_t i = 0; i < count; i++) {
            const double start = thread_seconds();
            struct image made = enlarge(&ways[i], &image, scale);

            ways[i].seconds[round < 0 ? 0 : round] = thread_seconds() - start;
            image_free(&made);
        }
    for (size_t i = 0; i < count; i++)
        qsort(ways[i].seconds, ROUNDS, sizeof(double), compare_doubles);
    image_free(&image);
}

static void print_way(const struct way *w)
{
    printf("%s %llu %llu %.2f %.2f %.2f\n", w->name, (unsigned long long)w->model.bytes,
           (unsigned long long)w->model.bytes_plain, w->psnr_reference, w->psnr_original,
           1e3 * w->seconds[ROUNDS / 2]);
}

static bool draw(struct way *ways, size_t count, const struct sample *s, size_t scale,
                 const char *path)
{
    struct image picture = image_new(SHOWN, count * (SHOWN + GAP) - GAP);
    bool good;

    for (size_t i = 0; i < count; i++) {
        struct image made = enlarge(&ways[i], &s->small, scale);
        struct image middle = image_crop(&made, (made.height - SHOWN) / 2,
                                         (made.width - SHOWN) / 2, SHOWN, SHOWN);

        image_paste(&picture, 0, i * (SHOWN + GAP), &middle);
        image_free(&middle);
        image_free(&made);
    }
    good = image_save(&picture, path);
    image_free(&picture);
    return good;
}

enum { BICUBIC, DENSE, DENSE_OWN, FIRST_FILE };

static void open_ways(struct way *ways, const struct network *net, msw_context *ctx,
                      char **paths, size_t files)
{
    ways[BICUBIC].name = "bicubic";
    ways[DENSE].name = "uncompressed,BLAS";
    model_dense(&ways[DENSE].model, net, ctx, MSW_FALLBACK_BLAS);
    ways[DENSE_OWN].name = "uncompressed";
    model_dense(&ways[DENSE_OWN].model, net, ctx, MSW_FALLBACK_NEVER);
    for (size_t i = 0; i < files; i++) {
        ways[FIRST_FILE + i].name = paths[i];
        model_open(&ways[FIRST_FILE + i].model, net, ctx, paths[i]);
    }
    for (size_t i = DENSE; i < FIRST_FILE + files; i++)
        ways[i].has_model = true;
}

static bool evaluate(struct way *ways, size_t count, char **images, size_t image_count,
                     size_t scale, const char *picture)
{
    struct sample *samples = allocate(image_count, sizeof *samples);
    bool good = true;

    for (size_t i = 0; good && i < image_count; i++) {
        good = load_sample(&samples[i], images[i], scale);
        if (good)
            samples[i].reference = enlarge(&ways[DENSE], &samples[i].small, scale);
    }
    if (good) {
        time_all(ways, count, scale);
        for (size_t i = 0; i < count; i++) {
            compare(&ways[i], samples, image_count, scale);
            print_way(&ways[i]);
        }
        good = draw(ways, count, &samples[0], scale, picture);
    }
    for (size_t i = 0; i < image_count; i++) {
        image_free(&samples[i].original);
        image_free(&samples[i].small);
        image_free(&samples[i].reference);
    }
    free(samples);
    return good;
}

int main(int argc, char **argv)
{
    bool good;
    int split = 3;
    msw_context *ctx;
    struct network net;
    struct way *ways;

    while (split < argc && strcmp(argv[split], "--") != 0)
        split++;
    if (argc < 3 || split + 1 >= argc) {
        fputs("usage: rdn-evaluate MODEL.json PICTURE.png WEIGHTS.msw... -- IMAGE...\n",
              stderr);
        return 2;
    }
    if (!tfjs_load(&net, argv[1]))
        return EXIT_FAILURE;
    const size_t files = (size_t)split - 3, count = FIRST_FILE + files;
    must(msw_context_new(&ctx, NULL), "context");
    ways = allocate(count, sizeof *ways);
    open_ways(ways, &net, ctx, argv + 3, files);
    good = evaluate(ways, count, argv + split + 1, (size_t)(argc - split - 1),
                    net.layers[net.count - 1].scale, argv[2]);
    for (size_t i = DENSE; i < count; i++)
        model_free(&ways[i].model);
    free(ways);
    msw_context_free(ctx);
    network_free(&net);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
