#include "tests/support/test_pki.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace support {

namespace {

struct Free {
    void operator()(X509* object) const noexcept { X509_free(object); }
    void operator()(X509_CRL* object) const noexcept { X509_CRL_free(object); }
    void operator()(EVP_PKEY* object) const noexcept { EVP_PKEY_free(object); }
    void operator()(BIO* object) const noexcept { BIO_free(object); }
    void operator()(GENERAL_NAMES* object) const noexcept { GENERAL_NAMES_free(object); }
    void operator()(X509_EXTENSION* object) const noexcept { X509_EXTENSION_free(object); }
    void operator()(EVP_PKEY_CTX* object) const noexcept { EVP_PKEY_CTX_free(object); }
};
template <class T>
using Held = std::unique_ptr<T, Free>;

void require(bool done, const char* what)
{
    if (!done) {
        throw std::runtime_error{std::string{"the test's certificate cannot be made: "} + what};
    }
}

} // namespace

struct Identity::Parts {
    Held<X509> certificate;
    Held<EVP_PKEY> key;
};

namespace {

Held<EVP_PKEY> explicit_curve_key()
{
    const Held<EVP_PKEY_CTX> context{EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr)};
    std::string group = "P-256";
    std::string encoding = "explicit";
    const std::array<OSSL_PARAM, 3> parameters{OSSL_PARAM_construct_utf8_string("group", group.data(), group.size()),
                                               OSSL_PARAM_construct_utf8_string("encoding", encoding.data(), 0),
                                               OSSL_PARAM_construct_end()};
    EVP_PKEY* made = nullptr;
    require(EVP_PKEY_keygen_init(context.get()) == 1 &&
                EVP_PKEY_CTX_set_params(context.get(), parameters.data()) == 1 &&
                EVP_PKEY_generate(context.get(), &made) == 1,
            "explicit curve");
    return Held<EVP_PKEY>{made};
}

Held<EVP_PKEY> make_key(KeyType type)
{
    switch (type) {
    case KeyType::p256:
        return Held<EVP_PKEY>{EVP_EC_gen("P-256")};
    case KeyType::p384:
        return Held<EVP_PKEY>{EVP_EC_gen("P-384")};
    case KeyType::p256_explicit:
        return explicit_curve_key();
    case KeyType::ed25519:
        return Held<EVP_PKEY>{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")};
    case KeyType::rsa1024:
        return Held<EVP_PKEY>{EVP_RSA_gen(1024)};
    case KeyType::rsa2048:
        return Held<EVP_PKEY>{EVP_RSA_gen(2048)};
    }
    return {};
}

void add_name(GENERAL_NAMES& names, const std::string& text)
{
    const std::string kind = text.substr(0, text.find(':'));
    std::string value = text.substr(text.find(':') + 1);
    int type = kind == "URI" ? GEN_URI : kind == "EMAIL" ? GEN_EMAIL : GEN_DNS;
    if (kind == "IP") {
        std::array<char, 16> octets{};
        const bool v6 = value.find(':') != std::string::npos;
        require(inet_pton(v6 ? AF_INET6 : AF_INET, value.c_str(), octets.data()) == 1, "address");
        value.assign(octets.data(), v6 ? 16 : 4);
        type = GEN_IPADD;
    }
    GENERAL_NAME* const name = GENERAL_NAME_new();
    ASN1_STRING* const string = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    require(ASN1_STRING_set(string, value.data(), static_cast<int>(value.size())) == 1, "name");
    GENERAL_NAME_set0_value(name, type, string);
    require(sk_GENERAL_NAME_push(&names, name) > 0, "name");
}

void add_extension(X509& certificate, X509& issuer, int nid, const std::string& value)
{
    if (value.empty()) {
        return;
    }
    X509V3_CTX context{};
    X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
    const Held<X509_EXTENSION> extension{X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str())};
    require(extension && X509_add_ext(&certificate, extension.get(), -1) == 1, value.c_str());
}

void add_unknown_critical(X509& certificate)
{
    const std::unique_ptr<ASN1_OBJECT, decltype(&ASN1_OBJECT_free)> type{OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1),
                                                                         &ASN1_OBJECT_free};
    const std::unique_ptr<ASN1_OCTET_STRING, decltype(&ASN1_OCTET_STRING_free)> value{ASN1_OCTET_STRING_new(),
                                                                                      &ASN1_OCTET_STRING_free};
    const Held<X509_EXTENSION> extension{X509_EXTENSION_create_by_OBJ(nullptr, type.get(), 1, value.get())};
    require(extension && X509_add_ext(&certificate, extension.get(), -1) == 1, "critical extension");
}

