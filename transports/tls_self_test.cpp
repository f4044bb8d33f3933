#include "transports/tls_self_test.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "transports/tls_known_answers.hpp"
#include "transports/tls_openssl.hpp"

namespace transports {

namespace {

using Octets = std::vector<unsigned char>;

struct Free {
    void operator()(EVP_MD_CTX* object) const noexcept { EVP_MD_CTX_free(object); }
    void operator()(EVP_CIPHER_CTX* object) const noexcept { EVP_CIPHER_CTX_free(object); }
    void operator()(EVP_PKEY_CTX* object) const noexcept { EVP_PKEY_CTX_free(object); }
    void operator()(EVP_KDF* object) const noexcept { EVP_KDF_free(object); }
    void operator()(EVP_KDF_CTX* object) const noexcept { EVP_KDF_CTX_free(object); }
};
template <class T>
using Own = std::unique_ptr<T, Free>;

constexpr std::string_view kMessage = "ntpgate known answer";

unsigned char nibble(char digit) noexcept
{
    return static_cast<unsigned char>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

Octets octets(std::string_view hex)
{
    Octets out;
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
        out.push_back(static_cast<unsigned char>(nibble(hex[at]) << 4U | nibble(hex[at + 1])));
    }
    return out;
}

Octets octets_of(std::string_view text)
{
    return {text.begin(), text.end()};
}

bool hashes(const char* digest, std::string_view expected)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
    unsigned int size = 0;
    return EVP_Digest("abc", 3, out.data(), &size, EVP_get_digestbyname(digest), nullptr) == 1 && // FIPS 180-4
           Octets(out.begin(), out.begin() + size) == octets(expected);
}

bool macs(const char* algorithm, const OSSL_PARAM* parameters, const Octets& key, const Octets& text,
          std::string_view expected)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
    std::size_t size = 0;
    return EVP_Q_mac(nullptr, algorithm, nullptr, nullptr, parameters, key.data(), key.size(), text.data(), text.size(),
                     out.data(), out.size(), &size) != nullptr &&
           Octets(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)) == octets(expected);
}

