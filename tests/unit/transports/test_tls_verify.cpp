#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using namespace std::chrono_literals;
using support::Identity;
using support::KeyType;
using support::PlainSettings;
using support::PlainTlsPeer;
using support::Scene;
using support::Wish;
using transports::Closed;
using transports::CloseReason;
using transports::EngineState;

namespace {

struct Judged {
    EngineState state{};
    Closed why;
    int alert{}; // what the peer was told
    std::string subject;
};

/// How our client judges a server that shows `identity`, whatever that is.
Judged judge_server(const Scene& scene, const Identity& identity, const std::vector<const Identity*>& chain = {},
                    const std::string& reference = "server.test")
{
    PlainSettings settings;
    settings.server = true;
    settings.identity = &identity;
    settings.chain = chain;
    settings.protocols = {"ntpgate/1"};
    PlainTlsPeer peer{settings};
    const auto client = support::make_engine(scene.client_settings, reference);
    converse(*client, peer);
    return {client->state(), client->failure(), peer.alert(), client->peer().subject};
}

/// How our server judges a client that shows `identity`; null = none.
Judged judge_client(const Scene& scene, const Identity* identity, const std::vector<const Identity*>& chain = {})
{
    PlainSettings settings;
    settings.identity = identity;
    settings.chain = chain;
    settings.protocols = {"ntpgate/1"};
    PlainTlsPeer peer{settings};
    const auto server = support::make_engine(scene.server_settings, "");
    converse(*server, peer);
    return {server->state(), server->failure(), peer.alert(), server->peer().subject};
}

Wish changed(Wish wish, void (*change)(Wish&))
{
    change(wish);
    return wish;
}

struct Case {
    const char* what;
    void (*change)(Wish&);
    CloseReason reason;
    int alert;
};

constexpr int kBadCertificate = 42;
constexpr int kRevoked = 44;
constexpr int kExpired = 45;
constexpr int kUnknownCa = 48;

const std::vector<Case> kBadLeaves{
    {"expired a minute ago", [](Wish& w) { w.ends = -1min; }, CloseReason::certificate_expired, kExpired},
    {"valid in a minute", [](Wish& w) { w.starts = 1min; }, CloseReason::certificate_not_yet_valid, kBadCertificate},
    {"without extendedKeyUsage", [](Wish& w) { w.usage.reset(); }, CloseReason::eku_missing, kBadCertificate},
    {"for code", [](Wish& w) { w.usage = "codeSigning"; }, CloseReason::eku_wrong, kBadCertificate},
    {"for anything", [](Wish& w) { w.usage = "anyExtendedKeyUsage"; }, CloseReason::eku_wrong, kBadCertificate},
    {"no digital signature", [](Wish& w) { w.key_usage = "critical,cRLSign"; }, CloseReason::certificate_invalid,
     kBadCertificate},
    {"broken signature", [](Wish& w) { w.broken_signature = true; }, CloseReason::bad_signature, kBadCertificate},
    {"signed with SHA-1", [](Wish& w) { w.sha1 = true; }, CloseReason::weak_key, kBadCertificate},
    {"RSA of 1024 bits", [](Wish& w) { w.key = KeyType::rsa1024; }, CloseReason::weak_key, kBadCertificate},
    {"unknown critical extension", [](Wish& w) { w.unknown_critical = true; }, CloseReason::certificate_invalid,
     kBadCertificate},
    {"unique identifier", [](Wish& w) { w.unique_identifier = true; }, CloseReason::certificate_invalid,
     kBadCertificate},
    {"explicit curve", [](Wish& w) { w.key = KeyType::p256_explicit; }, CloseReason::certificate_invalid,
     kBadCertificate},
    {"nobody at all",
     [](Wish& w) {
         w.common_name.clear();
         w.names.clear();
     },
     CloseReason::no_subject, kBadCertificate},
};

} // namespace

TEST_SUITE_BEGIN("tls_verify");

TEST_CASE("a bad server certificate is refused for its own reason, and told so")
{
    Scene scene;
    CHECK(judge_server(scene, scene.server).state == EngineState::established);
    for (const Case& bad : kBadLeaves) {
        CAPTURE(bad.what);
        const Identity leaf = scene.issue(changed(support::server_wish(), bad.change));
        const Judged judged = judge_server(scene, leaf);
        CHECK(judged.state == EngineState::failed);
        CHECK(name(judged.why.reason) == name(bad.reason));
        CHECK(judged.alert == bad.alert);
        const bool named = bad.reason == CloseReason::no_subject || judged.why.text.starts_with("CN=the server: ");
        CHECK_MESSAGE(named, judged.why.text);
    }
}

TEST_CASE("a bad client certificate is refused for its own reason, and told so")
{
    Scene scene;
    CHECK(judge_client(scene, &scene.client).state == EngineState::established);
    for (const Case& bad : kBadLeaves) {
        CAPTURE(bad.what);
        const Identity leaf = scene.issue(changed(support::client_wish(), bad.change));
        const Judged judged = judge_client(scene, &leaf);
        CHECK(judged.state == EngineState::failed);
        CHECK(name(judged.why.reason) == name(bad.reason));
        CHECK(judged.alert == bad.alert);
    }
}

