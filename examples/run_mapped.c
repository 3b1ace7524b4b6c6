/* SPDX-License-Identifier: BSD-2-Clause */
/* Run a layer where its file is mapped, without loading it: no weight is copied.
 *
 *   run_mapped FILE WEIGHTS
 *
 * FILE as `msw pack` wrote it, WEIGHTS a matrix in it. Prints where the weights are and the
 * outputs for the inputs 1, 1/2, 1/3, ... */
#define _POSIX_C_SOURCE 200809L
#include "must.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct mapping {
    void *data;
    size_t size;
} mapping;

static mapping map_file(const char *path)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    mapping m = {NULL, 0};

    if (file >= 0 && fstat(file, &info) == 0) {
        m.size = (size_t)info.st_size;
        m.data = mmap(NULL, m.size, PROT_READ, MAP_PRIVATE, file, 0);
    }
    if (!m.data || m.data == MAP_FAILED) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    close(file);
    return m;
}

/* Called when neither the reader nor a layer needs the mapping any more. */
static void unmap(const void *data, void *user)
{
    mapping *m = user;

    (void)data;
    munmap(m->data, m->size);
}

static msw_gemm *open_layer(size_t *outputs, size_t *inputs, msw_context *ctx, mapping *file,
                            const char *name)
{
    msw_reader_options how;
    msw_gemm_options options;
    msw_reader *reader;
    msw_gemm *layer;
    msw_entry entry;
    size_t index;

    msw_reader_options_init(&how);
    how.release = unmap;
    how.release_user = file;
    must(msw_reader_open_buffer(&reader, ctx, file->data, file->size, &how), "opening");
    must(msw_reader_find(&index, reader, name), name);
    msw_entry_init(&entry);
    must(msw_reader_get_entry(&entry, reader, index), name);
    *outputs = entry.shape[0];
    *inputs = entry.shape[1];
    msw_gemm_options_init(&options);
    options.expected_n = 1;
    must(msw_reader_gemm(&layer, reader, name, &options), msw_reader_error(reader));
    msw_reader_free(reader); /* the layer keeps the mapping in use */
    return layer;
}

static void run_layer(const msw_gemm *layer, size_t outputs, size_t inputs)
{
    float *x = calloc(inputs, sizeof *x), *y = calloc(outputs, sizeof *y);
    msw_gemm_call call;

    must(x && y ? MSW_OK : MSW_E_NOMEM, "activations");
    for (size_t i = 0; i < inputs; i++)
        x[i] = 1 / (float)(i + 1);
    msw_gemm_call_init(&call);
    call.x = x;
    call.y = y;
    call.n = call.ldx = call.ldy = 1;
    must(msw_gemm_run(layer, &call), "product");
    for (size_t i = 0; i < outputs; i++)
        printf("%.6g\n", (double)y[i]);
    free(x);
    free(y);
}

int main(int argc, char **argv)
{
    msw_context *ctx;
    msw_gemm *layer;
    msw_gemm_info info;
    mapping file;
    size_t outputs, inputs;

    if (argc != 3) {
        fprintf(stderr, "usage: run_mapped FILE WEIGHTS\n");
        return EXIT_FAILURE;
    }
    must(msw_context_new(&ctx, NULL), "context");
    file = map_file(argv[1]);
    layer = open_layer(&outputs, &inputs, ctx, &file, argv[2]);
    msw_gemm_info_init(&info);
    must(msw_gemm_get_info(&info, layer, 1), "info");
    printf("%s, %s: %llu bytes mapped, %llu held\n", info.kernel, info.placement_reason,
           (unsigned long long)info.bytes_mapped, (unsigned long long)info.bytes_packed);
    run_layer(layer, outputs, inputs);
    msw_gemm_free(layer);
    msw_context_free(ctx);
    return EXIT_SUCCESS;
}
