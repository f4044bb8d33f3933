// Whether the program and its profile are those that somebody signed (FPT_TST_EXT.1).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

/// The running program, and `needed`, must be in the manifest, and every file in it must be as it says. What is wrong;
/// absent = nothing.
[[nodiscard]] std::optional<std::string> check_integrity(const IntegritySettings& settings,
                                                         const std::vector<std::filesystem::path>& needed);

} // namespace gateway
