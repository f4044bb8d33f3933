// A YAML file as a tree with positions: syntax is settled here, meaning is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gateway {

/// 1-based; columns count octets. Line 0 = the whole file.
struct Position {
    std::size_t line{};
    std::size_t column{};
    bool operator==(const Position&) const = default;
    [[nodiscard]] bool operator<(const Position& other) const noexcept
    {
        return line < other.line || (line == other.line && column < other.column);
    }
};

/// One value of the file. A map's children carry the names of its keys, repeated ones included, in the file's order.
struct YamlNode {
    enum class Kind : std::uint8_t {
        empty,  // nothing, or ~
        scalar, // `text`
        list,
        map,
        refused, // an alias or a tagged value: reported already, means nothing
    };
    Kind kind = Kind::empty;
    bool quoted = false;
    bool unquoted_ipv6 = false; // `text` is an address such as [::1]:123 that YAML takes for a list
    std::string text;
    Position at;
    std::string name; // as a member of a map
    Position name_at;
    std::vector<YamlNode> children;
};

struct SyntaxProblem {
    Position at;
    std::string key; // the path of what was being read; "yaml" outside of every key
    std::string message;
};

struct YamlTree {
    std::optional<YamlNode> root; // absent when the text is no YAML at all
    std::vector<SyntaxProblem> problems;
};

/// Configurations are small; a larger file is some other file.
inline constexpr std::size_t kMaxFileSize = 1'048'576;
inline constexpr std::size_t kMaxDepth = 16;

/// One document of UTF-8. Aliases, anchors and tags are refused: they make a small file large, and a reader guess.
/// Never throws.
[[nodiscard]] YamlTree parse_yaml(const std::string& text);

} // namespace gateway
