/* SPDX-License-Identifier: BSD-2-Clause */
/* Writers and readers when memory fails; see oom.h. */
#include "oom.h"
#include "packed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Files */

static msw_status new_writer(world *w)
{
    w->status = msw_writer_new(&w->writer, w->ctx);
    return oom_made(w, w->writer);
}

static uint64_t digest_writer(world *w)
{
    return msw_writer_bytes(w->writer);
}

static msw_status set_up_writer(world *w)
{
    const msw_status status = oom_set_up_unified(w);

    return status ? status : new_writer(w);
}

static msw_status write_unified(world *w)
{
    return msw_writer_add_unified(w->writer, "weights", w->u, NULL);
}

/* Nodes of four weights: as floats their magnitudes would take more than halves and signs. */
static msw_status set_up_merged(world *w)
{
    const size_t shape[2] = {ROWS, COLUMNS};
    uint8_t levels[COUNT], classes[COUNT];
    msw_plan_options o;
    msw_plan *plan;
    msw_status status = oom_borrow_tensor(w);

    memset(levels, 1, sizeof levels);
    memset(classes, MSW_CLASS_UNIFIED, sizeof classes);
    msw_plan_options_init(&o);
    o.block_rows = o.block_columns = 1;
    if (!status)
        status = msw_plan_new(&plan, w->ctx, shape, 2, &o);
    if (status)
        return status;
    status = msw_unified_new_merged(&w->u, plan, w->tensor, classes, levels, COUNT);
    msw_plan_free(plan);
    return status ? status : new_writer(w);
}

static msw_status write_halves(world *w)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.magnitudes = MSW_DTYPE_F16;
    return msw_writer_add_unified(w->writer, "weights", w->u, &o);
}

static msw_status write_tensor(world *w)
{
    return msw_writer_add_tensor(w->writer, "bias", w->tensor, NULL);
}

/* The transport form, which is collected in memory that grows. */
static msw_store_options transport(void)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_TRANSPORT;
    o.free_weights = MSW_DTYPE_UNIFORM;
    o.free_step = 0.001;
    return o;
}

static msw_status write_transport_unified(world *w)
{
    const msw_store_options o = transport();

    return msw_writer_add_unified(w->writer, "weights", w->u, &o);
}

static msw_status write_transport_tensor(world *w)
{
    const msw_store_options o = transport();

    return msw_writer_add_tensor(w->writer, "bias", w->tensor, &o);
}

/* Not contiguous: it is copied. */
static msw_status set_up_strided(world *w)
{
    static const size_t shape[2] = {ROWS / 2, COLUMNS}, strides[2] = {2 * COLUMNS, 1};
    msw_status status = set_up_writer(w);

    msw_tensor_free(w->tensor);
    w->tensor = NULL;
    if (!status)
        status = msw_tensor_borrow(&w->tensor, w->ctx, w->extra, shape, strides, 2);
    return status;
}

static msw_status write_metadata(world *w)
{
    return msw_writer_add_metadata(w->writer, "key", "value", 5);
}

static uint64_t digest_written(world *w)
{
    const size_t size = (size_t)msw_writer_bytes(w->writer);

    return size <= IMAGE && !msw_writer_write_buffer(w->writer, w->image, size) ?
               oom_hash(1, w->image, size) : 0;
}

static msw_status set_up_model(world *w)
{
    msw_status status = set_up_writer(w);

    if (!status)
        status = write_unified(w);
    if (!status)
        status = write_tensor(w);
    return status ? status : write_metadata(w);
}

static msw_status write_buffer(world *w)
{
    return msw_writer_write_buffer(w->writer, w->image,
                                   (size_t)msw_writer_bytes(w->writer));
}

static void file_name(char name[64])
{
    snprintf(name, 64, "test_oom-%ld.msw", (long)getpid());
}

static msw_status save(world *w)
{
    char name[64];
    msw_status status;

    file_name(name);
    status = msw_writer_save(w->writer, name);
    if (status && access(name, F_OK) == 0)
        w->bad = true;
    remove(name);
    return status;
}

static msw_status finish_image(world *w, msw_status status)
{
    w->image_size = (size_t)msw_writer_bytes(w->writer);
    if (!status)
        status = msw_writer_write_buffer(w->writer, w->image, w->image_size);
    msw_tensor_free(w->tensor);
    w->tensor = NULL;
    return status;
}