bool hmacs() // RFC 4231 section 4.3
{
    char digest[] = "SHA256";
    const std::array parameters = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
    return macs("HMAC", parameters.data(), octets_of("Jefe"), octets_of("what do ya want for nothing?"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

bool cmacs(std::string cipher, std::string_view key, std::string_view expected)
{
    const std::array parameters = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher.data(), 0),
                                   OSSL_PARAM_construct_end()};
    return macs("CMAC", parameters.data(), octets(key), octets("6bc1bee22e409f96e93d7e117393172a"), expected);
}

bool derives(const char* algorithm, const OSSL_PARAM* parameters, std::string_view expected)
{
    const Own<EVP_KDF> kdf{EVP_KDF_fetch(nullptr, algorithm, nullptr)};
    const Own<EVP_KDF_CTX> context{kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr};
    Octets out(expected.size() / 2);
    return context && EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1 && out == octets(expected);
}

OSSL_PARAM octet_parameter(const char* name, Octets& value)
{
    return OSSL_PARAM_construct_octet_string(name, value.data(), value.size());
}

bool expands() // RFC 5869 appendix A.1; what TLS 1.3 derives its keys with
{
    char digest[] = "SHA256";
    Octets key = octets("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    Octets salt = octets("000102030405060708090a0b0c");
    Octets info = octets("f0f1f2f3f4f5f6f7f8f9");
    const std::array parameters = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                   octet_parameter(OSSL_KDF_PARAM_KEY, key), octet_parameter(OSSL_KDF_PARAM_SALT, salt),
                                   octet_parameter(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
    return derives("HKDF", parameters.data(),
                   "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

bool prf_derives() // RFC 5246 section 5 with SHA-256
{
    char digest[] = "SHA256";
    Octets secret = octets("9bbe436ba940f017b17652849a71db35");
    Octets seed = octets("74657374206c6162656ca0ba9f936cda311827a6f796ffd5198c");
    const std::array parameters = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                   octet_parameter(OSSL_KDF_PARAM_SECRET, secret),
                                   octet_parameter(OSSL_KDF_PARAM_SEED, seed), OSSL_PARAM_construct_end()};
    return derives("TLS1-PRF", parameters.data(), "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a");
}

struct Sealed {
    const EVP_CIPHER* cipher;
    Octets key;
    Octets nonce;
    Octets additional;
    Octets plain;
    Octets sealed; // and tag
};

// Seals to what is expected, opens it again, and does not open it when a bit of the tag is wrong.
bool seals(const Sealed& known)
{
    constexpr int kTag = 16;
    const int size = static_cast<int>(known.plain.size());
    const auto run = [&](bool seal, const Octets& in, Octets& out, Octets& tag) {
        const Own<EVP_CIPHER_CTX> context{EVP_CIPHER_CTX_new()};
        int done = 0;
        out.assign(in.size(), 0);
        if (!context || EVP_CipherInit_ex(context.get(), known.cipher, nullptr, known.key.data(), known.nonce.data(),
                                          seal ? 1 : 0) != 1) {
            return false;
        }
        if (!known.additional.empty() && EVP_CipherUpdate(context.get(), nullptr, &done, known.additional.data(),
                                                          static_cast<int>(known.additional.size())) != 1) {
            return false;
        }
        if (EVP_CipherUpdate(context.get(), out.data(), &done, in.data(), size) != 1 ||
            (!seal && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) != 1) ||
            EVP_CipherFinal_ex(context.get(), out.data() + done, &done) != 1) {
            return false;
        }
        return !seal || EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTag, tag.data()) == 1;
    };
    Octets tag(kTag);
    Octets sealed;
    Octets opened;
    if (!run(true, known.plain, sealed, tag)) {
        return false;
    }
    Octets whole = sealed;
    whole.insert(whole.end(), tag.begin(), tag.end());
    if (whole != known.sealed || !run(false, sealed, opened, tag) || opened != known.plain) {
        return false;
    }
    tag.back() ^= 1U;
    return !run(false, sealed, opened, tag);
}

// The first block of SP 800-38A, F.2 and F.5, there and back.
bool enciphers(const EVP_CIPHER* cipher, std::string_view key, std::string_view vector, std::string_view expected)
{
    const Octets plain = octets("6bc1bee22e409f96e93d7e117393172a");
    const Octets secret = octets(key);
    const Octets first = octets(vector);
    const auto run = [&](bool seal, const Octets& in) {
        const Own<EVP_CIPHER_CTX> context{EVP_CIPHER_CTX_new()};
        Octets out(in.size() + EVP_MAX_BLOCK_LENGTH);
        int size = 0;
        const bool done =
            context && EVP_CipherInit_ex(context.get(), cipher, nullptr, secret.data(), first.data(), seal) == 1 &&
            EVP_CIPHER_CTX_set_padding(context.get(), 0) == 1 &&
            EVP_CipherUpdate(context.get(), out.data(), &size, in.data(), static_cast<int>(in.size())) == 1;
        out.resize(done ? static_cast<std::size_t>(size) : 0);
        return out;
    };
    return run(true, plain) == octets(expected) && run(false, octets(expected)) == plain;
}

constexpr std::string_view kKey128 = "2b7e151628aed2a6abf7158809cf4f3c";
constexpr std::string_view kKey256 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
constexpr std::string_view kVector = "000102030405060708090a0b0c0d0e0f";
constexpr std::string_view kCounter = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

bool gcm_seals(const EVP_CIPHER* cipher, std::size_t key_size, std::string_view expected) // McGrew, Viega: cases 2, 14
{
    return seals({cipher, Octets(key_size), Octets(12), {}, Octets(16), octets(expected)});
}

bool chacha_seals() // RFC 8439 section 2.8.2
{
    return seals({EVP_chacha20_poly1305(), octets("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"),
                  octets("070000004041424344454647"), octets("50515253c0c1c2c3c4c5c6c7"),
                  octets_of("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
                            "future, sunscreen would be it."),
                  octets("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92"
                         "728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b"
                         "4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691")});
}

PrivateKey public_key(std::string_view hex)
{
    const Octets der = octets(hex);
    const unsigned char* at = der.data();
    return PrivateKey{d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size()))};
}

bool verifies(evp_pkey_st* key, const EVP_MD* digest, bool pss, std::string_view text, const Octets& signature)
{
    const Own<EVP_MD_CTX> context{EVP_MD_CTX_new()};
    EVP_PKEY_CTX* settings = nullptr; // the context's
    if (key == nullptr || !context || EVP_DigestVerifyInit(context.get(), &settings, digest, nullptr, key) != 1 ||
        (pss && EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) != 1)) {
        return false;
    }
    const auto* const octet = reinterpret_cast<const unsigned char*>(text.data());
    return EVP_DigestVerify(context.get(), signature.data(), signature.size(), octet, text.size()) == 1;
}

// The signature is good for the message, and for no other.
bool judges(const PrivateKey& key, const EVP_MD* digest, bool pss, std::string_view signature)
{
    return verifies(key.get(), digest, pss, kMessage, octets(signature)) &&
           !verifies(key.get(), digest, pss, kMessage.substr(1), octets(signature));
}

