/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of named arrays, whatever its format. */
#ifndef MSW_TOOLS_MODEL_H
#define MSW_TOOLS_MODEL_H

#include "element.h"
#include "tool.h"

#include <stdio.h>

enum {
    MOST_DIMENSIONS = 32, /* NumPy's own limit */
    /* A tensor of a .msw file that the library has no kind for, as metadata: the key is
     * KEPT_PREFIX and the name, the value element type, shape, line feed, bytes. */
    KEPT_PREFIX_LENGTH = 7,
    STRANGE_TYPE = 32
};
#define KEPT_PREFIX "tensor:"

enum format { FORMAT_MSW, FORMAT_SAFETENSORS, FORMAT_NPY, FORMAT_NPZ };

struct item {
    char *name;
    enum element type;   /* of a .msw tensor: F16 when all of it is stored so, or F32 */
    char strange[STRANGE_TYPE]; /* what the file says, of a type that is not supported */
    uint32_t rank;
    size_t shape[MOST_DIMENSIONS];
    size_t count;        /* elements */
    size_t bytes;        /* count times the size of an element */

    uint64_t offset;     /* in the file; of npz: of the member, from its beginning */
    uint64_t member;     /* npz */
    bool fortran, big_endian;  /* npy, npz */
    bool unified;        /* .msw */
    const uint8_t *kept; /* .msw, or NULL */
};

struct text {
    char *key, *value;
};

struct model {
    const char *path;
    enum format format;
    msw_context *ctx;
    FILE *file;
    void *zip; /* zip_t */
    msw_reader *reader;
    struct item *items;
    size_t count;
    struct text *texts; /* metadata that is text */
    size_t text_count;
};

/* The format is told by the content. On failure nothing is left to close. */
int model_open(struct model *m, msw_context *ctx, const char *path, struct problem *p);
/* The same for bytes in memory, which are not a .msw file. For fuzzing. */
int model_open_buffer(struct model *m, msw_context *ctx, uint8_t *data, size_t size,
                      struct problem *p);
void model_close(struct model *m);

const struct item *model_find(const struct model *m, const char *name);
/* item->bytes bytes: the elements in the order of the dimensions, little-endian. */
int model_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p);
/* True when the item can be an msw_tensor. */
bool item_is_tensor(const struct item *item);
bool item_same_shape(const struct item *a, const struct item *b);
int model_tensor(msw_tensor **out, struct model *m, const struct item *item,
                 struct problem *p);
int model_unified(msw_unified **out, struct model *m, const struct item *item,
                  struct problem *p);

/* A problem with an item, or with the whole file when it is NULL. */
int model_problem(struct problem *p, int code, const struct model *m,
                  const struct item *item, const char *reason);
/* "20x1x5x5"; "scalar" for rank 0. */
enum { SHAPE_TEXT = 256 };
const char *shape_text(char *out, const struct item *item);

/* For the formats. */

/* What is wrong with such a type; the item's problems quote it. */
const char *item_strange_type(struct item *item, const char *type);
/* Computes count and bytes from shape and type; false: they overflow. */
bool item_measure(struct item *item);
/* Makes room for one item more; NULL: no memory. */
struct item *model_add_item(struct model *m, struct problem *p);
int model_add_text(struct model *m, const char *key, const char *value, struct problem *p);

int msw_file_open(struct model *m, struct problem *p);
int msw_file_read(uint8_t *out, struct model *m, const struct item *item,
                  struct problem *p);
int safetensors_open(struct model *m, struct problem *p);
int safetensors_read(uint8_t *out, struct model *m, const struct item *item,
                     struct problem *p);
int npy_open(struct model *m, struct problem *p);
int npy_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p);
int npz_open(struct model *m, struct problem *p);
int npz_open_buffer(struct model *m, const void *data, size_t size, struct problem *p);
int npz_read(uint8_t *out, struct model *m, const struct item *item, struct problem *p);
void npz_close(struct model *m);

#endif /* MSW_TOOLS_MODEL_H */
