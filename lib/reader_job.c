/* SPDX-License-Identifier: BSD-2-Clause */
/* What loading a tensor begins with: its checksums, its plan. */
#include "reader.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>

msw_status msw__job_fail(msw__job *j, msw_status status, const char *reason)
{
    return msw__reader_fail(j->reader, status, "%s: %s", j->what, reason);
}

msw_status msw__job_pass(msw__job *j, msw_status status)
{
    return status ? msw__job_fail(j, status, msw_status_text(status)) : MSW_OK;
}

msw_status msw__job_begin(msw__job *j, msw_reader *r, const char *name, uint32_t kind)
{
    msw_status status;
    size_t at;

    r->error[0] = 0;
    if (!name)
        return msw__reader_fail(r, MSW_E_INVAL, "name is NULL");
    if (!msw__names_find(&at, &r->names, name))
        return msw__reader_fail(r, MSW_E_NOTFOUND, "no tensor \"%.80s\"", name);
    j->reader = r;
    j->entry = &r->entries[at];
    j->offset = j->entry->payload.offset;
    snprintf(j->what, sizeof j->what, "tensor \"%.80s\"", name);
    if (j->entry->record.kind != kind)
        return msw__job_fail(j, MSW_E_INVAL, kind == MSW_ENTRY_UNIFIED
                                        ? "it is a plain tensor"
                                        : "it holds unified weights");
    if (r->trusted)
        return MSW_OK;
    status = msw__reader_check(r, j->entry->payload, j->what);
    if (!status && j->entry->permutations.length)
        status = msw__reader_check(r, j->entry->permutations, j->what);
    if (!status && j->entry->merge_map.length)
        status = msw__reader_check(r, j->entry->merge_map, j->what);
    return status;
}

/* Plans */

static msw_status load_permutation(uint32_t **out, msw__job *j, size_t count,
                                   uint64_t offset)
{
    const size_t width = msw__index_bytes(count);
    msw_status status;
    void *memory;
    uint8_t *from;

    status = msw__alloc(&memory, j->reader->ctx, count, sizeof **out);
    *out = memory;
    if (status)
        return msw__job_pass(j, status);
    from = (uint8_t *)memory + count * (sizeof **out - width);
    status = msw__reader_read(j->reader, offset, from, count * width, j->what);
    for (size_t i = 0; i < count && !status; i++)
        (*out)[i] = width == 1   ? from[i]
                    : width == 2 ? msw__load16(from + 2 * i)
                                 : msw__load32(from + 4 * i);
    return status;
}

static size_t columns_of(const msw__record *c)
{
    size_t count = 1;

    for (uint32_t i = 0; i < c->rank; i++)
        if (i != (c->weights == MSW_WEIGHTS_IO ? 1u : 0u))
            count *= (size_t)c->shape[i];
    return count;
}

msw_status msw__job_plan(msw_plan **out, msw__job *j)
{
    const msw__record *c = &j->entry->record;
    const size_t rows = (size_t)c->shape[c->weights == MSW_WEIGHTS_IO ? 1 : 0];
    const size_t columns = columns_of(c);
    uint32_t *row_permutation = NULL, *column_permutation = NULL;
    uint64_t offset = j->entry->permutations.offset;
    size_t shape[MSW_MAX_RANK];
    msw_status status = MSW_OK;
    msw_plan_options o = msw__record_plan(c);

    for (uint32_t i = 0; i < c->rank; i++)
        shape[i] = (size_t)c->shape[i];
    if (c->flags & MSW__RECORD_ROWS_PERMUTED) {
        status = load_permutation(&row_permutation, j, rows, offset);
        offset += (uint64_t)rows * msw__index_bytes(rows);
    }
    if (!status && c->flags & MSW__RECORD_COLUMNS_PERMUTED)
        status = load_permutation(&column_permutation, j, columns, offset);
    if (!status) {
        o.row_permutation = row_permutation;
        o.column_permutation = column_permutation;
        status = msw_plan_new(out, j->reader->ctx, shape, c->rank, &o);
        if (status == MSW_E_INVAL)
            status = msw__job_fail(j, MSW_E_FORMAT, "not a permutation");
        else
            msw__job_pass(j, status);
    }
    msw__free(j->reader->ctx, row_permutation, rows, sizeof *row_permutation);
    msw__free(j->reader->ctx, column_permutation, columns, sizeof *column_permutation);
    return status;
}
