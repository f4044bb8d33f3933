// What a path of a configured MTU means for sockets and engines. Inside transports/ only.
#pragma once

#include "transports/dtls.hpp"
#include "transports/dtls_wire.hpp"
#include "transports/udp.hpp"

namespace transports {

/// RFC 791 and RFC 8200 headers without options, and RFC 768's.
[[nodiscard]] std::size_t datagram_room(std::uint16_t mtu, bool ipv6) noexcept;

[[nodiscard]] DatagramWire::Setting wire_setting(const DatagramOptions& options, const sockaddr_storage& peer) noexcept;

/// Takes whatever a peer may send us in one piece, and sends nothing that a router would cut.
[[nodiscard]] UdpOptions path_socket(std::size_t batch) noexcept;

} // namespace transports
