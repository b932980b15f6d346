/* CRC-32C (Castagnoli) over ISA-L. Source: spec/storage-format.md 6.4; "123456789" -> 0xe3069283.
 * Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Chains: crc32c(crc32c(0, a), b) is that of a then b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The form that servers before 3.09 stored, and that some RPCs still carry. */
static inline uint32_t crc32c_legacy(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}
