#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "transports/tls_self_test.hpp"

using namespace transports;

namespace {

const std::vector<std::string> kEverything = {"TLS_AES_128_GCM_SHA256",
                                              "TLS_AES_256_GCM_SHA384",
                                              "TLS_CHACHA20_POLY1305_SHA256",
                                              "secp256r1",
                                              "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
                                              "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
                                              "aes128-ctr",
                                              "aes256-ctr",
                                              "diffie-hellman-group16-sha512",
                                              "secp384r1",
                                              "secp521r1",
                                              "ecdsa_secp521r1_sha512",
                                              "MD5",
                                              "x25519",
                                              "ecdsa_secp256r1_sha256",
                                              "ecdsa_secp384r1_sha384",
                                              "ed25519",
                                              "rsa_pkcs1_sha256",
                                              "rsa_pss_rsae_sha256",
                                              "SHA1",
                                              "AES128",
                                              "AES256"};

bool tests(const std::vector<std::string>& offered, std::string_view primitive)
{
    const auto tested = primitives_tested(offered);
    return std::find(tested.begin(), tested.end(), primitive) != tested.end();
}

} // namespace

TEST_SUITE("tls_self_test")
{
    TEST_CASE("every primitive gives its known answer")
    {
        CHECK(find_broken_primitive(kEverything).value_or("none") == "none");
        CHECK(primitives_tested(kEverything).size() == 28);
    }

    TEST_CASE("what nothing offers is not tested, hashes and key derivation always are")
    {
        CHECK(primitives_tested({}) ==
              std::vector<std::string_view>{"SHA-256", "SHA-384", "SHA-512", "HMAC", "HKDF", "TLS 1.2 PRF"});
        for (const auto& pair :
             std::vector<std::pair<std::string, std::string>>{{"SHA1", "SHA-1"},
                                                              {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "AES-128-GCM"},
                                                              {"TLS_CHACHA20_POLY1305_SHA256", "ChaCha20-Poly1305"},
                                                              {"x25519", "X25519"},
                                                              {"rsa_pss_pss_sha256", "RSA-PSS"},
                                                              {"ecdh-sha2-nistp521", "ECDH P-521"},
                                                              {"curve25519-sha256@libssh.org", "X25519"},
                                                              {"ssh-ed25519", "Ed25519"},
                                                              {"rsa-sha2-512", "RSA PKCS#1"},
                                                              {"ecdsa-sha2-nistp384", "ECDSA P-384"},
                                                              {"aes256-gcm@openssh.com", "AES-256-GCM"},
                                                              {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "SHA-1"},
                                                              {"AES128", "AES-128-CMAC"}}) {
            CAPTURE(pair.second);
            CHECK(tests({pair.first}, pair.second));
            CHECK_FALSE(tests({}, pair.second));
        }
    }

    TEST_CASE("a signature needs a key, and one that can be used")
    {
        const auto error = verify_signature("/nonexistent/key.pem", "text", "signature");
        REQUIRE(error.has_value());
        CHECK(error->find("/nonexistent/key.pem: no public key in it") != std::string::npos);
    }
}
