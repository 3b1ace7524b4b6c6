/* SPDX-License-Identifier: BSD-2-Clause */
/* Tensors on their first use: checksums, then every value. */
#include "reader.h"

#include "bytes.h"
#include "f16.h"
#include "transport.h"

#include <math.h>
#include <string.h>

/* The next @p size bytes of the payload. */
static msw_status next_bytes(msw__job *j, void *out, size_t size)
{
    const uint64_t offset = j->offset;

    j->offset += size;
    return size ? msw__reader_read(j->reader, offset, out, size, j->what) : MSW_OK;
}

/* The next @p count floats of the payload. They are read into the end of @p out and
 * widened from front to back, which never overtakes what is still to be read. */
static msw_status next_floats(msw__job *j, float *out, size_t count, uint32_t dtype)
{
    const size_t width = msw__dtype_bytes(dtype);
    msw_status status;
    uint8_t *from;

    if (count == 0)
        return MSW_OK;
    from = (uint8_t *)out + count * (sizeof *out - width);
    status = next_bytes(j, from, count * width);
    if (status)
        return status;
    if (dtype == MSW_DTYPE_F16)
        for (size_t i = 0; i < count; i++)
            out[i] = msw__f16_to(msw__load16(from + 2 * i));
    else
        for (size_t i = 0; i < count; i++)
            msw__float_set(&out[i], msw__load32(from + 4 * i));
    return MSW_OK;
}

static bool all_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool all_magnitudes(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] >= 0) || isinf(values[i]))
            return false;
    return true;
}

/* Unified weights */

/* What the payload must hold according to its class map. */
typedef struct counts {
    size_t magnitudes, unified_weights, free_weights;
} counts;

static counts count_values(const msw_plan *p, const uint8_t *classes,
                           const uint8_t *levels)
{
    counts c = {0, 0, 0};
    size_t b = 0;

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t k = 0; k < p->block_column_count; k++, b++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, k);

            if (classes[b] == MSW_CLASS_UNIFIED) {
                c.magnitudes += msw__node_begins(p, levels, b);
                c.unified_weights += weights;
            } else if (classes[b] == MSW_CLASS_FREE) {
                c.free_weights += weights;
            }
        }
    return c;
}

/* What a merge map begins with; nothing where no blocks are merged. */
static msw_status load_level(msw__job *j)
{
    const msw__span *map = &j->entry->merge_map;
    msw_status status;
    uint8_t level;

    if (!map->length)
        return MSW_OK;
    status = msw__reader_read(j->reader, map->offset, &level, 1, j->what);
    if (!status && level != msw__record_levels(&j->entry->record))
        status = msw__job_fail(j, MSW_E_FORMAT, "the level of its merge map");
    return status;
}

/* The merge map, but for the transport form. */
static msw_status load_levels(uint8_t *out, msw__job *j, const msw_plan *plan)
{
    const msw__span *map = &j->entry->merge_map;
    const size_t size = (size_t)map->length - 1;
    msw_status status;
    void *memory;

    status = msw__job_pass(j, msw__alloc(&memory, j->reader->ctx, size, 1));
    if (status)
        return status;
    if (size)
        status = msw__reader_read(j->reader, map->offset + 1, memory, size, j->what);
    if (!status && !msw__merge_map_decode(out, plan, memory,
                                          msw__record_levels(&j->entry->record)))
        status = msw__job_fail(j, MSW_E_FORMAT, "its merge map");
    msw__free(j->reader->ctx, memory, size, 1);
    return status;
}

