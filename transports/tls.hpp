// TLS over TCP: the connector and the listener, with one session type behind both.
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

/// How messages lie on the stream.
enum class StreamFraming : std::uint8_t {
    length_prefixed, // a 16-bit length before each; several share a record
    records,         // each record is a message, in both directions
};

struct StreamOptions {
    StreamFraming framing = StreamFraming::length_prefixed;
    std::uint16_t min_message = 1; // length_prefixed: a shorter or longer one breaks the stream
    std::uint16_t max_message = 65535;
    Nanoseconds connect = std::chrono::seconds{5};
    Nanoseconds handshake = std::chrono::seconds{5};
    Nanoseconds idle = std::chrono::seconds{90}; // nothing received for so long ends the channel
};

/// `reference`: what a server's certificate must carry; empty = the target's own host. Contexts, loop and handlers
/// outlive everything made here.
[[nodiscard]] std::unique_ptr<Connector> make_tls_connector(Loop& loop, TlsSupply supply, const StreamOptions& options,
                                                            const std::string& reference);

/// The error text names the address. `admission` outlives the listener and every channel it opened.
[[nodiscard]] std::variant<std::unique_ptr<Listener>, std::string>
make_tls_listener(Loop& loop, const sockaddr_storage& local, TlsSupply supply, const StreamOptions& options,
                  Admission& admission, ChannelHandler& handler);

} // namespace transports
