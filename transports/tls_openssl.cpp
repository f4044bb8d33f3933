#include "transports/tls_openssl.hpp"

#include <array>
#include <ctime>
#include <limits>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace transports {

void OpenSslFree::operator()(bio_st* object) const noexcept
{
    BIO_free_all(object);
}

void OpenSslFree::operator()(evp_pkey_st* object) const noexcept
{
    EVP_PKEY_free(object);
}

void OpenSslFree::operator()(ssl_ctx_st* object) const noexcept
{
    SSL_CTX_free(object);
}

void OpenSslFree::operator()(ssl_st* object) const noexcept
{
    SSL_free(object);
}

void OpenSslFree::operator()(X509_crl_st* object) const noexcept
{
    X509_CRL_free(object);
}

void OpenSslFree::operator()(x509_st* object) const noexcept
{
    X509_free(object);
}

LibraryErrors take_library_errors()
{
    LibraryErrors taken;
    const char* data = nullptr;
    int flags = 0;
    while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
        if (ERR_GET_LIB(code) == ERR_LIB_SSL && !taken.ssl_reason) {
            taken.ssl_reason = ERR_GET_REASON(code);
        }
        if (!taken.text.empty()) {
            taken.text += "; ";
        }
        const char* const words = ERR_reason_error_string(code);
        taken.text += words != nullptr ? words : "error " + std::to_string(code);
        if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') {
            taken.text.append(" (").append(data).append(")");
        }
    }
    return taken;
}

void forget_library_errors() noexcept
{
    ERR_clear_error();
}

namespace {

std::string text_of(const X509_NAME* name)
{
    const Owned<bio_st> sink{BIO_new(BIO_s_mem())};
    if (name == nullptr || !sink || X509_NAME_print_ex(sink.get(), name, 0, XN_FLAG_RFC2253) < 0) {
        return {};
    }
    std::string text(BIO_ctrl_pending(sink.get()), '\0');
    const int got = BIO_read(sink.get(), text.data(), static_cast<int>(text.size()));
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
}

Nanoseconds wall_of(const ASN1_TIME* time)
{
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
        return Nanoseconds{0};
    }
    constexpr auto kLast = std::chrono::duration_cast<std::chrono::seconds>(Nanoseconds::max());
    const std::chrono::seconds seconds{timegm(&parts)};
    return seconds >= kLast ? Nanoseconds::max() : seconds <= -kLast ? Nanoseconds::min() : Nanoseconds{seconds};
}

} // namespace

std::string subject_of(const x509_st& certificate)
{
    return text_of(X509_get_subject_name(&certificate));
}

std::string issuer_of(const x509_st& certificate)
{
    return text_of(X509_get_issuer_name(&certificate));
}

Nanoseconds valid_from(const x509_st& certificate)
{
    return wall_of(X509_get0_notBefore(&certificate));
}

Nanoseconds valid_until(const x509_st& certificate)
{
    return wall_of(X509_get0_notAfter(&certificate));
}

std::string calendar(Nanoseconds wall)
{
    const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(wall).count();
    std::tm parts{};
    std::array<char, sizeof "2031-12-31 23:59:59 UTC and some room"> text{};
    if (gmtime_r(&seconds, &parts) == nullptr ||
        std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
        return "an unknown time";
    }
    return text.data();
}

std::string lower_hex(std::span<const unsigned char> octets)
{
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(octets.size() * 2);
    for (const unsigned char octet : octets) {
        text += kDigits[octet >> 4U];
        text += kDigits[octet & 0x0FU];
    }
    return text;
}

} // namespace transports
