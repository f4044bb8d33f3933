// How long a record under the keys of a DTLS 1.2 session is at least: what is shorter was never sealed by the peer.
#pragma once

#include <cstddef>
#include <optional>

#include <openssl/types.h>

namespace transports {

/// Octets that a record of the epoch of the keys has at least, whatever it says; nothing while the suite is not known.
[[nodiscard]] std::optional<std::size_t> shortest_sealed(const SSL& session);

} // namespace transports
