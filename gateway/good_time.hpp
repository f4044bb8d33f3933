// The last good time: what certificate-time: bootstrap has proven, kept over restarts, so that nobody can later make an
// older time be believed.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace gateway {

/// When this program was made, since 1970: no time before it is right.
[[nodiscard]] std::chrono::seconds build_time() noexcept;

/// Seconds since 1970 from the text of such a file, or why it is none.
[[nodiscard]] std::variant<std::chrono::seconds, std::string> parse_good_time(std::string_view text);
[[nodiscard]] std::string write_good_time(std::chrono::seconds time);

/// What a file that is there says; zero when there is none yet.
[[nodiscard]] std::variant<std::chrono::seconds, std::string> read_good_time(const std::filesystem::path& file);

} // namespace gateway
