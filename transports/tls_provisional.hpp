// A chain that was verified in all but its time, kept so that it can be verified again once the time is known.
#pragma once

#include <memory>

#include "transports/channel.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

/// Takes what it needs of `store`, before that is verified. Null when memory is short.
[[nodiscard]] std::shared_ptr<const ProvisionalChain> keep_chain(x509_store_ctx_st& store, const VerifyRules& rules,
                                                                 const Reference& reference);

} // namespace transports
