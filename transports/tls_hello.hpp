// A server's first look at a ClientHello: is the application protocol ours, and which list has nothing in common.
#pragma once

#include <optional>
#include <string>

#include "transports/channel.hpp"
#include "transports/tls_names.hpp"

struct ssl_st;

namespace transports {

/// What a ClientHello and our policy have in common. OpenSSL says "no shared cipher" for the lack of any of them.
struct HelloOverlap {
    bool suites = true;
    bool groups = true;
    bool signatures = true;
};

struct HelloJudgement {
    HelloOverlap overlap;
    std::optional<Closed> refusal; // no_alpn, unexpected_alpn or protocol_version
};

/// Only inside the ClientHello callback. Of the settings, `alpn` must be offered, or none when absent; `datagrams` says
/// which versions there are.
[[nodiscard]] HelloJudgement judge_hello(ssl_st& session, const CompiledPolicy& policy, const TlsSettings& settings);

} // namespace transports
