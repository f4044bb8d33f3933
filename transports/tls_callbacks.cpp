#include "transports/tls_state.hpp"

#include <algorithm>
#include <span>
#include <string_view>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "transports/tls_provisional.hpp"

namespace transports {

namespace {

int on_verify(X509_STORE_CTX* store, void* /*context*/)
{
    const auto* const session =
        static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    EngineNotes& notes = notes_of(*session);
    if (const X509* const leaf = X509_STORE_CTX_get0_cert(store)) {
        notes.peer = describe(*leaf);
    }
    const auto& rules = notes.context.rules;
    if (rules.clock && !rules.clock->is_known()) {
        notes.peer.provisional = keep_chain(*store, rules, notes.reference);
    }
    Verdict verdict = verify_chain(*store, rules, notes.reference);
    notes.peer.matched = std::move(verdict.matched);
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
    if (context.settings.role == TlsRole::server) {
        SSL_CTX_set_client_hello_cb(library, on_client_hello, nullptr);
        SSL_CTX_set_alpn_select_cb(library, on_select_protocol, nullptr);
        SSL_CTX_set_cookie_generate_cb(library, on_make_cookie); // of datagrams only
        SSL_CTX_set_cookie_verify_cb(library, on_check_cookie);
    }
}

} // namespace transports
