/* SPDX-License-Identifier: BSD-2-Clause */
#include "network.h"

#include <stdlib.h>
#include <string.h>

void network_free(struct network *net)
{
    for (size_t i = 0; i < net->count; i++) {
        free(net->layers[i].name);
        free(net->layers[i].inputs);
        free(net->layers[i].weights);
        free(net->layers[i].bias);
    }
    free(net->layers);
    *net = (struct network){0};
}

size_t network_find(const struct network *net, const char *name)
{
    size_t i = 0;

    while (i < net->count && strcmp(net->layers[i].name, name) != 0)
        i++;
    return i;
}

size_t network_last_use(const struct network *net, size_t which)
{
    size_t last = which;

    for (size_t i = which + 1; i < net->count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++)
            if (net->layers[i].inputs[k] == which)
                last = i;
    return last;
}

size_t layer_fan_in(const struct layer *l)
{
    return l->kernel_height * l->kernel_width * l->input_channels;
}

size_t layer_weight_count(const struct layer *l)
{
    return layer_fan_in(l) * l->channels;
}
