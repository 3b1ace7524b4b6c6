/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operating system does for us, and nobody else calls. Unless said otherwise
 * functions return a negative errno value on failure. */
#ifndef MSW_LIB_OS_H
#define MSW_LIB_OS_H

#include <stddef.h>
#include <stdint.h>

uint64_t msw__os_clock(void); /* nanoseconds, monotonic; 0 when there is no clock */

/* Text of an error, which may be given as negative or positive. */
void msw__os_error_text(char *out, size_t size, int error);

/* A regular file for reading and its length. Returns its number for the others. */
int msw__os_open(const char *path, uint64_t *length);
/* At least one byte, possibly fewer than size; 0 at the end. */
int64_t msw__os_read_at(int file, uint64_t offset, void *data, size_t size);
void msw__os_close(int file);

/* The system calls of a save. Passed as a table so that tests can record and fail each
 * of them. */
typedef struct msw__os {
    int (*open_directory)(const struct msw__os *os, const char *path);
    int (*create)(const struct msw__os *os, int directory, const char *name); /* new only */
    int64_t (*write)(const struct msw__os *os, int file, const void *data, size_t size);
    int (*sync)(const struct msw__os *os, int file); /* or directory */
    int (*close)(const struct msw__os *os, int file);
    int (*rename)(const struct msw__os *os, int directory, const char *from, const char *to);
    int (*unlink)(const struct msw__os *os, int directory, const char *name);
} msw__os;

extern const msw__os msw__os_system;

/* A file that takes the place of another one when it is complete: write a new one in
 * the same directory, sync it, rename it, sync the directory. */
typedef struct msw__replacement {
    const msw__os *os;
    const char *name;
    int directory, file;
    char temporary[256];
} msw__replacement;

/* Strings are used until commit or abort. After a failure of _begin nothing is left to
 * do; after one of _write call _abort. */
int msw__replace_begin(msw__replacement *r, const msw__os *os, const char *directory,
                       const char *name);
int msw__replace_write(msw__replacement *r, const void *data, size_t size);
/* Ends it in any case. When it fails the old file is still there, or, if only the
 * directory could not be synced, the new one, which a crash may then undo. */
int msw__replace_commit(msw__replacement *r);
void msw__replace_abort(msw__replacement *r);

#endif /* MSW_LIB_OS_H */
