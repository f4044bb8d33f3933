// What the process keeps once its sockets are bound: the folders it still reads and writes, and the system calls that
// serving takes. Everything else is given up for good.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

/// Folders, with all that is below them. Folders, not files: a file may be renamed over, and its rule would be gone
/// with it.
struct Reach {
    std::vector<std::filesystem::path> read;
    std::vector<std::filesystem::path> write; // and read
};

/// What the tunnels, the audit file, and the look-up of names need.
[[nodiscard]] Reach reach_of(const Config& config);

/// Landlock for the files, seccomp for the system calls (refused with EPERM): for this thread and all it will start.
/// Call it before the first other thread, with no-new-privs set. The ABI of Landlock, 0 where the kernel has none; or
/// what failed, and then the process must not go on. A folder that does not exist is left out.
[[nodiscard]] std::variant<int, std::string> confine(const Reach& reach);

} // namespace gateway
