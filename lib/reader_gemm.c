/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights in the packed form: run where they lie, or as a copy, or loaded. */
#include "reader.h"

#include "conv.h"
#include "gemm.h"
#include "packed.h"

#include <string.h>

/* A payload in memory, and what is in it. */
typedef struct payload {
    const uint8_t *data;
    msw__buffer *buffer; /* that holds it; or NULL for the time being */
    msw__packed packed;
    const char *reason;  /* of a copy; NULL: it is where it lies */
} payload;

static const char *why_copied(const msw_reader *r, const msw__entry *e)
{
    const uintptr_t address = (uintptr_t)r->source.memory + (uintptr_t)e->payload.offset;

    if (!r->source.memory)
        return "copied: the file is not in memory";
    return address % MSW__ALIGN ? "copied: the buffer is not at a multiple of 64" : NULL;
}

static msw_status copy_payload(payload *p, msw__job *j)
{
    const size_t size = (size_t)j->entry->payload.length;
    msw_status status =
        msw__job_pass(j, msw__buffer_alloc(&p->buffer, j->reader->ctx, size));

    if (status)
        return status;
    p->data = p->buffer->data;
    return msw__reader_read(j->reader, j->offset, p->buffer->owned, size, j->what);
}

static bool any_packing(const msw__packed *p)
{
    for (int kind = 0; kind < MSW__LAYOUTS; kind++)
        if (p->packs[kind].chunk_count)
            return true;
    return false;
}

static msw_status open_payload(payload *p, msw__job *j, const msw_plan *plan)
{
    const msw__entry *e = j->entry;
    msw_status status = MSW_OK;
    const char *reason;

    memset(p, 0, sizeof *p);
    if (!msw__packed_native() || e->payload.length > SIZE_MAX)
        return msw__job_fail(j, MSW_E_UNSUPPORTED, "packed for another kind of machine");
    p->reason = why_copied(j->reader, e);
    if (p->reason) {
        status = copy_payload(p, j);
    } else {
        p->data = j->reader->source.memory + (size_t)e->payload.offset;
        p->buffer = msw__buffer_ref(j->reader->buffer);
    }
    if (status)
        return status;
    reason = msw__packed_locate(&p->packed, p->data, (size_t)e->payload.length, &e->record,
                                plan);
    if (reason)
        return msw__job_fail(j, MSW_E_FORMAT, reason);
    return any_packing(&p->packed)
               ? MSW_OK : msw__job_fail(j, MSW_E_UNSUPPORTED, "a layout that is not known");
}

static void close_payload(payload *p)
{
    msw__buffer_free(p->buffer);
    p->buffer = NULL;
}

static msw_status unpack(msw_unified **out, msw__job *j, payload *p, msw_plan *plan)
{
    const char *reason;
    const msw_status status =
        msw__job_pass(j, msw__packed_unpack(&reason, out, &p->packed, plan));

    return !status && reason ? msw__job_fail(j, MSW_E_FORMAT, reason) : status;
}

msw_status msw__job_unpack(msw_unified **out, msw__job *j, msw_plan *plan)
{
    payload p;
    msw_status status = open_payload(&p, j, plan);

    if (!status)
        status = unpack(out, j, &p, plan);
    close_payload(&p);
    return status;
}

/* Kernels */

/* Is each packing of the file what this machine's kernels want? */
static bool is_best(const msw__job *j, const msw_plan *plan)
{
    const uint32_t *layouts = j->entry->record.layouts;
    msw__gemm_table table;

    msw__gemm_table_init(&table, j->reader->ctx->cpu);
    for (int i = 0; i < MSW__LAYOUTS; i++) {
        const msw__gemm_kind kind = (msw__gemm_kind)i;

        if (layouts[i] && layouts[i] != msw__packed_wanted(kind, plan, table.traits[i]))
            return false;
    }
    return true;
}

/* Kinds of blocks, by which a measurement is remembered. */
static msw_status count_blocks(msw__weights *w, msw__job *j, const payload *p)
{
    const size_t blocks = w->plan->block_count;
    msw_status status;
    uint8_t *classes;
    void *memory;

    status = msw__job_pass(j, msw__alloc(&memory, j->reader->ctx, blocks, 1));
    if (status)
        return status;
    classes = memory;
    if (!msw__class_map_decode(classes, p->packed.classes, blocks, &p->packed.code))
        status = msw__job_fail(j, MSW_E_FORMAT, "its class map");
    for (size_t b = 0; b < blocks && !status; b++) {
        w->pruned += classes[b] == MSW_CLASS_PRUNED;
        w->unified += classes[b] == MSW_CLASS_UNIFIED;
    }
    msw__free(j->reader->ctx, memory, blocks, 1);
    return status;
}

