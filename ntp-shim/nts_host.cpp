#include "ntp-shim/nts_host.hpp"

#include <algorithm>
#include <string_view>

namespace ntp_shim {

namespace {

constexpr std::size_t kMaxName = 253; // RFC 1035 section 2.3.4, without the final dot
constexpr std::size_t kMaxLabel = 63;

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

bool is_hex(char c) noexcept
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// Calls `part` for each piece between separators until it says no.
template <class Part>
bool all_parts(std::string_view text, char separator, Part part)
{
    for (;;) {
        const auto end = text.find(separator);
        if (!part(text.substr(0, end))) {
            return false;
        }
        if (end == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(end + 1);
    }
}

bool is_ipv4(std::string_view text) noexcept
{
    int parts = 0;
    return all_parts(text, '.',
                     [&](std::string_view part) {
                         ++parts;
                         const bool number = !part.empty() && part.size() <= 3 && std::ranges::all_of(part, is_digit) &&
                                             (part.size() == 1 || part.front() != '0');
                         if (!number) {
                             return false; // nor must its value be computed: it may have any length
                         }
                         int value = 0;
                         for (const char c : part) {
                             value = value * 10 + (c - '0');
                         }
                         return value <= 255;
                     }) &&
           parts == 4;
}

/// Groups of one side of a "::"; nothing when one of them is none. A dotted quad at the end counts as two.
std::optional<int> groups_of(std::string_view side, bool at_end) noexcept
{
    if (side.empty()) {
        return 0;
    }
    int groups = 0;
    const std::string_view whole = side;
    const bool good = all_parts(side, ':', [&](std::string_view part) {
        const bool last = part.data() + part.size() == whole.data() + whole.size();
        if (last && at_end && is_ipv4(part)) {
            groups += 2;
            return true;
        }
        ++groups;
        return !part.empty() && part.size() <= 4 && std::ranges::all_of(part, is_hex);
    });
    return good ? std::optional{groups} : std::nullopt;
}

bool is_ipv6(std::string_view text) noexcept
{
    const auto gap = text.find("::");
    if (gap == std::string_view::npos) {
        return groups_of(text, true) == 8;
    }
    const auto left = groups_of(text.substr(0, gap), false);
    const auto right = groups_of(text.substr(gap + 2), true);
    return left && right && *left + *right <= 7;
}

bool is_name(std::string_view text) noexcept
{
    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    const bool has_letter = std::ranges::any_of(text, [](char c) { return !is_digit(c) && c != '.'; });
    return !text.empty() && text.size() <= kMaxName && has_letter && all_parts(text, '.', [](std::string_view label) {
        return !label.empty() && label.size() <= kMaxLabel && label.front() != '-' && label.back() != '-' &&
               std::ranges::all_of(label, [](char c) {
                   return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
               });
    });
}

} // namespace

std::optional<HostForm> host_form(const std::string& text) noexcept
{
    if (is_ipv4(text)) {
        return HostForm::ipv4;
    }
    if (text.find(':') != std::string::npos) {
        return is_ipv6(text) ? std::optional{HostForm::ipv6} : std::nullopt;
    }
    return is_name(text) ? std::optional{HostForm::name} : std::nullopt;
}

std::optional<std::string> host_of(Bytes body)
{
    std::string text(body.size(), '\0');
    std::ranges::transform(body, text.begin(), [](std::byte octet) { return static_cast<char>(octet); });
    return host_form(text) ? std::optional{text} : std::nullopt;
}

std::string absolute_host(const std::string& host)
{
    const bool relative = host_form(host) == HostForm::name && !host.ends_with('.') && host != "localhost";
    return relative ? host + "." : host;
}

} // namespace ntp_shim
