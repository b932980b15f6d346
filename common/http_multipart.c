/* multipart/form-data bodies.
 *
 * A body is `--boundary CRLF header CRLF CRLF data CRLF--boundary ... CRLF--boundary--`. Line ends
 * may be bare LF throughout when the first one is, as Go's reader allows. Data is not copied; parts
 * that nobody wants are only walked over, with memmem. */
#include "common/http_multipart.h"

#include "common/content_disposition.h"
#include "common/hex.h"
#include "common/media_type.h"

#define HEADER_LIMIT (10u << 20) /* of a part, as Go's reader has it */

struct reader {
    struct arena *arena;
    struct slice rest;        /* from the current part's header on */
    struct slice dash;        /* "--boundary" */
    struct slice newline;     /* "\r\n" or "\n" */
    struct slice delimiter;   /* newline and dash */
};

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len > 0 && (is_blank(s.ptr[s.len - 1]) || s.ptr[s.len - 1] == '\r'))
        s.len--;
    return s;
}

static struct slice skip_blanks(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    return s;
}

static int torn(struct error *err)
{
    return error_set(err, KELP_E_INVALID, "unexpected EOF");
}

static int no_more_parts(struct error *err)
{
    return error_set(err, KELP_E_INVALID, "multipart: NextPart: EOF");
}

/* Takes one line, without its end, off *rest; false when no line end follows. */
static bool take_line(struct slice *rest, struct slice *ret)
{
    ptrdiff_t end = slice_find(*rest, '\n');
    if (end < 0)
        return false;
    *ret = slice_until(*rest, (size_t)end);
    if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r')
        ret->len--;
    *rest = slice_from(*rest, (size_t)end + 1);
    return true;
}

enum found { FOUND_PART, FOUND_END, FOUND_NOTHING, FOUND_BAD };

/* After "--boundary": the line end before a part, or the "--" of the end. */
static enum found after_boundary(struct reader *r, bool is_first)
{
    if (slice_starts(r->rest, SLICE("--"))) {
        struct slice tail = skip_blanks(slice_from(r->rest, 2));
        if (tail.len == 0 || tail.ptr[0] == '\n' || slice_starts(tail, SLICE("\r\n")))
            return FOUND_END;
    }
    struct slice tail = skip_blanks(r->rest);
    if (is_first && tail.len > 0 && tail.ptr[0] == '\n')
        r->newline = SLICE("\n");
    if (!slice_starts(tail, r->newline))
        return tail.len == 0 ? FOUND_NOTHING : FOUND_BAD;
    r->rest = slice_from(tail, r->newline.len);
    return FOUND_PART;
}

/* Skips the preamble up to the first boundary. */
static enum found find_first(struct reader *r)
{
    for (;;) {
        if (slice_starts(r->rest, r->dash)) {
            struct slice line = r->rest;
            r->rest = slice_from(r->rest, r->dash.len);
            enum found found = after_boundary(r, true);
            if (found != FOUND_BAD)
                return found;
            r->rest = line; /* a line of the preamble that only begins like it */
        }
        struct slice line;
        if (!take_line(&r->rest, &line))
            return FOUND_NOTHING;
    }
}

/* The data of the part that begins at rest; moves rest behind the boundary that ends it. */
static bool take_data(struct reader *r, struct slice *ret)
{
    struct slice body = r->rest, from = r->rest;
    /* An empty part: the boundary follows the header at once. */
    if (slice_starts(body, r->dash)) {
        *ret = slice_until(body, 0);
        r->rest = slice_from(body, r->dash.len);
        return true;
    }
    for (;;) {
        const char *mark = memmem(from.ptr, from.len, r->delimiter.ptr, r->delimiter.len);
        if (!mark)
            return false;
        struct slice after = slice_from(from, (size_t)(mark - from.ptr) + r->delimiter.len);
        /* Only a boundary when a blank, a line end or "--" follows; else it is data. */
        if (after.len == 0 || is_blank(after.ptr[0]) || after.ptr[0] == '\r' ||
            after.ptr[0] == '\n' || slice_starts(after, SLICE("--"))) {
            *ret = slice_until(body, (size_t)(mark - body.ptr));
            r->rest = after;
            return true;
        }
        from = after;
    }
}

