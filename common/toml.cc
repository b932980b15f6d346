/* The shim over toml++. No exception leaves it. */
#include "common/toml.h"

#include <sstream>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <utility>
#include <vector>

namespace {

std::string lower(std::string_view text)
{
    std::string result(text);
    for (char &c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

std::string text_of(const toml::node &node)
{
    if (const auto *string = node.as_string())
        return string->get();
    std::ostringstream out;
    if (const auto *array = node.as_array()) {
        const char *separator = "";
        for (const auto &element : *array) {
            out << separator << text_of(element);
            separator = ",";
        }
    } else {
        /* The least mark-up: numbers in decimal, without quotes around dates. */
        out << toml::toml_formatter{node, toml::format_flags::none};
    }
    return out.str();
}

using pairs = std::vector<std::pair<std::string, std::string>>;

void collect(const toml::table &table, const std::string &path, pairs &found)
{
    for (const auto &[key, node] : table) {
        const std::string name = path.empty() ? lower(key.str()) : path + "." + lower(key.str());
        if (const auto *inner = node.as_table())
            collect(*inner, name, found);
        else
            found.emplace_back(name, text_of(node));
    }
}

} // namespace

extern "C" int toml_parse(const char *text, size_t size, toml_visitor *visit, void *ctx,
                          struct error *err)
{
    pairs found;
    try {
        collect(toml::parse(std::string_view(text, size)), std::string(), found);
    } catch (const toml::parse_error &error) {
        const std::string reason(error.description());
        return error_set(err, KELP_E_INVALID, "line %u, column %u: %s",
                         static_cast<unsigned>(error.source().begin.line),
                         static_cast<unsigned>(error.source().begin.column), reason.c_str());
    } catch (const std::exception &error) {
        return error_set(err, KELP_E_NO_MEMORY, "%s", error.what());
    }
    /* A key for tokens that was cut there would be one that others can guess. */
    for (const auto &[key, value] : found)
        if (key.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
            return error_set(err, KELP_E_INVALID, "%s: a zero byte in a text", key.c_str());
    for (const auto &[key, value] : found)
        visit(ctx, key.c_str(), value.c_str());
    return 0;
}
