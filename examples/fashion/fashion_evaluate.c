/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fashion-evaluate: reload a compact file, classify the test images with libmsw's
 * kernels, and time that against the same network with dense weights on CBLAS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "arguments.h"
#include "data.h"
#include "model.h"
#include "progress.h"
#include "threads.h"

enum { BATCH = 64, TIMED_IMAGES = 512, MAX_ROUNDS = 1001 };

struct evaluation {
    struct model model;
    struct values dense;
    struct activations activations;
    const struct dataset *images;
    int rounds; /* of the timing; the median counts */
};

static void load_images(struct evaluation *e, uint32_t first, int count)
{
    for (int i = 0; i < count; i++)
        image_normalise(e->activations.images + i * IMAGE_SIZE,
                        e->images->images + ((size_t)first + (size_t)i) * IMAGE_SIZE);
}

/* Classify all images both ways. */
static bool compare(struct evaluation *e)
{
    struct activations *a = &e->activations;
    uint32_t count = e->images->count, right = 0, different = 0;

    for (uint32_t first = 0; first < count; first += BATCH) {
        int size = count - first < BATCH ? (int)(count - first) : BATCH;
        int class[BATCH];

        load_images(e, first, size);
        network_classify(a, &e->dense, size);
        for (int i = 0; i < size; i++)
            class[i] = network_class(a->scores + i * CLASSES);
        if (!model_classify(&e->model, a, size))
            return false;
        for (int i = 0; i < size; i++) {
            int found = network_class(a->scores + i * CLASSES);

            right += found == e->images->labels[first + (uint32_t)i];
            different += found != class[i];
        }
    }
    printf("accuracy.file %.2f\n", 100.0 * right / count);
    printf("predictions.images %u\n", (unsigned)count);
    printf("predictions.changed_by_saving %u\n", (unsigned)different);
    return true;
}

/*
 * Microseconds per image; negative: failed. Processor time: both ways use one thread,
 * and other programs on the machine disturb it less than the clock on the wall.
 */
static double time_once(struct evaluation *e, bool dense, int batch)
{
    struct activations *a = &e->activations;
    clock_t start = clock();

    for (int done = 0; done < TIMED_IMAGES; done += batch)
        if (dense)
            network_classify(a, &e->dense, batch);
        else if (!model_classify(&e->model, a, batch))
            return -1.0;
    return 1e6 * (double)(clock() - start) / (CLOCKS_PER_SEC * (double)TIMED_IMAGES);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Alternating, so that both meet the same disturbances; medians shrug most off. */
static bool time_both(struct evaluation *e, int batch)
{
    double dense[MAX_ROUNDS], msw[MAX_ROUNDS];
    size_t rounds = (size_t)e->rounds;

    load_images(e, 0, BATCH);
    for (int i = 0; i < e->rounds; i++) {
        dense[i] = time_once(e, true, batch);
        msw[i] = time_once(e, false, batch);
        if (msw[i] < 0.0)
            return false;
        progress_show("timing", i, e->rounds);
    }
    qsort(dense, rounds, sizeof *dense, compare_doubles);
    qsort(msw, rounds, sizeof *msw, compare_doubles);
    printf("us_per_image.dense.batch%d %.2f\n", batch, dense[rounds / 2]);
    printf("us_per_image.msw.batch%d %.2f\n", batch, msw[rounds / 2]);
    return true;
}

static void print_kernels(const struct model *m)
{
    msw_gemm_info info;

    msw_gemm_info_init(&info);
    printf("machine.isa \"%s\"\n", msw_context_isa(m->context));
    printf("machine.dense \"%s\"\n", blas_description());
    if (msw_conv_get_info(&info, m->conv1, 1, IMAGE_SIDE, IMAGE_SIDE) == MSW_OK)
        printf("kernels.conv1 \"%s\"\n", info.kernel);
    if (msw_conv_get_info(&info, m->conv2, 1, POOL1_SIDE, POOL1_SIDE) == MSW_OK)
        printf("kernels.conv2 \"%s\"\n", info.kernel);
    if (msw_gemm_get_info(&info, m->fc1, BATCH) == MSW_OK)
        printf("kernels.fc1 \"%s\"\n", info.kernel);
    if (msw_gemm_get_info(&info, m->fc2, BATCH) == MSW_OK)
        printf("kernels.fc2 \"%s\"\n", info.kernel);
}

static bool run(struct evaluation *e, const char *file, const char *dense)
{
    if (!values_new(&e->dense) || !activations_new(&e->activations, BATCH)) {
        fputs("not enough memory\n", stderr);
        return false;
    }
    if (!network_load(&e->dense, dense) || !model_open(&e->model, file, BATCH))
        return false;
    print_kernels(&e->model);
    return compare(e) && (e->rounds == 0 || (time_both(e, 1) && time_both(e, BATCH)));
}

int main(int argc, char **argv)
{
    const char *folder = DATA_FOLDER, *file = NULL, *dense = NULL;
    struct evaluation e = {.rounds = 41};
    bool tune = false, good;
    const struct argument table[] = {
        {"--data", ARGUMENT_TEXT, &folder, "folder of the data set"},
        {"--file", ARGUMENT_TEXT, &file, "the compact file"},
        {"--dense", ARGUMENT_TEXT, &dense, "the same weights as raw floats"},
        {"--tune", ARGUMENT_FLAG, &tune, "classify the 5,000 images held out for tuning"},
        {"--rounds", ARGUMENT_COUNT, &e.rounds, "of the timing; 0: none"},
        {NULL, ARGUMENT_FLAG, NULL, NULL},
    };
    struct split split;

    if (!arguments_parse(table, argc, argv))
        return 2;
    if (file == NULL || dense == NULL || e.rounds > MAX_ROUNDS) {
        fputs("--file and --dense are needed, and rounds up to 1001\n", stderr);
        return 2;
    }
    blas_use_one_thread();
    if (!split_load(&split, folder, tune))
        return EXIT_FAILURE;
    e.images = &split.evaluation;
    good = run(&e, file, dense);
    model_close(&e.model);
    activations_free(&e.activations);
    values_free(&e.dense);
    split_free(&split);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