static bool name_is(struct slice name, const char *wanted)
{
    return slice_equals_nocase(name, slice_cstr(wanted));
}

struct part_header {
    struct slice disposition, content_type, content_md5, content_encoding, transfer_encoding;
};

/* The first of each counts. */
static void keep_field(struct part_header *header, struct slice name, struct slice value)
{
    struct slice *slot = name_is(name, "Content-Disposition")         ? &header->disposition
                         : name_is(name, "Content-Type")              ? &header->content_type
                         : name_is(name, "Content-MD5")               ? &header->content_md5
                         : name_is(name, "Content-Encoding")          ? &header->content_encoding
                         : name_is(name, "Content-Transfer-Encoding") ? &header->transfer_encoding
                                                                      : NULL;
    if (slot && !slot->ptr)
        *slot = value;
}

static bool is_folded(struct slice rest) { return rest.len > 0 && is_blank(rest.ptr[0]); }

/* Takes the lines that go on with a field and appends each to its value after one blank. */
static struct slice take_folded(struct reader *r, struct slice value)
{
    struct slice ahead = r->rest, line;
    size_t size = value.len;
    while (is_folded(ahead) && take_line(&ahead, &line))
        size += 1 + line.len;
    char *text = arena_alloc(r->arena, size + 1);
    size_t n = value.len;
    if (n > 0)
        memcpy(text, value.ptr, n);
    while (is_folded(r->rest) && take_line(&r->rest, &line)) {
        line = trim(line);
        text[n++] = ' ';
        if (line.len > 0)
            memcpy(text + n, line.ptr, line.len);
        n += line.len;
    }
    text[n] = '\0';
    return slice_of(text, n);
}

/* As much of a header as the peer takes; it is not copied, but for folded values. */
static int take_header(struct reader *r, struct part_header *ret, struct error *err)
{
    *ret = (struct part_header){0};
    struct slice line, start = r->rest;
    while (take_line(&r->rest, &line)) {
        if (line.len == 0)
            return 0;
        ptrdiff_t colon = slice_find(line, ':');
        if (colon <= 0)
            return error_set(err, KELP_E_INVALID, "malformed MIME header: missing colon: \"%.*s\"",
                             (int)(line.len < 100 ? line.len : 100), line.ptr);
        struct slice value = trim(slice_from(line, (size_t)colon + 1));
        if (is_folded(r->rest))
            value = trim(take_folded(r, value));
        keep_field(ret, trim(slice_until(line, (size_t)colon)), value);
        if (start.len - r->rest.len > HEADER_LIMIT)
            return error_set(err, KELP_E_INVALID, "multipart: message too large");
    }
    return error_set(err, KELP_E_INVALID, "EOF");
}

static struct slice filename_of(struct arena *arena, struct slice disposition)
{
    struct media_type type;
    if (disposition.len == 0 || media_type_parse(arena, disposition, &type, NULL) < 0)
        return (struct slice){"", 0};
    struct slice name = media_type_param(&type, "filename");
    return name.len ? content_disposition_base_name(name) : (struct slice){"", 0};
}

/* RFC 2045 6.7. An '=' that is no escape stays, as in the peer. */
static struct slice decode_quoted_printable(struct arena *arena, struct slice data)
{
    char *out = arena_alloc(arena, data.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < data.len; i++) {
        char c = data.ptr[i];
        struct slice after = slice_from(data, i + 1);
        if (c != '=') {
            out[n++] = c;
        } else if (slice_starts(after, SLICE("\r\n")) || slice_starts(after, SLICE("\n"))) {
            i += after.ptr[0] == '\r' ? 2 : 1; /* a line that goes on */
        } else if (after.len >= 2 && hex_digit(after.ptr[0]) >= 0 && hex_digit(after.ptr[1]) >= 0) {
            out[n++] = (char)(hex_digit(after.ptr[0]) << 4 | hex_digit(after.ptr[1]));
            i += 2;
        } else {
            out[n++] = c;
        }
    }
    out[n] = '\0';
    return slice_of(out, n);
}

