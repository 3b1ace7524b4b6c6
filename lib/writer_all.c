/* SPDX-License-Identifier: BSD-2-Clause */
/* From file to file. */
#include "writer.h"

#include "conv.h"

static msw_status fail_reading(msw_writer *w, const msw_reader *r, msw_status status)
{
    return msw__writer_fail(w, status, "%s", msw_reader_error(r));
}

/* Groups that no kernel runs in the packed form, where each takes some hundred bytes. */
static bool only_direct(const msw_plan *plan)
{
    msw_conv_options o;

    msw_conv_options_init(&o);
    return plan->groups > 1 && !msw__conv_runs_packings(plan, &o);
}

static msw_status add_unified(msw_writer *w, msw_reader *r, const char *name,
                              const msw_store_options *options)
{
    msw_store_options plain;
    msw_unified *u;
    msw_status status = msw_reader_unified(&u, r, name);

    if (status)
        return fail_reading(w, r, status);
    msw_store_options_init(&plain);
    if (options->encoding == MSW_ENCODING_PACKED && only_direct(u->plan))
        options = &plain;
    status = msw_writer_add_unified(w, name, u, options);
    msw_unified_free(u);
    return status;
}

/* Its values stay what they are. */
static msw_status add_tensor(msw_writer *w, msw_reader *r, const msw_entry *e,
                             uint32_t encoding)
{
    msw_store_options o;
    msw_tensor *t;
    msw_status status = msw_reader_tensor(&t, r, e->name);

    if (status)
        return fail_reading(w, r, status);
    msw_store_options_init(&o);
    if (encoding == MSW_ENCODING_TRANSPORT) {
        o.encoding = MSW_ENCODING_TRANSPORT;
        o.free_weights = e->free_weights;
        o.free_bits = e->free_bits;
        o.free_step = e->free_step;
    } else if (e->free_weights == MSW_DTYPE_F16) {
        o.free_weights = MSW_DTYPE_F16;
    }
    status = msw_writer_add_tensor(w, e->name, t, &o);
    msw_tensor_free(t);
    return status;
}

static msw_status add_tensors(msw_writer *w, msw_reader *r, const msw_store_options *o)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < msw_reader_count(r) && !status; i++) {
        msw_entry e;

        msw_entry_init(&e);
        status = msw_reader_get_entry(&e, r, i);
        if (!status)
            status = e.kind == MSW_ENTRY_UNIFIED
                         ? add_unified(w, r, e.name, o)
                         : add_tensor(w, r, &e, o->encoding);
    }
    return status;
}

static msw_status add_metadata(msw_writer *w, const msw_reader *r)
{
    msw_status status = MSW_OK;

    for (size_t i = 0; i < msw_reader_metadata_count(r) && !status; i++) {
        const char *key = msw_reader_metadata_key(r, i);
        const void *value;
        size_t size;

        status = msw_reader_get_metadata(&value, &size, r, key);
        if (!status)
            status = msw_writer_add_metadata(w, key, value, size);
    }
    return status;
}

msw_status msw_writer_add_all(msw_writer *writer, msw_reader *reader,
                              const msw_store_options *options)
{
    msw_store_options o;
    size_t tensors, keys;
    msw_status status;

    if (!writer)
        return MSW_E_INVAL;
    writer->error[0] = 0;
    if (!reader)
        return msw__writer_fail(writer, MSW_E_INVAL, "reader is NULL");
    tensors = writer->names.count;
    keys = writer->keys.count;
    status = msw__writer_take_options(writer, &o, options);
    if (!status)
        status = add_metadata(writer, reader);
    if (!status)
        status = add_tensors(writer, reader, &o);
    if (status)
        msw__writer_truncate(writer, tensors, keys);
    return status;
}
