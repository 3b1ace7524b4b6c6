/* SPDX-License-Identifier: BSD-2-Clause */
/* file-bench: what the transport form needs, against the entropy of the block format.
 *
 *   file-bench                                  a table of synthetic weights
 *   file-bench DIR ROWS COLUMNS BLOCK PRUNED UNIFIED STEP
 *                                               these weights as files in DIR, in every
 *                                               layout that file_bench.py compresses
 *
 * Weights are Laplacian, the scale of each block log-normal with sigma 0.5; magnitudes
 * and free weights are rounded to the step. The bound is the entropy of the classes, of
 * the magnitudes and of the free weights, each by the frequencies of its values, and a
 * bit per sign. Times are of the thread's processor, medians of 9. */
#define _GNU_SOURCE
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 9, MOST_KEY = 1 << 15, RAW_STEPS = 128 };

static const double scale_sigma = 0.5;

typedef struct family {
    size_t rows, columns;
    uint32_t block;
    double prune, unify, step;
} family;

static const family families[] = {
    {512, 512, 4, 0.0, 0.0, 0.25},   {512, 512, 4, 0.5, 0.0, 0.25},
    {512, 512, 4, 0.0, 0.8, 0.25},   {512, 512, 4, 0.5, 0.5, 0.25},
    {512, 512, 8, 0.0, 0.8, 0.25},   {512, 512, 8, 0.5, 0.5, 0.25},
    {512, 512, 8, 0.5, 0.5, 0.10},   {512, 512, 8, 0.5, 0.5, 0.03},
    {256, 256, 4, 0.5, 0.4, 0.10},   {256, 256, 8, 0.5, 0.4, 0.03},
    {256, 256, 8, 0.5, 0.5, 0.03},   {256, 256, 8, 0.0, 0.0, 0.10},
    {1024, 1024, 4, 0.5, 0.4, 0.10}, {1024, 1024, 8, 0.5, 0.4, 0.03},
    {1024, 1024, 8, 0.5, 0.5, 0.03}, {1024, 1024, 8, 0.0, 0.0, 0.10},
    {1024, 1024, 8, 0.0, 0.0, 0.03}, {1024, 1024, 8, 0.9, 0.1, 0.10},
};

typedef struct model {
    msw_context *ctx;
    msw_tensor *weights;
    msw_plan *plan;
    msw_unified *u;
    uint8_t *file;
    size_t file_size, payload;
} model;

static void fail(const char *what)
{
    fprintf(stderr, "file-bench: %s\n", what);
    exit(1);
}

static void check(msw_status status)
{
    if (status)
        fail(msw_status_text(status));
}

static void *allocate(size_t size)
{
    void *memory = calloc(size ? size : 1, 1);

    if (!memory)
        fail("no memory");
    return memory;
}

static double processor_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Random numbers: xorshift, and what is made of them. */

static uint64_t random_state = 88172645463325252u;

static double uniform(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}

static double normal(void)
{
    const double radius = sqrt(-2 * log(uniform()));

    return radius * cos(6.283185307179586 * uniform());
}

static double laplacian(void)
{
    const double u = uniform() - 0.5;

    return u < 0 ? log(1 + 2 * u) : -log(1 - 2 * u);
}

static void fill(float *w, const family *f)
{
    for (size_t r = 0; r < f->rows; r += f->block)
        for (size_t c = 0; c < f->columns; c += f->block) {
            const double scale = exp(scale_sigma * normal());

            for (size_t i = 0; i < f->block * f->block; i++)
                w[(r + i / f->block) * f->columns + c + i % f->block] =
                    (float)(scale * laplacian());
        }
}

static void write_file(model *m, const msw_store_options *o)
{
    msw_store_info info;
    msw_writer *w;

    msw_store_info_init(&info);
    check(msw_writer_new(&w, m->ctx));
    check(msw_writer_add_unified(w, "weights", m->u, o));
    check(msw_writer_get_loss(&info, w, "weights"));
    m->payload = (size_t)info.bytes;
    m->file_size = (size_t)msw_writer_bytes(w);
    free(m->file);
    m->file = allocate(m->file_size);
    check(msw_writer_write_buffer(w, m->file, m->file_size));
    msw_writer_free(w);
}

/* The options of a family in the transport form. */
static msw_store_options transport(const family *f)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_TRANSPORT;
    o.magnitudes = o.free_weights = MSW_DTYPE_UNIFORM;
    o.magnitude_step = o.free_step = f->step;
    return o;
}

