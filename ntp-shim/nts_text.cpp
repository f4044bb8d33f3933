#include "ntp-shim/nts_text.hpp"

#include <span>

namespace ntp_shim {

namespace {

/// Fills `out`, which has half as many octets as `hex` has digits.
bool read_hex(std::string_view hex, std::span<std::byte> out)
{
    const auto digit = [](char c) -> int {
        if (c >= '0' && c <= '9') {
            return c - '0';
        }
        const char lower = static_cast<char>(c | 0x20);
        return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    };
    for (auto& octet : out) {
        const int high = digit(hex[0]);
        const int low = digit(hex[1]);
        if (high < 0 || low < 0) {
            return false;
        }
        octet = static_cast<std::byte>(high * 16 + low);
        hex.remove_prefix(2);
    }
    return true;
}

} // namespace

std::string_view take_line(std::string_view& text)
{
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) {
        line.remove_suffix(1);
    }
    return line;
}

std::vector<std::string_view> words_of(std::string_view line)
{
    std::vector<std::string_view> words;
    for (;;) {
        const auto begin = line.find_first_not_of(" \t");
        if (begin == std::string_view::npos) {
            return words;
        }
        line.remove_prefix(begin);
        const auto end = line.find_first_of(" \t");
        words.push_back(line.substr(0, end));
        line.remove_prefix(end == std::string_view::npos ? line.size() : end);
    }
}

std::optional<AeadSecret> secret_of(std::string_view hex)
{
    AeadSecret secret;
    const bool fits = hex.size() % 2 == 0 && hex.size() / 2 <= kMaxAeadKey;
    return fits && read_hex(hex, secret.resize(hex.size() / 2)) ? std::optional{secret} : std::nullopt;
}

std::optional<std::vector<std::byte>> octets_of(std::string_view hex)
{
    std::vector<std::byte> octets(hex.size() / 2);
    return hex.size() % 2 == 0 && read_hex(hex, octets) ? std::optional{std::move(octets)} : std::nullopt;
}

std::string hex_text(Bytes octets)
{
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string text;
    text.reserve(octets.size() * 2);
    for (const auto octet : octets) {
        text += kDigits[std::to_integer<std::size_t>(octet >> 4)];
        text += kDigits[std::to_integer<std::size_t>(octet & std::byte{0xf})];
    }
    return text;
}

} // namespace ntp_shim
