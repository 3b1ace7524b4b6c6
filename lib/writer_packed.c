/* SPDX-License-Identifier: BSD-2-Clause */
/* The packed form of weights, as the kernels of any machine read it. */
#include "writer.h"

#include "gemm.h"
#include "packed.h"

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

/* As the handle has it that would run there. */
static msw_status pack(msw_gemm **out, msw_context *ctx, const msw_unified *u,
                       const msw_store_options *o)
{
    const uint32_t cpu = levels_for(ctx, o->cpu);
    const msw__weights weights = msw__weights_of(u);
    msw_gemm_options g;

    *out = NULL;
    if (!cpu || u->plan->groups > 1 || !msw__packed_native())
        return MSW_E_UNSUPPORTED;
    msw_gemm_options_init(&g);
    g.expected_n = o->expected_n;
    g.fallback = MSW_FALLBACK_NEVER;
    return msw__gemm_new(out, ctx, &weights, &g, false, cpu);
}

msw_status msw__encode_packed(msw__item *item, msw__record *record, msw_context *ctx,
                              const msw_unified *u, const msw_store_options *o,
                              const msw__class_code *code)
{
    const msw__loss none = {0};
    const size_t end = u->plan->block_row_count;
    msw_gemm *g;
    msw_status status = pack(&g, ctx, u, o);

    if (!status)
        status = msw__bytes_alloc(&item->payload, ctx,
                                  msw__packed_bytes(g->packs, u, code));
    if (!status) {
        msw__packed_encode(item->payload.data, g->packs, u, code);
        for (int kind = 0; kind < MSW__LAYOUTS; kind++)
            record->layouts[kind] = msw__packed_layout((msw__gemm_kind)kind,
                                                       &g->packs[kind]);
        msw__loss_finish(&item->info, &none, u->magnitude_start[end] + u->free_start[end],
                         item->payload.size + item->permutations.size);
    }
    msw_gemm_free(g);
    return status;
}
