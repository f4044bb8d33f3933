// `ntpgate audit verify`: whether audit files are as they were written.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gateway {

struct AuditFiles {
    std::vector<std::filesystem::path> files; // oldest first, as rotation left them
    std::string head;                         // "SEQ:HASH" of a record known to have been written; empty = none known
};

/// Prints what it finds to `out`; what is wrong, with file and line, to `err`. The exit code: 1 when a line was changed
/// or a file cannot be read, 2 when `head` is none.
[[nodiscard]] int verify_audit(const AuditFiles& request, std::ostream& out, std::ostream& err);

} // namespace gateway
