/* File ids: "3,01637037d6" = volume 3, key 1, cookie 0x637037d6. Source: spec/storage-format.md 5.
 * Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

struct file_id {
    uint32_t volume_id;
    uint64_t key;
    uint32_t cookie;
};

/* Longest text with its terminator: 10 digits, comma, 24 hex digits. */
#define FILE_ID_TEXT_SIZE 36

/* The decimal id before the comma. Accepts 0..2^32-1, digits only. */
int volume_id_parse(struct slice text, uint32_t *ret_id, struct error *err);

/* The part after the comma, "01637037d6", with an optional "_N" that is added to the key. The messages
 * are the wire's (spec/volume-http.md 4). */
int needle_id_parse(struct slice text, uint64_t *ret_key, uint32_t *ret_cookie, struct error *err);

/* The whole form; a comma is needed. */
int file_id_parse(struct slice text, struct file_id *ret, struct error *err);

/* Terminated; returns the length without the terminator. */
size_t file_id_format(const struct file_id *id, char text[FILE_ID_TEXT_SIZE]);
