// What peers are verified against: trust anchors and revocation lists, loaded into a context's store.
#pragma once

#include <vector>

#include "transports/tls_context.hpp"

struct ssl_ctx_st;

namespace transports {

/// Adds a problem for each anchor that may not be one. Of the system's store such anchors are left out instead: nobody
/// here chose them.
void trust_authorities(ssl_ctx_st& library, const TlsSettings& settings, std::vector<TlsProblem>& problems);

void add_revocation_lists(ssl_ctx_st& library, const TlsSettings& settings, std::vector<TlsProblem>& problems);

} // namespace transports