/* The class map; then the sizes of all that follows. */
static msw_status load_classes(uint8_t *out, const uint8_t *levels, msw__job *j,
                               const msw_plan *plan)
{
    const msw__record *record = &j->entry->record;
    const size_t blocks = plan->block_count, nodes = msw__node_count(plan, levels);
    msw__class_code code;
    msw_status status;
    uint64_t expected;
    size_t map_bytes;
    counts c;

    if (!msw__class_code_from(&code, record->classes))
        return msw__job_fail(j, MSW_E_FORMAT, "its classes");
    map_bytes = msw__class_map_bytes(&code, nodes);
    if (map_bytes > j->entry->payload.length)
        return msw__job_fail(j, MSW_E_FORMAT, "payload and class map do not agree");
    status = next_bytes(j, out + blocks - map_bytes, map_bytes);
    if (status)
        return status;
    if (!msw__class_map_decode(out, out + blocks - map_bytes, nodes, &code))
        return msw__job_fail(j, MSW_E_FORMAT, "its class map");
    if (levels)
        msw__node_classes_spread(out, nodes, plan, levels);
    c = count_values(plan, out, levels);
    expected = map_bytes + (uint64_t)c.magnitudes * msw__dtype_bytes(record->magnitudes) +
               (uint64_t)c.free_weights * msw__dtype_bytes(record->free_weights) +
               ((uint64_t)c.unified_weights + 7) / 8;
    if (expected != j->entry->payload.length)
        return msw__job_fail(j, MSW_E_FORMAT, "payload and class map do not agree");
    return MSW_OK;
}

static msw_status check_values(msw__job *j, const msw_unified *u)
{
    const size_t end = u->plan->block_row_count, signs = u->sign_start[end];

    if (!all_magnitudes(u->magnitudes, u->magnitude_start[end]))
        return msw__job_fail(j, MSW_E_FORMAT, "a magnitude is negative or not finite");
    if (!all_finite(u->free_weights, u->free_start[end]))
        return msw__job_fail(j, MSW_E_FORMAT, "a free weight is not finite");
    if (signs % 8 && u->signs[signs / 8] >> signs % 8)
        return msw__job_fail(j, MSW_E_FORMAT, "bits behind the last sign");
    return MSW_OK;
}

static msw_status load_values(msw_unified *u, msw__job *j)
{
    const msw__record *c = &j->entry->record;
    const size_t end = u->plan->block_row_count;
    msw_status status =
        next_floats(j, u->magnitudes, msw__node_magnitude_count(u), c->magnitudes);

    msw__node_magnitudes_spread(u);
    if (!status)
        status = next_floats(j, u->free_weights, u->free_start[end], c->free_weights);
    if (!status)
        status = next_bytes(j, u->signs, (u->sign_start[end] + 7) / 8);
    return status ? status : check_values(j, u);
}

/* A handle for what a file says of classes and levels. */
static msw_status make_unified(msw_unified **out, msw__job *j, msw_plan *plan,
                               const uint8_t *classes, const uint8_t *levels)
{
    const msw_status status = msw__unified_alloc(out, plan, classes, levels);

    return status == MSW_E_INVAL
               ? msw__job_fail(j, MSW_E_FORMAT, "merge map and class map do not agree")
               : msw__job_pass(j, status);
}

static msw_status load_plain(msw_unified **out, msw__job *j, msw_plan *plan,
                             uint8_t *classes, uint8_t *levels)
{
    msw_status status = levels ? load_levels(levels, j, plan) : MSW_OK;

    if (!status)
        status = load_classes(classes, levels, j, plan);
    if (!status)
        status = make_unified(out, j, plan, classes, levels);
    return status ? status : load_values(*out, j);
}

/* The transport form. The payload is decoded from memory. */

typedef struct transport {
    msw__decoder decoder;
    msw__quantiser magnitudes, free_weights;
    const uint8_t *bytes;
    uint8_t *owned; /* bytes, when they are a copy */
    size_t size;
} transport;

static msw_status transport_open(transport *t, msw__job *j)
{
    const msw__record *c = &j->entry->record;
    const msw__source *source = &j->reader->source;
    msw_status status;
    void *memory;

    memset(t, 0, sizeof *t);
    if (!msw__quantiser_from(&t->magnitudes, c->magnitudes, c->magnitude_parameter) ||
        !msw__quantiser_from(&t->free_weights, c->free_weights, c->free_parameter))
        return msw__job_fail(j, MSW_E_FORMAT, "its floats");
    if (c->payload > SIZE_MAX)
        return msw__job_fail(j, MSW_E_UNSUPPORTED, "too large for this machine");
    t->size = (size_t)c->payload;
    if (source->memory) {
        t->bytes = source->memory + (size_t)j->offset;
    } else {
        status = msw__alloc(&memory, j->reader->ctx, t->size, 1);
        if (status)
            return msw__job_pass(j, status);
        t->bytes = t->owned = memory;
        status = next_bytes(j, memory, t->size);
        if (status)
            return status;
    }
    msw__decoder_init(&t->decoder, t->bytes, t->size);
    return MSW_OK;
}

