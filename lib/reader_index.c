/* SPDX-License-Identifier: BSD-2-Clause */
/* What opening checks then: index and metadata. Every number is compared with what is
 * left of the file before anything is allocated or read on its word. */
#include "reader.h"

#include "bytes.h"
#include "merge.h"
#include "quantiser.h"
#include "range_coder.h"

#include <string.h>

/* A whole stream, checked; its size 0 when there is none. */
static msw_status keep_stream(msw__kept *out, msw_reader *r, uint32_t type,
                              const char *what)
{
    const msw__span stream = r->streams[type];
    msw_status status = MSW_OK;
    void *memory;

    if (stream.length > SIZE_MAX)
        return msw__reader_fail(r, MSW_E_LIMIT, "%s: %llu bytes", what,
                                (unsigned long long)stream.length);
    if (stream.length)
        status = msw__reader_check(r, stream, what);
    if (status)
        return status;
    if (r->source.memory) {
        out->data = stream.length ? r->source.memory + stream.offset : NULL;
        out->size = (size_t)stream.length;
        return MSW_OK;
    }
    status = msw__alloc(&memory, r->ctx, (size_t)stream.length, 1);
    if (status)
        return status;
    out->data = out->owned = memory;
    out->size = (size_t)stream.length;
    return memory ? msw__reader_read(r, stream.offset, memory, out->size, what) : MSW_OK;
}

/* The number of records that a stream begins with, bounded by its size. */
static msw_status record_count(size_t *out, msw_reader *r, const msw__kept *stream,
                               size_t least_record, const char *what)
{
    *out = 0;
    if (stream->size == 0)
        return MSW_OK;
    if (stream->size >= MSW__COUNT_BYTES)
        *out = msw__load32(stream->data);
    if (*out == 0 || *out > (stream->size - MSW__COUNT_BYTES) / least_record) {
        const unsigned count = (unsigned)*out;
        *out = 0;
        return msw__reader_fail(r, MSW_E_FORMAT, "%s: %u records in %llu bytes", what,
                                count, (unsigned long long)stream->size);
    }
    return MSW_OK;
}

static msw_status fail_entry(msw_reader *r, size_t i, msw_status status,
                             const char *reason)
{
    return msw__reader_fail(r, status, "index: record %llu: %s", (unsigned long long)i,
                            reason);
}

/* What is left of the streams that the index divides up. */
typedef struct streams {
    msw__span permutations, merge_maps, unified, tensors, packed, transport;
} streams;

static msw__span *payloads_of(streams *left, const msw__record *c)
{
    return c->flags & MSW__RECORD_TRANSPORT  ? &left->transport
           : c->flags & MSW__RECORD_PACKED   ? &left->packed
           : c->kind == MSW_ENTRY_UNIFIED ? &left->unified
                                             : &left->tensors;
}

/* Take length bytes from what is left of a stream. */
static bool take_span(msw__span *out, msw__span *left, uint64_t length)
{
    if (length > left->length)
        return false;
    out->offset = left->offset;
    out->length = length;
    left->offset += length;
    left->length -= length;
    return true;
}

static msw_status check_shape(size_t *shape, msw_reader *r, size_t i,
                              const msw__record *c)
{
    if (c->rank == 0)
        return fail_entry(r, i, MSW_E_FORMAT, "rank 0");
    for (uint32_t d = 0; d < c->rank; d++) {
        if (c->shape[d] == 0)
            return fail_entry(r, i, MSW_E_FORMAT, "a dimension of 0");
        if (c->shape[d] > SIZE_MAX)
            return fail_entry(r, i, MSW_E_UNSUPPORTED, "too large for this machine");
        shape[d] = (size_t)c->shape[d];
    }
    return MSW_OK;
}

/* How the floats are stored: the dtypes of the form, and their parameters. */
static bool check_floats(const msw__record *c)
{
    msw__quantiser magnitudes, free_weights;
    const uint32_t last =
        c->flags & MSW__RECORD_TRANSPORT ? MSW_DTYPE_LOG : MSW_DTYPE_F16;

    return c->magnitudes <= last && c->free_weights <= last &&
           msw__quantiser_from(&magnitudes, c->magnitudes, c->magnitude_parameter) &&
           msw__quantiser_from(&free_weights, c->free_weights, c->free_parameter);
}

