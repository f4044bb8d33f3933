#include "gateway/config_tree.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "gateway/config_values.hpp"

namespace gateway {

namespace {

constexpr const char* kYaml = "yaml"; // the key of a problem outside of every key

using Masked = std::map<Position, std::string>; // where an unquoted IPv6 address stood, and how it was written

Position position_of(const YAML::Mark& mark)
{
    if (mark.is_null() || mark.line < 0 || mark.column < 0) {
        return {};
    }
    return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}

// Builds the tree from the parser's events: they still hold what YAML::Node forgets (repeated keys, tags, anchors).
class TreeBuilder final : public YAML::EventHandler {
public:
    explicit TreeBuilder(const Masked& masked) : masked_(masked) {}

    void OnDocumentStart(const YAML::Mark& mark) override
    {
        if (++documents_ == 2) {
            problem(mark, "a second document begins (expected one document a file)");
            throw YAML::ParserException(mark, "");
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override
    {
        YamlNode node;
        node.at = position_of(mark);
        add(std::move(node), anchor, "?");
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override
    {
        problem(mark, "an alias is not taken (expected the value itself)");
        YamlNode node;
        node.kind = YamlNode::Kind::refused;
        node.at = position_of(mark);
        add(std::move(node), 0, "?");
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override
    {
        YamlNode node;
        node.kind = YamlNode::Kind::scalar;
        node.at = position_of(mark);
        node.text = value;
        node.quoted = tag == "!";
        if (const auto masked = masked_.find(node.at); masked != masked_.end() && !node.quoted) {
            node.unquoted_ipv6 = true;
            node.text = masked->second;
        }
        add(std::move(node), anchor, tag);
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override
    {
        open(mark, tag, anchor, YamlNode::Kind::list);
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override
    {
        open(mark, tag, anchor, YamlNode::Kind::map);
    }
    void OnMapEnd() override { close(); }

    void problem(const YAML::Mark& mark, std::string message) { problem_at(position_of(mark), std::move(message)); }
    [[nodiscard]] bool found_unquoted() const noexcept { return found_unquoted_; }
    [[nodiscard]] YamlTree take() { return std::move(tree_); }

private:
    struct Level {
        YamlNode node;
        std::optional<YamlNode> key; // of a map whose value is still to come
    };

    void problem_at(Position at, std::string message) { tree_.problems.push_back({at, path(), std::move(message)}); }

    // The key whose value comes next.
    [[nodiscard]] std::string path() const
    {
        std::string text;
        for (const auto& level : levels_) {
            if (level.node.kind == YamlNode::Kind::list) {
                text += fmt::format("[{}]", level.node.children.size());
            } else if (level.key) {
                text += (text.empty() ? "" : ".") + shown_key(level.key->text);
            }
        }
        return text.empty() ? std::string{kYaml} : text;
    }

    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind)
    {
        if (levels_.size() == kMaxDepth) {
            problem(mark, fmt::format("is nested too deep (expected at most {} levels)", kMaxDepth));
            throw YAML::ParserException(mark, "");
        }
        YamlNode node;
        node.kind = kind;
        node.at = position_of(mark);
        refuse_extras(node, anchor, tag);
        levels_.push_back({std::move(node), std::nullopt});
    }

    void close()
    {
        YamlNode done = std::move(levels_.back().node);
        levels_.pop_back();
        attach(std::move(done));
    }

    void add(YamlNode node, YAML::anchor_t anchor, const std::string& tag)
    {
        refuse_extras(node, anchor, tag);
        attach(std::move(node));
    }

    void refuse_extras(YamlNode& node, YAML::anchor_t anchor, const std::string& tag)
    {
        if (anchor != 0) {
            problem_at(node.at, "an anchor is not taken (expected a plain value)");
            node.kind = YamlNode::Kind::refused;
        }
        // "?" and "!" are what the parser itself gives to plain and to quoted values.
        const bool own = tag.empty() || tag == "?" || (tag == "!" && node.kind == YamlNode::Kind::scalar);
        if (!own) {
            problem_at(node.at, "the tag " + shown(tag) + " is not taken (expected a plain value)");
            node.kind = YamlNode::Kind::refused;
        }
    }

    void attach(YamlNode node)
    {
        found_unquoted_ = found_unquoted_ || node.unquoted_ipv6;
        if (levels_.empty()) {
            tree_.root = std::move(node);
            return;
        }
        auto& [parent, key] = levels_.back();
        if (parent.kind == YamlNode::Kind::list) {
            parent.children.push_back(std::move(node));
        } else if (!key) {
            if (node.kind != YamlNode::Kind::scalar) {
                problem_at(node.at, "a key is not a word (expected KEY: VALUE)");
            }
            key = std::move(node);
        } else {
            node.name = std::move(key->text);
            node.name_at = key->at;
            const bool usable = key->kind == YamlNode::Kind::scalar;
            key.reset();
            if (usable) {
                parent.children.push_back(std::move(node));
            }
        }
    }

    const Masked& masked_;
    YamlTree tree_;
    std::vector<Level> levels_;
    std::size_t documents_ = 0;
    bool found_unquoted_ = false;
};

struct Attempt {
    YamlTree tree;
    bool found_unquoted = false;
};

Attempt build(const std::string& text, const Masked& masked)
{
    TreeBuilder builder{masked};
    bool failed = false;
    try {
        std::istringstream stream{text};
        YAML::Parser parser{stream};
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        failed = true;
        if (!error.msg.empty()) { // our own are recorded already
            builder.problem(error.mark, fmt::format("is not YAML: {} (expected YAML 1.2)", error.msg));
        }
    }
    Attempt attempt{builder.take(), builder.found_unquoted()};
    if (failed) {
        attempt.tree.root.reset();
    }
    return attempt;
}

// The length of an address such as [fe80::1]:123 at the beginning of `text`; 0 when there is none.
std::size_t bracketed_ipv6(std::string_view text)
{
    const auto close = text.find(']');
    if (!text.starts_with('[') || close == std::string_view::npos) {
        return 0;
    }
    const auto inside = text.substr(1, close - 1);
    const auto address = inside.substr(0, inside.find('%')); // a zone's name may follow
    const bool shape = address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
                       std::count(address.begin(), address.end(), ':') >= 2;
    const auto rest = text.substr(close + 1);
    const auto digits = rest.starts_with(':') ? rest.find_first_not_of("0123456789", 1) : 1;
    const auto end = std::min(digits, rest.size());
    return shape && end > 1 ? close + 1 + end : 0;
}

// Replaces the line's unquoted IPv6 addresses by words of the same length, so that the rest of the file can be read.
void mask_line(std::string& text, std::size_t begin, std::size_t line, Masked& masked)
{
    const auto end = std::min(text.find('\n', begin), text.size());
    char quote = '\0';
    for (auto at = begin; at < end; ++at) {
        const char c = text[at];
        if (quote != '\0') {
            quote = c == quote ? '\0' : quote;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '#' && (at == begin || text[at - 1] == ' ' || text[at - 1] == '\t')) {
            return;
        } else if (const auto length = bracketed_ipv6(std::string_view{text}.substr(at, end - at)); length > 0) {
            masked.emplace(Position{line, at - begin + 1}, text.substr(at, length));
            text.replace(at, length, length, 'X');
        }
    }
}

std::pair<std::string, Masked> mask_unquoted_ipv6(const std::string& text)
{
    std::pair<std::string, Masked> result{text, {}};
    std::size_t line = 1;
    for (std::size_t begin = 0; begin < text.size(); ++line) {
        mask_line(result.first, begin, line, result.second);
        const auto end = text.find('\n', begin);
        begin = end == std::string::npos ? text.size() : end + 1;
    }
    return result;
}

std::optional<SyntaxProblem> why_no_text(const std::string& text)
{
    if (text.size() > kMaxFileSize) {
        return SyntaxProblem{{}, kYaml, "is too large (expected at most 1 MiB)"};
    }
    std::size_t line = 1;
    for (std::size_t begin = 0; begin < text.size(); ++line) {
        const auto end = std::min(text.find('\n', begin), text.size());
        const auto view = std::string_view{text}.substr(begin, end - begin);
        if (!is_utf8(view)) {
            return SyntaxProblem{{line, 1}, kYaml, "this line is not UTF-8 (expected YAML in UTF-8)"};
        }
        const auto control = std::find_if(view.begin(), view.end(), [](char c) {
            const auto octet = static_cast<unsigned char>(c);
            return (octet < 0x20 && c != '\t' && c != '\r') || octet == 0x7f;
        });
        if (control != view.end()) {
            const auto column = static_cast<std::size_t>(control - view.begin()) + 1;
            return SyntaxProblem{{line, column}, kYaml, "a control character (expected YAML in UTF-8)"};
        }
        begin = end + 1;
    }
    return std::nullopt;
}

} // namespace

YamlTree parse_yaml(const std::string& text)
{
    if (auto problem = why_no_text(text)) {
        return {std::nullopt, {std::move(*problem)}};
    }
    auto attempt = build(text, {});
    if (attempt.tree.problems.empty()) {
        return std::move(attempt.tree);
    }
    // An unquoted [::1]:123 breaks the syntax where it stands; without it the rest can be checked in the same run.
    const auto [masked_text, masked] = mask_unquoted_ipv6(text);
    if (masked.empty()) {
        return std::move(attempt.tree);
    }
    auto second = build(masked_text, masked);
    if (second.tree.root) {
        return std::move(second.found_unquoted ? second.tree : attempt.tree);
    }
    // Broken elsewhere too: the first attempt stopped at such an address, or at what the second one names.
    for (const auto& [at, written] : masked) {
        auto& first = attempt.tree.problems.front();
        if (at.line == first.at.line) {
            first.at = at;
            first.message = unquoted_ipv6_message(written);
            std::move(second.tree.problems.begin(), second.tree.problems.end(),
                      std::back_inserter(attempt.tree.problems));
            break;
        }
    }
    return std::move(attempt.tree);
}

} // namespace gateway
