/* SPDX-License-Identifier: BSD-2-Clause */
/* Storage that fails, stutters or lies, under readers and writers; and saves that are
 * cut short by errors and crashes. */
#include "faults.h"
#include "sample_model.h"
#include "writer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static faults memory;
static msw_context *ctx;
static uint8_t *file; /* the sample model */
static size_t size;

/* The host's storage: a buffer, and what goes wrong at which call. */
typedef enum fault { GOOD, NEGATIVE, ZERO, TOO_MANY } fault;

typedef struct storage {
    uint8_t *data;
    size_t used, capacity;
    uint64_t length;   /* as announced */
    size_t most;       /* bytes per call; 0: no limit */
    uint64_t calls, fault_at;
    fault fault;
    bool broken;       /* asked beyond the announced length, or for nothing */
} storage;

static bool faulty(storage *s, size_t asked, int64_t *result)
{
    if (asked == 0)
        s->broken = true;
    if (++s->calls != s->fault_at)
        return false;
    *result = s->fault == NEGATIVE ? -5 : s->fault == ZERO ? 0 : (int64_t)asked + 1;
    return s->fault != GOOD;
}

static int64_t storage_read(uint64_t offset, void *data, size_t asked, void *user)
{
    storage *s = user;
    int64_t result;

    if (offset + asked > s->length)
        s->broken = true;
    if (faulty(s, asked, &result))
        return result;
    if (offset >= s->used)
        return 0;
    if (s->most && asked > s->most)
        asked = s->most;
    if (asked > s->used - offset)
        asked = s->used - (size_t)offset;
    memcpy(data, s->data + offset, asked);
    return (int64_t)asked;
}

static uint64_t storage_length(void *user)
{
    return ((storage *)user)->length;
}

static int64_t storage_write(const void *data, size_t asked, void *user)
{
    storage *s = user;
    int64_t result;

    if (faulty(s, asked, &result))
        return result;
    if (s->most && asked > s->most)
        asked = s->most;
    if (asked > s->capacity - s->used)
        return -1;
    memcpy(s->data + s->used, data, asked);
    s->used += asked;
    return (int64_t)asked;
}

static msw_io io_on(storage *s)
{
    msw_io io;

    msw_io_init(&io);
    io.user = s;
    io.read_at = storage_read;
    io.length = storage_length;
    io.write = storage_write;
    return io;
}

static storage sample_storage(void)
{
    storage s = {file, size, size, size, 0, 0, 0, GOOD, false};

    return s;
}

static msw_status open_and_load(storage *s)
{
    const msw_io io = io_on(s);
    msw_reader *r;
    msw_status status = msw_reader_open_io(&r, ctx, &io, NULL);

    if (!status)
        status = sample_load_all(r);
    msw_reader_free(r);
    return status;
}

static void test_stuttering_reads(void **state)
{
    static const size_t most[] = {0, 1, 2, 3, 7, 63, 64, 100};

    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        storage s = sample_storage();
        s.most = most[i];
        assert_int_equal(open_and_load(&s), MSW_OK);
        assert_false(s.broken);
    }
}

static void test_every_read_fails(void **state)
{
    (void)state;
    for (fault f = NEGATIVE; f <= TOO_MANY; f++)
        for (uint64_t k = 1;; k++) {
            storage s = sample_storage();
            msw_status status;

            s.fault_at = k;
            s.fault = f;
            status = open_and_load(&s);
            if (s.calls < k) {
                assert_int_equal(status, MSW_OK);
                assert_true(k > 10);
                break;
            }
            assert_int_equal(status, f == TOO_MANY ? MSW_E_HOST : MSW_E_IO);
        }
}

/* A failing read leaves the reader as it was: the same call works once reads do. */
static void test_reader_recovers(void **state)
{
    storage s = sample_storage();
    const msw_io io = io_on(&s);
    msw_reader *r;

    (void)state;
    assert_int_equal(msw_reader_open_io(&r, ctx, &io, NULL), MSW_OK);
    s.fault = NEGATIVE;
    for (uint64_t k = 1; k < 100; k++) {
        msw_unified *u;
        msw_status status;

        s.calls = 0;
        s.fault_at = k;
        status = msw_reader_unified(&u, r, "conv");
        if (s.calls < k) {
            assert_int_equal(status, MSW_OK);
            msw_unified_free(u);
            assert_true(k > 1);
            break;
        }
        assert_int_equal(status, MSW_E_IO);
        assert_null(u);
        assert_non_null(strstr(msw_reader_error(r), "\"conv\""));
        assert_non_null(strstr(msw_reader_error(r), "-5"));
    }
    s.fault = GOOD;
    assert_int_equal(sample_load_all(r), MSW_OK);
    msw_reader_free(r);
}

