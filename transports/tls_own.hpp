// Our own certificate and key: loaded, checked against each other, the role, the policy and the clock, and put to use.
#pragma once

#include <vector>

#include "transports/tls_context.hpp"
#include "transports/tls_openssl.hpp"

namespace transports {

/// Gives the wall clock end of the leaf; 0 when none is configured or a problem was added.
[[nodiscard]] Nanoseconds use_own_certificate(ssl_ctx_st& library, const TlsSettings& settings,
                                              std::vector<TlsProblem>& problems);

} // namespace transports
