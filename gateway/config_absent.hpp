// What the design knows and this version does not build: the one table from which a later version deletes rows.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gateway {

/// Why `key` (a path such as "tunnels[0].channel") with this scalar (empty for lists and maps) is refused; nothing when
/// this version has it.
[[nodiscard]] std::optional<std::string> why_absent(std::string_view key, std::string_view scalar);

} // namespace gateway
