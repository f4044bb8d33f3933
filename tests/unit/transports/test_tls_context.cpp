#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_context.hpp"

using namespace std::chrono_literals;
using support::Identity;
using support::KeyType;
using support::problems_of;
using support::Scene;
using support::Wish;
using transports::TlsProblem;
using transports::TlsSettings;

namespace {

/// The one problem there is; more or none fail the test.
TlsProblem problem_of(const TlsSettings& settings)
{
    const auto problems = problems_of(settings);
    REQUIRE(problems.size() == 1);
    return problems.front();
}

bool says(const TlsProblem& problem, const std::string& setting, const std::string& text)
{
    const bool said = problem.setting == setting && problem.text.find(text) != std::string::npos;
    if (!said) {
        MESSAGE(problem.setting << ": " << problem.text);
    }
    return said;
}

} // namespace

TEST_SUITE_BEGIN("tls_context");

TEST_CASE("good settings make a context that knows when its certificate ends")
{
    Scene scene;
    const auto server = support::make_context(scene.server_settings);
    const auto now = transports::read_wall();
    CHECK(server->own_valid_until() > now + 23h);
    CHECK(server->own_valid_until() < now + 25h);
    CHECK(server->settings().role == transports::TlsRole::server);
    scene.client_settings.certificate.reset();
    scene.client_settings.key.reset();
    CHECK(support::make_context(scene.client_settings)->own_valid_until() == 0ns);
}

TEST_CASE("names that this build cannot use are told with their reason")
{
    CHECK(transports::why_unusable_suite("TLS_AES_128_GCM_SHA256").empty());
    CHECK(transports::why_unusable_suite("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384").empty());
    CHECK(transports::why_unusable_suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256").empty());
    CHECK(transports::why_unusable_suite("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384").empty());
    for (const char* const bad :
         {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_NULL_SHA",
          "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
          "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256", "tls_aes_128_gcm_sha256", ""}) {
        CAPTURE(bad);
        CHECK_FALSE(transports::why_unusable_suite(bad).empty());
    }
    for (const char* const good : {"x25519", "secp256r1", "secp384r1", "secp521r1", "x448", "ffdhe2048"}) {
        CHECK(transports::why_unusable_group(good).empty());
    }
    for (const char* const bad : {"P-256", "secp192r1", "MLKEM1024", ""}) {
        CHECK_FALSE(transports::why_unusable_group(bad).empty());
    }
    for (const char* const good : {"ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha512", "rsa_pkcs1_sha256", "ed25519"}) {
        CHECK(transports::why_unusable_signature(good).empty());
    }
    for (const char* const bad : {"rsa_pkcs1_sha1", "ecdsa_sha1", "RSA+SHA256", "mldsa87", ""}) {
        CHECK_FALSE(transports::why_unusable_signature(bad).empty());
    }
}

TEST_CASE("OpenSSL takes every name that is said to be usable")
{
    Scene scene;
    auto& policy = scene.client_settings.policy;
    policy.groups = {"x25519",    "secp256r1", "secp384r1", "secp521r1", "x448",
                     "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"};
    policy.signatures = {"ecdsa_secp256r1_sha256",
                         "ecdsa_secp384r1_sha384",
                         "ecdsa_secp521r1_sha512",
                         "ed25519",
                         "ed448",
                         "rsa_pss_rsae_sha256",
                         "rsa_pss_rsae_sha384",
                         "rsa_pss_rsae_sha512",
                         "rsa_pss_pss_sha256",
                         "rsa_pss_pss_sha384",
                         "rsa_pss_pss_sha512",
                         "rsa_pkcs1_sha256",
                         "rsa_pkcs1_sha384",
                         "rsa_pkcs1_sha512"};
    policy.suites = {"TLS_AES_128_GCM_SHA256",
                     "TLS_AES_256_GCM_SHA384",
                     "TLS_CHACHA20_POLY1305_SHA256",
                     "TLS_AES_128_CCM_SHA256",
                     "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                     "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                     "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
                     "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
                     "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"};
    CHECK(problems_of(scene.client_settings).empty());
}

TEST_CASE("a policy that cannot work is a problem of its list")
{
    Scene scene;
    const auto with = [&](auto change) {
        TlsSettings settings = scene.client_settings;
        change(settings.policy);
        return problem_of(settings);
    };
    CHECK(says(with([](auto& p) { p.versions.clear(); }), "versions", "none"));
    CHECK(says(with([](auto& p) { p.versions = {"TLS1.1"}; }), "versions", "TLS1.1"));
    CHECK(says(with([](auto& p) { p.versions = {"TLS1.3", "TLS1.3"}; }), "versions", "twice"));
    CHECK(says(with([](auto& p) { p.suites.clear(); }), "suites", "none"));
    CHECK(says(with([](auto& p) { p.suites.push_back("NULL"); }), "suites", "NULL"));
    CHECK(says(with([](auto& p) { p.suites = {"TLS_AES_128_GCM_SHA256"}; }), "suites", "TLS1.2"));
    CHECK(says(with([](auto& p) { p.suites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}; }), "suites", "TLS1.3"));
    CHECK(says(with([](auto& p) { p.groups = {"x25519", "curve"}; }), "groups", "curve"));
    CHECK(says(with([](auto& p) { p.signatures = {"ecdsa_secp256r1_sha256", "x"}; }), "signatures", "x"));
    // A suite of a version that was narrowed away is no problem: the profile listed both.
    TlsSettings narrowed = scene.client_settings;
    narrowed.policy.versions = {"TLS1.3"};
    CHECK(problems_of(narrowed).empty());
}

