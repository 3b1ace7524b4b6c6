/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form of weights, as the kernels of any machine read it. */
#include "writer.h"

#include "conv.h"
#include "gemm.h"
#include "packed.h"

#include <string.h>

/* The highest level and those below it; 0: this build has no such kernels. */
static uint32_t levels_for(const msw_context *ctx, uint32_t cpu)
{
    uint32_t levels = MSW_CPU_C;

    if (!cpu)
        return ctx->cpu;
    if (cpu & (MSW_CPU_AVX2 | MSW_CPU_AVX512))
        levels |= MSW_CPU_AVX2;
    if (cpu & MSW_CPU_AVX512)
        levels |= MSW_CPU_AVX512;
    return levels & ~msw__cpu_built() ? 0 : levels;
}

/* As the handles have it that would run there: the packings of each group. */
typedef struct packer {
    msw_context *ctx;
    const msw_unified *u;
    size_t groups;
    msw_gemm **gemms;
    msw__packing *packs; /* MSW__LAYOUTS of each group; the gemms own them */
} packer;

static msw_status pack_weights(msw_gemm **out, const packer *k, const msw_unified *u,
                               uint32_t cpu, size_t expected_n)
{
    const msw__weights weights = msw__weights_of(u);
    msw_gemm_options g;

    msw_gemm_options_init(&g);
    g.expected_n = expected_n;
    g.fallback = MSW_FALLBACK_NEVER;
    return msw__gemm_new(out, k->ctx, &weights, &g, false, cpu);
}

/* All groups have what the first one has for so many columns: they share its layouts. */
static msw_status pack_group(packer *k, size_t i, uint32_t cpu, size_t expected_n)
{
    msw_unified *slice;
    msw_status status = msw__unified_group(&slice, k->u, i);

    if (status)
        return status;
    status = pack_weights(&k->gemms[i], k, slice, cpu, i == 0 ? expected_n : 0);
    msw_unified_free(slice);
    for (int kind = 0; kind < MSW__LAYOUTS && !status; kind++)
        if (k->gemms[0]->packs[kind].chunk_count)
            k->packs[i * MSW__LAYOUTS + (size_t)kind] = k->gemms[i]->packs[kind];
    return status;
}

static void close_packer(packer *k)
{
    for (size_t i = 0; k->gemms && i < k->groups; i++)
        msw_gemm_free(k->gemms[i]);
    msw__free(k->ctx, k->gemms, k->groups, sizeof *k->gemms);
    msw__free(k->ctx, k->packs, k->groups * MSW__LAYOUTS, sizeof *k->packs);
}

/* Close it also on failure. */
static msw_status pack(packer *k, const msw_store_options *o)
{
    const uint32_t cpu = levels_for(k->ctx, o->cpu);
    void *memory;
    msw_status status;

    if (!cpu || !msw__packed_native())
        return MSW_E_UNSUPPORTED;
    status = msw__calloc(&memory, k->ctx, k->groups, sizeof *k->gemms);
    k->gemms = memory;
    if (status)
        return status;
    status = msw__calloc(&memory, k->ctx, k->groups * MSW__LAYOUTS, sizeof *k->packs);
    k->packs = memory;
    if (!status && k->groups == 1) {
        status = pack_weights(&k->gemms[0], k, k->u, cpu, o->expected_n);
        if (!status)
            memcpy(k->packs, k->gemms[0]->packs, MSW__LAYOUTS * sizeof *k->packs);
        return status;
    }
    for (size_t i = 0; i < k->groups && !status; i++)
        status = pack_group(k, i, cpu, o->expected_n);
    return status;
}

msw_status msw__encode_packed(msw__item *item, msw__record *record, msw_context *ctx,
                              const msw_unified *u, const msw_store_options *o,
                              const msw__class_code *code)
{
    const msw__loss none = {0};
    const size_t end = u->plan->block_row_count;
    packer k = {.ctx = ctx, .u = u, .groups = u->plan->groups};
    msw_status status = pack(&k, o);

    if (!status)
        status = msw__bytes_alloc(&item->payload, ctx, msw__packed_bytes(k.packs, u, code));
    if (!status) {
        msw__packed_encode(item->payload.data, k.packs, u, code);
        for (int kind = 0; kind < MSW__LAYOUTS; kind++)
            record->layouts[kind] =
                msw__packed_layout((msw__gemm_kind)kind, &k.packs[kind]);
        msw__loss_finish(&item->info, &none, u->magnitude_start[end] + u->free_start[end],
                         item->payload.size + item->permutations.size +
                             item->merge_map.size);
    }
    close_packer(&k);
    return status;
}
