#include "tests/support/plain_tls_peer.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

namespace support {

struct PlainTlsPeer::State {
    PlainSettings settings;
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{nullptr, &SSL_CTX_free};
    std::unique_ptr<SSL, decltype(&SSL_free)> session{nullptr, &SSL_free};
    std::string received;
    int alert = 0;
    bool given_ticket = false;
};

namespace {

void require(bool done, const char* what)
{
    if (!done) {
        std::array<char, 256> text{};
        ERR_error_string_n(ERR_get_error(), text.data(), text.size());
        throw std::runtime_error{std::string{"plain peer: "} + what + ": " + text.data()};
    }
}

std::vector<unsigned char> protocol_list(const std::vector<std::string>& names)
{
    std::vector<unsigned char> wire;
    for (const std::string& name : names) {
        wire.push_back(static_cast<unsigned char>(name.size()));
        wire.insert(wire.end(), name.begin(), name.end());
    }
    return wire;
}

int choose_protocol(SSL* /*session*/, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void* names)
{
    const auto& ours = *static_cast<const std::vector<std::string>*>(names);
    for (std::span<const unsigned char> rest{offered, offered_size}; !rest.empty();) {
        const auto name = rest.subspan(1, rest.front());
        if (std::ranges::count(ours, std::string{name.begin(), name.end()}) > 0) {
            *chosen = name.data();
            *size = rest.front();
            return SSL_TLSEXT_ERR_OK;
        }
        rest = rest.subspan(1 + name.size());
    }
    return SSL_TLSEXT_ERR_NOACK;
}

template <class Object>
Object* read_pem(const std::string& text, Object* (*read)(BIO*, Object**, pem_password_cb*, void*))
{
    const std::unique_ptr<BIO, decltype(&BIO_free)> source{BIO_new_mem_buf(text.data(), static_cast<int>(text.size())),
                                                           &BIO_free};
    return read(source.get(), nullptr, nullptr, nullptr);
}

void show(SSL_CTX& context, const PlainSettings& settings)
{
    if (settings.identity == nullptr) {
        return;
    }
    const std::unique_ptr<X509, decltype(&X509_free)> leaf{
        read_pem<X509>(settings.identity->certificate(), PEM_read_bio_X509), &X509_free};
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{
        read_pem<EVP_PKEY>(settings.identity->key(), PEM_read_bio_PrivateKey), &EVP_PKEY_free};
    require(SSL_CTX_use_certificate(&context, leaf.get()) == 1 && SSL_CTX_use_PrivateKey(&context, key.get()) == 1,
            "identity");
    for (const Identity* const issuer : settings.chain) {
        const std::unique_ptr<X509, decltype(&X509_free)> certificate{
            read_pem<X509>(issuer->certificate(), PEM_read_bio_X509), &X509_free};
        require(SSL_CTX_add1_chain_cert(&context, certificate.get()) == 1, "chain");
    }
}

void apply(SSL_CTX& context, PlainSettings& settings)
{
    SSL_CTX_set_security_level(&context, 0);
    SSL_CTX_set_mode(&context, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_min_proto_version(&context, settings.oldest);
    SSL_CTX_set_max_proto_version(&context, settings.newest);
    require(SSL_CTX_set_cipher_list(&context, settings.ciphers.c_str()) == 1, "ciphers");
    require(settings.suites.empty() || SSL_CTX_set_ciphersuites(&context, settings.suites.c_str()) == 1, "suites");
    require(settings.groups.empty() || SSL_CTX_set1_groups_list(&context, settings.groups.c_str()) == 1, "groups");
    require(settings.signatures.empty() || SSL_CTX_set1_sigalgs_list(&context, settings.signatures.c_str()) == 1,
            "signatures");
    if (settings.server) {
        SSL_CTX_set_alpn_select_cb(&context, choose_protocol, &settings.protocols);
    } else if (const auto wire = protocol_list(settings.protocols); !wire.empty()) {
        require(SSL_CTX_set_alpn_protos(&context, wire.data(), static_cast<unsigned int>(wire.size())) == 0, "ALPN");
    }
    const bool asks = settings.server && settings.asks_certificate;
    SSL_CTX_set_verify(&context, asks ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       [](int /*accepted*/, X509_STORE_CTX* /*store*/) { return 1; });
}

} // namespace

PlainTlsPeer::PlainTlsPeer(const PlainSettings& settings) : state_{std::make_unique<State>()}
{
    state_->settings = settings;
    state_->context.reset(SSL_CTX_new(TLS_method()));
    apply(*state_->context, state_->settings);
    if (!settings.master_secret_extended) {
        SSL_CTX_set_options(state_->context.get(), SSL_OP_NO_EXTENDED_MASTER_SECRET);
    }
    show(*state_->context, state_->settings);
    state_->session.reset(SSL_new(state_->context.get()));
    SSL* const session = state_->session.get();
    require(session != nullptr, "session");
    SSL_set_bio(session, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    settings.server ? SSL_set_accept_state(session) : SSL_set_connect_state(session);
    SSL_set_app_data(session, state_.get());
    SSL_set_msg_callback_arg(session, state_.get());
    SSL_set_msg_callback(session, [](int written, int /*version*/, int content, const void* data, std::size_t size,
                                     SSL* /*told*/, void* state) {
        const bool handshake = written == 0 && content == SSL3_RT_HANDSHAKE && size > 0;
        if (handshake && *static_cast<const unsigned char*>(data) == SSL3_MT_NEWSESSION_TICKET) {
            static_cast<State*>(state)->given_ticket = true;
        }
    });
    SSL_set_info_callback(session, [](const SSL* told, int where, int value) {
        if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value >> 8) == SSL3_AL_FATAL) {
            static_cast<State*>(SSL_get_app_data(told))->alert = value & 0xFF;
        }
    });
}

PlainTlsPeer::~PlainTlsPeer() = default;

void PlainTlsPeer::feed(std::span<const std::byte> wire)
{
    if (!wire.empty()) {
        require(BIO_write(SSL_get_rbio(state_->session.get()), wire.data(), static_cast<int>(wire.size())) > 0, "feed");
    }
}

void PlainTlsPeer::run()
{
    SSL* const session = state_->session.get();
    ERR_clear_error();
    if (!SSL_is_init_finished(session) && SSL_do_handshake(session) != 1) {
        return;
    }
    std::array<char, 16384> text{};
    for (int size = 1; size > 0;) {
        ERR_clear_error();
        size = SSL_read(session, text.data(), static_cast<int>(text.size()));
        state_->received.append(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    }
    ERR_clear_error();
}

std::vector<std::byte> PlainTlsPeer::take_output()
{
    BIO* const sink = SSL_get_wbio(state_->session.get());
    std::vector<std::byte> wire(BIO_ctrl_pending(sink));
    if (!wire.empty()) {
        require(BIO_read(sink, wire.data(), static_cast<int>(wire.size())) == static_cast<int>(wire.size()), "output");
    }
    return wire;
}

bool PlainTlsPeer::established() const
{
    return SSL_is_init_finished(state_->session.get()) == 1;
}

int PlainTlsPeer::alert() const
{
    return state_->alert;
}

const std::string& PlainTlsPeer::received() const
{
    return state_->received;
}

bool PlainTlsPeer::saw_certificate() const
{
    return SSL_get0_peer_certificate(state_->session.get()) != nullptr;
}

int PlainTlsPeer::chain_length() const
{
    return sk_X509_num(SSL_get_peer_cert_chain(state_->session.get()));
}

bool PlainTlsPeer::was_given_ticket() const
{
    return state_->given_ticket;
}

std::string PlainTlsPeer::server_name() const
{
    const char* const name = SSL_get_servername(state_->session.get(), TLSEXT_NAMETYPE_host_name);
    return name != nullptr ? name : "";
}

void PlainTlsPeer::write(const std::string& text)
{
    require(SSL_write(state_->session.get(), text.data(), static_cast<int>(text.size())) > 0, "write");
}

void PlainTlsPeer::close()
{
    SSL_shutdown(state_->session.get());
}

void PlainTlsPeer::renegotiate()
{
    require(SSL_renegotiate(state_->session.get()) == 1, "renegotiate");
    SSL_do_handshake(state_->session.get());
    ERR_clear_error();
}

void PlainTlsPeer::update_keys()
{
    require(SSL_key_update(state_->session.get(), SSL_KEY_UPDATE_REQUESTED) == 1 &&
                SSL_do_handshake(state_->session.get()) == 1,
            "key update");
}

} // namespace support