static void model_make(model *m, const family *f)
{
    const size_t shape[2] = {f->rows, f->columns};
    const msw_store_options stored = transport(f);
    msw_projection_options p;
    msw_plan_options o;

    memset(m, 0, sizeof *m);
    msw_plan_options_init(&o);
    o.block_rows = o.block_columns = f->block;
    msw_projection_options_init(&p);
    p.prune = f->prune;
    p.unify = f->unify;
    check(msw_context_new(&m->ctx, NULL));
    check(msw_tensor_new(&m->weights, m->ctx, shape, 2));
    fill(m->weights->data, f);
    check(msw_plan_new(&m->plan, m->ctx, shape, 2, &o));
    check(msw_unified_from(&m->u, m->plan, m->weights, &p));
    write_file(m, &stored);
}

static void model_free(model *m)
{
    free(m->file);
    msw_unified_free(m->u);
    msw_plan_free(m->plan);
    msw_tensor_free(m->weights);
    msw_context_free(m->ctx);
}

/* Bits that the values of a histogram take. */
static double entropy(const size_t *counts, size_t kinds)
{
    double total = 0, bits = 0;

    for (size_t i = 0; i < kinds; i++)
        total += (double)counts[i];
    for (size_t i = 0; i < kinds; i++)
        if (counts[i])
            bits -= (double)counts[i] * log2((double)counts[i] / total);
    return bits;
}

static double entropy_of(const float *values, size_t count, double step)
{
    size_t *counts = allocate(2 * MOST_KEY * sizeof *counts);
    double bits;

    for (size_t i = 0; i < count; i++) {
        const double key = floor(fabs((double)values[i]) / (double)(float)step + 0.5);

        counts[MOST_KEY + (int)(values[i] < 0 ? -key : key)]++;
    }
    bits = entropy(counts, 2 * MOST_KEY);
    free(counts);
    return bits;
}

static double bound(const model *m, const family *f)
{
    const msw_unified *u = m->u;
    const size_t end = m->plan->block_row_count;
    size_t classes[3] = {0};

    for (size_t b = 0; b < m->plan->block_count; b++)
        classes[u->classes[b]]++;
    return entropy(classes, 3) +
           entropy_of(u->magnitudes, u->magnitude_start[end], f->step) +
           entropy_of(u->free_weights, u->free_start[end], f->step) +
           (double)u->sign_start[end];
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Seconds to load the weights, checksums included. */
static double load_time(const model *m)
{
    double seconds[SAMPLES];

    for (int i = 0; i < SAMPLES; i++) {
        msw_reader *r;
        msw_unified *u;
        double start;

        check(msw_reader_open_buffer(&r, m->ctx, m->file, m->file_size, NULL));
        start = processor_time();
        check(msw_reader_unified(&u, r, "weights"));
        seconds[i] = processor_time() - start;
        msw_unified_free(u);
        msw_reader_free(r);
    }
    qsort(seconds, SAMPLES, sizeof *seconds, compare);
    return seconds[SAMPLES / 2];
}

static void print_family(const family *f)
{
    const double weights = (double)(f->rows * f->columns);
    double bits;
    model m;

    model_make(&m, f);
    bits = bound(&m, f);
    printf("%4zux%-4zu  %ux%u  %3.0f/%-3.0f  %.2f   %6.3f   %6.3f  %+6.1f %%  %6.3f  "
           "%+6.1f %%"
           "  %6.0f\n",
           f->rows, f->columns, f->block, f->block, 100 * f->prune, 100 * f->unify,
           f->step, bits / weights, 8 * (double)m.payload / weights,
           100 * (8 * (double)m.payload / bits - 1), 8 * (double)m.file_size / weights,
           100 * (8 * (double)m.file_size / bits - 1), 4e-6 * weights / load_time(&m));
    model_free(&m);
}

/* Layouts for general compressors */

static void save(const char *directory, const char *name, const void *data, size_t size)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        fail(path);
}