/* The part whose header was taken, up to and with the boundary that ends it. */
static int take_part(struct reader *r, const struct part_header *taken,
                     struct http_multipart_part *ret, struct error *err)
{
    struct part_header header = *taken;
    struct http_multipart_part part = {.content_type = header.content_type,
                                       .content_md5 = header.content_md5,
                                       .content_encoding = header.content_encoding};
    if (!take_data(r, &part.data))
        return torn(err);
    part.filename = filename_of(r->arena, header.disposition);
    part.is_gzip = slice_equals(header.content_encoding, SLICE("gzip"));
    if (slice_equals_nocase(header.transfer_encoding, SLICE("quoted-printable")))
        part.data = decode_quoted_printable(r->arena, part.data);
    *ret = part;
    return 0;
}

static int init_reader(struct reader *r, struct arena *arena, struct slice content_type,
                       struct slice body, struct error *err)
{
    struct media_type type;
    if (content_type.len == 0 || media_type_parse(arena, content_type, &type, NULL) < 0 ||
        (!slice_equals(type.type, SLICE("multipart/form-data")) &&
         !slice_equals(type.type, SLICE("multipart/mixed"))))
        return error_set(err, KELP_E_INVALID, "request Content-Type isn't multipart/form-data");
    struct slice boundary = media_type_param(&type, "boundary");
    if (boundary.len == 0)
        return error_set(err, KELP_E_INVALID, "no multipart boundary param in Content-Type");
    const char *text = arena_printf(arena, "\r\n--%.*s", (int)boundary.len, boundary.ptr);
    *r = (struct reader){.arena = arena,
                         .rest = body,
                         .newline = SLICE("\r\n"),
                         .delimiter = slice_cstr(text),
                         .dash = slice_cstr(text + 2)};
    return 0;
}

int http_multipart_parse(struct arena *arena, struct slice content_type, struct slice body,
                         struct http_multipart_part *ret, struct error *err)
{
    struct reader r;
    int code = init_reader(&r, arena, content_type, body, err);
    if (code < 0)
        return code;
    enum found found = find_first(&r);
    if (found != FOUND_PART)
        return found == FOUND_END ? error_set(err, KELP_E_INVALID, "EOF") : no_more_parts(err);
    if (r.newline.len == 1)
        r.delimiter = slice_from(r.delimiter, 1);
    struct part_header header;
    struct http_multipart_part part, later;
    code = take_header(&r, &header, err);
    if (code == 0)
        code = take_part(&r, &header, &part, err);
    if (code < 0)
        return code;
    /* The peer looks through the rest for a part with a file name. What is wrong there ends the
     * search, but when it has found one, its data has to be whole. */
    while (part.filename.len == 0 && after_boundary(&r, false) == FOUND_PART &&
           take_header(&r, &header, NULL) == 0) {
        code = take_part(&r, &header, &later, err);
        if (code < 0 && filename_of(arena, header.disposition).len > 0)
            return code;
        if (code < 0)
            break;
        if (later.filename.len > 0)
            part = later;
    }
    *ret = part;
    return 0;
}

static void append_field(struct buffer *out, const char *name, struct slice value)
{
    if (value.len > 0) {
        buffer_append_text(out, name);
        buffer_append_slice(out, value);
        buffer_append_text(out, "\r\n");
    }
}

void http_multipart_begin(struct buffer *out, const char *boundary,
                          const struct http_multipart_part *part)
{
    buffer_printf(out, "--%s\r\nContent-Disposition: form-data", boundary);
    if (part->filename.len > 0)
        media_type_append_param(out, "filename", part->filename);
    buffer_append_text(out, "; name=file\r\n");
    append_field(out, "Content-Type: ", part->content_type);
    append_field(out, "Content-Encoding: ", part->content_encoding);
    append_field(out, "Content-MD5: ", part->content_md5);
    buffer_append_text(out, "\r\n");
}

void http_multipart_end(struct buffer *out, const char *boundary)
{
    buffer_printf(out, "\r\n--%s--\r\n", boundary);
}
