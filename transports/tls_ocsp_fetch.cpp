#include "transports/tls_ocsp.hpp"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <utility>

#include <openssl/bio.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>

#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

constexpr unsigned kNap = 50;     // ms
constexpr int kLineOctets = 4096; // of HTTP, of a header line

struct RequestFree {
    void operator()(OCSP_REQUEST* object) const noexcept { OCSP_REQUEST_free(object); }
};
using Request = std::unique_ptr<OCSP_REQUEST, RequestFree>;

Certificate decode(const std::vector<unsigned char>& der)
{
    const unsigned char* at = der.data();
    return Certificate{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
}

/// RFC 6960 appendix B.1 leaves the digest of an id open; SHA-1 is the one that every responder knows (RFC 5019 section
/// 2.1.1). It names the certificate, and protects nothing.
Request make_request(const OcspQuestion& question)
{
    Request request{OCSP_REQUEST_new()};
    const Certificate certificate = decode(question.certificate);
    const Certificate issuer = decode(question.issuer);
    if (!request || !certificate || !issuer) {
        return nullptr;
    }
    OCSP_CERTID* const id = OCSP_cert_to_id(EVP_sha1(), certificate.get(), issuer.get());
    if (id == nullptr || OCSP_request_add0_id(request.get(), id) == nullptr) {
        OCSP_CERTID_free(id);
        return nullptr;
    }
    return OCSP_request_add1_nonce(request.get(), nullptr, -1) == 1 ? std::move(request) : nullptr;
}

/// Where an "http:" URL leads; owns the library's strings.
class Address {
public:
    explicit Address(const std::string& url)
        : valid_{OSSL_HTTP_parse_url(url.c_str(), &tls_, nullptr, &host_, &port_, nullptr, &path_, nullptr, nullptr) ==
                 1}
    {}
    ~Address()
    {
        OPENSSL_free(host_);
        OPENSSL_free(port_);
        OPENSSL_free(path_);
    }
    Address(const Address&) = delete;
    Address& operator=(const Address&) = delete;
    [[nodiscard]] bool usable() const noexcept { return valid_ && tls_ == 0; }
    [[nodiscard]] const char* host() const noexcept { return host_; }
    [[nodiscard]] const char* port() const noexcept { return port_; }
    [[nodiscard]] const char* path() const noexcept { return path_; }

private:
    int tls_ = 0;
    char* host_ = nullptr;
    char* port_ = nullptr;
    char* path_ = nullptr;
    bool valid_; // after what it fills in
};

/// A responder that hangs up while it is written to must cost nobody the process.
void forbid_broken_pipe() noexcept
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

/// A connection that did not block; the library's own would try a closed port again until the time is over.
Owned<bio_st> connect_to(const Address& address, std::time_t deadline)
{
    Owned<bio_st> connection{BIO_new(BIO_s_connect())};
    if (!connection || BIO_set_conn_hostname(connection.get(), address.host()) != 1 ||
        BIO_set_conn_port(connection.get(), address.port()) != 1) {
        return nullptr;
    }
    BIO_set_nbio(connection.get(), 1);
    while (BIO_do_connect(connection.get()) != 1) {
        if (BIO_should_retry(connection.get()) == 0 || BIO_wait(connection.get(), deadline, kNap) <= 0) {
            return nullptr;
        }
    }
    return connection;
}

OcspBytes exchange(const Address& address, OCSP_REQUEST& request, std::chrono::seconds patience)
{
    const Owned<bio_st> question{BIO_new(BIO_s_mem())};
    const std::time_t deadline = std::time(nullptr) + patience.count();
    const Owned<bio_st> connection = connect_to(address, deadline);
    const std::time_t left = std::max<std::time_t>(deadline - std::time(nullptr), 1);
    if (!question || !connection || i2d_OCSP_REQUEST_bio(question.get(), &request) != 1) {
        return nullptr;
    }
    const Owned<bio_st> answer{OSSL_HTTP_transfer(
        nullptr, address.host(), address.port(), address.path(), 0, nullptr, nullptr, connection.get(), nullptr,
        nullptr, nullptr, kLineOctets, nullptr, "application/ocsp-request", question.get(), "application/ocsp-response",
        1, kMaxOcspResponse, static_cast<int>(left), 0)};
    if (!answer) {
        return nullptr;
    }
    std::vector<unsigned char> octets(kMaxOcspResponse + 1);
    std::size_t size = 0;
    std::size_t count = 0;
    while (size < octets.size() && BIO_read_ex(answer.get(), &octets.at(size), octets.size() - size, &count) == 1) {
        size += count;
    }
    octets.resize(size);
    return std::make_shared<const std::vector<unsigned char>>(std::move(octets));
}

} // namespace

OcspFetched fetch_response(const OcspQuestion& question, std::chrono::seconds patience)
{
    forbid_broken_pipe();
    forget_library_errors();
    if (question.url.empty()) {
        return {{OcspStatus::no_responder, "the certificate names no responder that speaks http", {}}, nullptr};
    }
    const Address address{question.url};
    const Request request = make_request(question);
    if (!address.usable() || !request) {
        forget_library_errors();
        return {{OcspStatus::unreachable, question.url + ": not an address to ask at", {}}, nullptr};
    }
    OcspBytes response = exchange(address, *request, patience);
    const std::string errors = take_library_errors().text;
    if (!response) {
        return {{OcspStatus::unreachable, question.url + ": " + (errors.empty() ? "no response" : errors), {}},
                nullptr};
    }
    OcspFinding finding = judge_response(*response, question, request.get());
    return {std::move(finding), std::move(response)};
}

} // namespace transports
