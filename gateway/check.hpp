// What `ntpgate check` prints: the effective tunnels with their claims, or everything that is wrong.
#pragma once

#include <iosfwd>

#include "gateway/config.hpp"

namespace gateway {

/// Text, or one JSON document (design 9), after the self-test that `run` begins with. Returns the exit code: 0 when
/// `run` would start, 2 when the configuration is not valid, 3 when the self-test or `integrity:` fails.
[[nodiscard]] int run_check(const Loaded& loaded, bool json, std::ostream& out);

} // namespace gateway
