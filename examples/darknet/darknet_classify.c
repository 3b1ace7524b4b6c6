/* SPDX-License-Identifier: BSD-2-Clause */
/* darknet-classify CFG NAME [FOLDER]: classify the test images from NAME.msw with
 * libmsw's kernels, and compare answers and time with darknet on NAME.weights. */
#include <string.h>
#include <time.h>

#include "../must.h"
#include "cnn.h"

enum { AT_ONCE = 32, TIMED = 128, ROUNDS = 11 };

/* What is between the layers of lenet.cfg. */
enum {
    FILTERS1 = 12, MAP1 = 24, POOL1 = 12,
    FILTERS2 = 24, MAP2 = 8, POOL2 = 4,
    FEATURES = FILTERS2 * POOL2 * POOL2, UNITS = 128,
};

struct model {
    msw_conv *conv1, *conv2;
    msw_gemm *fc1, *fc2;
};

static float map[AT_ONCE * FILTERS1 * MAP1 * MAP1];
static float pooled[AT_ONCE * FILTERS1 * POOL1 * POOL1];
static float units[AT_ONCE * UNITS];

/* Weights and bias of a layer, if they are of the shape this network has. */
static void read_layer(msw_unified **weights, msw_tensor **bias, msw_reader *reader,
                       const char *name, size_t rows, size_t columns)
{
    char bias_name[32];
    msw_plan_info info;

    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    must(msw_reader_unified(weights, reader, name), name);
    must(msw_reader_tensor(bias, reader, bias_name), bias_name);
    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, msw_unified_plan(*weights)), name);
    if (info.rows != rows || info.columns != columns)
        must(MSW_E_FORMAT, name);
}

static msw_conv *load_conv(msw_context *ctx, msw_reader *reader, const char *name,
                           size_t rows, size_t columns)
{
    msw_conv *conv;
    msw_conv_options options;
    msw_tensor *bias;
    msw_unified *weights;

    read_layer(&weights, &bias, reader, name, rows, columns);
    msw_conv_options_init(&options);
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    options.activation = MSW_ACTIVATION_RELU;
    must(msw_conv_new(&conv, ctx, weights, &options), name);
    msw_tensor_free(bias);
    msw_unified_free(weights);
    return conv;
}

static msw_gemm *load_gemm(msw_context *ctx, msw_reader *reader, const char *name,
                           size_t rows, size_t columns, uint32_t activation)
{
    msw_gemm *gemm;
    msw_gemm_options options;
    msw_tensor *bias;
    msw_unified *weights;

    read_layer(&weights, &bias, reader, name, rows, columns);
    msw_gemm_options_init(&options);
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    options.activation = activation;
    must(msw_gemm_new(&gemm, ctx, weights, &options), name);
    msw_tensor_free(bias);
    msw_unified_free(weights);
    return gemm;
}

static void load(struct model *m, msw_context *ctx, const char *path)
{
    msw_reader *reader;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    m->conv1 = load_conv(ctx, reader, "conv1", FILTERS1, 25);
    m->conv2 = load_conv(ctx, reader, "conv2", FILTERS2, FILTERS1 * 25);
    m->fc1 = load_gemm(ctx, reader, "fc1", UNITS, FEATURES, MSW_ACTIVATION_RELU);
    m->fc2 = load_gemm(ctx, reader, "fc2", CLASSES, UNITS, MSW_ACTIVATION_NONE);
    msw_reader_free(reader);
}

static void unload(struct model *m)
{
    msw_conv_free(m->conv1);
    msw_conv_free(m->conv2);
    msw_gemm_free(m->fc1);
    msw_gemm_free(m->fc2);
}

static void convolve(const msw_conv *conv, float *y, const float *x, size_t count,
                     size_t side)
{
    msw_conv_call call;

    msw_conv_call_init(&call);
    call.x = x;
    call.y = y;
    call.batch = count;
    call.height = call.width = side;
    must(msw_conv_run(conv, &call), "convolution");
}

