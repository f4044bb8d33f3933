// Addresses as the configuration and the command line write them: text in, address or the reason why not out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/config.hpp"

namespace gateway {

/// What a parser says of text it refuses; reads on after "KEY: ".
struct Refused {
    std::string why;
};

/// "127.0.0.1:123" or "[::1]:123", numeric only. `default_port` stands in for a missing port; without it one is asked.
[[nodiscard]] std::variant<SocketAddress, Refused>
parse_socket_address(std::string_view text, std::optional<std::uint16_t> default_port = std::nullopt);

/// "10.0.0.0/8", "fe80::/10", or an address, which is a block of one. Host bits must be zero.
[[nodiscard]] std::variant<AddressBlock, Refused> parse_address_block(std::string_view text);

/// "gw.example.org:4461", "192.0.2.1:4461", "[2001:db8::1]:4461"; port 0 is refused.
[[nodiscard]] std::variant<Target, Refused> parse_target(std::string_view text, std::uint16_t default_port);

/// A numeric address without brackets and port.
[[nodiscard]] std::optional<SocketAddress> numeric_host(std::string_view host, std::uint16_t port);
/// A DNS name of letters, digits, hyphens and underscores whose last label is not a number.
[[nodiscard]] bool is_host_name(std::string_view host) noexcept;

// To both, an IPv4 address in IPv6's form (::ffff:192.0.2.1) is the IPv4 address, where it leads.

/// Whether the two can not both be bound: same family and port, and same address or one of them the wildcard.
[[nodiscard]] bool clash(const SocketAddress& one, const SocketAddress& other) noexcept;
/// Same family and address, whatever the port.
[[nodiscard]] bool same_host(const SocketAddress& one, const SocketAddress& other) noexcept;

} // namespace gateway
