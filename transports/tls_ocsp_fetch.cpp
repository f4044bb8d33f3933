#include "transports/tls_ocsp.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include <openssl/bio.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>
#include <poll.h>

#include "transports/clock.hpp"
#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

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

/// Until when, by a clock that nobody steps; the library's own limits go by the wall clock.
class Deadline {
public:
    explicit Deadline(Nanoseconds patience) : at_{read_boot() + patience} {}

    [[nodiscard]] bool is_over() const { return read_boot() >= at_; }

    /// Whether something was ready before it.
    [[nodiscard]] bool wait(bio_st& connection, short events) const
    {
        pollfd one{descriptor_of(connection), events, 0};
        while (!is_over()) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - read_boot());
            const int ready = poll(&one, 1, static_cast<int>(left.count()));
            if (ready != 0) {
                return ready > 0;
            }
        }
        return false;
    }

    /// Holds for each read and write that the library does on it from now on.
    void guard(bio_st& connection)
    {
        BIO_set_callback_arg(&connection, reinterpret_cast<char*>(this));
        BIO_set_callback_ex(&connection, &before);
    }

private:
    static int descriptor_of(bio_st& connection)
    {
        int descriptor = -1;
        (void)BIO_get_fd(&connection, &descriptor);
        return descriptor;
    }

    static long before(BIO* connection, int operation, const char*, std::size_t, int, long, int result, std::size_t*)
    {
        if (operation != BIO_CB_READ && operation != BIO_CB_WRITE) {
            return result;
        }
        const auto& self = *reinterpret_cast<Deadline*>(BIO_get_callback_arg(connection));
        if (self.wait(*connection, operation == BIO_CB_READ ? POLLIN : POLLOUT)) {
            return 1;
        }
        BIO_clear_retry_flags(connection); // or it would be tried for ever
        return -1;
    }

    Nanoseconds at_; // boot clock
};

/// A connection that did not block; the library's own would try a closed port again until the time is over.
Owned<bio_st> connect_to(const Address& address, const Deadline& deadline)
{
    Owned<bio_st> connection{BIO_new(BIO_s_connect())};
    if (!connection || BIO_set_conn_hostname(connection.get(), address.host()) != 1 ||
        BIO_set_conn_port(connection.get(), address.port()) != 1) {
        return nullptr;
    }
    BIO_set_nbio(connection.get(), 1);
    while (BIO_do_connect(connection.get()) != 1) {
        if (BIO_should_retry(connection.get()) == 0 || !deadline.wait(*connection, POLLOUT)) {
            return nullptr;
        }
    }
    return connection;
}

OcspBytes exchange(const Address& address, OCSP_REQUEST& request, Nanoseconds patience)
{
    Deadline deadline{patience}; // outlives the connection that it guards
    const Owned<bio_st> question{BIO_new(BIO_s_mem())};
    const Owned<bio_st> connection = connect_to(address, deadline);
    if (!question || !connection || i2d_OCSP_REQUEST_bio(question.get(), &request) != 1) {
        return nullptr;
    }
    deadline.guard(*connection);
    const Owned<bio_st> answer{OSSL_HTTP_transfer(nullptr, address.host(), address.port(), address.path(), 0, nullptr,
                                                  nullptr, connection.get(), nullptr, nullptr, nullptr, kLineOctets,
                                                  nullptr, "application/ocsp-request", question.get(),
                                                  "application/ocsp-response", 1, kMaxOcspResponse, 0, 0)};
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

OcspFetched fetch_response(const OcspQuestion& question, Nanoseconds patience)
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
