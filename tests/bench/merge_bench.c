/* SPDX-License-Identifier: BSD-2-Clause */
/* Does merging blocks save bytes? Distances of one matrix at equal bytes of its file.
 *
 *   merge-bench WEIGHTS.f32 ROWS COLUMNS [OFFSET]
 *
 * such as `500 800 25570` for fc1 of a LeNet of examples/compare/. The matrix is f32 as this
 * machine has them, from float OFFSET on. For each size of the file, in the transport form
 * with magnitudes in some bits of mantissa and free weights in 6 bits: ||W - stored|| / ||W||
 * with blocks of one fixed size, and with nodes over them. A JSON object a line.
 */
#include <msw/msw.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t sides[][2] = {{2, 2}, {2, 4}, {4, 4}, {4, 8}, {8, 8}, {8, 16}};
static const double ratios[] = {16, 32, 64, 100, 160};
enum { SIDES = sizeof sides / sizeof *sides, RATIOS = sizeof ratios / sizeof *ratios };

static void must(msw_status status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "merge-bench: %s: %s\n", what, msw_status_text(status));
    exit(EXIT_FAILURE);
}

static double distance(msw_tensor *a, msw_tensor *b)
{
    const float *x = msw_tensor_data(a), *y = msw_tensor_data(b);
    double sum = 0, norm = 0;

    for (size_t i = 0; i < msw_tensor_count(a); i++) {
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        norm += (double)x[i] * (double)x[i];
    }
    return sqrt(sum / norm);
}

/* What is read back from the file of the chosen blocks. */
static double stored(uint64_t *bytes, msw_context *ctx, msw_budget *b, msw_tensor *weights,
                     msw_tensor *dense, const msw_store_options *store)
{
    msw_plan *plan = msw_budget_plan(b, 0);
    msw_plan_info info;
    msw_unified *u;
    msw_writer *writer;
    msw_reader *reader;
    void *data;

    msw_plan_info_init(&info);
    must(msw_plan_get_info(&info, plan), "plan");
    must(msw_unified_new_merged(&u, plan, weights, msw_budget_classes(b, 0),
                                msw_budget_merge_levels(b, 0), info.block_count),
         "project");
    must(msw_writer_new(&writer, ctx), "writer");
    must(msw_writer_add_unified(writer, "w", u, store), "encode");
    msw_unified_free(u);
    *bytes = msw_writer_bytes(writer);
    data = malloc((size_t)*bytes);
    must(data ? msw_writer_write_buffer(writer, data, (size_t)*bytes) : MSW_E_NOMEM,
         "write");
    must(msw_reader_open_buffer(&reader, ctx, data, (size_t)*bytes, NULL), "read");
    must(msw_reader_unified(&u, reader, "w"), "decode");
    must(msw_unified_to_dense(dense, u), "dense");
    msw_unified_free(u);
    msw_reader_free(reader);
    msw_writer_free(writer);
    free(data);
    return distance(weights, dense);
}

static double try_blocks(uint64_t *bytes, msw_context *ctx, msw_tensor *weights,
                         msw_tensor *dense, const size_t *shape, size_t side,
                         uint32_t levels, double target, const msw_store_options *store)
{
    msw_budget_options o;
    msw_budget_layer l;
    msw_plan_options p;
    msw_budget *b;
    msw_plan *plan;
    double result;

    msw_plan_options_init(&p);
    p.block_rows = sides[side][0];
    p.block_columns = sides[side][1];
    must(msw_plan_new(&plan, ctx, shape, 2, &p), "plan");
    msw_budget_options_init(&o);
    o.store = store;
    must(msw_budget_new(&b, ctx, &o), "budget");
    msw_budget_layer_init(&l);
    l.levels = levels;
    must(msw_budget_add(b, plan, weights, &l), "layer");
    *bytes = 0;
    result = msw_budget_choose(b, target) ? (double)INFINITY
                                          : stored(bytes, ctx, b, weights, dense, store);
    msw_plan_free(plan);
    msw_budget_free(b);
    return result;
}

static void compare(msw_context *ctx, msw_tensor *weights, msw_tensor *dense,
                    const size_t *shape, double ratio, uint32_t bits)
{
    const double target = 4 * (double)msw_tensor_count(weights) / ratio;
    double best[2] = {(double)INFINITY, (double)INFINITY};
    size_t at[2] = {0, 0};
    uint64_t bytes[2] = {0, 0}, taken;
    msw_store_options store;

    msw_store_options_init(&store);
    store.encoding = MSW_ENCODING_TRANSPORT;
    store.magnitudes = MSW_DTYPE_LOG;
    store.magnitude_bits = bits;
    store.free_weights = MSW_DTYPE_UNIFORM;
    store.free_bits = 6;
    for (size_t k = 0; k < SIDES; k++)
        for (uint32_t merged = 0; merged < 2; merged++) {
            const double d = try_blocks(&taken, ctx, weights, dense, shape, k, 3 * merged,
                                        target, &store);

            if (d < best[merged]) {
                best[merged] = d;
                at[merged] = k;
                bytes[merged] = taken;
            }
        }
    printf("{\"ratio\": %g, \"magnitude_bits\": %u, \"fixed\": \"%ux%u\", "
           "\"bytes_fixed\": %llu, \"error_fixed\": %.4f, \"merged\": \"%ux%u\", "
           "\"bytes_merged\": %llu, \"error_merged\": %.4f}\n",
           ratio, (unsigned)bits, (unsigned)sides[at[0]][0], (unsigned)sides[at[0]][1],
           (unsigned long long)bytes[0], best[0], (unsigned)sides[at[1]][0],
           (unsigned)sides[at[1]][1], (unsigned long long)bytes[1], best[1]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const size_t shape[2] = {argc > 3 ? strtoul(argv[2], NULL, 10) : 0,
                             argc > 3 ? strtoul(argv[3], NULL, 10) : 0};
    const long offset = argc > 4 ? strtol(argv[4], NULL, 10) : 0;
    msw_tensor *weights, *dense;
    msw_context *ctx;
    FILE *f;

    f = argc > 3 ? fopen(argv[1], "rb") : NULL;
    if (!f || !shape[0] || !shape[1] || fseek(f, 4 * offset, SEEK_SET)) {
        fprintf(stderr, "usage: merge-bench WEIGHTS.f32 ROWS COLUMNS [OFFSET]\n");
        return EXIT_FAILURE;
    }
    must(msw_context_new(&ctx, NULL), "context");
    must(msw_tensor_new(&weights, ctx, shape, 2), "tensor");
    must(msw_tensor_new(&dense, ctx, shape, 2), "tensor");
    if (fread(msw_tensor_data(weights), sizeof(float), msw_tensor_count(weights), f) !=
        msw_tensor_count(weights)) {
        fprintf(stderr, "merge-bench: %s is too short\n", argv[1]);
        return EXIT_FAILURE;
    }
    fclose(f);
    for (size_t i = 0; i < RATIOS; i++)
        for (uint32_t bits = 0; bits <= 2; bits += 2)
            compare(ctx, weights, dense, shape, ratios[i], bits);
    msw_tensor_free(dense);
    msw_tensor_free(weights);
    msw_context_free(ctx);
    return EXIT_SUCCESS;
}
