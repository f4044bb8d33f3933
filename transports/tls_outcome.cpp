#include "transports/tls_outcome.hpp"

#include <algorithm>
#include <string>

#include <openssl/ssl.h>

#include "transports/tls_reason.hpp"

namespace transports {

namespace {

// Key updates, tickets and the like between two application records. A peer that sends more wants us to compute.
constexpr std::uint32_t kMaxIdleMessages = 64;

std::string version_name(const ssl_st& session)
{
    switch (SSL_version(&session)) { // int codes of the library
    case TLS1_3_VERSION:
        return "TLS1.3";
    case TLS1_2_VERSION:
        return "TLS1.2";
    case DTLS1_2_VERSION:
        return "DTLS1.2";
    default:
        return SSL_get_version(&session);
    }
}

} // namespace

std::optional<Closed> conclude(ssl_st& session, EngineNotes& notes)
{
    // The callbacks refuse earlier and with the better alert; this is what holds whatever they were shown.
    const auto& wanted = notes.context.settings.alpn;
    const std::string agreed = selected_protocol(session);
    if (agreed != wanted.value_or("")) {
        return Closed{wanted ? CloseReason::no_alpn : CloseReason::unexpected_alpn, "agreed on '" + agreed + "'"};
    }
    if (notes.context.settings.policy.demands_ems && SSL_version(&session) != TLS1_3_VERSION &&
        SSL_get_extms_support(&session) != 1) {
        return Closed{CloseReason::no_extended_master_secret, "the peer has no extended master secret"};
    }
    PeerIdentity& peer = notes.peer;
    const auto& clock = notes.context.rules.clock;
    if (peer.provisional && clock->is_known()) { // it became so while we shook hands
        if (auto refusal = peer.provisional->verify_at(*clock->now())) {
            return refusal;
        }
        peer.provisional.reset();
    }
    peer.protocol = version_name(session);
    const char* const suite = SSL_CIPHER_standard_name(SSL_get_current_cipher(&session));
    peer.suite = suite != nullptr ? suite : "";
    const Nanoseconds ours = notes.context.own_valid_until;
    const X509* const leaf = SSL_get0_peer_certificate(&session);
    const Nanoseconds theirs = leaf != nullptr ? valid_until(*leaf) : Nanoseconds{0};
    if (notes.context.settings.check_time) {
        peer.valid_until = ours == Nanoseconds{0} ? theirs : theirs == Nanoseconds{0} ? ours : std::min(ours, theirs);
    }
    notes.idle_messages = 0;
    return std::nullopt;
}

Closed why_failed(const ssl_st& session, const EngineNotes& notes, int result, bool handshaking)
{
    const int error = SSL_get_error(&session, result);
    const LibraryErrors errors = take_library_errors();
    if (notes.refusal) {
        return *notes.refusal;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
        return {CloseReason::peer_closed, "close_notify during the handshake"};
    }
    const bool client = notes.context.settings.role == TlsRole::client;
    return explain(errors, {notes.hello, client && handshaking && notes.idle_messages == 0});
}

std::optional<Closed> misbehaviour(const EngineNotes& notes)
{
    if (notes.renegotiation_tried) {
        return Closed{CloseReason::renegotiation, "the peer asked for a new handshake"};
    }
    if (notes.idle_messages > kMaxIdleMessages) {
        return Closed{CloseReason::protocol_error, "too many handshake messages after the handshake"};
    }
    return std::nullopt;
}

} // namespace transports
