#include "gateway/config_absent.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "gateway/config_values.hpp"

namespace gateway {

namespace {

struct Absent {
    std::string_view key;     // without list positions
    std::string_view value;   // empty = whatever is written
    std::string_view except;  // a value that is not refused
    std::string_view subject; // "{}" stands for the value
    std::string_view instead;
};

constexpr std::array kAbsent = {
    Absent{"workers", "", "1", "workers {}", "expected 1"},
    Absent{"control", "", "", "control", "leave it out"},
    Absent{"metrics", "", "", "metrics", "leave it out"},
    Absent{"tunnels.timing.correct-excess", "true", "", "correct-excess", "expected false"},
};

std::string without_positions(std::string_view key)
{
    std::string plain;
    bool inside = false;
    for (const char c : key) {
        inside = c == '[' || (inside && c != ']');
        if (!inside && c != ']') {
            plain += c;
        }
    }
    return plain;
}

} // namespace

std::optional<std::string> why_absent(std::string_view key, std::string_view scalar)
{
    const auto plain = without_positions(key);
    const auto row = std::find_if(kAbsent.begin(), kAbsent.end(), [&](const Absent& absent) {
        return absent.key == plain && (absent.value.empty() || absent.value == scalar) &&
               (absent.except.empty() || absent.except != scalar);
    });
    if (row == kAbsent.end()) {
        return std::nullopt;
    }
    const auto hole = row->subject.find("{}");
    const auto subject =
        hole == std::string_view::npos
            ? std::string{row->subject}
            : std::string{row->subject.substr(0, hole)} + (row->value.empty() ? shown(scalar) : std::string{scalar});
    return fmt::format("{} is not in this version ({})", subject, row->instead);
}

} // namespace gateway
