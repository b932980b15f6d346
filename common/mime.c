/* Content types. The tables are those of the peer (and of the WHATWG sniffing standard it follows),
 * searched from the front: they are short, and this runs once per upload or read. */
#include "common/mime.h"

struct extension_row {
    const char *type;
    const char *extensions; /* blank-separated, lower case */
};

static const struct extension_row extension_rows[] = {
    {"text/html; charset=utf-8", ".htm .html .ehtml .shtml"},
    {"text/plain; charset=utf-8", ".txt .text"},
    {"text/css; charset=utf-8", ".css"},
    {"text/csv; charset=utf-8", ".csv"},
    {"text/calendar; charset=utf-8", ".ics"},
    {"text/vtt; charset=utf-8", ".vtt"},
    {"text/javascript; charset=utf-8", ".js .mjs"},
    {"text/xml; charset=utf-8", ".xml .xbl .xsl"},
    {"image/jpeg", ".jpg .jpeg .jfif .pjp .pjpeg"},
    {"image/png", ".png"},
    {"image/gif", ".gif"},
    {"image/webp", ".webp"},
    {"image/bmp", ".bmp"},
    {"image/svg+xml", ".svg"},
    {"image/tiff", ".tif .tiff"},
    {"image/avif", ".avif"},
    {"image/apng", ".apng"},
    {"image/vnd.microsoft.icon", ".ico"},
    {"image/x-xbitmap", ".xbm"},
    {"application/json", ".json"},
    {"application/pdf", ".pdf"},
    {"application/zip", ".zip"},
    {"application/gzip", ".gz"},
    {"application/wasm", ".wasm"},
    {"application/rtf", ".rtf"},
    {"application/postscript", ".ai .eps .ps"},
    {"application/rdf+xml", ".rdf"},
    {"application/xhtml+xml", ".xht .xhtml"},
    {"message/rfc822", ".eml"},
    {"application/octet-stream", ".bin .com .exe"},
    {"application/vnd.android.package-archive", ".apk"},
    {"application/msword", ".doc"},
    {"application/vnd.ms-excel", ".xls"},
    {"application/vnd.ms-powerpoint", ".ppt"},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"},
    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"},
    {"application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"},
    {"audio/mpeg", ".mp3"},
    {"audio/mp4", ".m4a"},
    {"audio/ogg", ".oga .ogg .opus"},
    {"audio/wav", ".wav"},
    {"audio/flac", ".flac"},
    {"audio/webm", ".webm"},
    {"video/mp4", ".mp4"},
    {"video/ogg", ".ogv"},
};

/* Whether a blank-separated list holds the word. */
static bool list_holds(const char *list, struct slice word)
{
    while (word.len > 0 && *list) {
        size_t n = strcspn(list, " ");
        if (n == word.len && strncasecmp(list, word.ptr, n) == 0)
            return true;
        list += n + (list[n] == ' ');
    }
    return false;
}

struct slice mime_by_extension(struct slice extension)
{
    if (extension.len > 1 && slice_find(extension, ' ') < 0)
        for (size_t i = 0; i < sizeof(extension_rows) / sizeof(extension_rows[0]); i++)
            if (list_holds(extension_rows[i].extensions, extension))
                return slice_cstr(extension_rows[i].type);
    return (struct slice){NULL, 0};
}

struct slice mime_by_name(struct slice name)
{
    for (size_t i = name.len; i > 0 && name.ptr[i - 1] != '/'; i--)
        if (name.ptr[i - 1] == '.')
            return mime_by_extension(slice_from(name, i - 1));
    return (struct slice){NULL, 0};
}

/* --- sniffing -----------------------------------------------------------------------------------
 */

#define SNIFF_BYTES 512

static bool is_blank(char c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == ' ';
}

static struct slice skip_blanks(struct slice data)
{
    while (data.len > 0 && is_blank(data.ptr[0]))
        data = slice_from(data, 1);
    return data;
}

