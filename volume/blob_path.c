/* Slashes decide the shape. Two parsers live here because the peer has two, and clients have
 * come to depend on what each of them lets through. Where the peer breaks off the connection (a
 * dot before the comma) the vid is one that does not parse, so that the client gets a 400. Pure;
 * any thread. */
#include "volume/blob_path.h"

static size_t count_slashes(struct slice path)
{
    size_t count = 0;
    for (size_t i = 0; i < path.len; i++)
        count += path.ptr[i] == '/';
    return count;
}

/* "01637037d6.jpg" -> fid and ".jpg". */
static void split_extension(struct slice text, struct blob_path *ret)
{
    ptrdiff_t dot = slice_find_last(text, '.');
    ret->fid = text;
    if (dot > 0) {
        ret->fid = slice_until(text, (size_t)dot);
        ret->ext = slice_from(text, (size_t)dot);
    }
}

static void parse_comma_form(struct slice segment, struct blob_path *ret)
{
    ptrdiff_t comma = slice_find_last(segment, ',');
    if (comma < 0) {
        ret->vid = segment;
        return;
    }
    ret->vid = slice_until(segment, (size_t)comma);
    struct slice rest = slice_from(segment, (size_t)comma + 1);
    ptrdiff_t dot = slice_find_last(rest, '.');
    ret->fid = dot >= 0 ? slice_until(rest, (size_t)dot) : rest;
    if (dot >= 0)
        ret->ext = slice_from(rest, (size_t)dot);
}

void blob_path_parse(struct slice path, struct blob_path *ret)
{
    *ret = (struct blob_path){0};
    struct slice rest = slice_from(path, 1); /* every path starts with a slash */
    size_t slashes = count_slashes(path);
    if (slashes == 2 || slashes == 3) {
        size_t first = (size_t)slice_find(rest, '/');
        ret->vid = slice_until(rest, first);
        rest = slice_from(rest, first + 1);
        if (slashes == 2) {
            split_extension(rest, ret);
            return;
        }
        size_t second = (size_t)slice_find(rest, '/');
        ret->fid = slice_until(rest, second);
        ret->filename = slice_from(rest, second + 1);
        ret->ext = blob_path_extension(ret->filename);
        return;
    }
    if (slashes > 3) {
        ret->vid = blob_path_last_segment(path);
        return;
    }
    parse_comma_form(rest, ret);
}

struct slice blob_path_write_id(struct slice path)
{
    ptrdiff_t comma = slice_find_last(path, ',');
    struct slice id = comma < 0 ? path : slice_from(path, (size_t)comma + 1);
    for (size_t i = id.len; i > 0; i--)
        if (id.ptr[i - 1] == '.')
            return slice_until(id, i - 1);
    return id;
}

struct slice blob_path_last_segment(struct slice path)
{
    return slice_from(path, (size_t)(slice_find_last(path, '/') + 1));
}

struct slice blob_path_extension(struct slice name)
{
    struct slice segment = blob_path_last_segment(name);
    ptrdiff_t dot = slice_find_last(segment, '.');
    return dot < 0 ? (struct slice){0} : slice_from(segment, (size_t)dot);
}