TEST_CASE("the other role's certificate is of no use")
{
    Scene scene;
    CHECK(judge_server(scene, scene.client).why.reason == CloseReason::eku_wrong);
    CHECK(judge_client(scene, &scene.server).why.reason == CloseReason::eku_wrong);
}

TEST_CASE("a certificate that is just inside its time is accepted")
{
    Scene scene;
    for (void (*const change)(Wish&) : {+[](Wish& w) { w.ends = 1min; }, +[](Wish& w) { w.starts = 0s; }}) {
        CHECK(judge_server(scene, scene.issue(changed(support::server_wish(), change))).state ==
              EngineState::established);
    }
}

TEST_CASE("without check_time an expired certificate passes, and a bad one still does not")
{
    Scene scene;
    scene.client_settings.check_time = false;
    const Identity old = scene.issue(changed(support::server_wish(), [](Wish& w) { w.ends = -1min; }));
    CHECK(judge_server(scene, old).state == EngineState::established);
    const Identity wrong = scene.issue(changed(support::server_wish(), [](Wish& w) { w.usage.reset(); }));
    CHECK(judge_server(scene, wrong).why.reason == CloseReason::eku_missing);
}

TEST_CASE("who signed it decides: nobody, somebody else, or an impostor of the same name")
{
    Scene scene;
    const Identity alone{support::server_wish(), nullptr};
    CHECK(judge_server(scene, alone).why.reason == CloseReason::self_signed);
    CHECK(judge_server(scene, alone).alert == kUnknownCa);
    const Identity stranger{support::authority_wish("somebody else"), nullptr};
    const Identity theirs{support::server_wish(), &stranger};
    CHECK(judge_server(scene, theirs).why.reason == CloseReason::unknown_ca);
    CHECK(judge_server(scene, theirs, {&stranger}).why.reason == CloseReason::unknown_ca);
    CHECK(judge_server(scene, theirs).alert == kUnknownCa);
    const Identity impostor{support::authority_wish("the authority"), nullptr};
    CHECK(judge_server(scene, {support::server_wish(), &impostor}).why.reason == CloseReason::bad_signature);
}

TEST_CASE("an intermediate is believed when it may issue, and refused for what it lacks")
{
    struct Bad {
        const char* what;
        void (*change)(Wish&);
        CloseReason reason;
    };
    const std::vector<Bad> all{
        {"no CA", [](Wish& w) { w.basic = "critical,CA:FALSE"; }, CloseReason::invalid_ca},
        {"no basicConstraints", [](Wish& w) { w.basic.clear(); }, CloseReason::invalid_ca},
        {"no keyCertSign", [](Wish& w) { w.key_usage = "critical,digitalSignature"; }, CloseReason::invalid_ca},
        {"expired", [](Wish& w) { w.ends = -1min; }, CloseReason::certificate_expired},
        {"weak", [](Wish& w) { w.key = KeyType::rsa1024; }, CloseReason::weak_key},
        {"for code", [](Wish& w) { w.usage = "codeSigning"; }, CloseReason::eku_wrong},
        {"explicit curve", [](Wish& w) { w.key = KeyType::p256_explicit; }, CloseReason::certificate_invalid},
    };
    Scene scene;
    const Identity good = scene.issue(support::authority_wish("between"));
    CHECK(judge_server(scene, {support::server_wish(), &good}, {&good}).state == EngineState::established);
    CHECK(judge_server(scene, {support::server_wish(), &good}).why.reason == CloseReason::unknown_ca);
    for (const Bad& bad : all) {
        CAPTURE(bad.what);
        const Identity between = scene.issue(changed(support::authority_wish("between"), bad.change));
        const Judged judged = judge_server(scene, {support::server_wish(), &between}, {&between});
        CHECK(name(judged.why.reason) == name(bad.reason));
        CHECK_MESSAGE(judged.why.text.starts_with("CN=between: "), judged.why.text);
    }
}

TEST_CASE("a path may be as long as its authority says, and no longer")
{
    Scene scene;
    Wish wish = support::authority_wish("one");
    wish.basic = "critical,CA:TRUE,pathlen:1";
    const Identity one = scene.issue(wish);
    const Identity two{support::authority_wish("two"), &one};
    CHECK(judge_server(scene, {support::server_wish(), &two}, {&two, &one}).state == EngineState::established);
    const Identity three{support::authority_wish("three"), &two};
    CHECK(judge_server(scene, {support::server_wish(), &three}, {&three, &two, &one}).why.reason ==
          CloseReason::path_too_long);
}

TEST_CASE("eight intermediates are followed, nine are not")
{
    Scene scene;
    std::vector<Identity> path{scene.issue(support::authority_wish("1"))};
    for (int i = 2; i <= 9; ++i) {
        path.push_back({support::authority_wish(std::to_string(i)), &path.back()});
    }
    const auto judge_with = [&](std::size_t count) {
        std::vector<const Identity*> chain;
        for (std::size_t i = count; i > 0; --i) {
            chain.push_back(&path.at(i - 1));
        }
        return judge_server(scene, {support::server_wish(), chain.front()}, chain);
    };
    CHECK(judge_with(8).state == EngineState::established);
    CHECK(judge_with(9).why.reason == CloseReason::path_too_long);
}