static bool is_html(struct slice text)
{
    static const char *const tags[] = {
        "<!DOCTYPE HTML", "<HTML", "<HEAD", "<SCRIPT", "<IFRAME", "<H1", "<DIV", "<FONT", "<TABLE",
        "<A", "<STYLE", "<TITLE", "<B", "<BODY", "<BR", "<P", "<!--",
    };
    if (text.len == 0 || text.ptr[0] != '<')
        return false;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        size_t n = strlen(tags[i]);
        if (text.len > n && strncasecmp(text.ptr, tags[i], n) == 0 &&
            (text.ptr[n] == ' ' || text.ptr[n] == '>'))
            return true;
    }
    return false;
}

struct magic_row {
    const char *bytes; /* '?' in `wild` positions is any byte */
    unsigned char size, wild_start, wild_end;
    unsigned char least; /* bytes that the data must have; 0: size */
    const char *type;
};

#define MAGIC(bytes, type) {bytes, sizeof(bytes) - 1, 1, 1, 0, type}
#define BOM(bytes, type) {bytes, sizeof(bytes) - 1, 1, 1, 4, type}
#define RIFF(bytes, type) {bytes, sizeof(bytes) - 1, 4, 8, 0, type}

static const struct magic_row magic_rows[] = {
    MAGIC("%PDF-", "application/pdf"),
    MAGIC("%!PS-Adobe-", "application/postscript"),
    BOM("\xFE\xFF", "text/plain; charset=utf-16be"),
    BOM("\xFF\xFE", "text/plain; charset=utf-16le"),
    BOM("\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    MAGIC("\0\0\1\0", "image/x-icon"),
    MAGIC("\0\0\2\0", "image/x-icon"),
    MAGIC("BM", "image/bmp"),
    MAGIC("GIF87a", "image/gif"),
    MAGIC("GIF89a", "image/gif"),
    RIFF("RIFF????WEBPVP", "image/webp"),
    MAGIC("\x89PNG\r\n\x1A\n", "image/png"),
    MAGIC("\xFF\xD8\xFF", "image/jpeg"),
    RIFF("FORM????AIFF", "audio/aiff"),
    MAGIC("ID3", "audio/mpeg"),
    MAGIC("OggS\0", "application/ogg"),
    MAGIC("MThd\0\0\0\6", "audio/midi"),
    RIFF("RIFF????AVI ", "video/avi"),
    RIFF("RIFF????WAVE", "audio/wave"),
    MAGIC("\x1A\x45\xDF\xA3", "video/webm"),
};

static const struct magic_row late_magic_rows[] = {
    MAGIC("\0\1\0\0", "font/ttf"),
    MAGIC("OTTO", "font/otf"),
    MAGIC("ttcf", "font/collection"),
    MAGIC("wOFF", "font/woff"),
    MAGIC("wOF2", "font/woff2"),
    MAGIC("\x1F\x8B\x08", "application/x-gzip"),
    MAGIC("PK\3\4", "application/zip"),
    MAGIC("Rar!\x1A\x07\0", "application/x-rar-compressed"),
    MAGIC("Rar!\x1A\x07\1\0", "application/x-rar-compressed"),
    MAGIC("\0asm", "application/wasm"),
};

/* Most data begins like no row at all. */
static bool begins_like_a_row(struct slice data)
{
    static const char first_bytes[] = {
        '%', '\xFE', '\xFF', '\xEF', '\0', 'B', 'G', 'R', '\x89', 'F', 'I', 'O', 'M', '\x1A',
        't', 'w', '\x1F', 'P',
    };
    return data.len > 0 && memchr(first_bytes, data.ptr[0], sizeof(first_bytes)) != NULL;
}

static bool matches(const struct magic_row *row, struct slice data)
{
    if (data.len < row->size || data.len < row->least)
        return false;
    if (data.ptr[0] != row->bytes[0])
        return false; /* most of the time, and sooner than by a call */
    size_t rest = row->wild_end;
    return memcmp(data.ptr, row->bytes, row->wild_start) == 0 &&
           memcmp(data.ptr + rest, row->bytes + rest, row->size - rest) == 0;
}

static const char *match_rows(const struct magic_row *rows, size_t count, struct slice data)
{
    for (size_t i = 0; i < count; i++)
        if (matches(&rows[i], data))
            return rows[i].type;
    return NULL;
}

static bool is_mp4(struct slice data)
{
    if (data.len < 12)
        return false;
    uint32_t box = load_be32(data.ptr);
    if (box % 4 != 0 || data.len < box || memcmp(data.ptr + 4, "ftyp", 4) != 0)
        return false;
    for (uint32_t at = 8; at + 3 <= box; at += 4)
        if (at != 12 &&
            memcmp(data.ptr + at, "mp4", 3) == 0) /* 12: the version of the major brand */
            return true;
    return false;
}

static bool is_embedded_opentype(struct slice data)
{
    return data.len >= 36 && memcmp(data.ptr + 34, "LP", 2) == 0;
}

static bool is_binary_byte(unsigned char c)
{
    return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1A) || (c >= 0x1C && c <= 0x1F);
}

