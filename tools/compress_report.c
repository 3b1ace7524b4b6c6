/* SPDX-License-Identifier: BSD-2-Clause */
#include "compress.h"
#include "facts.h"

#include <stdio.h>

void compress_report(const struct model *m, const struct outcome *outcomes,
                     uint64_t written)
{
    const int width = names_width(m, "tensor");
    char shape[SHAPE_TEXT];
    uint64_t before = 0;

    printf("%-*s %16s %8s %8s %8s %8s %12s %12s\n", width, "tensor", "shape", "pruned",
           "unified", "error", "rounded", "bytes", "was");
    for (size_t i = 0; i < m->count; i++) {
        const struct item *item = &m->items[i];
        const struct outcome *o = &outcomes[i];

        before += item->bytes;
        printf("%-*s %16s ", name_field(item->name, width), item->name,
               shape_text(shape, item));
        if (o->unified)
            printf("%6.1f %% %6.1f %% %8.4f %8.4f",
                   percent(o->info.pruned_blocks, o->info.blocks),
                   percent(o->info.unified_blocks, o->info.blocks), o->error,
                   o->rounding);
        else
            printf("%35s", o->kept ? "kept as it is" : "plain");
        printf(" %12llu %12zu\n", (unsigned long long)o->bytes, item->bytes);
    }
    printf("%llu bytes instead of %llu: 1/%.1f\n", (unsigned long long)written,
           (unsigned long long)before,
           written ? (double)before / (double)written : 0);
}
