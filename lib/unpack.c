/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form -> msw_unified. */
#include "packed.h"

#include "bytes.h"
#include "packing.h"

struct msw__unpacker {
    msw_unified *u;
    const msw_plan *plan;
    size_t first_row;    /* of the group at hand */
    size_t *start;       /* per block: of its signs, or of its free weights */
    size_t *magnitude;   /* per block: its magnitude */
    /* A bit for each sign and each free weight: it was there. */
    uint8_t *sign_seen, *free_seen;
};

static size_t block_row_of(const msw_plan *p, size_t row)
{
    return row / p->group_rows * p->group_block_rows + row % p->group_rows / p->block_rows;
}

void msw__unpack_group(msw__unpacker *k, size_t first_row)
{
    k->first_row = first_row;
}

bool msw__unpack_weight(msw__unpacker *k, size_t group_row, size_t column, uint32_t bits,
                        bool lookup)
{
    const msw_plan *p = k->plan;
    const size_t row = k->first_row + group_row;
    const size_t i = block_row_of(p, row), j = column / p->block_columns;
    const size_t block = i * p->block_column_count + j;
    const uint8_t class = k->u->classes[block];
    const size_t at = k->start[block] + (row - msw__plan_row(p, i)) * msw__plan_columns(p, j) +
                      column % p->block_columns;
    uint8_t *seen = class == MSW_CLASS_FREE ? k->free_seen : k->sign_seen;
    float *magnitude;

    if (class != MSW_CLASS_FREE && bits == 0) /* beside others */
        return true;
    if (class == MSW_CLASS_PRUNED || (lookup && class == MSW_CLASS_FREE) ||
        msw__sign_get(seen, at))
        return false;
    msw__sign_set(seen, at);
    if (class == MSW_CLASS_FREE) {
        msw__float_set(&k->u->free_weights[at], bits);
        return true;
    }
    magnitude = &k->u->magnitudes[k->magnitude[block]];
    if (*magnitude == 0)
        msw__float_set(magnitude, bits & 0x7fffffff);
    if (bits >> 31)
        msw__sign_set(k->u->signs, at);
    return *magnitude != 0 && msw__float_bits(magnitude) == (bits & 0x7fffffff);
}

/* Where the data of each block begin. */
static void find_starts(msw__unpacker *k)
{
    const msw_plan *p = k->plan;
    size_t magnitude = 0, sign = 0, weight = 0, block = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t j = 0; j < p->block_column_count; j++, block++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, j);

            k->magnitude[block] = magnitude;
            k->start[block] = k->u->classes[block] == MSW_CLASS_FREE ? weight : sign;
            if (k->u->classes[block] == MSW_CLASS_FREE) {
                weight += weights;
            } else if (k->u->classes[block] == MSW_CLASS_UNIFIED) {
                sign += weights;
                magnitude++;
            }
        }
}

/* Weights of a block that were there. */
static size_t count_seen(const msw__unpacker *k, size_t block, size_t weights)
{
    const uint8_t *seen = k->u->classes[block] == MSW_CLASS_FREE ? k->free_seen
                                                                 : k->sign_seen;
    size_t count = 0;

    for (size_t w = 0; w < weights; w++)
        count += msw__sign_get(seen, k->start[block] + w);
    return count;
}

/* The rest of the payload: bits of the unified blocks that no packing has. */
typedef struct rest {
    const uint8_t *bits;
    size_t next, count;
} rest;

static bool take_idle(msw__unpacker *k, rest *r, size_t block, size_t weights)
{
    if (weights >= r->count - r->next)
        return false;
    if (msw__sign_get(r->bits, r->next++))
        k->u->magnitudes[k->magnitude[block]] = -0.0f;
    for (size_t w = 0; w < weights; w++)
        if (msw__sign_get(r->bits, r->next++))
            msw__sign_set(k->u->signs, k->start[block] + w);
    return true;
}