/* The packings, checked, as they lie in the payload. */
static msw_status use_packings(msw__weights *w, msw__job *j, payload *p)
{
    const char *reason;
    const msw_status status = msw__job_pass(
        j, msw__packed_check(&reason, &p->packed, w->plan, !j->reader->trusted));

    if (status)
        return status;
    if (reason)
        return msw__job_fail(j, MSW_E_FORMAT, reason);
    w->packs = p->packed.packs;
    w->buffer = p->buffer;
    w->placement = p->reason ? MSW_PLACEMENT_COPIED : MSW_PLACEMENT_IN_PLACE;
    w->placement_reason = p->reason ? p->reason : "in place";
    return MSW_OK;
}

/* Weights to make a handle of, and what keeps them. */
typedef struct request {
    msw__job job;
    msw_plan *plan;
    msw_unified *u;
    payload payload;
    msw__weights weights;
    bool counts; /* how many blocks of each kind there are is wanted */
} request;

static msw_status load(request *r, const char *reason, uint32_t placement)
{
    const msw_status status = msw__job_unified(&r->u, &r->job, r->plan);

    r->weights.u = r->u;
    r->weights.placement = placement;
    r->weights.placement_reason = reason;
    return status;
}

static msw_status begin_request(request *r, msw_reader *reader, const char *name)
{
    msw_status status = msw__job_begin(&r->job, reader, name, MSW_ENTRY_UNIFIED);

    if (!status)
        status = msw__job_plan(&r->plan, &r->job);
    r->weights.plan = r->plan;
    return status;
}

/* @p no_packing: why none can be used; NULL: it can. */
static msw_status find_weights(request *r, const char *no_packing)
{
    const uint32_t flags = r->job.entry->record.flags;
    msw_status status;

    if (flags & MSW__RECORD_TRANSPORT)
        return load(r, "packed: the file has the transport form", MSW_PLACEMENT_PACKED);
    if (!(flags & MSW__RECORD_PACKED))
        return load(r, "packed: the file has the plain form", MSW_PLACEMENT_PACKED);
    if (!no_packing && !is_best(&r->job, r->plan))
        no_packing = "repacked: the file's layout is for other kernels";
    if (no_packing)
        return load(r, no_packing, MSW_PLACEMENT_REPACKED);
    status = open_payload(&r->payload, &r->job, r->plan);
    if (!status)
        status = use_packings(&r->weights, &r->job, &r->payload);
    return status || !r->counts ? status
                                : count_blocks(&r->weights, &r->job, &r->payload);
}

static void end_request(request *r)
{
    close_payload(&r->payload);
    msw_unified_free(r->u);
    msw_plan_free(r->plan);
}

/* A handle could not be made of the weights; the reader's error says so. */
static msw_status end_making(request *r, msw_status status)
{
    return status ? msw__job_pass(&r->job, status) : MSW_OK;
}

msw_status msw_reader_gemm(msw_gemm **out, msw_reader *reader, const char *name,
                           const msw_gemm_options *options)
{
    request r = {0};
    msw_gemm_options o;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!reader)
        return MSW_E_INVAL;
    status = begin_request(&r, reader, name);
    if (!status)
        status = end_making(&r, msw__gemm_take_options(&o, options, r.plan->rows));
    if (!status)
        r.counts = o.wisdom != NULL;
    if (!status)
        status = find_weights(&r, o.fallback == MSW_FALLBACK_BLAS
                                      ? "repacked: a dense copy is wanted" : NULL);
    if (!status)
        status = end_making(&r, msw__gemm_new(out, reader->ctx, &r.weights, &o, false,
                                              reader->ctx->cpu));
    end_request(&r);
    return status;
}

msw_status msw_reader_conv(msw_conv **out, msw_reader *reader, const char *name,
                           const msw_conv_options *options)
{
    request r = {0};
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!reader)
        return MSW_E_INVAL;
    status = begin_request(&r, reader, name);
    if (!status)
        status = find_weights(&r, msw__conv_runs_packings(r.plan, options)
                                      ? NULL : "repacked: no product of one matrix");
    if (!status)
        status = end_making(&r, msw__conv_new(out, reader->ctx, &r.weights, options));
    end_request(&r);
    return status;
}
