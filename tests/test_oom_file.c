/* SPDX-License-Identifier: BSD-2-Clause */
/* Writers and readers when memory fails; see oom.h. */
#include "oom.h"

#include <stdio.h>
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

static msw_status write_tensor(world *w)
{
    return msw_writer_add_tensor(w->writer, "bias", w->tensor, NULL);
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
    return msw_writer_write_buffer(w->writer, w->image, (size_t)msw_writer_bytes(w->writer));
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

static msw_status set_up_image(world *w)
{
    msw_status status = set_up_model(w);

    w->image_size = (size_t)msw_writer_bytes(w->writer);
    if (!status)
        status = msw_writer_write_buffer(w->writer, w->image, w->image_size);
    msw_tensor_free(w->tensor);
    w->tensor = NULL;
    return status;
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

static const scenario scenarios[] = {
    {"writer_new", NULL, new_writer, digest_writer},
    {"writer_add_unified", set_up_writer, write_unified, digest_written},
    {"writer_add_tensor", set_up_writer, write_tensor, digest_written},
    {"writer_add_metadata", set_up_writer, write_metadata, digest_written},
    {"writer_write_buffer", set_up_model, write_buffer, digest_written},
    {"writer_save", set_up_model, save, digest_written},
    {"reader_open_buffer", set_up_image, open_buffer, digest_reader},
    {"reader_open", set_up_image, open_file, digest_reader},
    {"reader_unified", set_up_reader, read_unified, oom_digest_unified},
    {"reader_tensor", set_up_reader, read_tensor, oom_digest_tensor},
};

int main(void)
{
    return oom_main(scenarios, sizeof scenarios / sizeof *scenarios);
}
