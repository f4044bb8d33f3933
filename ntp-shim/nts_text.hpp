// Words, numbers and keys of the small text files that NTS keeps.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ntp-shim/nts_aead.hpp"

namespace ntp_shim {

/// The next line without its end; takes it from `text`.
[[nodiscard]] std::string_view take_line(std::string_view& text);
/// Separated by spaces or tabs.
[[nodiscard]] std::vector<std::string_view> words_of(std::string_view line);
/// All of `text`, or nothing.
template <class Number>
[[nodiscard]] std::optional<Number> number_of(std::string_view text, int base = 10)
{
    Number value{};
    const auto* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value, base);
    return result.ec == std::errc{} && result.ptr == end ? std::optional{value} : std::nullopt;
}
/// Hex digits of up to kMaxAeadKey octets.
[[nodiscard]] std::optional<AeadSecret> secret_of(std::string_view hex);
/// Hex digits of any number of octets.
[[nodiscard]] std::optional<std::vector<std::byte>> octets_of(std::string_view hex);
[[nodiscard]] std::string hex_text(Bytes octets); // upper case

} // namespace ntp_shim
