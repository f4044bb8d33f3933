// The address list that ntpd allows at the end of a key's line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ntp-shim/mac.hpp"

namespace ntp_shim {

/// "192.0.2.1,2001:db8::/32" into `peers`; the error text when it is none. Empty text is no list.
[[nodiscard]] std::optional<std::string> read_peers(std::string_view text, std::vector<KeyPeers>& peers);

} // namespace ntp_shim
