// Every item that a requirement allows is offered, or left out with a reason; nothing else is offered. The lists are
// those of the documents: NDcPP 2.2e, 3.0e and 4.0, and their packages for TLS and SSH.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gateway/profile.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

using Words = std::vector<std::string>;

// FCS_TLSC_EXT.1.1 and FCS_TLSS_EXT.1.1 of 2.2e and 3.0e.
const Words kList1 = {"TLS_RSA_WITH_AES_128_CBC_SHA",
                      "TLS_RSA_WITH_AES_256_CBC_SHA",
                      "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
                      "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
                      "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
                      "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
                      "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
                      "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
                      "TLS_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_RSA_WITH_AES_256_CBC_SHA256",
                      "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
                      "TLS_RSA_WITH_AES_128_GCM_SHA256",
                      "TLS_RSA_WITH_AES_256_GCM_SHA384",
                      "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
                      "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
                      "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
                      "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
                      "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                      "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                      "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
                      "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                      "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"};
// FCS_TLSC_EXT.1 of the TLS package 2.1: of CNSA 1.0 strength, and others.
const Words kList2Cnsa1 = {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                           "TLS_RSA_WITH_AES_256_GCM_SHA384",         "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
                           "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
                           "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",   "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384",
                           "TLS_RSA_PSK_WITH_AES_256_GCM_SHA384"};
const Words kList2 = {"TLS_RSA_WITH_AES_256_CBC_SHA256",
                      "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
                      "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                      "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                      "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
                      "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
                      "TLS_RSA_WITH_AES_128_CBC_SHA",
                      "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256",
                      "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256",
                      "TLS_RSA_PSK_WITH_AES_128_GCM_SHA256"};
const Words kTls13Of30e = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256",
                           "TLS_AES_128_CCM_8_SHA256"};
const Words kTls13Of40 = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"};
const Words kCurves = {"secp256r1", "secp384r1", "secp521r1"};
const Words kFiniteFields = {"ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"};
const Words kSignaturesOf30e = {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512",
                                "rsa_pss_rsae_sha256",    "rsa_pss_rsae_sha384",    "rsa_pss_rsae_sha512",
                                "rsa_pss_pss_sha256",     "rsa_pss_pss_sha384",     "rsa_pss_pss_sha512",
                                "rsa_pkcs1_sha256",       "rsa_pkcs1_sha384",       "rsa_pkcs1_sha512"};
const Words kCoreSignaturesOf40 = {"ecdsa_secp384r1_sha384", "rsa_pss_pss_sha384", "rsa_pss_rsae_sha384",
                                   "rsa_pkcs1_sha384"};
// The other schemes of 4.0 are an assignment.
const Words kDigestsUntil30e = {"SHA1", "SHA256", "SHA384", "SHA512", "AES-CBC-128", "AES-CBC-256"};
const Words kDigestsOf40 = {"SHA256", "SHA384", "SHA512", "AES128", "AES-CBC-128", "AES-CBC-256"}; // AES-CMAC-128

