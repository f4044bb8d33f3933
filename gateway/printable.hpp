// Text that came from a peer, made safe for a log line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gateway {

/// Printable ASCII stays, everything else (and the backslash) becomes \xNN; at most `longest` characters, then "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 256);

} // namespace gateway