/* The least that a payload of the transport form has: the range's tail, and some cost
 * for each block or value. */
static bool check_transport(const msw__record *c, uint64_t count, unsigned per_byte)
{
    return c->payload >= MSW__RANGE_TAIL && count / per_byte <= c->payload;
}

/* Bytes of the payload of a plain tensor; false when they cannot be right. */
static bool tensor_bytes(uint64_t *out, const msw__record *c, const size_t *shape)
{
    size_t count = 1, bytes;

    for (uint32_t d = 0; d < c->rank; d++)
        if (!msw__size_mul(&count, count, shape[d]))
            return false;
    *out = c->payload;
    if (c->flags & MSW__RECORD_TRANSPORT)
        return check_transport(c, count, MSW__BITS_PER_BYTE);
    if (!msw__size_mul(&bytes, count, msw__dtype_bytes(c->free_weights)))
        return false;
    *out = bytes;
    return true;
}

static msw_status check_tensor(msw_reader *r, size_t i, streams *left)
{
    msw__entry *e = &r->entries[i];
    const msw__record *c = &e->record;
    size_t shape[MSW_MAX_RANK];
    msw_status status = check_shape(shape, r, i, c);
    uint64_t bytes;

    if (status)
        return status;
    if (c->magnitudes || c->magnitude_parameter || c->classes || !check_floats(c) ||
        c->flags & ~(uint32_t)MSW__RECORD_TRANSPORT)
        return fail_entry(r, i, MSW_E_FORMAT, "not a plain tensor's fields");
    if (!tensor_bytes(&bytes, c, shape) ||
        !take_span(&e->payload, payloads_of(left, c), bytes))
        return fail_entry(r, i, MSW_E_FORMAT, "more values than the file has");
    return MSW_OK;
}

msw_plan_options msw__record_plan(const msw__record *c)
{
    msw_plan_options o;

    msw_plan_options_init(&o);
    o.weights = c->weights;
    o.reduction = c->reduction;
    o.block_rows = c->block_rows;
    o.block_columns = c->block_columns;
    o.groups = c->groups;
    return o;
}

/* The plan without its permutations, to check what it is made from; *map becomes the bytes
 * of its merge map. */
static msw_status probe_plan(msw_plan_info *out, uint64_t *map, msw_reader *r, size_t i,
                             const msw__record *c, const size_t *shape)
{
    const msw_plan_options o = msw__record_plan(c);
    msw_status status;
    msw_plan *plan;

    if (!o.block_rows || !o.block_columns || !o.groups)
        return fail_entry(r, i, MSW_E_FORMAT, "blocks or groups of 0");
    status = msw_plan_new(&plan, r->ctx, shape, c->rank, &o);
    if (status == MSW_E_INVAL)
        return fail_entry(r, i, MSW_E_FORMAT, "no valid partition");
    if (status == MSW_E_RANGE)
        return fail_entry(r, i, MSW_E_UNSUPPORTED, "too large a partition");
    if (status)
        return status;
    msw_plan_info_init(out);
    status = msw_plan_get_info(out, plan);
    if (!status && msw__node_levels(plan, 0, 0, msw__record_levels(c)) !=
                       msw__record_levels(c))
        status = fail_entry(r, i, MSW_E_FORMAT, "levels that no node can have");
    *map = !msw__record_levels(c)             ? 0
           : c->flags & MSW__RECORD_TRANSPORT ? 1
                                              : 1 + (uint64_t)msw__merge_map_bytes(
                                                        plan, msw__record_levels(c));
    msw_plan_free(plan);
    return status;
}

/* Floats as they are, a layout at least, and no other form. */
static bool check_packed(const msw__record *c)
{
    return !(c->flags & MSW__RECORD_PACKED) ||
           (!(c->flags & MSW__RECORD_TRANSPORT) && c->magnitudes == MSW_DTYPE_F32 &&
            c->free_weights == MSW_DTYPE_F32 && (c->layouts[0] || c->layouts[1]));
}

