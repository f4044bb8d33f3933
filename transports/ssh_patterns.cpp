#include "transports/ssh_patterns.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

namespace transports {

namespace {

constexpr unsigned kMappedIpv4Prefix = 96;

char lower(char c) noexcept
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Calls `each` with every entry of a comma-separated list.
void for_each_entry(std::string_view list, const std::function<void(std::string_view)>& each)
{
    for (;;) {
        const std::size_t comma = list.find(',');
        each(list.substr(0, comma));
        if (comma == std::string_view::npos) {
            return;
        }
        list.remove_prefix(comma + 1);
    }
}

/// "192.0.2.1", "2001:db8::1": without port and brackets.
std::string plain_text(const MappedAddress& address)
{
    std::string text = address_text(from_mapped(address, 0, 0));
    text.resize(text.rfind(':'));
    return text.starts_with('[') ? text.substr(1, text.size() - 2) : text;
}

bool same_block(const MappedAddress& one, const MappedAddress& other, unsigned prefix) noexcept
{
    for (std::size_t i = 0; i < one.size() && prefix > 0; ++i) {
        const unsigned bits = std::min(prefix, 8U);
        const auto mask = static_cast<std::byte>(0xff00U >> bits & 0xffU);
        if ((one[i] & mask) != (other[i] & mask)) {
            return false;
        }
        prefix -= bits;
    }
    return true;
}

} // namespace

bool matches_wildcards(std::string_view pattern, std::string_view text) noexcept
{
    // Back to the last star only: linear in practice, quadratic at worst, never recursive.
    std::size_t at = 0;
    std::size_t in = 0;
    std::size_t star = std::string_view::npos;
    std::size_t retry = 0;
    while (in < text.size()) {
        if (at < pattern.size() && pattern[at] == '*') {
            star = at++;
            retry = in;
        } else if (at < pattern.size() && (pattern[at] == '?' || lower(pattern[at]) == lower(text[in]))) {
            ++at;
            ++in;
        } else if (star != std::string_view::npos) {
            at = star + 1;
            in = ++retry;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

bool matches_host_list(std::string_view list, std::string_view host) noexcept
{
    bool found = false;
    for (;;) {
        const std::size_t comma = list.find(',');
        auto pattern = list.substr(0, comma);
        const bool against = pattern.starts_with('!');
        pattern.remove_prefix(against ? 1 : 0);
        if (!pattern.empty() && matches_wildcards(pattern, host)) {
            if (against) {
                return false;
            }
            found = true;
        }
        if (comma == std::string_view::npos) {
            return found;
        }
        list.remove_prefix(comma + 1);
    }
}

std::optional<AddressList::Entry> AddressList::parse_entry(std::string_view text)
{
    Entry entry;
    entry.against = text.starts_with('!');
    text.remove_prefix(entry.against ? 1 : 0);
    const std::size_t slash = text.find('/');
    const std::string host{text.substr(0, slash)};
    if (const auto address = numeric_address(host, 0)) {
        entry.address = mapped(*address);
        const bool ipv4 = host.find(':') == std::string::npos;
        entry.prefix = 128;
        if (slash != std::string_view::npos) {
            const auto digits = text.substr(slash + 1);
            const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), entry.prefix);
            if (error != std::errc{} || end != digits.data() + digits.size() || entry.prefix > (ipv4 ? 32U : 128U)) {
                return std::nullopt;
            }
            entry.prefix += ipv4 ? kMappedIpv4Prefix : 0;
        }
        return entry;
    }
    const bool wild = text.find_first_of("*?") != std::string_view::npos;
    if (!wild || text.find_first_not_of("0123456789abcdefABCDEF.:*?") != std::string_view::npos) {
        return std::nullopt;
    }
    entry.wildcards = text;
    return entry;
}

std::optional<AddressList> AddressList::parse(std::string_view list)
{
    AddressList parsed;
    bool sound = true;
    for_each_entry(list, [&](std::string_view text) {
        auto entry = parse_entry(text);
        sound = sound && entry.has_value();
        if (entry) {
            parsed.entries_.push_back(std::move(*entry));
        }
    });
    return sound ? std::optional{std::move(parsed)} : std::nullopt;
}

bool AddressList::matches(const MappedAddress& address) const
{
    const std::string text = plain_text(address);
    bool found = false;
    for (const Entry& entry : entries_) {
        const bool hit = entry.wildcards.empty() ? same_block(entry.address, address, entry.prefix)
                                                 : matches_wildcards(entry.wildcards, text);
        if (hit && entry.against) {
            return false;
        }
        found = found || hit;
    }
    return found;
}

} // namespace transports
