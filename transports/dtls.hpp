// DTLS 1.2 over UDP: the connector and the listener, with one association type behind both.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"
#include "transports/tls_supply.hpp"

namespace transports {

struct DatagramOptions {
    std::uint16_t mtu = 1200; // octets of the largest IP packet; set by hand, nothing is discovered
    Nanoseconds connect = std::chrono::seconds{5};   // for all addresses of a name to give a first sign
    Nanoseconds handshake = std::chrono::seconds{5}; // from that sign on
    Nanoseconds idle = std::chrono::seconds{90};     // nothing authentic received for so long ends the channel
};
inline constexpr std::uint16_t kLowestMtu = 256;
inline constexpr std::uint16_t kHighestMtu = 9000;

/// The longest message that one record carries under `mtu` to an address of the family, whatever the suite.
[[nodiscard]] std::size_t message_room(std::uint16_t mtu, bool ipv6) noexcept;

/// `reference`: what a server's certificate must carry; empty = the target's own host. Contexts, loop and handlers
/// outlive everything made here.
[[nodiscard]] std::unique_ptr<Connector>
make_dtls_connector(Loop& loop, TlsSupply supply, const DatagramOptions& options, const std::string& reference);

/// One socket for all peers. The error text names the address. `admission` outlives the listener and every channel it
/// opened; a channel keeps the socket open when the listener is gone.
[[nodiscard]] std::variant<std::unique_ptr<Listener>, std::string>
make_dtls_listener(Loop& loop, const sockaddr_storage& local, TlsSupply supply, const DatagramOptions& options,
                   Admission& admission, ChannelHandler& handler);

} // namespace transports
