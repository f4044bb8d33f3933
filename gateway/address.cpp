#include "gateway/address.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>

namespace gateway {

namespace {

constexpr std::uint8_t kMappedBits = 96; // ::ffff:0:0/96 holds IPv4
constexpr const char* kQuoteIpv6 = "IPv6 addresses are written in brackets and quoted, such as \"[::1]:123\"";

// sockaddr_storage is read and written through copies: no pointer to one struct is used as a pointer to another.
sockaddr_in ipv4_of(const SocketAddress& address) noexcept
{
    sockaddr_in copy{};
    std::memcpy(&copy, &address.storage, sizeof copy);
    return copy;
}

sockaddr_in6 ipv6_of(const SocketAddress& address) noexcept
{
    sockaddr_in6 copy{};
    std::memcpy(&copy, &address.storage, sizeof copy);
    return copy;
}

bool is_ipv4(const SocketAddress& address) noexcept
{
    return address.storage.ss_family == AF_INET;
}

std::optional<unsigned> parse_decimal(std::string_view text, unsigned highest)
{
    if (text.empty() || (text.size() > 1 && text.front() == '0')) {
        return std::nullopt;
    }
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > highest) {
        return std::nullopt;
    }
    return value;
}

struct HostAndPort {
    std::string_view host;
    std::optional<std::string_view> port;
    bool bracketed = false;
};

std::variant<HostAndPort, Refused> split_port(std::string_view text)
{
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) {
            return Refused{"has no closing bracket (expected [ADDRESS]:PORT)"};
        }
        const auto rest = text.substr(close + 1);
        HostAndPort split{text.substr(1, close - 1), std::nullopt, true};
        if (rest.starts_with(':')) {
            split.port = rest.substr(1);
        } else if (!rest.empty()) {
            return Refused{"has text after the bracket (expected [ADDRESS]:PORT)"};
        }
        return split;
    }
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) {
        return HostAndPort{text, std::nullopt, false};
    }
    if (text.find(':', colon + 1) != std::string_view::npos) {
        return Refused{std::string{"is not HOST:PORT ("} + kQuoteIpv6 + ")"};
    }
    return HostAndPort{text.substr(0, colon), text.substr(colon + 1), false};
}

std::variant<std::uint16_t, Refused> port_of(const HostAndPort& split, std::optional<std::uint16_t> default_port)
{
    if (!split.port) {
        if (default_port) {
            return *default_port;
        }
        return Refused{"has no port (expected ADDRESS:PORT, such as 127.0.0.1:123)"};
    }
    const auto port = parse_decimal(*split.port, 65535);
    if (!port) {
        return Refused{"has no valid port (expected a number from 0 to 65535)"};
    }
    return static_cast<std::uint16_t>(*port);
}

SocketAddress make_ipv4(const in_addr& host, std::uint16_t port)
{
    sockaddr_in made{};
    made.sin_family = AF_INET;
    made.sin_addr = host;
    made.sin_port = htons(port);
    SocketAddress address;
    std::memcpy(&address.storage, &made, sizeof made);
    return address;
}

SocketAddress make_ipv6(const in6_addr& host, std::uint32_t scope, std::uint16_t port)
{
    sockaddr_in6 made{};
    made.sin6_family = AF_INET6;
    made.sin6_addr = host;
    made.sin6_scope_id = scope;
    made.sin6_port = htons(port);
    SocketAddress address;
    std::memcpy(&address.storage, &made, sizeof made);
    return address;
}

bool is_label(std::string_view label) noexcept
{
    const auto is_word = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    return !label.empty() && label.size() <= 63 && is_word(label.front()) && is_word(label.back()) &&
           std::all_of(label.begin(), label.end(), [&](char c) { return is_word(c) || c == '-'; });
}

bool bit_is_set(const std::array<std::byte, 16>& bytes, std::size_t bit) noexcept
{
    return (std::to_integer<unsigned>(bytes[bit / 8]) >> (7 - bit % 8) & 1U) != 0;
}

bool is_mapped(const std::array<std::byte, 16>& address) noexcept
{
    const auto zero_end = address.begin() + 10;
    return std::all_of(address.begin(), zero_end, [](std::byte octet) { return octet == std::byte{0}; }) &&
           address[10] == std::byte{0xff} && address[11] == std::byte{0xff};
}

