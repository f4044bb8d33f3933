// What a control message of recvmsg says: when the datagram or segment came, and to which address.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <sys/socket.h>

#include "transports/address.hpp"
#include "transports/clock.hpp"

namespace transports {

struct ControlMessages {
    std::optional<Nanoseconds> stamp; // SO_TIMESTAMPNS, wall clock
    std::optional<MappedAddress> local;
};
[[nodiscard]] ControlMessages read_control(msghdr& message) noexcept;

/// Makes `message` leave from `local`; `control` is its memory for as long as the message is used.
void set_source_address(msghdr& message, std::span<std::byte> control, const MappedAddress& local, bool ipv6) noexcept;

/// Asks for SO_TIMESTAMPNS; without it every arrival is the read instant.
void enable_stamps(int descriptor) noexcept;

} // namespace transports