static void test_wrong_length(void **state)
{
    static const uint64_t lengths[] = {0, 1, 63, 64, UINT64_MAX, UINT64_MAX / 2};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        storage s = sample_storage();
        s.length = lengths[i];
        assert_int_equal(open_and_load(&s), MSW_E_FORMAT);
        assert_false(s.broken);
    }
    for (size_t cut = 1; cut < size; cut++) { /* shorter than announced */
        storage s = sample_storage();
        s.used = size - cut;
        assert_int_equal(open_and_load(&s), MSW_E_IO);
    }
}

/* What is there changes between the check of a checksum and the use. */
static void test_changing_contents(void **state)
{
    (void)state;
    for (size_t i = 0; i < size; i++) {
        storage s = sample_storage();
        const msw_io io = io_on(&s);
        msw_reader *r;

        s.data = malloc(size);
        assert_non_null(s.data);
        memcpy(s.data, file, size);
        assert_int_equal(msw_reader_open_io(&r, ctx, &io, NULL), MSW_OK);
        assert_int_equal(sample_load_all(r), MSW_OK);
        s.data[i] ^= 0xff;
        if (sample_load_all(r)) /* may well be another good value */
            assert_string_not_equal(msw_reader_error(r), "");
        msw_reader_free(r);
        free(s.data);
    }
}

static msw_writer *sample_writer(void)
{
    msw_writer *w;

    assert_int_equal(msw_writer_new(&w, ctx), MSW_OK);
    assert_int_equal(sample_add_all(w, ctx), MSW_OK);
    return w;
}

static void test_stuttering_writes(void **state)
{
    static const size_t most[] = {0, 1, 5, 64, 1000};
    msw_writer *w = sample_writer();

    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        storage s = {malloc(size), 0, size, 0, most[i], 0, 0, GOOD, false};
        const msw_io io = io_on(&s);

        assert_non_null(s.data);
        assert_int_equal(msw_writer_write(w, &io), MSW_OK);
        assert_false(s.broken);
        assert_int_equal(s.used, size);
        assert_memory_equal(s.data, file, size);
        free(s.data);
    }
    msw_writer_free(w);
}

static void test_every_write_fails(void **state)
{
    msw_writer *w = sample_writer();
    uint8_t *data = malloc(size);

    (void)state;
    assert_non_null(data);
    for (fault f = NEGATIVE; f <= TOO_MANY; f++)
        for (uint64_t k = 1;; k++) {
            storage s = {data, 0, size, 0, 200, 0, k, f, false};
            const msw_io io = io_on(&s);
            const msw_status status = msw_writer_write(w, &io);

            if (s.calls < k) {
                assert_int_equal(status, MSW_OK);
                assert_string_equal(msw_writer_error(w), "");
                assert_memory_equal(data, file, size);
                assert_true(k > 5);
                break;
            }
            assert_int_equal(status, f == TOO_MANY ? MSW_E_HOST : MSW_E_IO);
            assert_non_null(strstr(msw_writer_error(w), "write callback"));
        }
    free(data);
    msw_writer_free(w);
}

/* An operating system with one directory, that logs what a save does to it. */
typedef enum op_kind { CREATE, WRITE, SYNC, CLOSE, RENAME, SYNC_DIRECTORY, UNLINK, OPEN } op_kind;

typedef struct op {
    op_kind kind;
    size_t offset, size; /* of a write */
} op;

enum { DIRECTORY = 7, NEW_FILE = 8, MOST_OPS = 64 };

typedef struct disk {
    msw__os os; /* first: what callbacks get */
    op log[MOST_OPS];
    size_t count;
    uint8_t *data;       /* of the new file */
    size_t used, most;   /* bytes written; bytes that a write takes */
    size_t fail_at;      /* number of the operation, from 1 */
    int error, interrupts, taken_names;
    bool file_open, directory_open, temporary, renamed, wrong;
} disk;

static disk *disk_of(const msw__os *os)
{
    union { const msw__os *in; disk *out; } cast = {os}; /* the test's own, not const */

    return cast.out;
}

/* Log it; the error it ends with. */
static int operation(disk *d, op_kind kind, size_t written)
{
    if (d->count == MOST_OPS) {
        d->wrong = true;
        return -EIO;
    }
    d->log[d->count].kind = kind;
    d->log[d->count].offset = d->used;
    d->log[d->count].size = written;
    return ++d->count == d->fail_at ? d->error : 0;
}

