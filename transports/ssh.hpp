// Channels on the subsystem of an SSH connection: the connector and the listener (libssh), messages behind a length.
//
// Arrival stamps are the kernel's, looked at just before the library reads; octets that came between the two count as
// read at that instant.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "transports/admission.hpp"
#include "transports/channel.hpp"
#include "transports/loop.hpp"
#include "transports/ssh_supply.hpp"

namespace transports {

struct SshOptions {
    std::uint16_t min_message = 1; // a shorter or longer one breaks the stream
    std::uint16_t max_message = 65535;
    Nanoseconds connect = std::chrono::seconds{5};
    Nanoseconds handshake = std::chrono::seconds{5}; // a client's login, and any renewal of keys
    Nanoseconds idle = std::chrono::seconds{90};     // nothing received for so long ends the channel
};

/// Loop and handlers outlive everything made here. Each channel has two descriptors.
[[nodiscard]] std::unique_ptr<Connector> make_ssh_connector(Loop& loop, SshSupply supply, const SshOptions& options);

/// The error text names the address. `admission` outlives the listener and every channel it opened.
[[nodiscard]] std::variant<std::unique_ptr<Listener>, std::string>
make_ssh_listener(Loop& loop, const sockaddr_storage& local, SshSupply supply, const SshOptions& options,
                  Admission& admission, ChannelHandler& handler);

} // namespace transports