static void multiply(const msw_gemm *gemm, float *y, size_t rows, const float *x,
                     size_t columns, size_t count)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.layout = MSW_LAYOUT_ROWS; /* an image's activations in each row */
    call.x = x;
    call.ldx = columns;
    call.y = y;
    call.ldy = rows;
    call.n = count;
    must(msw_gemm_run(gemm, &call), "product");
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* The maximum over 2x2 pixels; `side` is even. */
static void pool(float *y, const float *x, size_t planes, size_t side)
{
    for (size_t row = 0; row < planes * side; row += 2)
        for (size_t column = 0; column < side; column += 2) {
            const float *p = x + row * side + column;

            *y++ = larger(larger(p[0], p[1]), larger(p[side], p[side + 1]));
        }
}

static void run(const struct model *m, float *scores, const float *images, size_t count)
{
    convolve(m->conv1, map, images, count, IMAGE_SIDE);
    pool(pooled, map, count * FILTERS1, MAP1);
    convolve(m->conv2, map, pooled, count, POOL1);
    pool(pooled, map, count * FILTERS2, MAP2);
    multiply(m->fc1, units, UNITS, pooled, FEATURES, count);
    multiply(m->fc2, scores, CLASSES, units, UNITS, count);
}

static void compare(const struct model *m, network *net, const struct dataset *set)
{
    static float images[AT_ONCE * IMAGE_SIZE], scores[AT_ONCE * CLASSES];
    uint32_t right = 0, changed = 0;

    for (uint32_t first = 0; first < set->count; first += AT_ONCE) {
        const size_t count = set->count - first < AT_ONCE ? set->count - first : AT_ONCE;
        int expected[AT_ONCE];

        for (size_t i = 0; i < count; i++)
            image_normalise(images + i * IMAGE_SIZE,
                            set->images + (first + i) * IMAGE_SIZE);
        run(m, scores, images, count);
        cnn_classify(expected, net, set, first);
        for (size_t i = 0; i < count; i++) {
            const int class = cnn_class(scores + i * CLASSES);

            right += class == set->labels[first + i];
            changed += class != expected[i];
        }
    }
    printf("accuracy.file %.2f\n", 100.0 * right / set->count);
    printf("predictions.changed_by_saving %u\n", (unsigned)changed);
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

/* Alternating, so that both meet the same disturbances; medians shrug most off. */
static void time_both(const struct model *m, network *net, const char *batch)
{
    static float images[AT_ONCE * IMAGE_SIZE], scores[AT_ONCE * CLASSES];
    const int step = net->batch;
    double seconds[2][ROUNDS];

    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < 2; way++) {
            const double start = thread_seconds();

            for (int i = 0; i < TIMED; i += step)
                if (way == 0)
                    network_predict(net, images);
                else
                    run(m, scores, images, (size_t)step);
            seconds[way][round] = thread_seconds() - start;
        }
    for (int way = 0; way < 2; way++) {
        qsort(seconds[way], ROUNDS, sizeof(double), compare_doubles);
        printf("us_per_image.%s.%s %.2f\n", way == 0 ? "darknet" : "msw", batch,
               1e6 * seconds[way][ROUNDS / 2] / TIMED);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    struct dataset test;
    struct model model;
    network *net;
    msw_context *ctx;

    if (argc != 3 && argc != 4) {
        fputs("usage: darknet-classify CFG NAME [FOLDER]\n", stderr);
        return 2;
    }
    if (!dataset_load(&test, argc > 3 ? argv[3] : DATA_FOLDER, "t10k"))
        return EXIT_FAILURE;
    must(msw_context_new(&ctx, NULL), "context");
    snprintf(path, sizeof path, "%s.msw", argv[2]);
    load(&model, ctx, path);
    snprintf(path, sizeof path, "%s.weights", argv[2]);
    net = cnn_load(argv[1], path);
    if (net == NULL)
        return EXIT_FAILURE;
    if (net->batch < AT_ONCE) { /* its arrays are that long */
        fprintf(stderr, "%s: batch is less than %d\n", argv[1], AT_ONCE);
        return EXIT_FAILURE;
    }

    set_batch_network(net, AT_ONCE);
    compare(&model, net, &test);
    time_both(&model, net, "batch32");
    set_batch_network(net, 1);
    time_both(&model, net, "batch1");

    free_network(net);
    unload(&model);
    msw_context_free(ctx);
    dataset_free(&test);
    return EXIT_SUCCESS;
}