void add_extensions(X509& certificate, X509& issuer, const Wish& wish)
{
    add_extension(certificate, issuer, NID_basic_constraints, wish.basic);
    add_extension(certificate, issuer, NID_key_usage, wish.key_usage);
    add_extension(certificate, issuer, NID_ext_key_usage, wish.usage.value_or(""));
    add_extension(certificate, issuer, NID_tlsfeature, wish.must_staple ? "status_request" : "");
    if (!wish.names.empty()) {
        const Held<GENERAL_NAMES> names{sk_GENERAL_NAME_new_null()};
        for (const std::string& name : wish.names) {
            add_name(*names, name);
        }
        require(X509_add1_ext_i2d(&certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1, "SAN");
    }
    if (wish.unknown_critical) {
        add_unknown_critical(certificate);
    }
}

void set_subject(X509& certificate, const std::string& common_name)
{
    if (common_name.empty()) {
        return;
    }
    const std::vector<unsigned char> text{common_name.begin(), common_name.end()};
    require(X509_NAME_add_entry_by_NID(X509_get_subject_name(&certificate), NID_commonName, MBSTRING_UTF8, text.data(),
                                       static_cast<int>(text.size()), -1, 0) == 1,
            "subject");
}

/// The same certificate but for the last bit of its signature.
Held<X509> with_turned_signature(const X509& certificate)
{
    unsigned char* der = nullptr;
    const int size = i2d_X509(&certificate, &der);
    require(size > 0, "encoding");
    std::vector<unsigned char> octets{der, std::next(der, size)};
    OPENSSL_free(der);
    octets.back() ^= 1U;
    const unsigned char* at = octets.data();
    return Held<X509>{d2i_X509(nullptr, &at, static_cast<long>(octets.size()))};
}

/// The same certificate with an issuerUniqueID, which OpenSSL reads but has no call to set; its signature is void.
Held<X509> with_unique_identifier(const X509& certificate)
{
    const auto encode = [](auto encoder, const auto* object) {
        unsigned char* der = nullptr;
        const int size = encoder(object, &der);
        require(size > 0, "encoding");
        std::vector<unsigned char> octets{der, std::next(der, size)};
        OPENSSL_free(der);
        return octets;
    };
    std::vector<unsigned char> octets = encode(i2d_X509, &certificate);
    const auto key = encode(i2d_X509_PUBKEY, X509_get_X509_PUBKEY(&certificate));
    const auto at =
        std::search(octets.begin(), octets.end(), key.begin(), key.end()) + static_cast<std::ptrdiff_t>(key.size());
    constexpr std::array<unsigned char, 4> kIdentifier{0x81, 0x02, 0x00, 0xAA};
    octets.insert(at, kIdentifier.begin(), kIdentifier.end());
    // The lengths of Certificate and TBSCertificate, both of the form 82 hh ll.
    for (const std::size_t low : {3U, 7U}) {
        require(octets.at(low - 2) == 0x82, "length");
        const std::size_t length = (std::size_t{octets.at(low - 1)} << 8U | octets.at(low)) + kIdentifier.size();
        octets.at(low - 1) = static_cast<unsigned char>(length >> 8U);
        octets.at(low) = static_cast<unsigned char>(length);
    }
    const unsigned char* from = octets.data();
    return Held<X509>{d2i_X509(nullptr, &from, static_cast<long>(octets.size()))};
}

std::string text_of(BIO& sink)
{
    char* data = nullptr;
    const long size = BIO_get_mem_data(&sink, &data);
    return {data, static_cast<std::size_t>(size)};
}

std::vector<unsigned char> spki_hash(const X509& certificate)
{
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
    std::vector<unsigned char> digest(32);
    require(size > 0 &&
                EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), nullptr, EVP_sha256(), nullptr) == 1,
            "hash");
    OPENSSL_free(der);
    return digest;
}

} // namespace

Identity::Identity(const Wish& wish, const Identity* issuer) : parts_{std::make_shared<Parts>()}
{
    parts_->certificate.reset(X509_new());
    parts_->key = make_key(wish.key);
    require(parts_->certificate && parts_->key, "key");
    X509& made = *parts_->certificate;
    const Parts& signer = issuer == nullptr ? *parts_ : *issuer->parts_;
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> serial{BN_new(), &BN_free};
    require(X509_set_version(&made, X509_VERSION_3) == 1 && BN_rand(serial.get(), 100, 0, 0) == 1 &&
                BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(&made)) != nullptr,
            "serial");
    set_subject(made, wish.common_name);
    X509& issuing = *signer.certificate;
    require(X509_set_issuer_name(&made, X509_get_subject_name(&issuing)) == 1 &&
                X509_gmtime_adj(X509_getm_notBefore(&made), wish.starts.count()) != nullptr &&
                X509_gmtime_adj(X509_getm_notAfter(&made), wish.ends.count()) != nullptr &&
                X509_set_pubkey(&made, parts_->key.get()) == 1,
            "fields");
    add_extensions(made, issuing, wish);
    const EVP_MD* const digest = EVP_PKEY_get_base_id(signer.key.get()) == EVP_PKEY_ED25519 ? nullptr
                                 : wish.sha1                                                ? EVP_sha1()
                                                                                            : EVP_sha256();
    require(X509_sign(&made, signer.key.get(), digest) > 0, "signature");
    if (wish.unique_identifier) {
        parts_->certificate = with_unique_identifier(made);
        require(parts_->certificate && X509_sign(parts_->certificate.get(), signer.key.get(), digest) > 0,
                "identifier");
    }
    if (wish.broken_signature) {
        parts_->certificate = with_turned_signature(made);
        require(parts_->certificate != nullptr, "broken signature");
    }
}

