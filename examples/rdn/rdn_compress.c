/* SPDX-License-Identifier: BSD-2-Clause */
/* rdn-compress MODEL.json OUT.msw BYTES METHOD CROPS IMAGE...: compress a network that was
 * trained elsewhere by a projection onto a file of so many bytes; fitted values take some
 * percent more. Crops of the images, so many together, tell what the layers read; there are
 * no labels. METHOD is
 *
 *   plain        projection by the weights alone
 *   statistics   projection by what an error of each weight does to the output
 *   fit          the same; then, layer by layer, the values that make the layer's output
 *                least different from that of the uncompressed network
 *   admm         the same, and the structure too */
#include <math.h>
#include <string.h>

#include "../must.h"
#include "choice.h"
#include "fit.h"
#include "image.h"
#include "layerwise.h"
#include "memory.h"
#include "model.h"
#include "weights.h"

enum { CROP = 48, MOST_CROPS = 4096, PROBES = 2, UPDATES = 24 };
enum { MODEL = 1, OUT, BYTES, METHOD, CROPS, IMAGES }; /* arguments */

static const double ridge = 1e-5;

enum method { PLAIN, STATISTICS, FIT, ADMM, METHODS };
static const char *const method_names[METHODS] = {"plain", "statistics", "fit", "admm"};

struct job {
    msw_context *ctx;
    struct network net;
    enum method method;
    msw_store_options store;
    size_t crop_count;
    float *crops; /* [crop_count][CROP][CROP][3] */
    struct model dense, compressed;
    struct influence *influence;
    msw_writer *writer;
};

/* Evenly over the image, which is halved first: what a camera or JPEG did to single pixels
 * is gone then. */
static bool take_crops(float *crops, size_t count, const char *path)
{
    struct image whole, image;

    if (!image_load(&whole, path))
        return false;
    image = image_resize(&whole, whole.height / 2, whole.width / 2);
    image_free(&whole);
    if (image.height < CROP || image.width < CROP) {
        fprintf(stderr, "%s: smaller than %d pixels\n", path, 2 * CROP);
        image_free(&image);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        /* Weyl sequences: spread evenly, in any number. */
        const double y = fmod(0.5 + 0.7548776662 * (double)i, 1);
        const double x = fmod(0.5 + 0.5698402910 * (double)i, 1);
        struct image crop =
            image_crop(&image, (size_t)(y * (double)(image.height - CROP + 1)),
                       (size_t)(x * (double)(image.width - CROP + 1)), CROP, CROP);

        memcpy(crops + i * CROP * CROP * IMAGE_CHANNELS, crop.pixels,
               CROP * CROP * IMAGE_CHANNELS * sizeof(float));
        image_free(&crop);
    }
    image_free(&image);
    return true;
}

static bool load_crops(struct job *j, char **paths, size_t count)
{
    j->crops = allocate_floats(j->crop_count * CROP * CROP * IMAGE_CHANNELS);
    for (size_t i = 0; i < count; i++) {
        const size_t first = i * j->crop_count / count;
        const size_t next = (i + 1) * j->crop_count / count;

        if (!take_crops(j->crops + first * CROP * CROP * IMAGE_CHANNELS, next - first,
                        paths[i]))
            return false;
    }
    return true;
}

/* What a convolution is to put out: what it did uncompressed and, where its output is only
 * added to another map, what that one now lacks. */
static float *target(struct job *j, size_t layer)
{
    struct forward *dense = &j->dense.forward, *compressed = &j->compressed.forward;
    const struct layer *next = &j->net.layers[network_last_use(&j->net, layer)];
    const size_t size = forward_size(dense, layer);
    float *y = allocate_floats(size);

    memcpy(y, dense->maps[layer], size * sizeof *y);
    for (size_t i = 0; next->kind == LAYER_ADD && i < next->input_count; i++) {
        const size_t other = next->inputs[i];

        if (other < layer)
            for (size_t k = 0; k < size; k++)
                y[k] += dense->maps[other][k] - compressed->maps[other][k];
    }
    return y;
}

static void gather(struct statistics *s, struct job *j, size_t layer)
{
    const struct layer *l = &j->net.layers[layer];
    float *y = target(j, layer);

    statistics_new(s, l);
    statistics_add(s, l, j->compressed.forward.maps[l->inputs[0]], y,
                   j->crop_count, CROP * l->scale, CROP * l->scale);
    free(y);
}

/* u with other values. */
static void refit(msw_unified **u, msw_context *ctx, const struct layer *l, float *weights)
{
    msw_tensor *tensor = weights_tensor(ctx, l, weights);
    msw_unified *fitted;

    must(msw_unified_refit(&fitted, *u, tensor), l->name);
    msw_unified_free(*u);
    *u = fitted;
    msw_tensor_free(tensor);
}

static void to_dense(float *weights, msw_context *ctx, const struct layer *l,
                     const msw_unified *u)
{
    msw_tensor *tensor = weights_tensor(ctx, l, weights);

    must(msw_unified_to_dense(tensor, u), l->name);
    msw_tensor_free(tensor);
}

static void tune(msw_unified **u, float *bias, struct job *j, size_t layer)
{
    const struct layer *l = &j->net.layers[layer];
    float *weights = weights_data(l);
    double before;
    struct statistics s;

    gather(&s, j, layer);
    to_dense(weights, j->ctx, l, *u);
    before = statistics_error(&s, weights, bias);
    if (j->method == ADMM) {
        memcpy(weights, l->weights, layer_weight_count(l) * sizeof *weights);
        layerwise_admm(u, weights, j->ctx, l, &s, &j->influence[layer], UPDATES);
    }
    fit(weights, bias, &s, *u, j->influence[layer].outputs, ridge);
    refit(u, j->ctx, l, weights);
    printf("error.%s %.3e %.3e\n", l->name, before / (s.energy / s.count),
           statistics_error(&s, weights, bias) / (s.energy / s.count));
    statistics_free(&s);
    free(weights);
}

