// The strict walk over a configuration: every key is asked for once, every other key is an error, every error has a
// place.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/config_tree.hpp"

namespace gateway {

/// Where a problem is, and which key has it.
struct Place {
    Position at;
    std::string key;
};

/// Collects what is wrong. Bounded: beyond kMaxProblems only the fact that there is more is kept.
class Report {
public:
    static constexpr std::size_t kMaxProblems = 1000;
    explicit Report(std::string file) : file_(std::move(file)) {}

    void error(const Place& place, std::string message);
    void warning(const Place& place, std::string message);
    void add(Problem error); // of another file that this one names
    [[nodiscard]] std::size_t errors() const noexcept { return errors_.size(); }
    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    /// "FILE:LINE:COLUMN", for messages that name a second place.
    [[nodiscard]] std::string where(const Place& place) const;
    /// In the order of the file; those of other files last.
    [[nodiscard]] std::vector<Problem> take_errors();
    [[nodiscard]] std::vector<Problem> take_warnings();

private:
    std::string file_;
    std::vector<Problem> errors_;
    std::vector<Problem> warnings_;
};

/// A value of the tree with the path of its key. Views the tree; false when there is no usable value.
struct Value {
    const YamlNode* node{};
    std::string key;
    explicit operator bool() const noexcept { return node != nullptr; }
    [[nodiscard]] Place place() const;
};

struct NumberRange {
    std::uint64_t lowest{};
    std::uint64_t highest{};
};
struct DurationRange {
    std::chrono::milliseconds shortest{};
    std::chrono::milliseconds longest{};
};
template <typename Enum>
struct Choice {
    std::string_view word;
    Enum value{};
};

// Each reports what is wrong with `value` (nothing when it is absent) and returns only what is right.
[[nodiscard]] std::optional<std::string> read_text(const Value& value, Report& report, std::string_view expected);
[[nodiscard]] std::optional<bool> read_flag(const Value& value, Report& report);
[[nodiscard]] std::optional<std::uint64_t> read_number(const Value& value, Report& report, const NumberRange& range);
[[nodiscard]] std::optional<std::chrono::milliseconds> read_duration(const Value& value, Report& report,
                                                                     const DurationRange& range);
/// The values of a list that is not empty; with `or_one`, a single value counts as a list of itself.
enum class ListForm : std::uint8_t { list, list_or_one, list_or_none };
[[nodiscard]] std::vector<Value> read_list(const Value& value, Report& report, ListForm form);

/// One map of the file. Repeated keys, and what this version does not build, are reported at once; find() marks a key
/// as known, finish() reports those that nobody asked for.
class Section {
public:
    Section(const Value& map, Report& report);
    /// False when it is absent or no map: what it should hold need not be missed.
    [[nodiscard]] bool usable() const noexcept { return usable_; }

    /// Absent also when the value was refused already: then has() still says that it was written.
    [[nodiscard]] Value find(std::string_view name);
    [[nodiscard]] bool has(std::string_view name) const;
    /// The place of a key, or of the section itself when the key is not written.
    [[nodiscard]] Place place(std::string_view name) const;
    void finish();

    void flag(std::string_view name, bool& target);
    void duration(std::string_view name, const DurationRange& range, std::chrono::milliseconds& target);
    template <typename Number>
    void number(std::string_view name, const NumberRange& range, Number& target)
    {
        if (const auto read = read_number(find(name), report_, range)) {
            target = static_cast<Number>(*read);
        }
    }
    template <typename Enum>
    void choice(std::string_view name, std::span<const Choice<Enum>> choices, Enum& target);

private:
    [[nodiscard]] std::string path(std::string_view name) const;
    void take_member(const YamlNode& member);

    struct Member {
        const YamlNode* node{};
        bool refused = false;
        bool known = false;
    };
    Report& report_;
    Place place_;
    bool usable_ = false;
    std::map<std::string, Member, std::less<>> members_;
    std::vector<std::string> known_;
};

/// The words of `choices`, for "expected ...".
template <typename Enum>
[[nodiscard]] std::string words_of(std::span<const Choice<Enum>> choices)
{
    std::string words;
    for (const auto& choice : choices) {
        words += (words.empty() ? "" : &choice == &choices.back() ? " or " : ", ");
        words += choice.word;
    }
    return words;
}

[[nodiscard]] std::string wrong_word(std::string_view written, const std::string& words);

template <typename Enum>
[[nodiscard]] std::optional<Enum> read_choice(const Value& value, Report& report, std::span<const Choice<Enum>> choices)
{
    const auto words = words_of(choices);
    const auto written = read_text(value, report, words);
    if (!written) {
        return std::nullopt;
    }
    const auto found =
        std::find_if(choices.begin(), choices.end(), [&](const auto& choice) { return choice.word == *written; });
    if (found == choices.end()) {
        report.error(value.place(), wrong_word(*written, words));
        return std::nullopt;
    }
    return found->value;
}

template <typename Enum>
void Section::choice(std::string_view name, std::span<const Choice<Enum>> choices, Enum& target)
{
    if (const auto read = read_choice(find(name), report_, choices)) {
        target = *read;
    }
}

} // namespace gateway
