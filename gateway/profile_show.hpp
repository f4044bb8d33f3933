// `ntpgate profile list` and `profile show`.
#pragma once

#include <iosfwd>
#include <string>

namespace gateway {

/// The exit code of design section 9, like all of these.
[[nodiscard]] int list_profiles(bool json, std::ostream& out);

/// `name` is a built-in profile, or a path relative to the current directory. As text, the profile's own file; as JSON,
/// what was read of it. With --json an error is a document, too; otherwise it is on stderr.
[[nodiscard]] int show_profile(const std::string& name, bool json, std::ostream& out);

} // namespace gateway
