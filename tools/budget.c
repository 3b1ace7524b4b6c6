/* SPDX-License-Identifier: BSD-2-Clause */
#include "budget.h"
#include "view.h"

#include <math.h>
#include <stdlib.h>

enum { BISECTIONS = 80 };

static double mean_square(const float *values, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sum / (double)count;
}

/* What pruning and unifying the block change, in squares (msw/unified.h). */
static void measure_block(struct block_cost *out, const float *matrix, size_t columns,
                          const msw_block *b, double scale)
{
    const double n = (double)b->rows * (double)b->columns;
    double sum = 0, squares = 0, spread = 0, mean;

    for (size_t r = b->row; r < b->row + b->rows; r++)
        for (size_t c = b->column; c < b->column + b->columns; c++) {
            const double v = fabs((double)matrix[r * columns + c]);
            sum += v;
            squares += v * v;
        }
    mean = sum / n;
    for (size_t r = b->row; r < b->row + b->rows; r++)
        for (size_t c = b->column; c < b->column + b->columns; c++) {
            const double v = fabs((double)matrix[r * columns + c]) - mean;
            spread += v * v;
        }
    out->prune = (float)(squares * scale);
    out->unify = (float)(spread * scale);
    out->weights = (uint16_t)(b->rows * b->columns);
}

static msw_status measure(struct budget_layer *layer, const float *matrix,
                          const msw_plan *plan, const msw_plan_info *info)
{
    const double square = mean_square(matrix, info->rows * info->columns);
    msw_status status = isfinite(square) ? MSW_OK : MSW_E_NUMERIC;
    msw_block b;

    msw_block_init(&b);
    for (size_t i = 0; i < layer->count && !status; i++) {
        status = msw_plan_get_block(&b, plan, i);
        if (!status)
            measure_block(&layer->blocks[i], matrix, info->columns, &b,
                          square > 0 ? 1 / square : 0);
    }
    return status;
}

msw_status budget_add(struct budget *b, const msw_tensor *weights, const msw_plan *plan,
                      uint32_t float_bits)
{
    struct budget_layer *layers = realloc(b->layers, (b->count + 1) * sizeof *layers);
    struct budget_layer *layer;
    msw_plan_info info;
    msw_status status;
    float *matrix;

    if (!layers)
        return MSW_E_NOMEM;
    b->layers = layers;
    msw_plan_info_init(&info);
    status = msw_plan_get_info(&info, plan);
    if (status)
        return status;
    layer = &layers[b->count++];
    layer->float_bits = float_bits;
    layer->count = info.block_count;
    layer->blocks = calloc(layer->count, sizeof *layer->blocks);
    matrix = malloc(msw_tensor_count(weights) * sizeof *matrix);
    if (layer->blocks && matrix) {
        view_arrange(matrix, msw_tensor_data(weights), plan, &info);
        status = measure(layer, matrix, plan, &info);
    } else {
        status = MSW_E_NOMEM;
    }
    free(matrix);
    return status;
}

static uint64_t bits_of(const struct budget_layer *layer, const struct block_cost *block,
                        uint8_t class)
{
    switch (class) {
    case MSW_CLASS_FREE:
        return (uint64_t)block->weights * layer->float_bits;
    case MSW_CLASS_UNIFIED:
        return (uint64_t)block->weights + layer->float_bits;
    default:
        return 0;
    }
}

/* The class of least cost when a bit costs price. */
static uint8_t best_class(const struct budget_layer *layer, const struct block_cost *block,
                          double price)
{
    const double pruned = (double)block->prune;
    const double unified = (double)block->unify +
                           price * (double)bits_of(layer, block, MSW_CLASS_UNIFIED);
    const double kept = price * (double)bits_of(layer, block, MSW_CLASS_FREE);

    if (pruned <= unified && pruned <= kept)
        return MSW_CLASS_PRUNED;
    return unified <= kept ? MSW_CLASS_UNIFIED : MSW_CLASS_FREE;
}

static uint64_t bits_at(const struct budget *b, double price)
{
    uint64_t bits = 0;

    for (size_t l = 0; l < b->count; l++)
        for (size_t i = 0; i < b->layers[l].count; i++) {
            const struct block_cost *block = &b->layers[l].blocks[i];
            bits += bits_of(&b->layers[l], block, best_class(&b->layers[l], block, price));
        }
    return bits;
}

/* Everything at the price that fits; then, in order, what the lower price would have and
 * still finds room: blocks of equal costs all turn at once otherwise. */
static uint64_t assign(struct budget *b, double fits, double lower, uint64_t bits)
{
    uint64_t used = bits_at(b, fits);

    for (size_t l = 0; l < b->count; l++) {
        struct budget_layer *layer = &b->layers[l];

        for (size_t i = 0; i < layer->count; i++) {
            struct block_cost *block = &layer->blocks[i];
            const uint8_t better = best_class(layer, block, lower);
            uint64_t more;

            block->class = best_class(layer, block, fits);
            more = bits_of(layer, block, better) - bits_of(layer, block, block->class);
            if (better != block->class && used + more <= bits) {
                block->class = better;
                used += more;
            }
        }
    }
    return used;
}

/* A price at which every block is pruned. */
static double highest_price(const struct budget *b)
{
    double most = 0;

    for (size_t l = 0; l < b->count; l++)
        for (size_t i = 0; i < b->layers[l].count; i++)
            most = fmax(most, (double)b->layers[l].blocks[i].prune);
    return most + 1; /* a block that is kept takes at least one bit */
}

uint64_t budget_choose(struct budget *b, uint64_t bits)
{
    double lower = 0, fits = highest_price(b);

    if (bits_at(b, lower) <= bits)
        return assign(b, lower, lower, bits);
    for (int i = 0; i < BISECTIONS; i++) {
        const double price = (lower + fits) / 2;

        if (bits_at(b, price) <= bits)
            fits = price;
        else
            lower = price;
    }
    return assign(b, fits, lower, bits);
}

void budget_free(struct budget *b)
{
    for (size_t l = 0; l < b->count; l++)
        free(b->layers[l].blocks);
    free(b->layers);
}