static int disk_open(const msw__os *os, const char *path)
{
    disk *d = disk_of(os);
    const int error = operation(d, OPEN, 0);

    if (strcmp(path, "some/where") != 0)
        d->wrong = true;
    d->directory_open = !error;
    return error ? error : DIRECTORY;
}

static int disk_create(const msw__os *os, int directory, const char *name)
{
    disk *d = disk_of(os);
    const int error = operation(d, CREATE, 0);

    if (directory != DIRECTORY || name[0] != '.' || strchr(name, '/'))
        d->wrong = true;
    if (d->taken_names > 0) {
        d->taken_names--;
        return -EEXIST;
    }
    if (error)
        return error;
    d->file_open = d->temporary = true;
    return NEW_FILE;
}

static int64_t disk_write(const msw__os *os, int fd, const void *data, size_t asked)
{
    disk *d = disk_of(os);
    const size_t part = asked < d->most ? asked : d->most;
    int error;

    if (fd != NEW_FILE || !d->file_open || d->used + part > size)
        d->wrong = true;
    if (d->interrupts > 0) {
        d->interrupts--;
        return -EINTR;
    }
    error = operation(d, WRITE, part);
    if (error || d->wrong)
        return error ? error : -EIO;
    memcpy(d->data + d->used, data, part);
    d->used += part;
    return (int64_t)part;
}

static int disk_sync(const msw__os *os, int fd)
{
    return operation(disk_of(os), fd == NEW_FILE ? SYNC : SYNC_DIRECTORY, 0);
}

static int disk_close(const msw__os *os, int fd)
{
    disk *d = disk_of(os);
    bool *open = fd == NEW_FILE ? &d->file_open : &d->directory_open;

    if (!*open)
        d->wrong = true;
    *open = false;
    return fd == NEW_FILE ? operation(d, CLOSE, 0) : 0;
}

static int disk_rename(const msw__os *os, int directory, const char *from, const char *to)
{
    disk *d = disk_of(os);
    const int error = operation(d, RENAME, 0);

    if (directory != DIRECTORY || from[0] != '.' || strcmp(to, "model.msw") != 0)
        d->wrong = true;
    if (!error) {
        d->renamed = true;
        d->temporary = false;
    }
    return error;
}

static int disk_unlink(const msw__os *os, int directory, const char *name)
{
    disk *d = disk_of(os);
    const int error = operation(d, UNLINK, 0);

    if (directory != DIRECTORY || name[0] != '.')
        d->wrong = true;
    if (!error)
        d->temporary = false;
    return error;
}

static disk new_disk(void)
{
    disk d = {{disk_open, disk_create, disk_write, disk_sync, disk_close, disk_rename,
               disk_unlink}, {{OPEN, 0, 0}}, 0, NULL, 0, 0, 0, 0, 0, 0,
              false, false, false, false, false};

    d.data = malloc(size);
    assert_non_null(d.data);
    d.most = size / 8 + 1;
    return d;
}

static msw_status save_on(disk *d, msw_writer *w)
{
    return msw__writer_save(w, "some/where/model.msw", &d->os);
}

static void test_order_of_a_save(void **state)
{
    static const op_kind before[] = {OPEN, CREATE}, after[] = {SYNC, CLOSE, RENAME,
                                                               SYNC_DIRECTORY};
    msw_writer *w = sample_writer();
    disk d = new_disk();

    (void)state;
    assert_int_equal(save_on(&d, w), MSW_OK);
    assert_false(d.wrong || d.file_open || d.directory_open || d.temporary);
    assert_true(d.renamed);
    assert_int_equal(d.used, size);
    assert_memory_equal(d.data, file, size);
    assert_true(d.count >= 6 + 8);
    for (size_t i = 0; i < d.count; i++)
        assert_int_equal(d.log[i].kind, i < 2               ? before[i]
                                        : i < d.count - 4 ? WRITE
                                                          : after[i - (d.count - 4)]);
    free(d.data);
    msw_writer_free(w);
}

/* Each operation fails in turn. The old file stays, unless all but the directory's sync
 * has happened; nothing stays open, and no temporary file unless it cannot be removed. */
static void test_every_operation_fails(void **state)
{
    static const int errors[] = {-EIO, -ENOSPC, -EACCES, -EDQUOT};
    msw_writer *w = sample_writer();

    (void)state;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (size_t k = 1;; k++) {
            disk d = new_disk();
            msw_status status;

            d.fail_at = k;
            d.error = errors[e];
            status = save_on(&d, w);
            assert_false(d.wrong || d.file_open || d.directory_open || d.temporary);
            if (d.count < k) {
                assert_int_equal(status, MSW_OK);
                free(d.data);
                break;
            }
            assert_int_equal(status, MSW_E_IO);
            assert_string_not_equal(msw_writer_error(w), "");
            assert_true(d.renamed == (d.log[k - 1].kind == SYNC_DIRECTORY));
            free(d.data);
        }
    msw_writer_free(w);
}

