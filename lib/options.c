/* SPDX-License-Identifier: BSD-2-Clause */
/* Structs that cross the interface: the size rule (doc/abi.md). */
#include "internal.h"

#include <string.h>

enum { MAX_STRUCT = 4096 };

/* Inputs. The rule of Linux copy_struct_from_user(): shorter structs are
 * zero-extended, longer ones are accepted when what we do not know is all zero. */
msw_status msw__take_options(void *dst, size_t ours, size_t oldest, const void *src)
{
    const unsigned char *p = src;
    size_t theirs;

    memcpy(&theirs, src, sizeof theirs);
    if (theirs < oldest || theirs > MAX_STRUCT)
        return MSW_E_INVAL;
    for (size_t i = ours; i < theirs; i++)
        if (p[i])
            return MSW_E_VERSION;
    if (theirs < ours)
        memset(dst, 0, ours);
    memcpy(dst, src, theirs < ours ? theirs : ours);
    memcpy(dst, &ours, sizeof ours);
    return MSW_OK;
}

/* Outputs. The caller's size says how much he has room for; it stays as he set
 * it, and what we do not know stays as his init macro left it: zero. */
msw_status msw__give_output(void *dst, const void *src, size_t ours, size_t oldest)
{
    unsigned char *to = dst;
    const unsigned char *from = src;
    size_t theirs;

    memcpy(&theirs, dst, sizeof theirs);
    if (theirs < oldest || theirs > MAX_STRUCT)
        return MSW_E_INVAL;
    memcpy(to + sizeof theirs, from + sizeof theirs,
           (theirs < ours ? theirs : ours) - sizeof theirs);
    return MSW_OK;
}

/* The macros of the headers pass sizeof as the host's compiler saw it. The whole
 * struct is zeroed, so that no garbage in its tail looks like an unknown option. */
static void init(void *object, size_t size)
{
    if (!object || size < sizeof size)
        return;
    memset(object, 0, size);
    memcpy(object, &size, sizeof size);
}

#define DEFINE_INIT(type)                               \
    void type##_init_sized(type *object, size_t size)   \
    {                                                   \
        init(object, size);                             \
    }

DEFINE_INIT(msw_context_options)
DEFINE_INIT(msw_plan_options)
DEFINE_INIT(msw_block)
DEFINE_INIT(msw_plan_info)
DEFINE_INIT(msw_projection_options)
DEFINE_INIT(msw_quadtree_options)
DEFINE_INIT(msw_unified_info)
DEFINE_INIT(msw_verify_info)
DEFINE_INIT(msw_permutation_layer)
DEFINE_INIT(msw_permutation_info)
DEFINE_INIT(msw_budget_options)
DEFINE_INIT(msw_budget_layer)
DEFINE_INIT(msw_budget_info)
DEFINE_INIT(msw_admm_options)
DEFINE_INIT(msw_layer_options)
DEFINE_INIT(msw_admm_memory)
DEFINE_INIT(msw_host)
DEFINE_INIT(msw_sensitivity_point)
DEFINE_INIT(msw_gemm_options)
DEFINE_INIT(msw_gemm_call)
DEFINE_INIT(msw_gemm_info)
DEFINE_INIT(msw_conv_options)
DEFINE_INIT(msw_conv_call)
DEFINE_INIT(msw_batch_norm)
DEFINE_INIT(msw_io)
DEFINE_INIT(msw_store_options)
DEFINE_INIT(msw_store_info)
DEFINE_INIT(msw_entry)
DEFINE_INIT(msw_reader_options)
