#include "gateway/config_reader.hpp"

#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "gateway/config_absent.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxList = 256;

std::string_view kind_text(YamlNode::Kind kind) noexcept
{
    switch (kind) {
    case YamlNode::Kind::empty:
        return "empty";
    case YamlNode::Kind::scalar:
        return "a single value";
    case YamlNode::Kind::list:
        return "a list";
    case YamlNode::Kind::map:
        return "a map of keys";
    case YamlNode::Kind::refused:
        return "refused";
    }
    return "refused";
}

// The scalar behind `value`, or a report that it is none.
const YamlNode* scalar(const Value& value, Report& report, std::string_view expected)
{
    if (!value || value.node->kind == YamlNode::Kind::refused) {
        return nullptr;
    }
    if (value.node->unquoted_ipv6) {
        report.error(value.place(), unquoted_ipv6_message(value.node->text));
        return nullptr;
    }
    if (value.node->kind != YamlNode::Kind::scalar) {
        report.error(value.place(), fmt::format("is {} (expected {})", kind_text(value.node->kind), expected));
        return nullptr;
    }
    return value.node;
}

void sort_by_position(std::vector<Problem>& problems, const std::string& own_file)
{
    const auto rank = [&](const Problem& problem) {
        return std::tuple{problem.file != own_file, problem.line, problem.column};
    };
    std::stable_sort(problems.begin(), problems.end(),
                     [&](const Problem& left, const Problem& right) { return rank(left) < rank(right); });
}

} // namespace

std::string Problem::text() const
{
    const auto subject = key.empty() ? message : key + ": " + message;
    // What was given as arguments has no lines that its author could look up.
    if (line == 0 || file == kCommandLine) {
        return fmt::format("{}: {}", file, subject);
    }
    return fmt::format("{}:{}:{}: {}", file, line, column, subject);
}

void Report::error(const Place& place, std::string message)
{
    if (errors_.size() < kMaxProblems) {
        errors_.push_back({file_, place.at.line, place.at.column, place.key, std::move(message)});
    } else if (errors_.size() == kMaxProblems) {
        errors_.push_back({file_, place.at.line, place.at.column, "", "more errors follow and are left out"});
    }
}

void Report::warning(const Place& place, std::string message)
{
    if (warnings_.size() < kMaxProblems) {
        warnings_.push_back({file_, place.at.line, place.at.column, place.key, std::move(message)});
    }
}

void Report::add(Problem error)
{
    if (errors_.size() < kMaxProblems) {
        errors_.push_back(std::move(error));
    }
}

std::string Report::where(const Place& place) const
{
    if (place.at.line == 0 || file_ == kCommandLine) {
        return file_;
    }
    return fmt::format("{}:{}:{}", file_, place.at.line, place.at.column);
}

std::vector<Problem> Report::take_errors()
{
    sort_by_position(errors_, file_);
    return std::exchange(errors_, {});
}

std::vector<Problem> Report::take_warnings()
{
    sort_by_position(warnings_, file_);
    return std::exchange(warnings_, {});
}

Place Value::place() const
{
    if (node == nullptr) {
        return {{}, key};
    }
    // An empty value has no place of its own: the parser names the next line's.
    const bool at_key = node->kind == YamlNode::Kind::empty && node->name_at.line != 0;
    return {at_key ? node->name_at : node->at, key};
}

std::optional<std::string> read_text(const Value& value, Report& report, std::string_view expected)
{
    const auto* node = scalar(value, report, expected);
    if (node == nullptr) {
        return std::nullopt;
    }
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::any_of(node->text.begin(), node->text.end(), is_control)) {
        // Not shown: the likeliest such text is a private key where its path belongs.
        report.error(value.place(), fmt::format("has a line break or control character (expected {})", expected));
        return std::nullopt;
    }
    if (node->text.empty()) {
        report.error(value.place(), fmt::format("is empty (expected {})", expected));
        return std::nullopt;
    }
    return node->text;
}

std::optional<bool> read_flag(const Value& value, Report& report)
{
    const auto* node = scalar(value, report, "true or false");
    if (node == nullptr) {
        return std::nullopt;
    }
    if (!node->quoted && (node->text == "true" || node->text == "false")) {
        return node->text == "true";
    }
    report.error(value.place(), shown(node->text) + " is not a flag (expected true or false, without quotes)");
    return std::nullopt;
}

std::optional<std::uint64_t> read_number(const Value& value, Report& report, const NumberRange& range)
{
    const auto expected = fmt::format("a whole number from {} to {}", range.lowest, range.highest);
    const auto* node = scalar(value, report, expected);
    if (node == nullptr) {
        return std::nullopt;
    }
    if (node->quoted) {
        report.error(value.place(), fmt::format("{} is quoted (expected {})", shown(node->text), expected));
        return std::nullopt;
    }
    const auto parsed = parse_number(node->text);
    if (const auto* refused = std::get_if<Refused>(&parsed)) {
        report.error(value.place(), fmt::format("{} (expected {})", refused->why, expected));
        return std::nullopt;
    }
    const auto number = std::get<std::uint64_t>(parsed);
    if (number < range.lowest || number > range.highest) {
        report.error(value.place(), fmt::format("{} is out of range (expected {})", number, expected));
        return std::nullopt;
    }
    return number;
}

