/* SPDX-License-Identifier: BSD-2-Clause */
/* fann-classify NAME [FOLDER]: classify the test images from NAME.msw with libmsw's
 * kernels, and compare answers and time with fann_run() on NAME.net. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "../must.h"
#include "mlp.h"

enum { AT_ONCE = 64, TIMED = 640, ROUNDS = 21 };

struct layer {
    msw_gemm *gemm;
    size_t in, out;
};

struct model {
    struct layer hidden, output;
    float *units; /* AT_ONCE x hidden.out */
};

static void load_layer(struct layer *l, msw_context *ctx, msw_reader *reader,
                       const char *name)
{
    char bias_name[32];
    msw_unified *unified;
    msw_tensor *bias;
    msw_gemm_options options;
    msw_plan_info info;

    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    must(msw_reader_unified(&unified, reader, name), name);
    must(msw_reader_tensor(&bias, reader, bias_name), bias_name);
    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, msw_unified_plan(unified)), name);
    l->in = info.columns;
    l->out = info.rows;
    msw_gemm_options_init(&options);
    options.bias = msw_tensor_data(bias);
    options.bias_count = msw_tensor_count(bias);
    must(msw_gemm_new(&l->gemm, ctx, unified, &options), name);
    msw_tensor_free(bias);
    msw_unified_free(unified);
}

static void load(struct model *m, msw_context *ctx, const char *path)
{
    msw_reader *reader;

    must(msw_reader_open(&reader, ctx, path, NULL), path);
    load_layer(&m->hidden, ctx, reader, "hidden");
    load_layer(&m->output, ctx, reader, "output");
    msw_reader_free(reader);
    if (m->hidden.in != IMAGE_SIZE || m->output.in != m->hidden.out ||
        m->output.out != CLASSES)
        must(MSW_E_FORMAT, path);
    m->units = malloc(AT_ONCE * m->hidden.out * sizeof *m->units);
    if (m->units == NULL)
        must(MSW_E_NOMEM, path);
}

static void multiply(const struct layer *l, float *y, const float *x, size_t count)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.layout = MSW_LAYOUT_ROWS; /* an image, or its units, in each row */
    call.x = x;
    call.ldx = l->in;
    call.y = y;
    call.ldy = l->out;
    call.n = count;
    must(msw_gemm_run(l->gemm, &call), "product");
}

/* Sums before FANN's last activation, which does not change their order. */
static void run(const struct model *m, float *sums, const float *images, size_t count)
{
    multiply(&m->hidden, m->units, images, count);
    for (size_t i = 0; i < count * m->hidden.out; i++)
        m->units[i] = tanhf(0.5f * m->units[i]); /* FANN_SIGMOID_SYMMETRIC */
    multiply(&m->output, sums, m->units, count);
}

static void load_images(float *out, const struct dataset *set, uint32_t first,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        image_normalise(out + i * IMAGE_SIZE, set->images + (first + i) * IMAGE_SIZE);
}

static void compare(const struct model *m, struct fann *net, const struct dataset *set)
{
    static float images[AT_ONCE * IMAGE_SIZE], sums[AT_ONCE * CLASSES];
    uint32_t right = 0, changed = 0;

    for (uint32_t first = 0; first < set->count; first += AT_ONCE) {
        size_t count = set->count - first < AT_ONCE ? set->count - first : AT_ONCE;

        load_images(images, set, first, count);
        run(m, sums, images, count);
        for (size_t i = 0; i < count; i++) {
            int class = mlp_class(sums + i * CLASSES);

            right += class == set->labels[first + i];
            changed += class != mlp_class(fann_run(net, images + i * IMAGE_SIZE));
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
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Alternating, so that all meet the same disturbances; medians shrug most off. */
static void time_all(const struct model *m, struct fann *net, const struct dataset *set)
{
    static const char *const names[3] = {"fann", "msw.batch1", "msw.batch64"};
    static float images[AT_ONCE * IMAGE_SIZE], sums[AT_ONCE * CLASSES];
    double seconds[3][ROUNDS];

    load_images(images, set, 0, AT_ONCE);
    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < 3; way++) {
            const int step = way == 2 ? AT_ONCE : 1;
            double start = thread_seconds();

            for (int i = 0; i < TIMED; i += step) {
                float *image = images + i % AT_ONCE * IMAGE_SIZE;

                if (way == 0)
                    fann_run(net, image);
                else
                    run(m, sums, image, (size_t)step);
            }
            seconds[way][round] = thread_seconds() - start;
        }
    for (int way = 0; way < 3; way++) {
        qsort(seconds[way], ROUNDS, sizeof(double), compare_doubles);
        printf("us_per_image.%s %.2f\n", names[way],
               1e6 * seconds[way][ROUNDS / 2] / TIMED);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    struct dataset test;
    struct model model;
    struct fann *net;
    msw_context *ctx;

    if (argc != 2 && argc != 3) {
        fputs("usage: fann-classify NAME [FOLDER]\n", stderr);
        return 2;
    }
    if (!dataset_load(&test, argc > 2 ? argv[2] : DATA_FOLDER, "t10k"))
        return EXIT_FAILURE;
    must(msw_context_new(&ctx, NULL), "context");
    snprintf(path, sizeof path, "%s.msw", argv[1]);
    load(&model, ctx, path);
    snprintf(path, sizeof path, "%s.net", argv[1]);
    net = fann_create_from_file(path); /* says what is wrong */
    if (net == NULL)
        return EXIT_FAILURE;
    if (fann_get_num_input(net) != IMAGE_SIZE || fann_get_num_output(net) != CLASSES)
        must(MSW_E_FORMAT, path);

    compare(&model, net, &test);
    time_all(&model, net, &test);

    free(model.units);
    msw_gemm_free(model.hidden.gemm);
    msw_gemm_free(model.output.gemm);
    msw_context_free(ctx);
    fann_destroy(net);
    dataset_free(&test);
    return EXIT_SUCCESS;
}