TEST_CASE("every problem is told at once")
{
    TlsSettings settings;
    settings.role = transports::TlsRole::server;
    settings.allow = {"nonsense"};
    settings.alpn = "";
    std::vector<std::string> keys;
    for (const TlsProblem& problem : problems_of(settings)) {
        keys.push_back(problem.setting);
    }
    std::ranges::sort(keys);
    CHECK(keys ==
          std::vector<std::string>{"allow", "alpn", "ca", "certificate", "groups", "signatures", "suites", "versions"});
}

TEST_CASE("what is not an authority cannot be trusted as one")
{
    Scene scene;
    const auto with = [&](void (*change)(Wish&)) {
        Wish wish = support::authority_wish("odd one");
        change(wish);
        TlsSettings settings = scene.client_settings;
        settings.ca =
            scene.folder.write("odd.pem", scene.authority.certificate() + Identity{wish, nullptr}.certificate());
        return problem_of(settings);
    };
    CHECK(says(with([](Wish& w) { w.basic.clear(); }), "ca", "odd.pem: CN=odd one: not a certificate authority"));
    CHECK(says(with([](Wish& w) { w.basic = "critical,CA:FALSE"; }), "ca", "basicConstraints"));
    CHECK(says(with([](Wish& w) { w.key_usage = "critical,digitalSignature"; }), "ca", "keyCertSign"));
    CHECK(says(with([](Wish& w) { w.key = KeyType::p256_explicit; }), "ca", "explicit elliptic curve"));
}

TEST_CASE("authorities come from a file or a directory, and must be there")
{
    Scene scene;
    TlsSettings settings = scene.client_settings;
    settings.ca = scene.folder.path() / "absent.pem";
    CHECK(says(problem_of(settings), "ca", "absent.pem: No such file"));
    settings.ca = scene.folder.write("empty.pem", "no certificate here\n");
    CHECK(says(problem_of(settings), "ca", "holds no PEM certificate"));
    settings.ca = scene.folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    CHECK(says(problem_of(settings), "ca", "broken certificate"));
    settings.ca = scene.folder.write("torn.pem", scene.authority.certificate().substr(0, 200));
    CHECK(says(problem_of(settings), "ca", "broken PEM"));
    const auto directory = scene.folder.path() / "authorities";
    std::filesystem::create_directory(directory);
    settings.ca = directory;
    CHECK(says(problem_of(settings), "ca", "holds no PEM certificate"));
    scene.folder.write("authorities/README", "words");
    scene.folder.write("authorities/one.pem", scene.authority.certificate());
    CHECK(problems_of(settings).empty());
    settings.role = transports::TlsRole::server;
    settings.certificate = scene.server_settings.certificate;
    settings.key = scene.server_settings.key;
    settings.ca.reset();
    CHECK(says(problem_of(settings), "ca", "needed"));
}

