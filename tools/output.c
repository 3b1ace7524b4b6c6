/* SPDX-License-Identifier: BSD-2-Clause */
#define _XOPEN_SOURCE 700
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".XXXXXX"

static int io_problem(const struct output *o, struct problem *p)
{
    return problem_set(p, CODE_IO, "%s: %s", o->path, strerror(errno));
}

static int exists_problem(const struct output *o, struct problem *p)
{
    return problem_set(p, CODE_IO, "%s: exists; -f overwrites it", o->path);
}

static int check_place(const struct output *o, struct problem *p)
{
    struct stat info;

    if (lstat(o->path, &info) != 0)
        return errno == ENOENT ? CODE_OK : io_problem(o, p);
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return problem_set(p, CODE_IO, "%s: not a regular file", o->path);
    return o->force ? CODE_OK : exists_problem(o, p);
}

/* The directory of path with its slash; 0: the working directory. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

static char *temporary_name(const char *path, struct problem *p)
{
    const size_t directory = directory_length(path), length = strlen(path);
    char *name = allocate(length + 2 + sizeof SUFFIX, 1, p);

    if (name) {
        memcpy(name, path, directory);
        name[directory] = '.';
        memcpy(name + directory + 1, path + directory, length - directory);
        memcpy(name + length + 1, SUFFIX, sizeof SUFFIX);
    }
    return name;
}

/* As if fopen() had made it. */
static void usual_permissions(int fd)
{
    const mode_t mask = umask(0);

    umask(mask);
    (void)!fchmod(fd, 0666 & ~mask);
}

int output_open(struct output *o, const char *path, bool force, struct problem *p)
{
    int fd;

    memset(o, 0, sizeof *o);
    o->path = path;
    o->force = force;
    if (!*path)
        return problem_set(p, CODE_USAGE, "-o: an empty name");
    if (check_place(o, p))
        return p->code;
    o->temporary = temporary_name(path, p);
    if (!o->temporary)
        return p->code;
    fd = mkstemp(o->temporary);
    if (fd < 0) {
        io_problem(o, p);
        free(o->temporary);
        o->temporary = NULL;
        return p->code;
    }
    usual_permissions(fd);
    o->file = fdopen(fd, "wb");
    if (!o->file) {
        io_problem(o, p);
        close(fd);
        output_close(o);
    }
    return p->code;
}

int output_write(struct output *o, const void *data, size_t size, struct problem *p)
{
    return fwrite(data, 1, size, o->file) == size ? p->code : io_problem(o, p);
}

int output_reopen(struct output *o, struct problem *p)
{
    fclose(o->file);
    o->file = fopen(o->temporary, "r+b");
    if (!o->file)
        return io_problem(o, p);
    usual_permissions(fileno(o->file));
    return p->code;
}

/* link() does not overwrite; some file systems have none. */
static int put_in_place(struct output *o, struct problem *p)
{
    if (!o->force) {
        if (link(o->temporary, o->path) == 0)
            return unlink(o->temporary);
        if (errno == EEXIST)
            return exists_problem(o, p);
    }
    if (check_place(o, p))
        return p->code;
    return rename(o->temporary, o->path);
}

static void sync_directory(const char *path)
{
    const size_t length = directory_length(path);
    char *directory = length ? strndup(path, length) : strdup(".");
    const int fd = directory ? open(directory, O_RDONLY) : -1;

    if (fd >= 0) {
        fsync(fd); /* best effort: the file itself is safe */
        close(fd);
    }
    free(directory);
}

int output_commit(struct output *o, struct problem *p)
{
    if (fflush(o->file) || fsync(fileno(o->file)) || put_in_place(o, p)) {
        io_problem(o, p); /* unless there is a better one */
        return p->code;
    }
    free(o->temporary);
    o->temporary = NULL;
    sync_directory(o->path);
    return p->code;
}

void output_close(struct output *o)
{
    if (o->file)
        fclose(o->file);
    if (o->temporary) {
        unlink(o->temporary);
        free(o->temporary);
    }
    memset(o, 0, sizeof *o);
}
