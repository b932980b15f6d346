/* A needle: one stored blob, and its record in the .dat file. Source: spec/storage-format.md 6, 7.
 *
 *   record = header(16) | body(size) | checksum(4) | [append-at-ns(8), version 3] | padding(1..8)
 *
 *   offset    len   field
 *   0         4     cookie
 *   4         8     key
 *   12        4     size: length of the body only, signed
 *   16        size  body (versions 2, 3: data size u32, data, flags, optional parts; version 1: data)
 *   16+size   4     CRC-32C of the data
 *   20+size   8     append-at-ns (version 3)
 *
 * All big-endian. Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/ttl.h"

#include <sys/uio.h>

#define NEEDLE_HEADER_SIZE 16u
#define NEEDLE_ALIGNMENT   8u
#define NEEDLE_VERSION     3
#define NEEDLE_TOMBSTONE   (-1) /* size of a deleted entry in the index */

enum needle_flag {
    NEEDLE_IS_GZIP = 0x01,
    NEEDLE_HAS_NAME = 0x02,
    NEEDLE_HAS_MIME = 0x04,
    NEEDLE_HAS_LAST_MODIFIED = 0x08,
    NEEDLE_HAS_TTL = 0x10,
    NEEDLE_HAS_PAIRS = 0x20,
    NEEDLE_IS_CHUNK_MANIFEST = 0x80,
};

/* Parsed or about to be written. The slices belong to whoever made it. */
struct needle {
    uint64_t key;
    uint32_t cookie;
    uint8_t flags;
    struct slice data, name, mime, pairs;
    uint64_t last_modified; /* unix seconds, 5 bytes on disk */
    struct ttl ttl;
    uint32_t checksum; /* raw CRC-32C of the data */
    uint64_t append_at_ns;
};

/* One entry of an index: a row of an .idx, an element of a needle index. `offset` is a byte position in the
 * .dat, a multiple of 8; `size` the body's length, negative when deleted. */
struct needle_entry {
    uint64_t key;
    uint64_t offset;
    int32_t size;
};

/* An empty needle and a tombstone are the same record, and the peer tells them apart by the index row alone.
 * Ours ends the record of an empty needle with this in its padding (4 bytes, which readers ignore), so that
 * a lost row can be made again. Version 3 only: there the peer's padding is zeros. */
#define NEEDLE_EMPTY_MARK 0x656d7074u

/* What follows the body and precedes the padding. */
static inline size_t needle_trailer_size(uint8_t version) { return version == 3 ? 12u : 4u; }

/* The whole record's length for a body of that size, padding included (1..8, never 0). A negative size
 * counts as 0. Here, because a walk over an index asks it several times for each of millions. */
static inline uint64_t needle_record_size(uint8_t version, int32_t body_size)
{
    uint64_t base = NEEDLE_HEADER_SIZE + (body_size > 0 ? (uint64_t)body_size : 0) +
                    needle_trailer_size(version);
    return base + NEEDLE_ALIGNMENT - base % NEEDLE_ALIGNMENT;
}

/* The body length that this needle encodes to; 0 for empty data. KELP_E_TOO_LARGE at 2^31. */
int needle_body_size(const struct needle *needle, uint8_t version, int32_t *ret_size,
                     struct error *err);

/* Encodes around the data, which is not copied: head = header and data size, tail = everything after
 * the data, padding included. The record is head | data | tail. */
#define NEEDLE_HEAD_MAX 20u
#define NEEDLE_TAIL_MAX (1u + 1 + 255 + 1 + 255 + 5 + 2 + 2 + 65535 + 4 + 8 + 8)
struct needle_record {
    size_t head_size, data_size, tail_size; /* data_size 0 for empty data */
    int32_t body_size;
};
/* `tail` has room for needle_tail_size(needle, version). */
size_t needle_tail_size(const struct needle *needle, uint8_t version);
int needle_encode(const struct needle *needle, uint8_t version, uint8_t head[NEEDLE_HEAD_MAX],
                  uint8_t *tail, struct needle_record *ret, struct error *err);

struct needle_header {
    uint32_t cookie;
    uint64_t key;
    int32_t size;
};
void needle_header_load(const uint8_t bytes[NEEDLE_HEADER_SIZE], struct needle_header *ret);
void needle_header_store(uint8_t bytes[NEEDLE_HEADER_SIZE], const struct needle_header *header);

/* Parses a whole record of needle_record_size(version, expected_size) bytes and checks its CRC (raw or
 * legacy form; afterwards `checksum` is the raw one). The slices point into `record`. KELP_E_CORRUPT
 * says what is wrong: size mismatch, a part longer than the body, CRC. */
int needle_parse(const uint8_t *record, size_t record_size, uint8_t version, int32_t expected_size,
                 struct needle *ret, struct error *err);

/* Everything but the data, for needles that are streamed: from the head (20 bytes) and what follows the
 * data. Sets data.len only; the CRC is the stored one, for the caller to compare when he has seen all. */
int needle_parse_around(const uint8_t *head, const uint8_t *tail, size_t tail_size, uint8_t version,
                        int32_t expected_size, struct needle *ret, struct error *err);

/* Whether `stored` (as on disk) stands for this CRC, in its raw or its legacy form. */
bool needle_checksum_matches(uint32_t stored, uint32_t crc);

/* A read of it at now_ns finds nothing any more (spec 4, "needle read"). */
bool needle_is_expired(const struct needle *needle, int64_t now_ns);
