// The ssh channel's carrier: over a listener or connector of our own, or on standard input and output under sshd.
#pragma once

#include "gateway/carrier.hpp"

namespace gateway {

[[nodiscard]] Carrier::Made make_ssh_carrier(const Tunnel& tunnel);

} // namespace gateway
