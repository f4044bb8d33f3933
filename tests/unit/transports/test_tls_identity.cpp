#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_identity.hpp"

using support::Identity;
using support::Scene;
using support::Wish;
using transports::AllowEntry;
using transports::BadEntry;
using transports::CloseReason;
using transports::EngineState;
using transports::parse_allow_entry;

namespace {

/// What our server says about a client that bears many names: the entry that admitted it, or nothing.
std::optional<std::string> admitted(Scene& scene, const Identity& client, const std::vector<std::string>& allow)
{
    scene.show(scene.client_settings, client);
    scene.server_settings.allow = allow;
    const auto ours = support::make_engine(scene.server_settings, "");
    const auto theirs = support::make_engine(scene.client_settings);
    support::converse(*theirs, *ours);
    if (ours->state() == EngineState::established) {
        return ours->peer().matched;
    }
    CHECK(ours->failure().reason == CloseReason::not_on_allow_list);
    return std::nullopt;
}

} // namespace

TEST_SUITE_BEGIN("tls_identity");

TEST_CASE("each kind of entry admits whom it names, and nobody else")
{
    Scene scene;
    Wish wish = support::client_wish();
    wish.names = {"DNS:Site1.example.org", "IP:192.0.2.7", "IP:2001:db8::7", "URI:urn:site:1", "EMAIL:Ops@site.test"};
    const Identity client = scene.issue(wish);
    for (const std::string& good :
         {std::string{"DNS:site1.EXAMPLE.org"}, std::string{"DNS:site1.example.org."}, std::string{"IP:192.0.2.7"},
          std::string{"IP:2001:0db8:0::7"}, std::string{"URI:urn:site:1"}, std::string{"EMAIL:Ops@site.test"},
          "SPKI-SHA256:" + client.spki_sha256_hex(), "SPKI-SHA256:" + client.spki_sha256_base64()}) {
        CAPTURE(good);
        CHECK(admitted(scene, client, {"DNS:nobody.test", good}) == good);
    }
    const std::string other = scene.server.spki_sha256_hex();
    for (const std::string& bad :
         {std::string{"DNS:site2.example.org"}, std::string{"DNS:example.org"}, std::string{"DNS:192.0.2.7"},
          std::string{"IP:192.0.2.8"}, std::string{"URI:URN:site:1"}, std::string{"EMAIL:ops@site.test"},
          std::string{"URI:site1.example.org"}, std::string{"DNS:the client"}, "SPKI-SHA256:" + other}) {
        CAPTURE(bad);
        CHECK_FALSE(admitted(scene, client, {bad}));
    }
}

TEST_CASE("without a list every certificate of the authority is admitted, and nothing is said to have matched")
{
    Scene scene;
    CHECK(admitted(scene, scene.client, {}) == "");
}

TEST_CASE("a wildcard in a certificate is no more than its letters")
{
    Scene scene;
    Wish wish = support::client_wish();
    wish.names = {"DNS:*.example.org"};
    CHECK_FALSE(admitted(scene, scene.issue(wish), {"DNS:a.example.org"}));
}

TEST_CASE("a NUL in a name does not cut it short")
{
    Scene scene;
    Wish wish = support::client_wish();
    wish.names = {std::string{"DNS:site1.example.org\0.evil", 27}};
    CHECK_FALSE(admitted(scene, scene.issue(wish), {"DNS:site1.example.org"}));
}

TEST_CASE("entries that could never admit anybody are bad")
{
    const std::string hash(64, 'a');
    for (const std::string& bad :
         {std::string{}, std::string{"site1.example.org"}, std::string{"DNS:"}, std::string{"dns:a.test"},
          std::string{"DNS:*.test"}, std::string{"IP:192.0.2.256"}, std::string{"IP:host"}, std::string{"CN:x"},
          "SPKI-SHA256:" + hash.substr(1), "SPKI-SHA256:" + hash + "a", "SPKI-SHA256:" + hash.substr(1) + "g",
          "SPKI-SHA256:" + std::string(44, 'A'),
          "SPKI-SHA256:" + std::string(42, 'A') + "==", "SPKI-SHA256:" + std::string(42, '!') + "A="}) {
        CAPTURE(bad);
        CHECK(std::holds_alternative<BadEntry>(parse_allow_entry(bad)));
    }
    for (const std::string& good : {"SPKI-SHA256:" + hash, "SPKI-SHA256:" + std::string(43, 'A') + "=",
                                    std::string{"IP:::1"}, std::string{"URI:a"}}) {
        CAPTURE(good);
        CHECK(std::holds_alternative<AllowEntry>(parse_allow_entry(good)));
    }
}

TEST_CASE("a reference is an address or a host, whatever its dress")
{
    CHECK(transports::make_reference("a.test.").host == "a.test");
    CHECK(transports::make_reference("a.test").address.empty());
    CHECK(transports::make_reference("192.0.2.1").address == std::vector<unsigned char>{192, 0, 2, 1});
    CHECK(transports::make_reference("192.0.2.1").host.empty());
    CHECK(transports::make_reference("::1").address.size() == 16);
    CHECK(transports::make_reference("fe80::1%eth0").address == transports::make_reference("fe80::1").address);
    CHECK(transports::make_reference("192.0.2").host == "192.0.2");
}

TEST_SUITE_END();