static void transport_close(transport *t, msw__job *j)
{
    msw__free(j->reader->ctx, t->owned, t->size, 1);
}

static msw_status fail_code(msw__job *j)
{
    return msw__job_fail(j, MSW_E_FORMAT, "not a code that any weights have");
}

/* Nothing is allocated for values that the payload is too short for. */
static msw_status decode_classes(uint8_t *out, uint8_t *levels, transport *t, msw__job *j,
                                 const msw_plan *plan)
{
    const msw__record *record = &j->entry->record;
    size_t sign_bytes;
    counts c;

    if (levels ? !msw__transport_nodes(out, levels, &t->decoder, plan,
                                       msw__record_levels(record), record->classes)
               : !msw__transport_classes(out, &t->decoder, plan->block_count,
                                         plan->block_column_count, record->classes))
        return msw__job_fail(j, MSW_E_FORMAT, "its class map");
    c = count_values(plan, out, levels);
    sign_bytes = c.unified_weights / 8 + (c.unified_weights % 8 != 0);
    if (c.free_weights / MSW__BITS_PER_BYTE > t->size || sign_bytes > t->size)
        return msw__job_fail(j, MSW_E_FORMAT, "payload and class map do not agree");
    msw__decoder_skip(&t->decoder, sign_bytes);
    return MSW_OK;
}

/* The zeros behind the raw bits of a payload that would be too short. */
static bool skip_zeros(transport *t, const msw_unified *u)
{
    msw__decoder *d = &t->decoder;
    bool zeros = true;

    if (!u->levels || t->size != msw__transport_least(u->plan->block_count))
        return true;
    if (d->raw % 8)
        zeros = msw__decode_raw(d, 8 - d->raw % 8) == 0;
    while (zeros && d->raw / 8 < (uint64_t)(d->at - d->begin))
        zeros = msw__decode_raw(d, 8) == 0;
    return zeros;
}

static bool decode_unified(msw_unified *u, transport *t)
{
    const size_t end = u->plan->block_row_count;
    const size_t sign_bytes = (u->sign_start[end] + 7) / 8;

    if (!msw__transport_magnitudes(u->magnitudes, &t->decoder, msw__node_magnitude_count(u),
                                   &t->magnitudes) ||
        !msw__transport_values(u->free_weights, &t->decoder, u->free_start[end],
                               &t->free_weights) ||
        !skip_zeros(t, u) || !msw__decoder_finish(&t->decoder))
        return false;
    msw__node_magnitudes_spread(u);
    if (sign_bytes)
        memcpy(u->signs, t->bytes, sign_bytes);
    return true;
}

static msw_status load_transport(msw_unified **out, msw__job *j, msw_plan *plan,
                                 uint8_t *classes, uint8_t *levels)
{
    transport t;
    msw_status status = transport_open(&t, j);

    if (!status)
        status = decode_classes(classes, levels, &t, j, plan);
    if (!status)
        status = make_unified(out, j, plan, classes, levels);
    if (!status)
        status = decode_unified(*out, &t) ? check_values(j, *out) : fail_code(j);
    transport_close(&t, j);
    return status;
}

static bool transported(const msw__job *j)
{
    return j->entry->record.flags & MSW__RECORD_TRANSPORT;
}

