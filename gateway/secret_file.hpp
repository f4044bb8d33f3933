// Small files with secrets in them: read whole into memory that is wiped, replaced as a whole or not at all.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "ntp-shim/secret.hpp"

namespace gateway {

/// The text, or why it cannot be read.
[[nodiscard]] std::variant<ntp_shim::Secret, std::string> read_secret(const std::filesystem::path& path);
[[nodiscard]] std::string_view text_of(const ntp_shim::Secret& secret) noexcept;

/// Writes a new file beside the old one and puts it in its place, mode 0600, synced to the disk. The error text.
[[nodiscard]] std::optional<std::string> replace_secret(const std::filesystem::path& path, std::string_view text);

} // namespace gateway