/* All blocks are complete. */
static bool finish(msw__unpacker *k, rest *r)
{
    const msw_plan *p = k->plan;
    const uint8_t *class = k->u->classes;
    size_t block = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t j = 0; j < p->block_column_count; j++, block++, class++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, j);
            const size_t seen = *class == MSW_CLASS_PRUNED ? weights
                                                           : count_seen(k, block, weights);

            if (seen == weights)
                continue;
            if (seen || *class == MSW_CLASS_FREE || !take_idle(k, r, block, weights))
                return false;
        }
    for (size_t bit = r->next; bit < r->count; bit++)
        if (msw__sign_get(r->bits, bit))
            return false;
    return r->count - r->next < 8 * (size_t)MSW__FILE_ALIGN;
}

static size_t bit_bytes(const size_t *start, const msw_plan *p)
{
    return start[p->block_row_count] / 8 + (start[p->block_row_count] % 8 != 0);
}

static msw_status alloc_unpacker(msw__unpacker *k)
{
    const msw_plan *p = k->plan;
    void *memory = NULL;
    msw_status status = msw__alloc_array(&k->start, p->ctx, p->block_count, sizeof *k->start);

    if (!status)
        status = msw__alloc_array(&k->magnitude, p->ctx, p->block_count,
                                  sizeof *k->magnitude);
    if (!status)
        status = msw__calloc(&memory, p->ctx, bit_bytes(k->u->sign_start, p), 1);
    k->sign_seen = memory;
    memory = NULL;
    if (!status)
        status = msw__calloc(&memory, p->ctx, bit_bytes(k->u->free_start, p), 1);
    k->free_seen = memory;
    return status;
}

static void free_unpacker(msw__unpacker *k)
{
    const msw_plan *p = k->plan;

    msw__free(p->ctx, k->start, p->block_count, sizeof *k->start);
    msw__free(p->ctx, k->magnitude, p->block_count, sizeof *k->magnitude);
    msw__free(p->ctx, k->sign_seen, bit_bytes(k->u->sign_start, p), 1);
    msw__free(p->ctx, k->free_seen, bit_bytes(k->u->free_start, p), 1);
}

static msw_status unpack(const char **reason, msw_unified *u, msw__packed *p)
{
    const size_t map_bytes = msw__class_map_bytes(&p->code, u->plan->block_count);
    rest r = {p->classes + map_bytes, 0, 8 * (p->rest_bytes - map_bytes)};
    msw__unpacker k = {.u = u, .plan = u->plan};
    msw_status status = alloc_unpacker(&k);

    if (!status) {
        find_starts(&k);
        status = msw__packed_walk_all(reason, p, &k);
    }
    if (!status && !*reason && !finish(&k, &r))
        *reason = "its packing and its class map do not agree";
    free_unpacker(&k);
    return status;
}

/* A free weight takes 4 bytes, one of a unified block a bit: nothing is allocated for more
 * of them than the payload can hold. */
static bool fits(const msw__packed *p, const msw_plan *plan, const uint8_t *classes)
{
    size_t free_weights = 0, signs = 0;

    for (size_t i = 0; i < plan->block_row_count; i++)
        for (size_t j = 0; j < plan->block_column_count; j++) {
            const size_t weights = msw__plan_rows(plan, i) * msw__plan_columns(plan, j);
            const uint8_t class = *classes++;

            free_weights += class == MSW_CLASS_FREE ? weights : 0;
            signs += class == MSW_CLASS_UNIFIED ? weights : 0;
        }
    return free_weights <= p->size / sizeof(float) && signs / 8 <= p->size;
}

msw_status msw__packed_unpack(const char **reason, msw_unified **out, msw__packed *p,
                              msw_plan *plan)
{
    msw_status status;
    uint8_t *classes;

    *out = NULL;
    *reason = NULL;
    status = msw__alloc_array(&classes, plan->ctx, plan->block_count, 1);
    if (status)
        return status;
    if (!msw__class_map_decode(classes, p->classes, plan->block_count, &p->code))
        *reason = "its class map";
    else if (!fits(p, plan, classes))
        *reason = "more weights than the payload has";
    else
        status = msw__unified_alloc(out, plan, classes, NULL);
    msw__free(plan->ctx, classes, plan->block_count, 1);
    if (!status && !*reason)
        status = unpack(reason, *out, p);
    if (status || *reason) {
        msw_unified_free(*out);
        *out = NULL;
    }
    return status;
}
