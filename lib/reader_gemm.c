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

/* All groups have those of the first. */
static bool any_packing(const msw__packed *p)
{
    for (int kind = 0; kind < MSW__LAYOUTS; kind++)
        if (p->packs[kind].chunk_count)
            return true;
    return false;
}

static msw_status open_payload(payload *p, msw__job *j, msw_plan *plan)
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
    status = msw__job_pass(j, msw__packed_locate(&reason, &p->packed, p->data,
                                                 (size_t)e->payload.length, &e->record,
                                                 plan));
    if (status)
        return status;
    if (reason)
        return msw__job_fail(j, MSW_E_FORMAT, reason);
    return any_packing(&p->packed)
               ? MSW_OK : msw__job_fail(j, MSW_E_UNSUPPORTED, "a layout that is not known");
}

static void close_payload(payload *p)
{
    msw__packed_close(&p->packed);
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

/* Is each packing of the file what this machine's kernels want? That does not depend on
 * groups. */
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

/* The packings, checked, as they lie in the payload. */
static msw_status use_packings(msw__weights *w, msw__job *j, payload *p)
{
    const char *reason;
    const msw_status status = msw__job_pass(
        j, msw__packed_check(&reason, &p->packed, !j->reader->trusted));

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
    uint8_t *classes; /* of the packings' blocks, if they are wanted */
} request;

/* By them a measurement is remembered. */
static msw_status find_classes(request *r)
{
    const size_t blocks = r->plan->block_count;
    const msw__packed *p = &r->payload.packed;
    void *memory;
    const msw_status status =
        msw__job_pass(&r->job, msw__alloc(&memory, r->plan->ctx, blocks, 1));

    r->classes = memory;
    if (status)
        return status;
    r->weights.classes = r->classes;
    return msw__class_map_decode(r->classes, p->classes, blocks, &p->code)
               ? MSW_OK : msw__job_fail(&r->job, MSW_E_FORMAT, "its class map");
}

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

/* @p no_packing: why none can be used; NULL: it can. @p wisdom: NULL, or where times are
 * remembered. */
static msw_status find_weights(request *r, const char *no_packing, const msw_wisdom *wisdom)
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
    return status || !wisdom ? status : find_classes(r);
}

static void end_request(request *r)
{
    if (r->classes)
        msw__free(r->plan->ctx, r->classes, r->plan->block_count, 1);
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
    if (!status && r.plan->groups > 1)
        status = end_making(&r, MSW_E_UNSUPPORTED);
    if (!status)
        status = find_weights(&r, o.fallback == MSW_FALLBACK_BLAS
                                      ? "repacked: a dense copy is wanted" : NULL,
                              o.wisdom);
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
    msw_conv_options o;
    msw_status status;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!reader)
        return MSW_E_INVAL;
    status = begin_request(&r, reader, name);
    if (!status)
        status = end_making(&r, msw__conv_take_options(&o, options, r.plan));
    if (!status)
        status = find_weights(&r, msw__conv_runs_packings(r.plan, &o)
                                      ? NULL : "repacked: no products", o.wisdom);
    if (!status)
        status = end_making(&r, msw__conv_new(out, reader->ctx, &r.weights, &o));
    end_request(&r);
    return status;
}
