// One channel on two descriptors that somebody else has connected to an authenticated peer: a subsystem of sshd.
// Messages behind a length, as on any stream. Pipes carry no stamps: an arrival is the instant of the read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "transports/channel.hpp"
#include "transports/loop.hpp"

namespace transports {

struct StdioOptions {
    int in = 0; // both are borrowed, and made non-blocking
    int out = 1;
    std::uint16_t min_message = 1;
    std::uint16_t max_message = 65535;
    Nanoseconds idle = std::chrono::seconds{90};
    PeerIdentity peer;               // what sshd says of it
    std::function<void()> gone = {}; // after on_closed
};

/// A listener whose only peer is there already: on_open comes on the next turn. The text says why there can be none (a
/// descriptor that cannot be waited for).
[[nodiscard]] std::variant<std::unique_ptr<Listener>, std::string> make_stdio_listener(Loop& loop, StdioOptions options,
                                                                                       ChannelHandler& handler);

} // namespace transports