std::string Identity::certificate() const
{
    const Held<BIO> sink{BIO_new(BIO_s_mem())};
    require(PEM_write_bio_X509(sink.get(), parts_->certificate.get()) == 1, "PEM");
    return text_of(*sink);
}

std::string Identity::key() const
{
    const Held<BIO> sink{BIO_new(BIO_s_mem())};
    require(PEM_write_bio_PrivateKey(sink.get(), parts_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "PEM");
    return text_of(*sink);
}

std::string Identity::encrypted_key() const
{
    const Held<BIO> sink{BIO_new(BIO_s_mem())};
    std::vector<unsigned char> password{'s', 'e', 's', 'a', 'm', 'e'};
    require(PEM_write_bio_PrivateKey(sink.get(), parts_->key.get(), EVP_aes_128_cbc(), password.data(),
                                     static_cast<int>(password.size()), nullptr, nullptr) == 1,
            "PEM");
    return text_of(*sink);
}

std::string Identity::spki_sha256_hex() const
{
    std::string text;
    for (const unsigned char octet : spki_hash(*parts_->certificate)) {
        constexpr std::array kDigits{'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
        text += {kDigits.at(octet / 16U), kDigits.at(octet % 16U)};
    }
    return text;
}

std::string Identity::spki_sha256_base64() const
{
    const auto hash = spki_hash(*parts_->certificate);
    std::vector<unsigned char> text(48);
    const int size = EVP_EncodeBlock(text.data(), hash.data(), static_cast<int>(hash.size()));
    return {text.begin(), std::next(text.begin(), size)};
}

std::string Identity::serial() const
{
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> number{
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(parts_->certificate.get()), nullptr), &BN_free};
    char* const digits = BN_bn2hex(number.get());
    std::string text{digits};
    OPENSSL_free(digits);
    for (char& digit : text) {
        digit = static_cast<char>(std::tolower(static_cast<unsigned char>(digit)));
    }
    return text;
}

Wish authority_wish(const std::string& common_name)
{
    Wish wish;
    wish.common_name = common_name;
    wish.usage = std::nullopt;
    wish.basic = "critical,CA:TRUE";
    wish.key_usage = "critical,keyCertSign,cRLSign";
    return wish;
}

std::string revocation_list(const Identity& issuer, const ListWish& wish)
{
    const Held<X509_CRL> list{X509_CRL_new()};
    const Identity& signer = wish.signer == nullptr ? issuer : *wish.signer;
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> starts{X509_gmtime_adj(nullptr, wish.starts.count()),
                                                                       &ASN1_TIME_free};
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> ends{X509_gmtime_adj(nullptr, wish.ends.count()),
                                                                     &ASN1_TIME_free};
    require(X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
                X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.parts().certificate.get())) == 1 &&
                X509_CRL_set1_lastUpdate(list.get(), starts.get()) == 1 &&
                X509_CRL_set1_nextUpdate(list.get(), ends.get()) == 1,
            "revocation list");
    for (const Identity* const revoked : wish.revoked) {
        X509_REVOKED* const entry = X509_REVOKED_new();
        require(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->parts().certificate.get())) == 1 &&
                    X509_REVOKED_set_revocationDate(entry, starts.get()) == 1 &&
                    X509_CRL_add0_revoked(list.get(), entry) == 1,
                "revocation");
    }
    require(X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), signer.parts().key.get(), EVP_sha256()) > 0,
            "revocation list");
    const Held<BIO> sink{BIO_new(BIO_s_mem())};
    require(PEM_write_bio_X509_CRL(sink.get(), list.get()) == 1, "PEM");
    return text_of(*sink);
}

Folder::Folder()
{
    std::string pattern = (std::filesystem::temp_directory_path() / "ntpgate-test-XXXXXX").string();
    require(mkdtemp(pattern.data()) != nullptr, "folder");
    path_ = pattern;
}

Folder::~Folder()
{
    std::error_code ignored; // left behind, it does no harm
    std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path Folder::write(const std::string& name, const std::string& text) const
{
    std::ofstream file{path_ / name, std::ios::binary};
    file << text;
    require(file.good(), "file");
    return path_ / name;
}

} // namespace support
