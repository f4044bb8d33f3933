// What this build is: its version, and what `ntpgate version` prints.
#pragma once

#include <string>
#include <string_view>

namespace gateway {

inline constexpr std::string_view kVersion = NTPGATE_VERSION;

[[nodiscard]] std::string version_text(); // version, build id, library versions, features; several lines

} // namespace gateway
