// `upstream: mirror`: polls the daemon on this host and answers from the clock that it disciplines (design 6.8).
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "gateway/upstream_link.hpp"

namespace gateway {

/// The error text when the daemon's socket cannot be made. `owner` outlives the link.
[[nodiscard]] std::variant<std::unique_ptr<UpstreamLink>, std::string>
make_mirror(Services services, const MirrorUpstream& mirror, UpstreamOwner& owner);

} // namespace gateway