/* Whether a payload can hold the class map at least, for all nodes as large as they may
 * be. */
static bool check_payload(const msw__record *c, const msw__class_code *code,
                          size_t blocks)
{
    const unsigned shift =
        c->flags & MSW__RECORD_PACKED ? 0 : 2 * msw__record_levels(c);
    const size_t nodes = (blocks >> shift) + !!(blocks & (((size_t)1 << shift) - 1));

    if (c->flags & MSW__RECORD_PACKED && c->payload % MSW__FILE_ALIGN)
        return false;
    return c->flags & MSW__RECORD_TRANSPORT
               ? check_transport(c, blocks, MSW__LIMITED_BITS_PER_BYTE)
               : c->payload >= msw__class_map_bytes(code, nodes);
}

static msw_status check_unified(msw_reader *r, size_t i, streams *left)
{
    msw__entry *e = &r->entries[i];
    const msw__record *c = &e->record;
    size_t shape[MSW_MAX_RANK];
    uint64_t permutation_bytes = 0, map_bytes = 0;
    msw__class_code code;
    msw_plan_info plan;
    msw_status status = check_shape(shape, r, i, c);

    if (status)
        return status;
    if (!check_floats(c) || !msw__class_code_from(&code, c->classes) ||
        !check_packed(c) ||
        c->flags & ~(uint32_t)(MSW__RECORD_PERMUTED | MSW__RECORD_TRANSPORT |
                               MSW__RECORD_PACKED | MSW__RECORD_LEVELS) ||
        msw__record_levels(c) > MSW_MAX_MERGE_LEVELS)
        return fail_entry(r, i, MSW_E_FORMAT, "not a unified tensor's fields");
    status = probe_plan(&plan, &map_bytes, r, i, c, shape);
    if (status)
        return status;
    if (c->flags & MSW__RECORD_ROWS_PERMUTED)
        permutation_bytes += (uint64_t)plan.rows * msw__index_bytes(plan.rows);
    if (c->flags & MSW__RECORD_COLUMNS_PERMUTED)
        permutation_bytes += (uint64_t)plan.columns * msw__index_bytes(plan.columns);
    if (!take_span(&e->permutations, &left->permutations, permutation_bytes))
        return fail_entry(r, i, MSW_E_FORMAT, "longer permutations than the file has");
    if (!take_span(&e->merge_map, &left->merge_maps, map_bytes))
        return fail_entry(r, i, MSW_E_FORMAT, "a longer merge map than the file has");
    if (!check_payload(c, &code, plan.block_count) ||
        !take_span(&e->payload, payloads_of(left, c), c->payload))
        return fail_entry(r, i, MSW_E_FORMAT, "payload does not fit");
    return MSW_OK;
}

static msw_status decode_record(msw_reader *r, size_t i, const uint8_t **at, size_t *left)
{
    msw__record *c = &r->entries[i].record;
    const char *name;

    if (!msw__record_decode(c, &name, *at, *left))
        return fail_entry(r, i, MSW_E_FORMAT, "its kind, rank or size");
    if (!msw__name_valid(name, c->name_length) || name[c->name_length] != 0)
        return fail_entry(r, i, MSW_E_FORMAT, "its name");
    msw__names_append(&r->names, name);
    *left -= msw__record_bytes(c);
    *at += msw__record_bytes(c);
    return MSW_OK;
}

static msw_status decode_index(msw_reader *r, size_t count)
{
    const uint8_t *at = r->index.data + MSW__COUNT_BYTES;
    size_t left = r->index.size - MSW__COUNT_BYTES;
    streams rest = {
        .permutations = r->streams[MSW__SECTION_PERMUTATION],
        .merge_maps = r->streams[MSW__SECTION_MERGE_MAP],
        .unified = r->streams[MSW__SECTION_UNIFIED],
        .tensors = r->streams[MSW__SECTION_TENSOR],
        .packed = r->streams[MSW__SECTION_PACKED],
        .transport = r->streams[MSW__SECTION_TRANSPORT],
    };
    msw_status status = MSW_OK;
    size_t twice;

    for (size_t i = 0; i < count && !status; i++) {
        status = decode_record(r, i, &at, &left);
        if (!status)
            status = r->entries[i].record.kind == MSW_ENTRY_UNIFIED
                         ? check_unified(r, i, &rest)
                         : check_tensor(r, i, &rest);
    }
    if (status)
        return status;
    if (left || rest.permutations.length || rest.merge_maps.length ||
        rest.unified.length || rest.tensors.length || rest.packed.length ||
        rest.transport.length)
        return msw__reader_fail(r, MSW_E_FORMAT, "index: bytes that belong to no tensor");
    twice = msw__names_sort(&r->names);
    return twice < count ? fail_entry(r, twice, MSW_E_FORMAT, "its name is there twice")
                         : MSW_OK;
}