/* One layer more of the file, and of the network that the next layers are tuned behind:
 * with the values as they are stored. */
static void finish_layer(struct job *j, size_t layer, const msw_unified *u,
                         const float *bias)
{
    const struct layer *l = &j->net.layers[layer];
    float *stored_bias = allocate_floats(l->channels);
    void *bytes;
    size_t size;
    msw_reader *reader;
    msw_unified *stored;
    msw_writer *one;

    must(msw_writer_add_unified(j->writer, l->name, u, &j->store), l->name);
    weights_store_bias(j->writer, j->ctx, l, bias);
    must(msw_writer_new(&one, j->ctx), l->name);
    must(msw_writer_add_unified(one, l->name, u, &j->store), l->name);
    weights_store_bias(one, j->ctx, l, bias);
    size = (size_t)msw_writer_bytes(one);
    bytes = allocate(size, 1);
    must(msw_writer_write_buffer(one, bytes, size), l->name);
    must(msw_reader_open_buffer(&reader, j->ctx, bytes, size, NULL), l->name);
    stored = weights_load(stored_bias, reader, l);
    forward_set_layer(&j->compressed.forward, layer, stored, stored_bias,
                      MSW_FALLBACK_NEVER);
    msw_unified_free(stored);
    msw_reader_free(reader);
    msw_writer_free(one);
    free(bytes);
    free(stored_bias);
}

/* Both networks side by side, a layer at a time. */
static void compress(struct job *j, msw_unified **u)
{
    struct forward *dense = &j->dense.forward, *compressed = &j->compressed.forward;

    forward_start(dense, j->crops, j->crop_count, CROP, CROP);
    forward_start(compressed, j->crops, j->crop_count, CROP, CROP);
    for (size_t i = 1; i < j->net.count; i++) {
        const struct layer *l = &j->net.layers[i];

        forward_step(dense, i);
        if (l->kind == LAYER_CONV) {
            float *bias = allocate_floats(l->channels);

            memcpy(bias, l->bias, l->channels * sizeof *bias);
            if (j->method >= FIT)
                tune(&u[i], bias, j, i);
            finish_layer(j, i, u[i], bias);
            free(bias);
        }
        forward_step(compressed, i);
        forward_release(dense, i);
        forward_release(compressed, i);
    }
}

static bool parse(struct job *j, double *bytes, char **argv)
{
    char *end, *crops_end;
    const long crops = strtol(argv[CROPS], &crops_end, 10);

    *bytes = strtod(argv[BYTES], &end);
    while (j->method < METHODS && strcmp(argv[METHOD], method_names[j->method]) != 0)
        j->method++;
    j->crop_count = (size_t)crops;
    if (*end == '\0' && *bytes > 0 && j->method < METHODS && *crops_end == '\0' &&
        crops >= PROBES && crops <= MOST_CROPS)
        return true;
    fprintf(stderr, "not a number of bytes, a method and %d to %d crops: %s %s %s\n", PROBES,
            MOST_CROPS, argv[BYTES], argv[METHOD], argv[CROPS]);
    return false;
}

static bool run(struct job *j, double bytes, char **argv, int images)
{
    msw_unified **u;

    if (!tfjs_load(&j->net, argv[MODEL]) || !load_crops(j, argv + IMAGES, (size_t)images))
        return false;
    model_dense(&j->dense, &j->net, j->ctx, MSW_FALLBACK_BLAS);
    forward_new(&j->compressed.forward, &j->net, j->ctx);
    j->influence = influence_measure(&j->dense.forward, j->crops, PROBES, CROP, CROP);
    u = choose(j->ctx, &j->net, j->method > PLAIN ? j->influence : NULL, bytes, &j->store);
    must(msw_writer_new(&j->writer, j->ctx), "writer");
    compress(j, u);
    must(msw_writer_save(j->writer, argv[OUT]), argv[OUT]);
    printf("bytes.f32 %llu\n", (unsigned long long)j->dense.bytes);
    printf("bytes.file %llu\n", (unsigned long long)msw_writer_bytes(j->writer));

    for (size_t i = 0; i < j->net.count; i++)
        msw_unified_free(u[i]);
    free(u);
    influence_free(j->influence, &j->net);
    msw_writer_free(j->writer);
    model_free(&j->compressed);
    model_free(&j->dense);
    return true;
}

int main(int argc, char **argv)
{
    struct job j = {0};
    double bytes;
    bool good;

    if (argc <= IMAGES) {
        fputs("usage: rdn-compress MODEL.json OUT.msw BYTES plain|statistics|fit|admm "
              "CROPS IMAGE...\n",
              stderr);
        return 2;
    }
    if (!parse(&j, &bytes, argv))
        return 2;
    msw_store_options_init(&j.store);
    j.store.encoding = MSW_ENCODING_TRANSPORT;
    j.store.magnitudes = j.store.free_weights = MSW_DTYPE_LOG;
    j.store.magnitude_bits = 3;
    j.store.free_bits = 6;
    must(msw_context_new(&j.ctx, NULL), "context");
    good = run(&j, bytes, argv, argc - IMAGES);
    free(j.crops);
    network_free(&j.net);
    msw_context_free(j.ctx);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
