/* ISA-L's routine keeps the register inverted at both ends. Pure; any thread. */
#include "common/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size > 0) { /* its length is an int */
        size_t n = size < (1u << 30) ? size : (1u << 30);
        crc = ~crc32_iscsi((unsigned char *)(uintptr_t)p, (int)n, ~crc);
        p += n;
        size -= n;
    }
    return crc;
}
