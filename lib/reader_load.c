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

static counts count_values(const msw_plan *p, const uint8_t *classes)
{
    counts c = {0, 0, 0};

    for (size_t i = 0; i < p->block_row_count; i++)
        for (size_t k = 0; k < p->block_column_count; k++) {
            const size_t weights = msw__plan_rows(p, i) * msw__plan_columns(p, k);
            const uint8_t class = *classes++;

            if (class == MSW_CLASS_UNIFIED) {
                c.magnitudes++;
                c.unified_weights += weights;
            } else if (class == MSW_CLASS_FREE) {
                c.free_weights += weights;
            }
        }
    return c;
}

/* The class map; then the sizes of all that follows. */
static msw_status load_classes(uint8_t *out, msw__job *j, const msw_plan *plan)
{
    const msw__record *record = &j->entry->record;
    const size_t blocks = plan->block_count;
    msw__class_code code;
    msw_status status;
    uint64_t expected;
    size_t map_bytes;
    counts c;

    if (!msw__class_code_from(&code, record->classes))
        return msw__job_fail(j, MSW_E_FORMAT, "its classes");
    map_bytes = msw__class_map_bytes(&code, blocks);
    status = next_bytes(j, out + blocks - map_bytes, map_bytes);
    if (status)
        return status;
    if (!msw__class_map_decode(out, out + blocks - map_bytes, blocks, &code))
        return msw__job_fail(j, MSW_E_FORMAT, "its class map");
    c = count_values(plan, out);
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
        next_floats(j, u->magnitudes, u->magnitude_start[end], c->magnitudes);

    if (!status)
        status = next_floats(j, u->free_weights, u->free_start[end], c->free_weights);
    if (!status)
        status = next_bytes(j, u->signs, (u->sign_start[end] + 7) / 8);
    return status ? status : check_values(j, u);
}

static msw_status load_plain(msw_unified **out, msw__job *j, msw_plan *plan, uint8_t *classes)
{
    msw_status status = load_classes(classes, j, plan);

    if (!status)
        status = msw__job_pass(j, msw__unified_alloc(out, plan, classes));
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
static msw_status decode_classes(uint8_t *out, transport *t, msw__job *j, const msw_plan *plan)
{
    size_t sign_bytes;
    counts c;

    if (!msw__transport_classes(out, &t->decoder, plan->block_count,
                                plan->block_column_count, j->entry->record.classes))
        return msw__job_fail(j, MSW_E_FORMAT, "its class map");
    c = count_values(plan, out);
    sign_bytes = c.unified_weights / 8 + (c.unified_weights % 8 != 0);
    if (c.free_weights / MSW__BITS_PER_BYTE > t->size || sign_bytes > t->size)
        return msw__job_fail(j, MSW_E_FORMAT, "payload and class map do not agree");
    msw__decoder_skip(&t->decoder, sign_bytes);
    return MSW_OK;
}

static bool decode_unified(msw_unified *u, transport *t)
{
    const size_t end = u->plan->block_row_count;
    const size_t sign_bytes = (u->sign_start[end] + 7) / 8;

    if (!msw__transport_magnitudes(u->magnitudes, &t->decoder, u->magnitude_start[end],
                                   &t->magnitudes) ||
        !msw__transport_values(u->free_weights, &t->decoder, u->free_start[end],
                               &t->free_weights) ||
        !msw__decoder_finish(&t->decoder))
        return false;
    if (sign_bytes)
        memcpy(u->signs, t->bytes, sign_bytes);
    return true;
}

static msw_status load_transport(msw_unified **out, msw__job *j, msw_plan *plan,
                                 uint8_t *classes)
{
    transport t;
    msw_status status = transport_open(&t, j);

    if (!status)
        status = decode_classes(classes, &t, j, plan);
    if (!status)
        status = msw__job_pass(j, msw__unified_alloc(out, plan, classes));
    if (!status)
        status = decode_unified(*out, &t) ? check_values(j, *out) : fail_code(j);
    transport_close(&t, j);
    return status;
}

static bool transported(const msw__job *j)
{
    return j->entry->record.flags & MSW__RECORD_TRANSPORT;
}

msw_status msw__job_unified(msw_unified **out, msw__job *j, msw_plan *plan)
{
    msw_context *ctx = j->reader->ctx;
    msw_status status;
    void *classes;

    if (j->entry->record.flags & MSW__RECORD_PACKED)
        return msw__job_unpack(out, j, plan);
    status = msw__alloc(&classes, ctx, plan->block_count, 1);
    if (status)
        return msw__job_pass(j, status);
    status = transported(j) ? load_transport(out, j, plan, classes)
                            : load_plain(out, j, plan, classes);
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