msw_status msw__reader_load_index(msw_reader *r)
{
    const size_t least =
        MSW__TENSOR_RECORD_BYTES + 8 + 2; /* a dimension, name of a byte */
    size_t count;
    msw_status status = keep_stream(&r->index, r, MSW__SECTION_INDEX, "index");
    void *memory;

    if (!status)
        status = record_count(&count, r, &r->index, least, "index");
    if (status)
        return status;
    if (count == 0) {
        for (uint32_t type = MSW__SECTION_PERMUTATION; type <= MSW__SECTION_LAST; type++)
            if (r->streams[type].length)
                return msw__reader_fail(r, MSW_E_FORMAT, "tensors without an index");
        return MSW_OK;
    }
    status = msw__names_reserve(&r->names, r->ctx, count);
    if (!status)
        status = msw__calloc(&memory, r->ctx, count, sizeof *r->entries);
    if (status)
        return status;
    r->entries = memory;
    r->entry_count = count;
    return decode_index(r, count);
}

static msw_status decode_value(msw_reader *r, size_t i, const uint8_t **at, size_t *left)
{
    const size_t fixed = MSW__METADATA_RECORD_BYTES;
    msw__value *value = &r->values[i];
    size_t length;
    uint64_t size;
    const char *key;

    if (*left < fixed)
        return msw__reader_fail(r, MSW_E_FORMAT, "metadata: cut off");
    length = msw__load16(*at);
    size = msw__load64(*at + 2);
    if (*left - fixed < length + 2 || *left - fixed - length - 2 < size)
        return msw__reader_fail(r, MSW_E_FORMAT, "metadata: record %llu is too long",
                                (unsigned long long)i);
    key = (const char *)*at + fixed;
    value->data = *at + fixed + length + 1;
    value->size = (size_t)size;
    if (!msw__name_valid(key, length) || key[length] || value->data[value->size])
        return msw__reader_fail(r, MSW_E_FORMAT, "metadata: record %llu: its key or end",
                                (unsigned long long)i);
    msw__names_append(&r->keys, key);
    *at += fixed + length + 2 + value->size;
    *left -= fixed + length + 2 + value->size;
    return MSW_OK;
}

msw_status msw__reader_load_metadata(msw_reader *r)
{
    const size_t least = MSW__METADATA_RECORD_BYTES + 3; /* key of a byte, no value */
    const uint8_t *at;
    size_t count, left;
    msw_status status = keep_stream(&r->metadata, r, MSW__SECTION_METADATA, "metadata");
    void *memory;

    if (!status)
        status = record_count(&count, r, &r->metadata, least, "metadata");
    if (status || count == 0)
        return status;
    status = msw__names_reserve(&r->keys, r->ctx, count);
    if (!status)
        status = msw__calloc(&memory, r->ctx, count, sizeof *r->values);
    if (status)
        return status;
    r->values = memory;
    r->value_count = count;
    at = r->metadata.data + MSW__COUNT_BYTES;
    left = r->metadata.size - MSW__COUNT_BYTES;
    for (size_t i = 0; i < count && !status; i++)
        status = decode_value(r, i, &at, &left);
    if (status)
        return status;
    if (left)
        return msw__reader_fail(r, MSW_E_FORMAT,
                                "metadata: bytes that belong to no record");
    if (msw__names_sort(&r->keys) < count)
        return msw__reader_fail(r, MSW_E_FORMAT, "metadata: a key is there twice");
    return MSW_OK;
}
