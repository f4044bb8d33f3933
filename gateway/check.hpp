// What `ntpgate check` prints: the effective tunnels with their claims, or everything that is wrong.
#pragma once

#include <iosfwd>

#include "gateway/config.hpp"

namespace gateway {

/// Text, or one JSON document (design 9). Returns the exit code: 0 when the configuration is valid, else 2.
[[nodiscard]] int run_check(const Loaded& loaded, bool json, std::ostream& out);

} // namespace gateway
