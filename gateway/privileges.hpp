// What the process may do: descriptors raised to what the limits need, everything else given up once sockets are bound.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gateway {

/// Raises RLIMIT_NOFILE so that `needed` descriptors fit; the error text has both numbers.
[[nodiscard]] std::optional<std::string> allow_descriptors(std::uint64_t needed);

/// Core dumps and tracing by equals off: key material must not reach a file.
void forbid_core_dumps() noexcept;

/// Switches to `user` when started as root (empty = stay), drops every capability, and sets no-new-privs. Anything that
/// fails is an error: running on with more than was meant would be worse. The text says what failed.
[[nodiscard]] std::optional<std::string> drop_privileges(const std::string& user);

} // namespace gateway