TEST_CASE("our own certificate must serve the role now, in its order, with the policy")
{
    Scene scene;
    const auto with = [&](void (*change)(Wish&)) {
        Wish wish = support::server_wish();
        change(wish);
        scene.show(scene.server_settings, scene.issue(wish));
        return problem_of(scene.server_settings);
    };
    CHECK(says(with([](Wish& w) { w.ends = -1min; }), "certificate", "CN=the server: expired on 20"));
    CHECK(says(with([](Wish& w) { w.starts = 1h; }), "certificate", "not valid before 20"));
    CHECK(says(with([](Wish& w) { w.usage = "clientAuth"; }), "certificate", "lacks extendedKeyUsage serverAuth"));
    CHECK(says(with([](Wish& w) { w.usage.reset(); }), "certificate", "lacks extendedKeyUsage"));
    CHECK(says(with([](Wish& w) { w.key = KeyType::rsa1024; }), "certificate", "1024 bits"));
    CHECK(says(with([](Wish& w) { w.key = KeyType::ed25519; }), "certificate", "Ed25519"));
    Wish old = support::server_wish();
    old.ends = -1min;
    scene.show(scene.server_settings, scene.issue(old));
    scene.server_settings.check_time = false;
    CHECK(problems_of(scene.server_settings).empty());
    scene.server_settings.check_time = true;
    const Identity other{support::authority_wish("other"), nullptr};
    scene.show(scene.server_settings, scene.server, {&other});
    CHECK(says(problem_of(scene.server_settings), "certificate", "not issued by CN=other"));
    scene.show(scene.server_settings, scene.server, {&scene.authority});
    CHECK(problems_of(scene.server_settings).empty());
}

TEST_CASE("a key type that the policy leaves out is told beforehand")
{
    Scene scene;
    TlsSettings& settings = scene.server_settings;
    Wish wish = support::server_wish();
    wish.key = KeyType::p384;
    scene.show(settings, scene.issue(wish));
    CHECK(problems_of(settings).empty());
    // In TLS 1.2 the curve of the key must be among the groups, in TLS 1.3 it comes with the scheme.
    settings.policy.versions = {"TLS1.2"};
    CHECK(says(problem_of(settings), "certificate", "secp384r1"));
    settings.policy.groups.emplace_back("secp384r1");
    CHECK(problems_of(settings).empty());
    settings.policy.suites = {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"};
    CHECK(says(problem_of(settings), "certificate", "fits none of the suites"));
    settings.policy = support::test_policy();
    settings.policy.versions = {"TLS1.3"};
    settings.policy.signatures = {"ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"};
    CHECK(says(problem_of(settings), "certificate", "secp384r1"));
}

TEST_CASE("the key must be there, in the clear, and the certificate's own")
{
    Scene scene;
    TlsSettings& settings = scene.server_settings;
    settings.key = scene.folder.write("other.key", scene.client.key());
    CHECK(says(problem_of(settings), "key", "does not belong to the certificate of CN=the server"));
    settings.key = scene.folder.write("locked.key", scene.server.encrypted_key());
    CHECK(says(problem_of(settings), "key", "encrypted"));
    settings.key = scene.folder.write("none.key", scene.server.certificate());
    CHECK(says(problem_of(settings), "key", "holds no usable PEM private key"));
    settings.key = scene.folder.path();
    CHECK(says(problem_of(settings), "key", "not a regular file"));
    settings.key.reset();
    CHECK(says(problem_of(settings), "key", "not given"));
    settings = scene.client_settings;
    settings.certificate.reset();
    CHECK(says(problem_of(settings), "certificate", "without its certificate"));
}

TEST_CASE("allow lists and revocation lists are read beforehand")
{
    Scene scene;
    scene.server_settings.allow = {"DNS:fine.test", "DNS:"};
    CHECK(says(problem_of(scene.server_settings), "allow", "DNS:: "));
    scene.server_settings.allow = {"DNS:fine.test"};
    scene.server_settings.client_certificate = transports::ClientCertificate::none;
    CHECK(says(problem_of(scene.server_settings), "allow", "only a server"));
    scene.client_settings.crl = {scene.folder.path() / "absent.crl"};
    CHECK(says(problem_of(scene.client_settings), "crl", "absent.crl"));
    scene.client_settings.revocation = transports::Revocation::none;
    CHECK(problems_of(scene.client_settings).empty());
}

TEST_CASE("an application protocol has 1 to 255 octets")
{
    Scene scene;
    for (const std::size_t size : {std::size_t{1}, std::size_t{255}}) {
        scene.client_settings.alpn = std::string(size, 'p');
        CHECK(problems_of(scene.client_settings).empty());
    }
    scene.client_settings.alpn = std::string(256, 'p');
    CHECK(says(problem_of(scene.client_settings), "alpn", "255"));
}

TEST_CASE("engines outlive the last other hold on their context")
{
    Scene scene;
    auto context = support::make_context(scene.client_settings);
    const std::weak_ptr<const transports::TlsContext> watch = context;
    auto engine = transports::TlsEngine::create(std::move(context), "server.test");
    CHECK_FALSE(watch.expired());
    const auto server = support::make_engine(scene.server_settings, "");
    support::converse(*engine, *server);
    CHECK(engine->state() == transports::EngineState::established);
    engine.reset();
    CHECK(watch.expired());
}

TEST_SUITE_END();
