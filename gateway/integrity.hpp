// Whether the program and its profile are those that somebody signed (FPT_TST_EXT.1).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

/// A file that is in use already: what counts is what was read of it, whatever stands in its place by now.
struct FileInUse {
    ReadFile read;
    bool must_be_listed = false;
};

/// The running program, and those of `in_use` that must, have to be in the manifest, and every file in it must be as it
/// says. What is wrong; absent = nothing.
[[nodiscard]] std::optional<std::string> check_integrity(const IntegritySettings& settings,
                                                         const std::vector<FileInUse>& in_use);

} // namespace gateway
