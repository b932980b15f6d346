/* What a volume server reports of one volume, and the digest of a set of such reports.
 *
 * Both sides of a heartbeat compute the digest: the XOR of one hash per volume, so that adding and
 * removing a volume cost one hash each. Equal digests mean that the master's picture of a server is the
 * server's own. The hash covers 57 bytes, little endian, and then four folded-in hashes:
 *
 *   0  4 id                     36 4 replica placement (byte form)
 *   4  8 size                   40 4 version, low byte
 *   12 8 file count             44 4 ttl: count << 8 | unit, 0 when the count is 0
 *   20 8 delete count           48 4 compact revision
 *   28 8 deleted byte count     52 4 disk id
 *                               56 1 1 if read-only, plus 2 if deletes are still allowed
 *   then modified_at_second (8 bytes), collection, disk type, remote storage name
 *
 * Counts are clamped to 2^32-1. Source: spec/heartbeat.md 8, spec/master-rpc.md 5. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Bits of volume_record.read_only_reasons whose cause goes away by itself, or by a vacuum. */
#define VOLUME_RECORD_REASON_LOW_SPACE (1u << 2)
#define VOLUME_RECORD_REASON_FULL      (1u << 7)

/* Fields as in VolumeInformationMessage; the remote storage key is not kept by masters. Strings belong to
 * whoever filled the record; NULL reads as "". */
struct volume_record {
    const char *collection;
    const char *disk_type; /* "" for hdd */
    const char *remote_storage_name;
    uint64_t size;
    uint64_t file_count;
    uint64_t delete_count;
    uint64_t deleted_byte_count;
    int64_t modified_at_second;
    uint32_t id;
    uint32_t ttl; /* count << 8 | unit */
    uint32_t compact_revision;
    uint32_t disk_id;
    uint32_t replica_placement; /* byte form */
    uint32_t version;
    uint32_t read_only_reasons; /* why read_only is set, storage's bits; 0: the server did not say.
                                 * Not part of the digest. */
    bool read_only;
    bool read_only_can_delete;
};

/* The hash of one report. The digest of a set is the XOR of them; of an empty set 0. */
uint64_t volume_digest_of(const struct volume_record *record);
