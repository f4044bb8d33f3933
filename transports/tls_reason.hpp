// From OpenSSL's errors and the peer's alerts to one CloseReason and the words beside it.
#pragma once

#include <cstdint>
#include <string>

#include "transports/channel.hpp"
#include "transports/tls_hello.hpp"
#include "transports/tls_openssl.hpp"

namespace transports {

/// RFC 8446 section 6 and the older alerts by name: "certificate_expired"; "alert_N" when it has none.
[[nodiscard]] std::string alert_name(int description);

/// What was seen of the handshake, for errors and alerts that alone could mean several things.
struct Seen {
    HelloOverlap overlap; // server role: of the ClientHello
    bool unanswered{};    // client role: the ClientHello got no other answer yet
};
[[nodiscard]] Closed explain(const LibraryErrors& errors, const Seen& seen);

} // namespace transports