std::array<std::byte, 16> mapped_bytes(const SocketAddress& address) noexcept
{
    std::array<std::byte, 16> bytes{};
    if (is_ipv4(address)) {
        bytes[10] = bytes[11] = std::byte{0xff};
        const auto host = ipv4_of(address).sin_addr;
        std::memcpy(&bytes[12], &host, sizeof host);
    } else {
        const auto host = ipv6_of(address).sin6_addr;
        std::memcpy(bytes.data(), &host, sizeof host);
    }
    return bytes;
}

} // namespace

std::string SocketAddress::text() const
{
    if (storage.ss_family == AF_INET) {
        std::array<char, INET_ADDRSTRLEN> host{};
        const auto ipv4 = ipv4_of(*this);
        inet_ntop(AF_INET, &ipv4.sin_addr, host.data(), host.size());
        return std::string{host.data()} + ":" + std::to_string(port());
    }
    if (storage.ss_family == AF_INET6) {
        std::array<char, INET6_ADDRSTRLEN> host{};
        const auto ipv6 = ipv6_of(*this);
        inet_ntop(AF_INET6, &ipv6.sin6_addr, host.data(), host.size());
        const auto scope = ipv6.sin6_scope_id == 0 ? std::string{} : "%" + std::to_string(ipv6.sin6_scope_id);
        return "[" + std::string{host.data()} + scope + "]:" + std::to_string(port());
    }
    return "unspecified";
}

std::uint16_t SocketAddress::port() const noexcept
{
    return ntohs(is_ipv4(*this) ? ipv4_of(*this).sin_port : ipv6_of(*this).sin6_port);
}

bool SocketAddress::is_loopback() const noexcept
{
    if (is_ipv4(*this)) {
        return (ntohl(ipv4_of(*this).sin_addr.s_addr) >> 24) == 127;
    }
    const auto host = ipv6_of(*this).sin6_addr;
    const bool mapped = is_mapped(mapped_bytes(*this));
    return (mapped && host.s6_addr[12] == 127) || (!mapped && IN6_IS_ADDR_LOOPBACK(&host));
}

bool SocketAddress::is_any() const noexcept
{
    const auto bytes = mapped_bytes(*this);
    return std::all_of(bytes.begin() + (is_mapped(bytes) ? kMappedBits / 8 : 0), bytes.end(),
                       [](std::byte octet) { return octet == std::byte{0}; });
}

bool SocketAddress::operator==(const SocketAddress& other) const noexcept
{
    return same_host(*this, other) && port() == other.port();
}

bool AddressBlock::contains(const std::array<std::byte, 16>& candidate) const noexcept
{
    // "::/0" means every IPv6 address: it must not admit IPv4 through the mapped form.
    if (prefix < kMappedBits && is_mapped(candidate)) {
        return false;
    }
    for (std::size_t bit = 0; bit < prefix; ++bit) {
        if (bit_is_set(address, bit) != bit_is_set(candidate, bit)) {
            return false;
        }
    }
    return true;
}

std::string AddressBlock::text() const
{
    std::array<char, INET6_ADDRSTRLEN> host{};
    if (prefix >= kMappedBits && is_mapped(address)) {
        inet_ntop(AF_INET, &address[12], host.data(), host.size());
        return std::string{host.data()} + "/" + std::to_string(prefix - kMappedBits);
    }
    inet_ntop(AF_INET6, address.data(), host.data(), host.size());
    return std::string{host.data()} + "/" + std::to_string(prefix);
}

