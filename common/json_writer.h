/* Writes JSON into a buffer, byte for byte as Go's encoding/json does: "<", ">" and "&" are
 * escaped, bytes that are not UTF-8 become \ufffd, floats are the shortest that read back, and the
 * pretty form is two blanks deep. For replies; reading JSON is json-c's business. Pure; one thread
 * at a time.
 *
 *     struct json_writer w;
 *     json_writer_init(&w, &out, false);
 *     json_writer_begin_object(&w);
 *     json_writer_member_string(&w, "error", message);
 *     json_writer_end_object(&w);                         // {"error":"..."}
 */
#pragma once

#include "common/buffer.h"

#define JSON_WRITER_DEPTH_MAX 64

struct json_writer {
    struct buffer *out; /* borrowed */
    bool is_pretty;
    bool is_after_key;
    unsigned depth;
    uint64_t has_members; /* bit per depth: something stands before, so a comma is due */
};

void json_writer_init(struct json_writer *w, struct buffer *out, bool is_pretty);

void json_writer_begin_object(struct json_writer *w);
void json_writer_end_object(struct json_writer *w);
void json_writer_begin_array(struct json_writer *w);
void json_writer_end_array(struct json_writer *w);
void json_writer_key(struct json_writer *w, const char *key);
void json_writer_key_slice(struct json_writer *w, struct slice key);

void json_writer_string(struct json_writer *w, struct slice text);
void json_writer_text(struct json_writer *w, const char *text);
void json_writer_int(struct json_writer *w, int64_t value);
void json_writer_uint(struct json_writer *w, uint64_t value);
void json_writer_double(struct json_writer *w, double value); /* null when not finite */
void json_writer_float(struct json_writer *w, float value);
void json_writer_bool(struct json_writer *w, bool value);
void json_writer_null(struct json_writer *w);
/* JSON that is written already. */
void json_writer_raw(struct json_writer *w, struct slice json);

/* Key and value in one. */
void json_writer_member_string(struct json_writer *w, const char *key, struct slice text);
void json_writer_member_text(struct json_writer *w, const char *key, const char *text);
void json_writer_member_int(struct json_writer *w, const char *key, int64_t value);
void json_writer_member_uint(struct json_writer *w, const char *key, uint64_t value);
void json_writer_member_double(struct json_writer *w, const char *key, double value);
void json_writer_member_float(struct json_writer *w, const char *key, float value);
void json_writer_member_bool(struct json_writer *w, const char *key, bool value);

/* The quoted and escaped form of one string, without a writer. */
void json_append_string(struct buffer *out, struct slice text);
