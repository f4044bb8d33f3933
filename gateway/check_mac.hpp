// What `check` shows of a mac: block.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"

namespace gateway {

[[nodiscard]] nlohmann::ordered_json mac_json(const Tunnel& tunnel);
/// Key and text of each line.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> mac_lines(const Tunnel& tunnel);

} // namespace gateway
