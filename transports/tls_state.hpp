// What a context keeps behind its header, and what the callbacks of one session leave for its engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "transports/channel.hpp"
#include "transports/dtls_cookies.hpp"
#include "transports/tls_context.hpp"
#include "transports/tls_hello.hpp"
#include "transports/tls_identity.hpp"
#include "transports/tls_names.hpp"
#include "transports/tls_ocsp.hpp"
#include "transports/tls_openssl.hpp"
#include "transports/tls_verify.hpp"

namespace transports {

struct TlsContext::State {
    TlsSettings settings;
    CompiledPolicy policy;
    VerifyRules rules;
    Nanoseconds own_valid_until{};
    Owned<ssl_ctx_st> library;
};

/// Hangs on one SSL object, found by its callbacks through notes_of; outlives it.
struct EngineNotes {
    EngineNotes(const TlsContext::State& made_by, Reference expected) : context{made_by}, reference{std::move(expected)}
    {}

    const TlsContext::State& context;
    Reference reference;
    PeerIdentity peer;
    std::optional<Closed> refusal; // ours, which names the reason better than the library's error does
    HelloOverlap hello;
    std::uint32_t idle_messages = 0; // handshake messages since the last application record
    std::uint32_t alerts = 0;        // received
    bool renegotiation_tried = false;
    OcspBytes staple;                    // server role: what to send about ourselves
    bool staple_came = false;            // client role: whatever the server staples is here
    std::vector<OcspAnswer> answers;     // about the peer's chain
    std::vector<OcspQuestion> questions; // to be asked about it; the engine's owner takes them
    std::vector<std::string> asked;      // their keys
    DtlsCookies cookies;                 // datagrams, server role: for whoever sent the ClientHello looked at
};

void attach(ssl_st& session, EngineNotes& notes);
[[nodiscard]] EngineNotes& notes_of(const ssl_st& session);
/// The application protocol agreed on; empty when there is none.
[[nodiscard]] std::string selected_protocol(const ssl_st& session);

/// Lets the callbacks of this and the other tls files be called for every session of `context`.
void install_callbacks(TlsContext::State& context);

} // namespace transports
