/* Escaping for HTML. See the header. */
#include "common/html.h"

void html_append_escaped(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&':
            buffer_append_text(out, "&amp;");
            break;
        case '<':
            buffer_append_text(out, "&lt;");
            break;
        case '>':
            buffer_append_text(out, "&gt;");
            break;
        case '"':
            buffer_append_text(out, "&#34;");
            break;
        case '\'':
            buffer_append_text(out, "&#39;");
            break;
        default:
            buffer_append_char(out, text.ptr[i]);
        }
    }
}