static msw_status set_up_image(world *w)
{
    return finish_image(w, set_up_model(w));
}

static msw_status set_up_transport_image(world *w)
{
    msw_status status = set_up_writer(w);

    if (!status)
        status = write_transport_unified(w);
    if (!status)
        status = write_transport_tensor(w);
    return finish_image(w, status);
}

static msw_status open_buffer(world *w)
{
    w->status = msw_reader_open_buffer(&w->reader, w->ctx, w->image, w->image_size, NULL);
    return oom_made(w, w->reader);
}

static msw_status open_file(world *w)
{
    char name[64];
    FILE *file;

    file_name(name);
    file = fopen(name, "wb");
    if (!file)
        return MSW_E_IO;
    fwrite(w->image, 1, w->image_size, file);
    fclose(file);
    w->status = msw_reader_open(&w->reader, w->ctx, name, NULL);
    remove(name);
    return oom_made(w, w->reader);
}

static uint64_t digest_reader(world *w)
{
    return msw_reader_count(w->reader);
}

static msw_status set_up_reader(world *w)
{
    const msw_status status = set_up_image(w);

    return status ? status : open_buffer(w);
}

/* From a file, where a payload is read into memory before it is decoded. */
static msw_status set_up_transport_reader(world *w)
{
    const msw_status status = set_up_transport_image(w);

    return status ? status : open_file(w);
}

static msw_status read_unified(world *w)
{
    w->status = msw_reader_unified(&w->made_u, w->reader, "weights");
    return oom_made(w, w->made_u);
}

static msw_status read_tensor(world *w)
{
    w->status = msw_reader_tensor(&w->tensor, w->reader, "bias");
    return oom_made(w, w->tensor);
}

/* The packed form */

static msw_status write_packed(world *w)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_PACKED;
    return msw_writer_add_unified(w->writer, "weights", w->u, &o);
}

/* Two groups, with packings of their own. */
static msw_status set_up_groups(world *w)
{
    static const size_t shape[4] = {ROWS, COLUMNS / 4, 2, 2};
    msw_projection_options shares;
    msw_plan_options o;
    msw_tensor *t = NULL;
    msw_status status = set_up_writer(w);

    msw_unified_free(w->u);
    msw_plan_free(w->plan);
    w->u = NULL;
    w->plan = NULL;
    msw_plan_options_init(&o);
    o.weights = MSW_WEIGHTS_OIHW;
    o.groups = 2;
    msw_projection_options_init(&shares);
    shares.prune = shares.unify = 0.4;
    if (!status)
        status = msw_plan_new(&w->plan, w->ctx, shape, 4, &o);
    if (!status)
        status = msw_tensor_borrow(&t, w->ctx, w->w, shape, NULL, 4);
    if (!status)
        status = msw_unified_from(&w->u, w->plan, t, &shares);
    msw_tensor_free(t);
    return status;
}

/* A file of it at a multiple of 64, or beside one, and a reader. */
static msw_status write_aligned(world *w, uint32_t cpu, size_t shift)
{
    uint8_t *at = w->image + (64 - (uintptr_t)w->image % 64) % 64 + shift;
    msw_store_options o;
    msw_status status;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_PACKED;
    o.cpu = cpu;
    status = msw_writer_add_unified(w->writer, "weights", w->u, &o);
    if (!status)
        status = msw_writer_write_buffer(w->writer, at,
                                         IMAGE - (size_t)(at - w->image));
    if (!status)
        status = msw_reader_open_buffer(&w->reader, w->ctx, at,
                                        (size_t)msw_writer_bytes(w->writer), NULL);
    return status;
}

static msw_status set_up_packed(world *w, uint32_t cpu, size_t shift)
{
    const msw_status status = set_up_writer(w);

    return status ? status : write_aligned(w, cpu, shift);
}

static msw_status set_up_packed_groups(world *w)
{
    const msw_status status = set_up_groups(w);

    return status ? status : write_aligned(w, 0, 0);
}

static msw_status set_up_in_place(world *w)
{
    return set_up_packed(w, 0, 0);
}

