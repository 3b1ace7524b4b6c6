/* SPDX-License-Identifier: BSD-2-Clause */
/* Instead of libFuzzer: every file of the directories given, once. */
#define _POSIX_C_SOURCE 200809L
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1 << 20 };

/* In memory of its own size, so that reading beyond it shows. */
static int run_file(const char *path)
{
    uint8_t *data = malloc(MOST), *input;
    FILE *f = fopen(path, "rb");
    size_t size;

    if (!f || !data) {
        free(data);
        return 0;
    }
    size = fread(data, 1, MOST, f);
    fclose(f);
    input = realloc(data, size ? size : 1);
    LLVMFuzzerTestOneInput(input ? input : data, size);
    free(input ? input : data);
    return 1;
}

static int run_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int count = 0;

    if (!directory)
        return 0;
    while ((entry = readdir(directory))) {
        char file[1024];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        count += run_file(file);
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        count += run_directory(argv[i]);
    printf("%d inputs\n", count);
    return count == 0; /* a corpus that is not found is no success */
}
