#include "transports/tls_state.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "transports/tls_evidence.hpp"
#include "transports/tls_provisional.hpp"

namespace transports {

namespace {

/// libssl frees what it is given.
int send_staple(SSL& session, const OcspBytes& staple)
{
    void* const copy = staple ? OPENSSL_memdup(staple->data(), staple->size()) : nullptr;
    if (copy == nullptr) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_set_tlsext_status_ocsp_resp(&session, copy, static_cast<long>(staple->size()));
    return SSL_TLSEXT_ERR_OK;
}

int judge_peer(X509_STORE_CTX* store, void* /*context*/)
{
    auto* const session = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    EngineNotes& notes = notes_of(*session);
    if (const X509* const leaf = X509_STORE_CTX_get0_cert(store)) {
        notes.peer = describe(*leaf);
    }
    const auto& rules = notes.context.rules;
    if (rules.clock && !rules.clock->is_known()) {
        notes.peer.provisional = keep_chain(*store, rules, notes.reference);
    }
    notes.staple_came = SSL_version(session) == TLS1_3_VERSION; // with the certificate; before, behind it
    Evidence evidence{*session, notes, rules};
    Verdict verdict = verify_chain(*store, rules, notes.reference, evidence.is_wanted() ? &evidence : nullptr);
    notes.peer.matched = std::move(verdict.matched);
    notes.peer.undetermined = std::move(verdict.undetermined);
    notes.peer.reference = notes.reference.name;
    notes.refusal = std::move(verdict.refusal);
    const auto& settings = notes.context.settings;
    if (notes.refusal || settings.role == TlsRole::server || !settings.alpn) {
        return notes.refusal ? 0 : 1;
    }
    // A server's choice is known by now and our own certificate not yet sent: the last moment to keep it to ourselves.
    if (selected_protocol(*session) != *settings.alpn) {
        notes.refusal = Closed{CloseReason::no_alpn, "the peer did not choose " + *settings.alpn};
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    return 1;
}

int on_verify(X509_STORE_CTX* store, void* context)
{
    const int accepted = judge_peer(store, context);
    auto* const session = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const EngineNotes& notes = notes_of(*session);
    // The client's side can wait before it shows its own certificate. Datagrams that come meanwhile would be lost, and
    // a server cannot wait: there the engine's owner does, when the handshake is over.
    if (accepted == 1 && awaits_answers(notes) && notes.context.settings.role == TlsRole::client &&
        !notes.context.settings.datagrams) {
        SSL_set_retry_verify(session);
    }
    return accepted;
}

int on_status(SSL* session, void* /*argument*/)
{
    EngineNotes& notes = notes_of(*session);
    if (notes.context.settings.role == TlsRole::server) {
        return send_staple(*session, notes.staple);
    }
    if (!std::exchange(notes.staple_came, true)) {
        notes.refusal = judge_again(*session, notes, notes.context);
    }
    return notes.refusal ? 0 : 1;
}

int hello_alert(CloseReason reason)
{
    if (reason == CloseReason::protocol_version) {
        return SSL_AD_PROTOCOL_VERSION;
    }
    // RFC 7627 section 5.2 for the one, RFC 7301 section 3.2 for the rest.
    return reason == CloseReason::no_extended_master_secret ? SSL_AD_HANDSHAKE_FAILURE : SSL_AD_NO_APPLICATION_PROTOCOL;
}

int on_client_hello(SSL* session, int* alert, void* /*context*/)
{
    EngineNotes& notes = notes_of(*session);
    HelloJudgement judgement = judge_hello(*session, notes.context.policy, notes.context.settings);
    notes.hello = judgement.overlap;
    if (!judgement.refusal) {
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    notes.refusal = std::move(judgement.refusal);
    *alert = hello_alert(notes.refusal->reason);
    return SSL_CLIENT_HELLO_ERROR;
}

int on_select_protocol(SSL* session, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                       unsigned int offered_size, void* /*context*/)
{
    const auto& ours = notes_of(*session).context.settings.alpn;
    std::span<const unsigned char> rest{offered, offered_size};
    while (ours && !rest.empty() && rest.front() < rest.size()) {
        const auto name = rest.subspan(1, rest.front());
        if (std::string{name.begin(), name.end()} == *ours) {
            *chosen = name.data();
            *size = static_cast<unsigned char>(name.size());
            return SSL_TLSEXT_ERR_OK;
        }
        rest = rest.subspan(1 + name.size());
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void on_message(int written, int /*version*/, int content, const void* data, std::size_t size, SSL* session,
                void* /*argument*/)
{
    if (written != 0) {
        return;
    }
    EngineNotes& notes = notes_of(*session);
    if (content == SSL3_RT_ALERT) {
        ++notes.alerts;
    } else if (content == SSL3_RT_HANDSHAKE) {
        // A HelloVerifyRequest answers nothing: it asks for the ClientHello again.
        const bool asks_again = SSL_is_dtls(session) != 0 && size > 0 &&
                                *static_cast<const unsigned char*>(data) == DTLS1_MT_HELLO_VERIFY_REQUEST;
        notes.idle_messages += asks_again ? 0U : 1U;
    }
}

int on_make_cookie(SSL* session, unsigned char* cookie, unsigned int* size)
{
    const DtlsCookie& current = notes_of(*session).cookies.current;
    std::ranges::copy(current, cookie);
    *size = static_cast<unsigned int>(current.size());
    return 1;
}

int on_check_cookie(SSL* session, const unsigned char* cookie, unsigned int size)
{
    const DtlsCookies& ours = notes_of(*session).cookies;
    const auto is = [&](const DtlsCookie& one) {
        return size == one.size() && CRYPTO_memcmp(cookie, one.data(), one.size()) == 0;
    };
    return is(ours.current) || is(ours.previous) ? 1 : 0;
}

void on_information(const SSL* session, int where, int value)
{
    // OpenSSL answers a renegotiation with this warning and carries on; we do not carry on.
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT && (value & 0xFF) == SSL_AD_NO_RENEGOTIATION) {
        notes_of(*session).renegotiation_tried = true;
    }
}

} // namespace

void attach(ssl_st& session, EngineNotes& notes)
{
    SSL_set_app_data(&session, &notes);
}

EngineNotes& notes_of(const ssl_st& session)
{
    return *static_cast<EngineNotes*>(SSL_get_app_data(&session));
}

std::string selected_protocol(const ssl_st& session)
{
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(&session, &name, &size);
    const std::span<const unsigned char> octets{name, size};
    return {octets.begin(), octets.end()};
}

void install_callbacks(TlsContext::State& context)
{
    ssl_ctx_st* const library = context.library.get();
    SSL_CTX_set_cert_verify_callback(library, on_verify, nullptr);
    SSL_CTX_set_msg_callback(library, on_message);
    SSL_CTX_set_info_callback(library, on_information);
    const bool asks = context.settings.role == TlsRole::client && context.settings.ocsp != Ocsp::none &&
                      context.settings.revocation != Revocation::none;
    if (context.settings.role == TlsRole::server || asks) {
        // What SSL_CTX_set_tlsext_status_cb does, with a cast of this language.
        SSL_CTX_callback_ctrl(library, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, reinterpret_cast<void (*)()>(on_status));
    }
    if (asks) {
        SSL_CTX_set_tlsext_status_type(library, TLSEXT_STATUSTYPE_ocsp);
    }
    if (context.settings.role == TlsRole::server) {
        SSL_CTX_set_client_hello_cb(library, on_client_hello, nullptr);
        SSL_CTX_set_alpn_select_cb(library, on_select_protocol, nullptr);
        SSL_CTX_set_cookie_generate_cb(library, on_make_cookie); // of datagrams only
        SSL_CTX_set_cookie_verify_cb(library, on_check_cookie);
    }
}

} // namespace transports