std::string Target::text() const
{
    const bool brackets = host.find(':') != std::string::npos;
    return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::optional<SocketAddress> numeric_host(std::string_view host, std::uint16_t port)
{
    const std::string whole{host};
    if (whole.find('\0') != std::string::npos) { // inet_pton would stop there and accept
        return std::nullopt;
    }
    in_addr ipv4{};
    if (inet_pton(AF_INET, whole.c_str(), &ipv4) == 1) {
        return make_ipv4(ipv4, port);
    }
    const auto percent = whole.find('%');
    in6_addr ipv6{};
    if (inet_pton(AF_INET6, whole.substr(0, percent).c_str(), &ipv6) != 1) {
        return std::nullopt;
    }
    std::uint32_t scope = 0;
    if (percent != std::string::npos) {
        const auto zone = whole.substr(percent + 1);
        const auto number = parse_decimal(zone, 0x7fffffff);
        scope = number ? *number : if_nametoindex(zone.c_str());
        if (scope == 0) {
            return std::nullopt;
        }
    }
    return make_ipv6(ipv6, scope, port);
}

bool is_host_name(std::string_view host) noexcept
{
    if (host.ends_with('.')) {
        host.remove_suffix(1);
    }
    if (host.empty() || host.size() > 253) {
        return false;
    }
    std::string_view label;
    while (true) {
        const auto dot = host.find('.');
        label = host.substr(0, dot);
        if (!is_label(label)) {
            return false;
        }
        if (dot == std::string_view::npos) {
            break;
        }
        host.remove_prefix(dot + 1);
    }
    // "300.1.1.1" is a mistyped address, not a name.
    return !std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::variant<SocketAddress, Refused> parse_socket_address(std::string_view text,
                                                          std::optional<std::uint16_t> default_port)
{
    auto split = split_port(text);
    if (auto* refused = std::get_if<Refused>(&split)) {
        return std::move(*refused);
    }
    const auto& parts = std::get<HostAndPort>(split);
    auto port = port_of(parts, default_port);
    if (auto* refused = std::get_if<Refused>(&port)) {
        return std::move(*refused);
    }
    const auto address = numeric_host(parts.host, std::get<std::uint16_t>(port));
    if (!address || is_ipv4(*address) == parts.bracketed) {
        return Refused{"is not a numeric address (expected ADDRESS:PORT, such as 127.0.0.1:123 or \"[::1]:123\")"};
    }
    return *address;
}

std::variant<AddressBlock, Refused> parse_address_block(std::string_view text)
{
    const auto slash = text.find('/');
    const auto address = numeric_host(text.substr(0, slash), 0);
    if (!address || text.find('%') != std::string_view::npos) {
        return Refused{"is not an address block (expected ADDRESS/BITS, such as 10.0.0.0/8 or \"2001:db8::/32\")"};
    }
    const unsigned width = is_ipv4(*address) ? 32 : 128;
    unsigned bits = width;
    if (slash != std::string_view::npos) {
        const auto written = parse_decimal(text.substr(slash + 1), width);
        if (!written) {
            return Refused{"has no valid prefix length (expected 0 to " + std::to_string(width) + ")"};
        }
        bits = *written;
    }
    AddressBlock block{mapped_bytes(*address), static_cast<std::uint8_t>(bits + (128 - width))};
    auto network = block;
    for (std::size_t bit = block.prefix; bit < 128; ++bit) {
        network.address[bit / 8] &= ~(std::byte{0x80} >> (bit % 8));
    }
    if (network.address != block.address) {
        return Refused{"has bits set beyond its prefix (expected " + network.text() + ")"};
    }
    return block;
}

std::variant<Target, Refused> parse_target(std::string_view text, std::uint16_t default_port)
{
    auto split = split_port(text);
    if (auto* refused = std::get_if<Refused>(&split)) {
        return std::move(*refused);
    }
    const auto& parts = std::get<HostAndPort>(split);
    auto port = port_of(parts, default_port);
    if (auto* refused = std::get_if<Refused>(&port)) {
        return std::move(*refused);
    }
    const auto number = std::get<std::uint16_t>(port);
    if (number == 0) {
        return Refused{"has port 0 (expected the port the other head-end listens on)"};
    }
    const auto address = numeric_host(parts.host, number);
    const bool valid = parts.bracketed ? address && !is_ipv4(*address) : address || is_host_name(parts.host);
    if (!valid) {
        return Refused{"is not a host (expected NAME:PORT, ADDRESS:PORT or \"[IPV6]:PORT\")"};
    }
    return Target{std::string{parts.host}, number};
}

bool clash(const SocketAddress& one, const SocketAddress& other) noexcept
{
    return is_mapped(mapped_bytes(one)) == is_mapped(mapped_bytes(other)) && one.port() != 0 &&
           one.port() == other.port() && (same_host(one, other) || one.is_any() || other.is_any());
}

bool same_host(const SocketAddress& one, const SocketAddress& other) noexcept
{
    const auto bytes = mapped_bytes(one);
    return bytes == mapped_bytes(other) &&
           (is_mapped(bytes) || ipv6_of(one).sin6_scope_id == ipv6_of(other).sin6_scope_id);
}

} // namespace gateway
