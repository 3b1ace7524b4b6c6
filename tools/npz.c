/* SPDX-License-Identifier: BSD-2-Clause */
/* NumPy's .npz: a zip file of .npy arrays. */
#define _POSIX_C_SOURCE 200809L
#include "npy.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#define SUFFIX ".npy"
enum { SUFFIX_LENGTH = 4, CHUNK = 4096 };

static int zip_problem(struct problem *p, struct model *m, const struct item *item,
                       zip_error_t *error)
{
    const int code = zip_error_code_zip(error) == ZIP_ER_MEMORY ? CODE_MEMORY : CODE_INPUT;

    return model_problem(p, code, m, item, zip_error_code_zip(error) == ZIP_ER_EXISTS ?
                         "two members have the same name" : zip_error_strerror(error));
}

/* Fewer than asked for at the end only. */
static int64_t read_member(void *out, size_t size, void *user)
{
    uint8_t *bytes = out;
    size_t done = 0;

    while (done < size) {
        const zip_int64_t got = zip_fread(user, bytes + done, size - done);

        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static char *array_name(const char *member, struct problem *p)
{
    const size_t length = strlen(member);

    if (length <= SUFFIX_LENGTH || strcmp(member + length - SUFFIX_LENGTH, SUFFIX) != 0)
        return copy_text(member, length, p);
    return copy_text(member, length - SUFFIX_LENGTH, p);
}

static int open_member(zip_file_t **out, struct model *m, const struct item *item,
                       struct problem *p)
{
    *out = zip_fopen_index(m->zip, item->member, 0);
    return *out ? p->code : zip_problem(p, m, item, zip_get_error(m->zip));
}

static int read_record(struct model *m, zip_uint64_t member, struct problem *p)
{
    struct item *item = model_add_item(m, p);
    zip_file_t *file;
    zip_stat_t info;
    const char *wrong;

    if (!item)
        return p->code;
    if (zip_stat_index(m->zip, member, 0, &info) || !(info.valid & ZIP_STAT_SIZE) ||
        !(info.valid & ZIP_STAT_NAME))
        return zip_problem(p, m, NULL, zip_get_error(m->zip));
    item->member = member;
    if (!(item->name = array_name(info.name, p)) || open_member(&file, m, item, p))
        return p->code;
    wrong = npy_read_header(item, read_member, file);
    zip_fclose(file);
    if (!wrong && (info.size < item->offset || info.size - item->offset != item->bytes))
        wrong = "its size is not that of the array";
    return wrong ? model_problem(p, CODE_INPUT, m, item, wrong) : p->code;
}

static int read_records(struct model *m, struct problem *p)
{
    const zip_int64_t members = zip_get_num_entries(m->zip, 0);

    for (zip_int64_t i = 0; i < members; i++)
        if (read_record(m, (zip_uint64_t)i, p))
            break;
    return p->code;
}

int npz_open(struct model *m, struct problem *p)
{
    int code;

    m->zip = zip_open(m->path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (!m->zip) {
        zip_error_t error;

        zip_error_init_with_code(&error, code);
        zip_problem(p, m, NULL, &error);
        zip_error_fini(&error);
        return p->code;
    }
    return read_records(m, p);
}

int npz_open_buffer(struct model *m, const void *data, size_t size, struct problem *p)
{
    zip_error_t error;
    zip_source_t *source;

    zip_error_init(&error);
    source = zip_source_buffer_create(data, size, 0, &error);
    if (source)
        m->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (!m->zip) {
        zip_problem(p, m, NULL, &error);
        zip_source_free(source);
    }
    zip_error_fini(&error);
    return m->zip ? read_records(m, p) : p->code;
}

static bool skip(zip_file_t *file, uint64_t size)
{
    uint8_t bytes[CHUNK];

    for (; size > CHUNK; size -= CHUNK)
        if (read_member(bytes, CHUNK, file) != CHUNK)
            return false;
    return read_member(bytes, (size_t)size, file) == (int64_t)size;
}

int npz_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p)
{
    zip_file_t *file;
    uint8_t more;

    if (open_member(&file, m, item, p))
        return p->code;
    /* One byte beyond: libzip checks the CRC when it meets the end. */
    if (!skip(file, item->offset) ||
        read_member(out, item->bytes, file) != (int64_t)item->bytes ||
        read_member(&more, 1, file) != 0)
        zip_problem(p, m, item, zip_file_get_error(file));
    zip_fclose(file);
    return p->code ? p->code : npy_arrange(out, item, p);
}

void npz_close(struct model *m)
{
    zip_discard(m->zip);
    m->zip = NULL;
}