/* What came from the packed form, which has all blocks by themselves. */
static msw_status merge_unpacked(msw_unified *u, msw__job *j, const uint8_t *levels)
{
    const msw_status status = msw__unified_merge(u, levels);
    const size_t count = u->magnitude_start[u->plan->block_row_count];

    if (status == MSW_E_INVAL)
        return msw__job_fail(j, MSW_E_FORMAT, "merge map and class map do not agree");
    for (size_t k = 0; k < count && !status; k++)
        if (msw__float_bits(&u->magnitudes[k]) !=
            msw__float_bits(&u->magnitudes[u->leaders ? u->leaders[k] : k]))
            return msw__job_fail(j, MSW_E_FORMAT, "merged blocks of several magnitudes");
    return msw__job_pass(j, status);
}

static msw_status load_packed(msw_unified **out, msw__job *j, msw_plan *plan,
                              uint8_t *levels)
{
    msw_status status = levels ? load_levels(levels, j, plan) : MSW_OK;

    if (!status)
        status = msw__job_unpack(out, j, plan);
    return status || !levels ? status : merge_unpacked(*out, j, levels);
}

msw_status msw__job_unified(msw_unified **out, msw__job *j, msw_plan *plan)
{
    const size_t level_count = j->entry->merge_map.length ? plan->block_count : 0;
    msw_context *ctx = j->reader->ctx;
    void *classes, *levels = NULL;
    msw_status status = load_level(j);

    if (status)
        return status;
    status = msw__alloc(&classes, ctx, plan->block_count, 1);
    if (!status)
        status = msw__alloc(&levels, ctx, level_count, 1);
    if (status)
        msw__job_pass(j, status);
    else if (j->entry->record.flags & MSW__RECORD_PACKED)
        status = load_packed(out, j, plan, levels);
    else if (transported(j))
        status = load_transport(out, j, plan, classes, levels);
    else
        status = load_plain(out, j, plan, classes, levels);
    msw__free(ctx, levels, level_count, 1);
    msw__free(ctx, classes, plan->block_count, 1);
    return status;
}

msw_status msw_reader_unified(msw_unified **out, msw_reader *reader, const char *name)
{
    msw_plan *plan = NULL;
    msw_unified *u = NULL;
    msw_status status;
    msw__job j;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!reader)
        return MSW_E_INVAL;
    status = msw__job_begin(&j, reader, name, MSW_ENTRY_UNIFIED);
    if (!status)
        status = msw__job_plan(&plan, &j);
    if (!status)
        status = msw__job_unified(&u, &j, plan);
    msw_plan_free(plan);
    if (status)
        msw_unified_free(u);
    else
        *out = u;
    return status;
}

/* Plain tensors */

static msw_status decode_tensor(msw_tensor *out, msw__job *j)
{
    transport t;
    msw_status status = transport_open(&t, j);

    if (!status && (!msw__transport_values(out->data, &t.decoder, out->count,
                                           &t.free_weights) ||
                    !msw__decoder_finish(&t.decoder)))
        status = fail_code(j);
    transport_close(&t, j);
    return status;
}

static msw_status load_tensor(msw_tensor *out, msw__job *j)
{
    const uint32_t dtype = j->entry->record.free_weights;
    const msw_status status = transported(j)
                                  ? decode_tensor(out, j)
                                  : next_floats(j, out->data, out->count, dtype);

    if (!status && dtype != MSW_DTYPE_F32 && !all_finite(out->data, out->count))
        return msw__job_fail(j, MSW_E_FORMAT, "a value is not finite");
    return status;
}

msw_status msw_reader_tensor(msw_tensor **out, msw_reader *reader, const char *name)
{
    const msw__record *c;
    size_t shape[MSW_MAX_RANK];
    msw_status status;
    msw_tensor *t;
    msw__job j;

    if (!out)
        return MSW_E_INVAL;
    *out = NULL;
    if (!reader)
        return MSW_E_INVAL;
    status = msw__job_begin(&j, reader, name, MSW_ENTRY_TENSOR);
    if (status)
        return status;
    c = &j.entry->record;
    for (uint32_t i = 0; i < c->rank; i++)
        shape[i] = (size_t)c->shape[i];
    status = msw__job_pass(&j, msw_tensor_new(&t, reader->ctx, shape, c->rank));
    if (status)
        return status;
    status = load_tensor(t, &j);
    if (status)
        msw_tensor_free(t);
    else
        *out = t;
    return status;
}
