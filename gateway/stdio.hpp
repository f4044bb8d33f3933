// `ntpgate stdio`: the server role of one tunnel on standard input and output, for sshd to run as its subsystem.
#pragma once

#include <string>

#include "gateway/config.hpp"

namespace gateway {

/// Until the peer is gone. The peer is authenticated by sshd; records go to syslog, since standard error is the peer's.
/// Exit code 2 when the tunnel is not one for stdio, or a terminal is there.
[[nodiscard]] int run_stdio(const Loaded& loaded, const std::string& name);

} // namespace gateway
