#include "transports/tls_issue.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "transports/tls_identity.hpp"

namespace transports {

namespace {

// A peer whose clock is a little behind must not refuse a certificate that is minutes old.
constexpr std::chrono::hours kBackdated{1};
constexpr std::chrono::hours kLongest{24 * 36525};
// RFC 5280 section 4.1.2.2: positive and at most 20 octets.
constexpr int kSerialBits = 126;

struct FreeName {
    void operator()(GENERAL_NAMES* names) const noexcept { GENERAL_NAMES_free(names); }
    void operator()(GENERAL_NAME* name) const noexcept { GENERAL_NAME_free(name); }
};

IssueError library_error(const std::string& what)
{
    return {what + ": " + take_library_errors().text};
}

/// RFC 1123 section 2.1, with the underscore that internal zones use.
bool is_host_name(const std::string& name)
{
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_';
    };
    return !name.empty() && name.size() <= 253 && name.front() != '.' && name.back() != '.' &&
           name.find("..") == std::string::npos && std::ranges::all_of(name, fits);
}

bool set_serial(X509& certificate)
{
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> number{BN_new(), &BN_free};
    return number && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(&certificate)) != nullptr;
}

bool set_subject(X509& certificate, const std::string& common_name)
{
    const std::vector<unsigned char> text{common_name.begin(), common_name.end()};
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(&certificate), NID_commonName, MBSTRING_UTF8, text.data(),
                                      static_cast<int>(text.size()), -1, 0) == 1;
}

bool set_validity(X509& certificate, std::chrono::hours lifetime)
{
    const std::chrono::seconds seconds{lifetime};
    return X509_gmtime_adj(X509_getm_notBefore(&certificate), -std::chrono::seconds{kBackdated}.count()) != nullptr &&
           X509_gmtime_adj(X509_getm_notAfter(&certificate), seconds.count()) != nullptr;
}

/// Fixed text only: names that a user gives go through add_names, which knows no syntax to break out of.
bool add_extension(X509& certificate, const Issued* authority, int nid, const char* value)
{
    X509V3_CTX context{};
    X509* const issuer = authority == nullptr ? &certificate : authority->certificate.get();
    X509V3_set_ctx(&context, issuer, &certificate, nullptr, nullptr, 0);
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension{
        X509V3_EXT_conf_nid(nullptr, &context, nid, value), &X509_EXTENSION_free};
    return extension && X509_add_ext(&certificate, extension.get(), -1) == 1;
}

bool append_name(GENERAL_NAMES& names, const std::string& text)
{
    const Reference reference = make_reference(text);
    const bool host = reference.address.empty();
    std::unique_ptr<GENERAL_NAME, FreeName> name{GENERAL_NAME_new()};
    ASN1_STRING* const value = host ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
    if (!name || value == nullptr) {
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name.get(), host ? GEN_DNS : GEN_IPADD, value);
    const void* const data = host ? static_cast<const void*>(text.data()) : reference.address.data();
    const std::size_t size = host ? text.size() : reference.address.size();
    if (ASN1_STRING_set(value, data, static_cast<int>(size)) != 1 || sk_GENERAL_NAME_push(&names, name.get()) <= 0) {
        return false;
    }
    (void)name.release(); // the list owns it now
    return true;
}

bool add_names(X509& certificate, const std::vector<std::string>& names)
{
    const std::unique_ptr<GENERAL_NAMES, FreeName> list{sk_GENERAL_NAME_new_null()};
    const bool filled =
        list && std::ranges::all_of(names, [&](const std::string& name) { return append_name(*list, name); });
    return filled && X509_add1_ext_i2d(&certificate, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool add_extensions(X509& certificate, const IssueRequest& request, const Issued* authority)
{
    const bool is_authority = request.kind == IssuedKind::authority;
    const auto add = [&](int nid, const char* value) { return add_extension(certificate, authority, nid, value); };
    const bool basic =
        add(NID_basic_constraints, is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
        add(NID_key_usage, is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
        add(NID_subject_key_identifier, "hash") && add(NID_authority_key_identifier, "keyid:always");
    if (is_authority) {
        return basic;
    }
    return basic && add(NID_ext_key_usage, request.kind == IssuedKind::server ? "serverAuth" : "clientAuth") &&
           add_names(certificate, request.names);
}

std::optional<IssueError> check(const IssueRequest& request)
{
    if (request.lifetime < std::chrono::hours{1} || request.lifetime > kLongest) {
        return IssueError{"the lifetime must be between an hour and a century"};
    }
    if (request.kind != IssuedKind::authority && request.names.empty()) {
        return IssueError{"no name is given"};
    }
    for (const std::string& name : request.names) {
        if (make_reference(name).address.empty() && !is_host_name(name)) {
            return IssueError{"'" + name + "' is neither a host name nor an address"};
        }
    }
    return std::nullopt;
}

} // namespace

std::variant<Issued, IssueError> issue(const IssueRequest& request, const Issued* authority)
{
    if (auto error = check(request)) {
        return std::move(*error);
    }
    forget_library_errors();
    Issued issued{Certificate{X509_new()}, PrivateKey{EVP_EC_gen("P-256")}};
    if (!issued.certificate || !issued.key) {
        return library_error("cannot make a key");
    }
    X509& certificate = *issued.certificate;
    const Issued& signer = authority == nullptr ? issued : *authority;
    const bool made =
        X509_set_version(&certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
        set_subject(certificate, request.common_name) &&
        X509_set_issuer_name(&certificate, X509_get_subject_name(signer.certificate.get())) == 1 &&
        set_validity(certificate, request.lifetime) && X509_set_pubkey(&certificate, issued.key.get()) == 1 &&
        add_extensions(certificate, request, authority) && X509_sign(&certificate, signer.key.get(), EVP_sha256()) > 0;
    if (!made) {
        return library_error("cannot make the certificate of " + request.common_name);
    }
    return issued;
}

} // namespace transports
