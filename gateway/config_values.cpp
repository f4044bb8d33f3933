#include "gateway/config_values.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace gateway {

using std::chrono::milliseconds;

namespace {

struct Unit {
    std::string_view name;
    milliseconds length;
};
constexpr std::array kUnits = {Unit{"ms", milliseconds{1}}, Unit{"s", milliseconds{1000}},
                               Unit{"m", milliseconds{60'000}}, Unit{"h", milliseconds{3'600'000}}};
constexpr milliseconds kLongest{std::int64_t{366} * 24 * 3'600'000};
constexpr std::size_t kShownLength = 80;
constexpr std::string_view kDurationForm = "expected a whole number and a unit ms, s, m or h, such as 500ms";

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

// How many octets the sequence that begins with `lead` has; 0 when none may begin so.
std::size_t sequence_length(unsigned char lead) noexcept
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2) { // continuation octets and overlong forms
        return 0;
    }
    if (lead < 0xe0) {
        return 2;
    }
    if (lead < 0xf0) {
        return 3;
    }
    return lead < 0xf5 ? 4 : 0;
}

// The second octet rules out overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629 section 4).
bool second_fits(unsigned char lead, unsigned char second) noexcept
{
    const unsigned char lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= lowest && second <= highest;
}

} // namespace

std::string_view name(Role role) noexcept
{
    return role == Role::client ? "client" : "server";
}

std::string_view name(ChannelKind channel) noexcept
{
    switch (channel) {
    case ChannelKind::tls:
        return "tls";
    case ChannelKind::dtls:
        return "dtls";
    case ChannelKind::ssh:
        return "ssh";
    case ChannelKind::mac:
        return "mac";
    case ChannelKind::nts:
        return "nts";
    }
    return "tls";
}

std::string_view name(Framing framing) noexcept
{
    return framing == Framing::v1 ? "v1" : "raw";
}

std::variant<milliseconds, Refused> parse_duration(std::string_view text)
{
    const auto digits = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
    const auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                                   [&](const Unit& candidate) { return candidate.name == text.substr(digits); });
    if (digits > 0 && digits == text.size()) {
        return Refused{fmt::format("{} has no unit ({})", shown(text), kDurationForm)};
    }
    const auto count = parse_number(text.substr(0, digits));
    if (std::holds_alternative<Refused>(count) || unit == kUnits.end()) {
        return Refused{fmt::format("{} is not a duration ({})", shown(text), kDurationForm)};
    }
    const auto longest = static_cast<std::uint64_t>(kLongest / unit->length);
    if (std::get<std::uint64_t>(count) > longest) {
        return Refused{fmt::format("{} is too long (expected at most {})", shown(text), duration_text(kLongest))};
    }
    return unit->length * static_cast<std::int64_t>(std::get<std::uint64_t>(count));
}

std::string duration_text(milliseconds duration)
{
    const auto unit = std::find_if(kUnits.rbegin(), kUnits.rend(), [&](const Unit& candidate) {
        return duration >= candidate.length && duration % candidate.length == milliseconds::zero();
    });
    const auto& chosen = unit == kUnits.rend() ? kUnits.front() : *unit;
    return fmt::format("{}{}", duration / chosen.length, chosen.name);
}

std::variant<std::uint64_t, Refused> parse_number(std::string_view text)
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return Refused{shown(text) + " is not a number"};
    }
    if (text.size() > 1 && text.front() == '0') {
        // YAML 1.1 readers take this for octal: what was meant is unknown.
        return Refused{shown(text) + " has a leading zero"};
    }
    return value;
}

std::string shown(std::string_view text)
{
    const bool utf8 = is_utf8(text); // what is not would make the message itself invalid
    std::string safe = "'";
    for (const char c : text.substr(0, kShownLength)) {
        const auto octet = static_cast<unsigned char>(c);
        if (octet < 0x20 || octet == 0x7f || (octet > 0x7f && !utf8)) {
            safe += fmt::format("\\x{:02x}", octet);
        } else {
            safe += c;
        }
    }
    // Nor may the cut fall inside a sequence.
    while (text.size() > kShownLength && !is_utf8(safe)) {
        safe.pop_back();
    }
    return safe + (text.size() > kShownLength ? "...'" : "'");
}

std::string shown_key(std::string_view key)
{
    auto quoted = shown(key);
    const bool plain = quoted.size() == key.size() + 2 && key.find_first_of(" .[]") == std::string_view::npos;
    return plain ? std::string{key} : quoted;
}

std::string unquoted_ipv6_message(std::string_view written)
{
    return fmt::format("an IPv6 address is not quoted (expected \"{}\", in quotes)", written);
}

bool is_utf8(std::string_view text) noexcept
{
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at]);
        const auto length = sequence_length(lead);
        if (length == 0 || text.size() - at < length) {
            return false;
        }
        for (std::size_t next = 1; next < length; ++next) {
            const auto octet = static_cast<unsigned char>(text[at + next]);
            if (octet < 0x80 || octet > 0xbf || (next == 1 && !second_fits(lead, octet))) {
                return false;
            }
        }
        at += length;
    }
    return true;
}

} // namespace gateway