/* As 16-bit and 8-bit numbers of steps, 16-bit ones also low bytes first. */
static void save_steps(const char *directory, const char *order, const float *values,
                       size_t count, double step)
{
    int16_t *words = allocate(count * sizeof *words);
    uint8_t *bytes = allocate(2 * count);
    int fits = 1;
    char name[64];

    for (size_t i = 0; i < count; i++) {
        words[i] = (int16_t)lrint((double)values[i] / (double)(float)step);
        fits &= words[i] >= -RAW_STEPS && words[i] < RAW_STEPS;
        bytes[i] = (uint8_t)words[i];
        bytes[count + i] = (uint8_t)(words[i] >> 8);
    }
    snprintf(name, sizeof name, "int16 %s", order);
    save(directory, name, words, count * sizeof *words);
    snprintf(name, sizeof name, "int16 by bytes %s", order);
    save(directory, name, bytes, 2 * count);
    snprintf(name, sizeof name, "int8 %s", order);
    if (fits)
        save(directory, name, bytes, count);
    free(words);
    free(bytes);
}

/* The block format itself in whole numbers: a byte per class, 16-bit magnitudes and free
 * weights as they are or low bytes first, signs by bits. */
static void save_parts(const char *directory, const msw_unified *u, double step)
{
    const size_t end = u->plan->block_row_count, blocks = u->plan->block_count;
    const size_t magnitudes = u->magnitude_start[end],
                 values = magnitudes + u->free_start[end];
    const size_t signs = (u->sign_start[end] + 7) / 8, size = blocks + 2 * values + signs;
    uint8_t *words = allocate(size), *planes = allocate(size);

    memcpy(words, u->classes, blocks);
    memcpy(planes, u->classes, blocks);
    for (size_t i = 0; i < values; i++) {
        const float value =
            i < magnitudes ? u->magnitudes[i] : u->free_weights[i - magnitudes];
        const long multiple = lrint((double)value / (double)(float)step);

        words[blocks + 2 * i] = planes[blocks + i] = (uint8_t)multiple;
        words[blocks + 2 * i + 1] = planes[blocks + values + i] =
            (uint8_t)(multiple >> 8);
    }
    memcpy(words + blocks + 2 * values, u->signs, signs);
    memcpy(planes + blocks + 2 * values, u->signs, signs);
    save(directory, "parts int16", words, size);
    save(directory, "parts int16 by bytes", planes, size);
    free(words);
    free(planes);
}

/* The weights of one block after another. */
static void gather_blocks(float *out, const float *w, const family *f)
{
    for (size_t r = 0; r < f->rows; r += f->block)
        for (size_t c = 0; c < f->columns; c += f->block)
            for (size_t i = 0; i < f->block; i++, out += f->block)
                memcpy(out, w + (r + i) * f->columns + c, f->block * sizeof *out);
}

static void save_layouts(const char *directory, const family *f)
{
    const size_t shape[2] = {f->rows, f->columns}, count = f->rows * f->columns;
    float *blocks = allocate(count * sizeof *blocks);
    msw_unified *u;
    msw_reader *r;
    msw_tensor *t;
    model m;

    model_make(&m, f);
    save(directory, "transport.msw", m.file, m.file_size);
    check(msw_reader_open_buffer(&r, m.ctx, m.file, m.file_size, NULL));
    check(msw_reader_unified(&u, r, "weights"));
    msw_reader_free(r);
    msw_unified_free(m.u);
    m.u = u; /* what was stored */
    write_file(&m, NULL);
    save(directory, "plain.msw", m.file, m.file_size);
    check(msw_tensor_new(&t, m.ctx, shape, 2));
    check(msw_unified_to_dense(t, u));
    gather_blocks(blocks, t->data, f);
    save(directory, "f32 rows", t->data, count * sizeof(float));
    save(directory, "f32 blocks", blocks, count * sizeof(float));
    save_parts(directory, u, f->step);
    save_steps(directory, "rows", t->data, count, f->step);
    save_steps(directory, "blocks", blocks, count, f->step);
    msw_tensor_free(t);
    model_free(&m);
    free(blocks);
}

int main(int argc, char **argv)
{
    if (argc == 8) {
        const family f = {strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
                          (uint32_t)strtoul(argv[4], NULL, 10), atof(argv[5]) / 100,
                          atof(argv[6]) / 100, atof(argv[7])};

        save_layouts(argv[1], &f);
        return 0;
    }
    puts(" weights   block  pruned  step   bound    payload           file             "
         "MB/s\n"
         "                 /unified      (bits per weight, and above the bound)       of "
         "f32");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        print_family(&families[i]);
    return 0;
}