static void test_small_mercies(void **state)
{
    msw_writer *w = sample_writer();
    disk d = new_disk();
    size_t last;

    (void)state;
    d.interrupts = 5; /* EINTR: again */
    d.taken_names = 20;
    assert_int_equal(save_on(&d, w), MSW_OK);
    assert_memory_equal(d.data, file, size);
    last = d.count - 20;
    free(d.data);

    d = new_disk(); /* a directory that cannot be synced */
    d.fail_at = last;
    d.error = -EINVAL;
    assert_int_equal(save_on(&d, w), MSW_OK);
    assert_int_equal(d.log[last - 1].kind, SYNC_DIRECTORY);
    free(d.data);

    d = new_disk(); /* all names taken, for ever */
    d.taken_names = 1 << 20;
    assert_int_equal(save_on(&d, w), MSW_E_IO);
    assert_false(d.temporary || d.directory_open || d.renamed);
    free(d.data);

    d = new_disk(); /* a file that takes nothing */
    d.most = 0;
    assert_int_equal(save_on(&d, w), MSW_E_IO);
    assert_false(d.temporary || d.directory_open || d.file_open || d.renamed);
    free(d.data);
    msw_writer_free(w);
}

/* Replay of a log up to a crash. Writes since the last sync may have reached the disk in
 * any combination, the rest reads as zero; a rename since the last sync of the directory
 * may or may not. The name then has either the old file, or this, which must be whole. */
typedef struct replay {
    size_t old, whole, torn;
} replay;

static void count_states(replay *out, const disk *d, size_t length, bool sync_works)
{
    size_t pending[MOST_OPS], pending_count = 0;
    bool renamed = false, settled = false;
    uint8_t *data = calloc(size, 1);

    assert_non_null(data);
    for (size_t i = 0; i < length; i++) {
        const op *o = &d->log[i];
        if (o->kind == WRITE)
            pending[pending_count++] = i;
        if (o->kind == SYNC && sync_works) {
            for (size_t k = 0; k < pending_count; k++)
                memcpy(data + d->log[pending[k]].offset,
                       d->data + d->log[pending[k]].offset, d->log[pending[k]].size);
            pending_count = 0;
        }
        renamed |= o->kind == RENAME;
        settled |= o->kind == SYNC_DIRECTORY;
    }
    if (!settled)
        out->old++;
    for (size_t mask = 0; renamed && mask < (size_t)1 << pending_count; mask++) {
        uint8_t *crashed = malloc(size);

        assert_non_null(crashed);
        memcpy(crashed, data, size);
        for (size_t k = 0; k < pending_count; k++)
            if (mask >> k & 1)
                memcpy(crashed + d->log[pending[k]].offset,
                       d->data + d->log[pending[k]].offset, d->log[pending[k]].size);
        if (sample_open_and_load(ctx, crashed, size) == MSW_OK &&
            !memcmp(crashed, file, size))
            out->whole++;
        else
            out->torn++;
        free(crashed);
    }
    free(data);
}

static void test_crashes(void **state)
{
    msw_writer *w = sample_writer();
    replay with = {0, 0, 0}, without = {0, 0, 0};
    disk d = new_disk();

    (void)state;
    assert_int_equal(save_on(&d, w), MSW_OK);
    for (size_t length = 0; length <= d.count; length++) {
        count_states(&with, &d, length, true);
        count_states(&without, &d, length, false);
    }
    assert_int_equal(with.torn, 0);
    assert_int_equal(with.whole, 2);       /* renamed; directory synced */
    assert_int_equal(with.old, d.count);   /* all but the last */
    assert_true(without.torn > 100);       /* that is: the replay does find them */
    free(d.data);
    msw_writer_free(w);
}

static int set_up(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof memory);
    ctx = faults_context(&memory);
    file = ctx ? sample_file(&size, ctx) : NULL;
    return !file;
}

static int tear_down(void **state)
{
    (void)state;
    free(file);
    msw_context_free(ctx);
    return !faults_clean(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stuttering_reads), TEST(test_every_read_fails),
        TEST(test_reader_recovers), TEST(test_wrong_length),
        TEST(test_changing_contents), TEST(test_stuttering_writes),
        TEST(test_every_write_fails), TEST(test_order_of_a_save),
        TEST(test_every_operation_fails), TEST(test_small_mercies),
        TEST(test_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