bool ed25519_judges() // RFC 8032 section 7.1
{
    const Octets key = octets("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    const Octets signature = octets("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc6"
                                    "1e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
    const PrivateKey made{EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size())};
    return verifies(made.get(), nullptr, false, "", signature) && !verifies(made.get(), nullptr, false, "x", signature);
}

bool agrees(const PrivateKey& own, const PrivateKey& peer, std::string_view expected)
{
    const Own<EVP_PKEY_CTX> context{own ? EVP_PKEY_CTX_new(own.get(), nullptr) : nullptr};
    Octets out(expected.size() / 2);
    std::size_t size = out.size();
    return context && peer && EVP_PKEY_derive_init(context.get()) == 1 &&
           EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1 &&
           EVP_PKEY_derive(context.get(), out.data(), &size) == 1 && size == out.size() && out == octets(expected);
}

PrivateKey private_key(std::string_view hex)
{
    const Octets der = octets(hex);
    const unsigned char* at = der.data();
    return PrivateKey{d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size()))};
}

bool x25519_agrees() // RFC 7748 section 5.2
{
    const Octets own = octets("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    const Octets peer = octets("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    return agrees(PrivateKey{EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, own.data(), own.size())},
                  PrivateKey{EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size())},
                  "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

// Parts of offered names, of TLS and of SSH.
using AskedBy = std::array<std::string_view, 3>;
constexpr AskedBy kAlways{};
struct Test {
    std::string_view primitive;
    AskedBy asked_by;
    bool (*works)();
};
constexpr std::array kTests = {
    Test{"SHA-256", kAlways,
         [] { return hashes("SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); }},
    Test{"SHA-384", kAlways,
         [] {
             return hashes("SHA384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc23"
                                     "58baeca134c825a7");
         }},
    Test{"SHA-512", kAlways,
         [] {
             return hashes("SHA512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a8"
                                     "36ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
         }},
    Test{"HMAC", kAlways, &hmacs},
    Test{"HKDF", kAlways, &expands},
    Test{"TLS 1.2 PRF", kAlways, &prf_derives},
    Test{"MD5", {"MD5"}, [] { return hashes("MD5", "900150983cd24fb0d6963f7d28e17f72"); }}, // RFC 1321
    Test{"SHA-1",
         {"SHA1", "sha1", "_CBC_SHA"},
         [] { return hashes("SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d"); }},
    Test{"AES-128-GCM",
         {"AES_128_GCM", "aes128-gcm"},
         [] {
             return gcm_seals(EVP_aes_128_gcm(), 16,
                              "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf");
         }},
    Test{"AES-256-GCM",
         {"AES_256_GCM", "aes256-gcm"},
         [] {
             return gcm_seals(EVP_aes_256_gcm(), 32,
                              "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
         }},
    Test{"ChaCha20-Poly1305", {"CHACHA20", "chacha20"}, &chacha_seals},
    Test{"AES-128-CBC",
         {"AES_128_CBC", "aes128-cbc"},
         [] { return enciphers(EVP_aes_128_cbc(), kKey128, kVector, "7649abac8119b246cee98e9b12e9197d"); }},
    Test{"AES-256-CBC",
         {"AES_256_CBC", "aes256-cbc"},
         [] { return enciphers(EVP_aes_256_cbc(), kKey256, kVector, "f58c4c04d6e5f1ba779eabfb5f7bfbd6"); }},
    Test{"AES-128-CTR",
         {"aes128-ctr"},
         [] { return enciphers(EVP_aes_128_ctr(), kKey128, kCounter, "874d6191b620e3261bef6864990db6ce"); }},
    Test{"AES-256-CTR",
         {"aes256-ctr"},
         [] { return enciphers(EVP_aes_256_ctr(), kKey256, kCounter, "601ec313775789a5b7a7f504bbf3d228"); }},
    Test{"AES-128-CMAC",
         {"AES128"},
         [] { // RFC 4493 section 4
             return cmacs("AES-128-CBC", kKey128, "070a16b46b4d4144f79bdd9dd04a287c");
         }},
    Test{"AES-256-CMAC",
         {"AES256"},
         [] { // SP 800-38B, D.3
             return cmacs("AES-256-CBC", kKey256, "28a7023f452e8f82bd4bf28d8c37c35c");
         }},
    Test{"ECDH P-256",
         {"secp256r1", "ecdh-sha2-nistp256"},
         [] { return agrees(private_key(known::kP256Own), public_key(known::kP256Peer), known::kP256Shared); }},
    Test{"ECDH P-384",
         {"secp384r1", "ecdh-sha2-nistp384"},
         [] { return agrees(private_key(known::kP384Own), public_key(known::kP384Peer), known::kP384Shared); }},
    Test{"ECDH P-521",
         {"secp521r1", "ecdh-sha2-nistp521"},
         [] { return agrees(private_key(known::kP521Own), public_key(known::kP521Peer), known::kP521Shared); }},
    Test{"X25519", {"x25519", "curve25519"}, &x25519_agrees},
    Test{"Diffie-Hellman",
         {"diffie-hellman"},
         [] { return agrees(private_key(known::kDhOwn), public_key(known::kDhPeer), known::kDhShared); }},
    Test{"ECDSA P-256",
         {"ecdsa_secp256r1", "ecdsa-sha2-nistp256"},
         [] { return judges(public_key(known::kP256Public), EVP_sha256(), false, known::kP256Signature); }},
    Test{"ECDSA P-384",
         {"ecdsa_secp384r1", "ecdsa-sha2-nistp384"},
         [] { return judges(public_key(known::kP384Public), EVP_sha384(), false, known::kP384Signature); }},
    Test{"ECDSA P-521",
         {"ecdsa_secp521r1", "ecdsa-sha2-nistp521"},
         [] { return judges(public_key(known::kP521Public), EVP_sha512(), false, known::kP521Signature); }},
    Test{"Ed25519", {"ed25519"}, &ed25519_judges},
    Test{"RSA PKCS#1",
         {"rsa_pkcs1", "rsa-sha2"},
         [] { return judges(public_key(known::kRsaPublic), EVP_sha256(), false, known::kRsaPkcs1Signature); }},
    Test{"RSA-PSS",
         {"rsa_pss"},
         [] { return judges(public_key(known::kRsaPublic), EVP_sha256(), true, known::kRsaPssSignature); }},
};

bool is_asked(const Test& test, std::span<const std::string> offered)
{
    const auto asks = [&](const std::string& name) {
        return std::ranges::any_of(test.asked_by, [&](std::string_view part) {
            return !part.empty() && name.find(part) != std::string::npos;
        });
    };
    return test.asked_by == kAlways || std::ranges::any_of(offered, asks);
}

} // namespace

std::vector<std::string_view> primitives_tested(std::span<const std::string> offered)
{
    std::vector<std::string_view> names;
    for (const Test& test : kTests) {
        if (is_asked(test, offered)) {
            names.push_back(test.primitive);
        }
    }
    return names;
}

std::optional<std::string> find_broken_primitive(std::span<const std::string> offered)
{
    for (const Test& test : kTests) {
        const bool works = !is_asked(test, offered) || test.works();
        forget_library_errors(); // the refusals of what is wrong leave some
        if (!works) {
            return std::string{test.primitive};
        }
    }
    return std::nullopt;
}

std::optional<std::string> require_fips_provider()
{
    // Both stay for as long as the process: `base` has the encodings of keys, which the other one leaves out.
    if (OSSL_PROVIDER_load(nullptr, "fips") == nullptr || OSSL_PROVIDER_load(nullptr, "base") == nullptr ||
        EVP_default_properties_enable_fips(nullptr, 1) != 1) {
        return "the FIPS provider of OpenSSL can not be loaded: " + take_library_errors().text;
    }
    EVP_MD* const probe = EVP_MD_fetch(nullptr, "SHA2-256", "fips=yes");
    if (probe == nullptr) {
        return "the FIPS provider of OpenSSL is loaded and has no SHA-256: " + take_library_errors().text;
    }
    EVP_MD_free(probe);
    return std::nullopt;
}

std::optional<std::string> verify_signature(const std::string& public_key, std::string_view text,
                                            std::string_view signature)
{
    std::unique_ptr<BIO, decltype(&BIO_free)> file{BIO_new_file(public_key.c_str(), "rb"), &BIO_free};
    const PrivateKey key{file ? PEM_read_bio_PUBKEY(file.get(), nullptr, nullptr, nullptr) : nullptr};
    if (!key) {
        return public_key + ": no public key in it: " + take_library_errors().text;
    }
    const bool hashed = EVP_PKEY_is_a(key.get(), "RSA") == 1 || EVP_PKEY_is_a(key.get(), "EC") == 1;
    if (!hashed && EVP_PKEY_is_a(key.get(), "ED25519") != 1) {
        return public_key + ": the key is of another kind (expected RSA, EC or Ed25519)";
    }
    const bool good = verifies(key.get(), hashed ? EVP_sha256() : nullptr, false, text, octets_of(signature));
    forget_library_errors();
    return good ? std::nullopt : std::optional<std::string>{"the signature is not by the key in " + public_key};
}

} // namespace transports