std::optional<milliseconds> read_duration(const Value& value, Report& report, const DurationRange& range)
{
    const auto expected = fmt::format("{} to {}", duration_text(range.shortest), duration_text(range.longest));
    const auto* node = scalar(value, report, "a duration of " + expected);
    if (node == nullptr) {
        return std::nullopt;
    }
    const auto parsed = parse_duration(node->text);
    if (const auto* refused = std::get_if<Refused>(&parsed)) {
        report.error(value.place(), refused->why);
        return std::nullopt;
    }
    const auto duration = std::get<milliseconds>(parsed);
    if (duration < range.shortest || duration > range.longest) {
        report.error(value.place(), fmt::format("{} is out of range (expected {})", duration_text(duration), expected));
        return std::nullopt;
    }
    return duration;
}

std::vector<Value> read_list(const Value& value, Report& report, ListForm form)
{
    if (!value || value.node->kind == YamlNode::Kind::refused) {
        return {};
    }
    const auto& node = *value.node;
    if (node.kind == YamlNode::Kind::scalar && form == ListForm::list_or_one) {
        return {value};
    }
    if (node.kind != YamlNode::Kind::list) {
        // A flow list that holds [::1]:123 reads as a map with a list for a key.
        report.error(value.place(), fmt::format("is {} (expected {})", kind_text(node.kind),
                                                form == ListForm::list_or_one ? "a value or a list" : "a list"));
        return {};
    }
    if (node.children.empty() && form != ListForm::list_or_none) {
        report.error(value.place(), "is an empty list (expected at least one entry)");
    }
    if (node.children.size() > kMaxList) {
        report.error(value.place(), fmt::format("is too long a list (expected at most {} entries)", kMaxList));
        return {};
    }
    std::vector<Value> entries;
    for (const auto& child : node.children) {
        entries.push_back({&child, fmt::format("{}[{}]", value.key, entries.size())});
    }
    return entries;
}

Section::Section(const Value& map, Report& report) : report_(report), place_(map.place())
{
    if (!map || map.node->kind == YamlNode::Kind::refused) {
        return;
    }
    if (map.node->kind != YamlNode::Kind::map) {
        const Place place{place_.at, place_.key.empty() ? "yaml" : place_.key};
        report_.error(place, fmt::format("is {} (expected a map of keys)", kind_text(map.node->kind)));
        return;
    }
    usable_ = true;
    for (const auto& child : map.node->children) {
        take_member(child);
    }
}

void Section::take_member(const YamlNode& member)
{
    const auto [at, fresh] = members_.try_emplace(member.name, Member{&member});
    const Place key_place{member.name_at, path(member.name)};
    if (!fresh) {
        const Place first{at->second.node->name_at, {}};
        report_.error(key_place, fmt::format("is written twice (expected once; first at {})", report_.where(first)));
        return;
    }
    const bool scalar = member.kind == YamlNode::Kind::scalar;
    if (const auto why = why_absent(key_place.key, scalar ? std::string_view{member.text} : std::string_view{})) {
        at->second.refused = true;
        at->second.known = true;
        report_.error(scalar ? Place{member.at, key_place.key} : key_place, *why);
    }
}

std::string Section::path(std::string_view name) const
{
    return (place_.key.empty() ? "" : place_.key + ".") + shown_key(name);
}

Value Section::find(std::string_view name)
{
    known_.emplace_back(name);
    const auto member = members_.find(name);
    if (member == members_.end()) {
        return {nullptr, path(name)};
    }
    member->second.known = true;
    return {member->second.refused ? nullptr : member->second.node, path(name)};
}

bool Section::has(std::string_view name) const
{
    return members_.find(name) != members_.end();
}

Place Section::place(std::string_view name) const
{
    const auto member = members_.find(name);
    if (member == members_.end()) {
        return {place_.at, path(name)};
    }
    return Value{member->second.node, path(name)}.place();
}

void Section::finish()
{
    if (!usable_) {
        return;
    }
    for (const auto& [name, member] : members_) {
        if (!member.known) {
            const auto* reason = name == "<<" ? "merge keys are not taken" : "is not a known key";
            report_.error({member.node->name_at, path(name)},
                          fmt::format("{} (expected one of: {})", reason, fmt::join(known_, ", ")));
        }
    }
}

void Section::flag(std::string_view name, bool& target)
{
    if (const auto read = read_flag(find(name), report_)) {
        target = *read;
    }
}

void Section::duration(std::string_view name, const DurationRange& range, milliseconds& target)
{
    if (const auto read = read_duration(find(name), report_, range)) {
        target = *read;
    }
}

std::string wrong_word(std::string_view written, const std::string& words)
{
    return fmt::format("{} is not among the choices (expected {})", shown(written), words);
}

} // namespace gateway
