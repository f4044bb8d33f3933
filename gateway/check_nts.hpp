// What `check` says of a tunnel's nts: block; never a key.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"

namespace gateway {

/// `tunnel` has an nts: block.
[[nodiscard]] nlohmann::ordered_json nts_json(const Tunnel& tunnel);
[[nodiscard]] std::vector<std::pair<std::string, std::string>> nts_lines(const Tunnel& tunnel);
/// Whether any of its connections is TLS.
[[nodiscard]] bool has_tls(const Tunnel& tunnel) noexcept;

} // namespace gateway
