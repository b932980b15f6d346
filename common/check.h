/* Checks of the program's own promises. They stay on in release builds: a broken invariant stops the
 * process before it can write a wrong byte. Never for bytes from a disk, a socket or a peer: those are
 * checked and answered with an error. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Allocation of small fixed things: aborts when memory is gone. Whatever a client or a peer can size
 * uses malloc and reports KELP_E_NO_MEMORY. */
static inline void *must(void *pointer)
{
    CHECK(pointer != NULL);
    return pointer;
}
