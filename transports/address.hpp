// Socket addresses as the rest of the program wants them: text, a 16-octet form, a length.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>

namespace transports {

using MappedAddress = std::array<std::byte, 16>; // IPv4 as ::ffff:a.b.c.d

[[nodiscard]] socklen_t address_length(const sockaddr_storage& address) noexcept;
[[nodiscard]] std::uint16_t port_of(const sockaddr_storage& address) noexcept;
[[nodiscard]] MappedAddress mapped(const sockaddr_storage& address) noexcept;
[[nodiscard]] MappedAddress mapped(const in_addr& address) noexcept;
[[nodiscard]] MappedAddress mapped(const in6_addr& address) noexcept;
/// The address without its host part, /32 of IPv4 or /64 of IPv6: what limits count by.
[[nodiscard]] MappedAddress source_key(const MappedAddress& address) noexcept;
[[nodiscard]] std::string address_text(const sockaddr_storage& address); // "192.0.2.1:123", "[2001:db8::1]:123"
/// A numeric address (no name, no brackets) and a port; nothing when `host` is not numeric.
[[nodiscard]] std::optional<sockaddr_storage> numeric_address(const std::string& host, std::uint16_t port) noexcept;
/// Back from the 16-octet form. `scope` is the IPv6 zone.
[[nodiscard]] sockaddr_storage from_mapped(const MappedAddress& address, std::uint16_t port,
                                           std::uint32_t scope) noexcept;

/// `sockaddr` views of a storage, for the C interface; the one place that casts.
[[nodiscard]] const sockaddr* as_sockaddr(const sockaddr_storage& address) noexcept;
[[nodiscard]] sockaddr* as_sockaddr(sockaddr_storage& address) noexcept;

} // namespace transports
