// Text of a configuration to a value, and back for messages: durations, numbers, and what may be shown of the text.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/address.hpp"

namespace gateway {

/// A whole number and its unit: ms, s, m or h. At most a year.
[[nodiscard]] std::variant<std::chrono::milliseconds, Refused> parse_duration(std::string_view text);
/// The shortest spelling that parse_duration reads back: "500ms", "90s", "24h".
[[nodiscard]] std::string duration_text(std::chrono::milliseconds duration);

/// Decimal digits without sign or leading zero.
[[nodiscard]] std::variant<std::uint64_t, Refused> parse_number(std::string_view text);

/// `text` for a message: in quotes, control characters escaped, cut to a readable length.
[[nodiscard]] std::string shown(std::string_view text);

/// A key of the file as part of a path: itself, or as shown() when it is no plain word.
[[nodiscard]] std::string shown_key(std::string_view key);
[[nodiscard]] std::string unquoted_ipv6_message(std::string_view written);

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

} // namespace gateway
