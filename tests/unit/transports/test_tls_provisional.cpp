#include <chrono>
#include <memory>

#include <doctest/doctest.h>

#include "tests/support/engine_pair.hpp"
#include "transports/tls_engine.hpp"

using namespace std::chrono_literals;
using support::Identity;
using support::Scene;
using support::Wish;
using transports::CertificateClock;
using transports::CloseReason;
using transports::EngineState;
using transports::read_boot;
using transports::read_wall;

namespace {

struct World {
    Scene scene;
    std::shared_ptr<CertificateClock> clock = std::make_shared<CertificateClock>(0s);
    std::unique_ptr<transports::TlsEngine> client;

    /// A client under that clock, and a server that shows a leaf of this wish.
    void meet(const Wish& wish)
    {
        const Identity leaf = scene.issue(wish);
        support::PlainSettings settings;
        settings.server = true;
        settings.identity = &leaf;
        settings.protocols = {"ntpgate/1"};
        support::PlainTlsPeer peer{settings};
        scene.client_settings.clock = clock;
        client = support::make_engine(scene.client_settings);
        converse(*client, peer);
    }
    [[nodiscard]] std::string verdict(std::chrono::nanoseconds wall) const
    {
        REQUIRE(client->peer().provisional != nullptr);
        const auto refusal = client->peer().provisional->verify_at(wall);
        return refusal ? std::string{name(refusal->reason)} : "verified";
    }
};

/// Valid for the hour that begins a hundred days from now.
Wish later()
{
    auto wish = support::server_wish();
    wish.starts = 2400h;
    wish.ends = 2401h;
    return wish;
}

Wish later_for_code()
{
    auto wish = later();
    wish.usage = "codeSigning";
    return wish;
}

} // namespace

TEST_SUITE_BEGIN("tls_provisional");

TEST_CASE("while the time is unknown a chain is verified in all but its time, and kept")
{
    World world;
    world.meet(later());
    CHECK(world.client->state() == EngineState::established);
    CHECK(world.verdict(read_wall()) == "certificate_not_yet_valid");
    world.meet(later_for_code());
    CHECK(world.client->failure().reason == CloseReason::eku_wrong);
}

TEST_CASE("the kept chain is verified again, whole, at the time it is given")
{
    World world;
    auto wish = support::server_wish();
    wish.starts = -30min;
    wish.ends = -1min;
    world.meet(wish);
    CHECK(world.client->state() == EngineState::established);
    CHECK(world.verdict(read_wall()) == "certificate_expired");
    CHECK(world.verdict(read_wall() - 10min) == "verified");
    // The authority of the scene is valid from now on, and an anchor's time counts as well.
    CHECK(world.verdict(read_wall() - 87600h) != "verified");
}

TEST_CASE("the name is part of what is verified again")
{
    World world;
    world.meet(support::server_wish());
    CHECK(world.verdict(read_wall()) == "verified");
    CHECK(world.client->peer().matched == "server.test");
}

TEST_CASE("once the time is known certificates are judged by it, and nothing is provisional")
{
    World world;
    REQUIRE(world.clock->learn(read_wall() + 2400h + 30min, read_boot()));
    world.meet(support::server_wish());
    CHECK(world.client->failure().reason == CloseReason::certificate_expired);
    world.meet(later());
    CHECK(world.client->failure().reason == CloseReason::certificate_expired); // the authority is, too
    World now;
    REQUIRE(now.clock->learn(read_wall(), read_boot()));
    now.meet(support::server_wish());
    CHECK(now.client->state() == EngineState::established);
    CHECK(now.client->peer().provisional == nullptr);
    now.meet(later());
    CHECK(now.client->failure().reason == CloseReason::certificate_not_yet_valid);
}

TEST_CASE("our own certificate may be of another time as well")
{
    Scene scene;
    auto wish = support::client_wish();
    wish.starts = 24h;
    const Identity own = scene.issue(wish);
    scene.show(scene.client_settings, own);
    CHECK_FALSE(support::problems_of(scene.client_settings).empty());
    scene.client_settings.clock = std::make_shared<CertificateClock>(0s);
    CHECK(support::problems_of(scene.client_settings).empty());
}

TEST_SUITE_END();
