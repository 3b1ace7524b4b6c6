/* SPDX-License-Identifier: BSD-2-Clause */
#define _POSIX_C_SOURCE 200809L
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Systems refuse or shorten larger transfers, some at 2^31 - 1 bytes. */
enum { MAX_TRANSFER = 1 << 30, NAME_ATTEMPTS = 100, MAX_NAME = 240 };

static int result(int value)
{
    return value < 0 ? -errno : value;
}

uint64_t msw__os_clock(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_MONOTONIC, &t))
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void msw__os_error_text(char *out, size_t size, int error)
{
    if (error < 0)
        error = -error;
    if (strerror_r(error, out, size))
        snprintf(out, size, "error %d", error);
}

int msw__os_open(const char *path, uint64_t *length)
{
    /* O_NONBLOCK: opening a pipe without a writer would wait for ever. */
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status = {0}; /* MSan of clang 14 does not know fstat() */
    int error = 0;

    if (file < 0)
        return -errno;
    if (fstat(file, &status))
        error = -errno;
    else if (!S_ISREG(status.st_mode))
        error = S_ISDIR(status.st_mode) ? -EISDIR : -ESPIPE;
    if (error) {
        close(file);
        return error;
    }
    *length = (uint64_t)status.st_size;
    return file;
}

int64_t msw__os_read_at(int file, uint64_t offset, void *data, size_t size)
{
    ssize_t got;

    do
        got = pread(file, data, size < MAX_TRANSFER ? size : MAX_TRANSFER, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

void msw__os_close(int file)
{
    close(file);
}

static int system_open_directory(const msw__os *os, const char *path)
{
    (void)os;
    return result(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int system_create(const msw__os *os, int directory, const char *name)
{
    (void)os;
    return result(openat(directory, name,
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
}

static int64_t system_write(const msw__os *os, int file, const void *data, size_t size)
{
    const ssize_t put = write(file, data, size < MAX_TRANSFER ? size : MAX_TRANSFER);

    (void)os;
    return put < 0 ? -errno : put;
}

static int system_sync(const msw__os *os, int file)
{
    (void)os;
#ifdef F_FULLFSYNC /* macOS: fsync() leaves the data in the drive's cache */
    if (!fcntl(file, F_FULLFSYNC))
        return 0;
#endif
    return result(fsync(file));
}

static int system_close(const msw__os *os, int file)
{
    (void)os;
    return result(close(file));
}

static int system_rename(const msw__os *os, int directory, const char *from, const char *to)
{
    (void)os;
    return result(renameat(directory, from, directory, to));
}

static int system_unlink(const msw__os *os, int directory, const char *name)
{
    (void)os;
    return result(unlinkat(directory, name, 0));
}

const msw__os msw__os_system = {system_open_directory, system_create, system_write,
                                system_sync,           system_close,  system_rename,
                                system_unlink};

static int create_temporary(msw__replacement *r)
{
    const char *base = strlen(r->name) <= MAX_NAME ? r->name : "msw";
    int file = -EEXIST;

    for (uint32_t i = 0; i < NAME_ATTEMPTS && file == -EEXIST; i++) {
        const uint64_t unique = msw__os_clock() ^ (uint64_t)getpid() << 16;
        snprintf(r->temporary, sizeof r->temporary, ".%s.%08x", base,
                 (unsigned)(unique + i));
        file = r->os->create(r->os, r->directory, r->temporary);
    }
    return file;
}

int msw__replace_begin(msw__replacement *r, const msw__os *os, const char *directory,
                       const char *name)
{
    r->os = os;
    r->name = name;
    r->directory = os->open_directory(os, directory);
    if (r->directory < 0)
        return r->directory;
    r->file = create_temporary(r);
    if (r->file < 0)
        os->close(os, r->directory);
    return r->file < 0 ? r->file : 0;
}

int msw__replace_write(msw__replacement *r, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        const int64_t put = r->os->write(r->os, r->file, p, size);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        p += put;
        size -= (size_t)put;
    }
    return 0;
}

void msw__replace_abort(msw__replacement *r)
{
    if (r->file >= 0)
        r->os->close(r->os, r->file);
    r->os->unlink(r->os, r->directory, r->temporary);
    r->os->close(r->os, r->directory);
}

/* Some file systems cannot sync a directory, and need not. */
static int sync_directory(const msw__replacement *r)
{
    const int error = r->os->sync(r->os, r->directory);

    return error == -EINVAL || error == -ENOTSUP ? 0 : error;
}

int msw__replace_commit(msw__replacement *r)
{
    /* A failed sync is never tried again: the kernel may have dropped the data. */
    int error = r->os->sync(r->os, r->file);

    if (!error) {
        error = r->os->close(r->os, r->file);
        r->file = -1; /* closed even if that failed */
    }
    if (!error)
        error = r->os->rename(r->os, r->directory, r->temporary, r->name);
    if (error) {
        msw__replace_abort(r);
        return error;
    }
    error = sync_directory(r);
    r->os->close(r->os, r->directory);
    return error;
}