static msw_status set_up_copied(world *w)
{
    return set_up_packed(w, 0, 4);
}

/* Where the machine is better than that. */
static msw_status set_up_repacked(world *w)
{
    return set_up_packed(w, MSW_CPU_C, 0);
}

static msw_status make_gemm(world *w)
{
    w->status = msw_reader_gemm(&w->gemm, w->reader, "weights", NULL);
    return oom_made(w, w->gemm);
}

static uint64_t digest_gemm(world *w)
{
    msw_gemm_call call;

    msw_gemm_call_init(&call);
    call.x = w->w;
    call.y = w->y;
    call.n = call.ldx = call.ldy = N;
    return msw_gemm_run(w->gemm, &call) ? 0 : oom_digest_y(w);
}

static msw_status make_conv(world *w)
{
    w->status = msw_reader_conv(&w->conv, w->reader, "weights", NULL);
    return oom_made(w, w->conv);
}

static uint64_t digest_conv(world *w)
{
    return msw_conv_workspace(w->conv, 1, 3, 3);
}

/* From a transport file into a packed one. */
static msw_status set_up_convert(world *w)
{
    msw_status status = set_up_transport_image(w);

    if (!status)
        status = open_buffer(w);
    msw_writer_free(w->writer);
    w->writer = NULL;
    return status ? status : new_writer(w);
}

static msw_status convert(world *w)
{
    msw_store_options o;

    msw_store_options_init(&o);
    o.encoding = MSW_ENCODING_PACKED;
    w->status = msw_writer_add_all(w->writer, w->reader, &o);
    if (w->status && msw_writer_bytes(w->writer) > 64)
        w->bad = true;
    return w->status;
}

static const scenario scenarios[] = {
    {"writer_new", NULL, new_writer, digest_writer},
    {"writer_add_unified", set_up_writer, write_unified, digest_written},
    {"writer_add_unified merged", set_up_merged, write_halves, digest_written},
    {"writer_add_tensor", set_up_writer, write_tensor, digest_written},
    {"writer_add_unified transport", set_up_writer, write_transport_unified,
     digest_written},
    {"writer_add_tensor transport", set_up_writer, write_transport_tensor,
     digest_written},
    {"writer_add_tensor strided", set_up_strided, write_transport_tensor, digest_written},
    {"writer_add_metadata", set_up_writer, write_metadata, digest_written},
    {"writer_write_buffer", set_up_model, write_buffer, digest_written},
    {"writer_save", set_up_model, save, digest_written},
    {"reader_open_buffer", set_up_image, open_buffer, digest_reader},
    {"reader_open", set_up_image, open_file, digest_reader},
    {"reader_unified", set_up_reader, read_unified, oom_digest_unified},
    {"reader_tensor", set_up_reader, read_tensor, oom_digest_tensor},
    {"reader_unified transport", set_up_transport_reader, read_unified,
     oom_digest_unified},
    {"reader_tensor transport", set_up_transport_reader, read_tensor, oom_digest_tensor},
    {"reader_gemm transport", set_up_transport_reader, make_gemm, digest_gemm},
    /* the packed form, PACKED of them */
    {"writer_add_unified packed", set_up_writer, write_packed, digest_written},
    {"writer_add_unified packed groups", set_up_groups, write_packed, digest_written},
    {"writer_add_all", set_up_convert, convert, digest_writer},
    {"reader_unified packed", set_up_in_place, read_unified, oom_digest_unified},
    {"reader_gemm in place", set_up_in_place, make_gemm, digest_gemm},
    {"reader_gemm copied", set_up_copied, make_gemm, digest_gemm},
    {"reader_gemm repacked", set_up_repacked, make_gemm, digest_gemm},
    {"reader_conv in place", set_up_in_place, make_conv, digest_conv},
    {"reader_conv groups", set_up_packed_groups, make_conv, digest_conv},
    {"reader_unified groups", set_up_packed_groups, read_unified, oom_digest_unified},
};

int main(void)
{
    enum { ALL = sizeof scenarios / sizeof *scenarios, PACKED = 10 };

    /* Where there is no such form, test_packed_convert sees that it is refused. */
    return oom_main(scenarios, msw__packed_native() ? ALL : ALL - PACKED);
}