TEST_CASE("RSA keys are as long as the policy says")
{
    Scene scene;
    const Identity leaf = scene.issue(changed(support::server_wish(), [](Wish& w) { w.key = KeyType::rsa2048; }));
    CHECK(judge_server(scene, leaf).state == EngineState::established);
    scene.client_settings.policy.min_rsa_bits = 2049;
    const Judged judged = judge_server(scene, leaf);
    CHECK(judged.why.reason == CloseReason::weak_key);
    CHECK(judged.why.text == "CN=the server: RSA key of 2048 bits (at least 2049)");
}

TEST_CASE("the server must bear the name it was called by")
{
    Scene scene;
    for (const char* const good :
         {"server.test", "SERVER.test", "server.test.", "192.0.2.1", "2001:db8::1", "2001:0DB8:0:0::1"}) {
        CAPTURE(good);
        CHECK(judge_server(scene, scene.server, {}, good).state == EngineState::established);
    }
    for (const char* const bad : {"other.test", "sub.server.test", "test", "192.0.2.2", "2001:db8::2", "", "."}) {
        CAPTURE(bad);
        CHECK(judge_server(scene, scene.server, {}, bad).why.reason == CloseReason::name_mismatch);
    }
}

TEST_CASE("the common name is not looked at, with or without alternative names")
{
    Scene scene;
    Wish wish = support::server_wish();
    wish.common_name = "server.test";
    wish.names = {"IP:192.0.2.9", "URI:ntp://server.test"};
    CHECK(judge_server(scene, scene.issue(wish)).why.reason == CloseReason::name_mismatch);
    wish.names.clear();
    CHECK(judge_server(scene, scene.issue(wish)).why.reason == CloseReason::name_only_in_subject);
    wish.common_name = "192.0.2.1";
    CHECK(judge_server(scene, scene.issue(wish), {}, "192.0.2.1").why.reason == CloseReason::name_only_in_subject);
}

TEST_CASE("wildcards count only where the policy has them, and only as the whole first label")
{
    Scene scene;
    Wish wish = support::server_wish();
    wish.names = {"DNS:*.server.test", "DNS:a.*.test", "DNS:b*.server.test"};
    const Identity leaf = scene.issue(wish);
    CHECK(judge_server(scene, leaf, {}, "x.server.test").why.reason == CloseReason::name_mismatch);
    scene.client_settings.policy.wildcards = true;
    CHECK(judge_server(scene, leaf, {}, "x.server.test").state == EngineState::established);
    for (const char* const bad : {"server.test", "x.y.server.test", "a.b.test"}) {
        CAPTURE(bad);
        CHECK(judge_server(scene, leaf, {}, bad).why.reason == CloseReason::name_mismatch);
    }
}

TEST_CASE("a name that hides its tail behind a NUL is not the name before it")
{
    Scene scene;
    Wish wish = support::server_wish();
    wish.names = {std::string{"DNS:server.test\0.evil.example", 29}};
    CHECK(judge_server(scene, scene.issue(wish)).why.reason == CloseReason::name_mismatch);
}

TEST_CASE("nobody bears the empty name")
{
    Scene scene;
    Wish wish = support::server_wish();
    wish.names = {"DNS:"};
    CHECK(judge_server(scene, scene.issue(wish), {}, "").why.reason == CloseReason::name_mismatch);
    CHECK(judge_server(scene, scene.issue(wish), {}, ".").why.reason == CloseReason::name_mismatch);
}

TEST_CASE("what was learnt of a refused peer is kept")
{
    Scene scene;
    const Identity leaf = scene.issue(changed(support::server_wish(), [](Wish& w) { w.ends = -1min; }));
    CHECK(judge_server(scene, leaf).subject == "CN=the server");
}

TEST_CASE("a client certificate is demanded, asked for, or not")
{
    Scene scene;
    const Judged without = judge_client(scene, nullptr);
    CHECK(without.why.reason == CloseReason::no_certificate);
    scene.server_settings.client_certificate = transports::ClientCertificate::optional;
    CHECK(judge_client(scene, nullptr).state == EngineState::established);
    CHECK(judge_client(scene, nullptr).subject.empty());
    CHECK(judge_client(scene, &scene.client).subject == "CN=the client");
    CHECK(judge_client(scene, &scene.server).why.reason == CloseReason::eku_wrong);
    scene.server_settings.client_certificate = transports::ClientCertificate::none;
    scene.server_settings.ca.reset();
    CHECK(judge_client(scene, &scene.client).state == EngineState::established);
    CHECK(judge_client(scene, &scene.client).subject.empty());
}

TEST_CASE("a revoked certificate is told so")
{
    Scene scene;
    scene.client_settings.crl = {
        scene.folder.write("a.crl", support::revocation_list(scene.authority, {.revoked = {&scene.server}}))};
    CHECK(judge_server(scene, scene.server).alert == kRevoked);
}

TEST_SUITE_END();