/* Eight at a time: only words with a byte below 0x20 are looked at more closely. */
static bool has_binary_byte(struct slice text)
{
    size_t i = 0;
    for (; i + 8 <= text.len; i += 8) {
        uint64_t word;
        memcpy(&word, text.ptr + i, sizeof(word));
        if (!((word - 0x2020202020202020u) & ~word & 0x8080808080808080u))
            continue;
        for (size_t j = i; j < i + 8; j++)
            if (is_binary_byte((unsigned char)text.ptr[j]))
                return true;
    }
    for (; i < text.len; i++)
        if (is_binary_byte((unsigned char)text.ptr[i]))
            return true;
    return false;
}

struct slice mime_sniff(struct slice data)
{
    data = slice_until(data, SNIFF_BYTES);
    struct slice text = skip_blanks(data);
    if (is_html(text))
        return SLICE("text/html; charset=utf-8");
    if (slice_starts(text, SLICE("<?xml")))
        return SLICE("text/xml; charset=utf-8");
    bool may_match = begins_like_a_row(data);
    const char *type = NULL;
    if (may_match)
        type = match_rows(magic_rows, sizeof(magic_rows) / sizeof(magic_rows[0]), data);
    if (!type && is_mp4(data))
        type = "video/mp4";
    if (!type && is_embedded_opentype(data))
        type = "application/vnd.ms-fontobject";
    if (!type && may_match)
        type =
            match_rows(late_magic_rows, sizeof(late_magic_rows) / sizeof(late_magic_rows[0]), data);
    if (type)
        return slice_cstr(type);
    return has_binary_byte(text) ? SLICE("application/octet-stream")
                                 : SLICE("text/plain; charset=utf-8");
}

/* --- compressing --------------------------------------------------------------------------------
 */

static bool ends_with(struct slice s, struct slice end)
{
    return s.len >= end.len && memcmp(s.ptr + s.len - end.len, end.ptr, end.len) == 0;
}

static bool is_compressible_application(struct slice type)
{
    return !ends_with(type, SLICE("zstd")) &&
           (ends_with(type, SLICE("xml")) || ends_with(type, SLICE("script")) ||
            ends_with(type, SLICE("vnd.rar")));
}

bool mime_is_compressible(struct slice type, struct slice name, struct slice data)
{
    if (type.len == 0)
        type = mime_sniff(data);
    if (slice_equals(type, SLICE("application/octet-stream")))
        type = SLICE("");
    if (slice_starts(type, SLICE("text/")))
        return true;
    /* The peer compares the whole base name where it means the extension, so these hardly ever
     * fire; kept, because what is stored has to be the same on both. All begin with a dot. */
    if (!slice_starts(name, SLICE(".")))
        name = (struct slice){0};
    if (list_holds(".svg .bmp .wav", name))
        return true;
    if (slice_starts(type, SLICE("image/")))
        return false;
    if (list_holds(".zip .rar .gz .bz2 .xz .zst .br", name))
        return false;
    if (list_holds(".pdf .txt .html .htm .css .js .json .php .java .go .rb .c .cpp .h .hpp", name))
        return true;
    if (list_holds(".png .jpg .jpeg", name))
        return false;
    if (slice_starts(type, SLICE("application/")))
        return is_compressible_application(type);
    if (slice_starts(type, SLICE("audio/")))
        return list_holds("wave wav x-wav x-pn-wav", slice_from(type, 6));
    return false;
}