struct SshLists {
    Words kex;
    Words public_keys;
    Words ciphers;
    Words macs; // beside the implicit one of GCM
};
const SshLists kSshOf22e = {
    {"diffie-hellman-group14-sha1", "diffie-hellman-group14-sha256", "diffie-hellman-group15-sha512",
     "diffie-hellman-group16-sha512", "diffie-hellman-group17-sha512", "diffie-hellman-group18-sha512",
     "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"},
    {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
     "x509v3-ssh-rsa", "x509v3-ecdsa-sha2-nistp256", "x509v3-ecdsa-sha2-nistp384", "x509v3-ecdsa-sha2-nistp521",
     "x509v3-rsa2048-sha256"},
    {"aes128-cbc", "aes256-cbc", "aes128-ctr", "aes256-ctr", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
     "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"},
    {"hmac-sha1", "hmac-sha1-96", "hmac-sha2-256", "hmac-sha2-512", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"},
};
const SshLists kSshPackage10 = {
    {"diffie-hellman-group14-sha256", "diffie-hellman-group15-sha512", "diffie-hellman-group16-sha512",
     "diffie-hellman-group17-sha512", "diffie-hellman-group18-sha512", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
     "ecdh-sha2-nistp521", "curve25519-sha256", "curve448-sha512"},
    {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
     "ssh-ed25519", "ssh-ed448", "x509v3-ecdsa-sha2-nistp256", "x509v3-ecdsa-sha2-nistp384",
     "x509v3-ecdsa-sha2-nistp521", "x509v3-rsa2048-sha256"},
    {"aes128-cbc", "aes256-cbc", "aes128-ctr", "aes256-ctr", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
     "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"},
    {"hmac-sha2-256", "hmac-sha2-512", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"},
};
const SshLists kSshPackage20 = {
    {"diffie-hellman-group15-sha512", "diffie-hellman-group16-sha512", "diffie-hellman-group17-sha512",
     "diffie-hellman-group18-sha512", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"},
    {"rsa-sha2-512", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "x509v3-ecdsa-sha2-nistp384",
     "x509v3-ecdsa-sha2-nistp521"},
    {"AEAD_AES_256_GCM", "aes256-gcm@openssh.com"},
    {"AEAD_AES_256_GCM"},
};

struct Allowed {
    std::string profile;
    Words versions;
    Words suites;
    Words groups;
    Words signatures; // empty = the requirement names none
    SshLists ssh;
    Words digests;
};

Words operator+(Words left, const Words& right)
{
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

Words without(Words list, const Words& gone)
{
    std::erase_if(list, [&](const auto& item) { return std::find(gone.begin(), gone.end(), item) != gone.end(); });
    return list;
}

const Words kOld = {"TLS1.2", "TLS1.1", "DTLS1.2", "DTLS1.0"};
const Words kNew = {"TLS1.3", "TLS1.2", "DTLS1.3", "DTLS1.2"};

std::vector<Allowed> documents()
{
    const Words gcm = {"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"};
    const SshLists of_20e = {kSshOf22e.kex, kSshOf22e.public_keys, without(kSshOf22e.ciphers, gcm), kSshOf22e.macs};
    const SshLists cnsa = {{"ecdh-sha2-nistp384", "diffie-hellman-group15-sha512", "diffie-hellman-group16-sha512"},
                           {"ecdsa-sha2-nistp384", "rsa-sha2-512", "x509v3-ecdsa-sha2-nistp384"},
                           kSshPackage20.ciphers,
                           kSshPackage20.macs};
    return {
        {"ndcpp-2.0e-td0321", kOld, kList1, kCurves, {}, of_20e, {}},
        {"ndcpp-2.1", kOld, kList1, kCurves, {}, kSshOf22e, kDigestsUntil30e},
        {"ndcpp-2.2e", kOld, kList1, kCurves + kFiniteFields, {}, kSshOf22e, kDigestsUntil30e},
        {"ndcpp-3.0e", kNew, kList1 + kTls13Of30e, kCurves + kFiniteFields, kSignaturesOf30e, kSshPackage10,
         kDigestsUntil30e},
        {"ndcpp-4.0", kNew, kList2Cnsa1 + kList2 + kTls13Of40, kCurves + kFiniteFields, kSignaturesOf30e, kSshPackage20,
         kDigestsOf40},
        {"ndcpp-4.0-cnsa1",
         kNew,
         kList2Cnsa1 + Words{"TLS_AES_256_GCM_SHA384"},
         {"secp384r1", "secp521r1", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"},
         kCoreSignaturesOf40,
         cnsa,
         {"SHA384", "SHA512", "AES-CBC-256"}},
    };
}

// Of `allowed`, each stands in exactly one of the two; and nothing beyond is offered.
void check_list(const std::string& what, const Words& allowed, const Words& offered, const std::set<std::string>& out)
{
    CAPTURE(what);
    for (const auto& item : allowed) {
        CAPTURE(item);
        const auto times = std::count(offered.begin(), offered.end(), item);
        CHECK(times + static_cast<std::ptrdiff_t>(out.count(item)) == 1);
    }
    for (const auto& item : offered) {
        CAPTURE(item);
        CHECK(std::find(allowed.begin(), allowed.end(), item) != allowed.end());
    }
}

} // namespace

TEST_SUITE("profile_tables")
{
    TEST_CASE("what a document allows is offered or left out with a reason, and nothing else is offered")
    {
        for (const auto& document : documents()) {
            CAPTURE(document.profile);
            const auto loaded = load_profile(document.profile, "");
            REQUIRE(loaded.has_value());
            REQUIRE_MESSAGE(loaded->profile.has_value(), listing(loaded->errors));
            const auto& profile = *loaded->profile;
            std::set<std::string> out;
            for (const auto& left_out : profile.left_out) {
                CHECK(left_out.reason.size() > 15);
                out.insert(left_out.items.begin(), left_out.items.end());
            }
            check_list("versions", document.versions, profile.tls.versions + profile.dtls.versions, out);
            check_list("suites", document.suites, profile.tls.suites, out);
            check_list("groups", document.groups, profile.tls.groups, out);
            check_list("signatures", document.signatures.empty() ? kSignaturesOf30e : document.signatures,
                       profile.tls.signatures, out);
            check_list("kex", document.ssh.kex, profile.ssh.kex, out);
            check_list("public keys", document.ssh.public_keys, profile.ssh.public_keys, out);
            check_list("ciphers", document.ssh.ciphers, profile.ssh.ciphers, out);
            check_list("macs", document.ssh.macs, profile.ssh.macs, out);
            if (!document.digests.empty()) { // TD0321 has none: they carry no claim
                check_list("digests", document.digests, profile.digests, out);
            }
            for (const auto& suite : profile.dtls.suites) {
                CHECK(std::find(profile.tls.suites.begin(), profile.tls.suites.end(), suite) !=
                      profile.tls.suites.end());
            }
        }
    }

    TEST_CASE("every CC profile keeps what no document lets go")
    {
        for (const auto& document : documents()) {
            CAPTURE(document.profile);
            const auto loaded = load_profile(document.profile, "");
            REQUIRE((loaded && loaded->profile));
            const auto& profile = *loaded->profile;
            CHECK(profile.revocation == transports::Revocation::require);
            CHECK(std::count(profile.revocation_choices.begin(), profile.revocation_choices.end(),
                             transports::Revocation::none) == 0);
            CHECK(profile.certificate_time == std::vector{CertificateTime::strict});
            CHECK(profile.client_certificate == std::vector{transports::ClientCertificate::required});
            CHECK_FALSE(profile.group_readable_keys);
            CHECK_FALSE(profile.upstream_unprotected);
            CHECK_FALSE(profile.lab);
            CHECK_FALSE(profile.tls.wildcards);
            CHECK(profile.claim.forbidden == std::vector{ChannelKind::nts});
            CHECK(profile.ssh.rekey_time <= std::chrono::hours{1});
            CHECK(profile.ssh.rekey_bytes <= 1ULL << 30U);
            CHECK_FALSE(profile.demands.tls.empty());
        }
    }

    TEST_CASE("4.0 has no SHA-1, and CNSA 1.0 nothing below 192 bits")
    {
        const auto cnsa = load_profile("ndcpp-4.0-cnsa1", "");
        REQUIRE((cnsa && cnsa->profile));
        CHECK(cnsa->profile->tls.min_rsa_bits == 3072);
        for (const auto* list : {&cnsa->profile->tls.suites, &cnsa->profile->dtls.suites}) {
            for (const auto& suite : *list) {
                CHECK(suite.ends_with("AES_256_GCM_SHA384"));
            }
        }
        for (const auto* name : {"ndcpp-4.0", "ndcpp-4.0-cnsa1"}) {
            const auto loaded = load_profile(name, "");
            REQUIRE((loaded && loaded->profile));
            for (const auto& digest : loaded->profile->digests) {
                CHECK(digest != "SHA1");
            }
        }
    }
}
