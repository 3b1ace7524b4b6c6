/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

struct sink {
    struct output *output;
    struct problem *p;
};

static int64_t write_sink(const void *data, size_t size, void *user)
{
    const struct sink *sink = user;

    return output_write(sink->output, data, size, sink->p) ? -1 : (int64_t)size;
}

int save_model(msw_writer *writer, const char *path, bool force, struct problem *p)
{
    struct output output;
    struct sink sink = {&output, p};
    msw_status status;
    msw_io io;

    if (output_open(&output, path, force, p))
        return p->code;
    msw_io_init(&io);
    io.user = &sink;
    io.write = write_sink;
    status = msw_writer_write(writer, &io);
    if (status)
        problem_status(p, status, path, NULL, msw_writer_error(writer));
    else if (problem_interrupted(p) == CODE_OK)
        output_commit(&output, p);
    output_close(&output);
    return p->code;
}
