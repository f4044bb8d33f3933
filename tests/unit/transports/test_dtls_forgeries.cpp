#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/datagram_pair.hpp"
#include "tests/unit/transports/dtls_rig.hpp"
#include "transports/dtls_record.hpp"

using namespace std::chrono_literals;
using namespace transports;
using support::DatagramPair;
using support::DatagramScene;
using support::Towards;

namespace {

using Octets = support::Datagram; // of a whole datagram

constexpr std::byte kHandshake{22};
constexpr std::byte kApplicationData{23};

/// A record of the epoch of the keys, with a fragment that nobody sealed.
Octets forged(std::byte type, std::uint8_t number, std::size_t size)
{
    Octets record(kRecordHeader + size, std::byte{'A'});
    const std::array<int, kRecordHeader> header{0, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, number, 0, static_cast<int>(size)};
    std::ranges::transform(header, record.begin(), [](int octet) { return static_cast<std::byte>(octet); });
    record.front() = type;
    return record;
}

struct SuiteScene : DatagramScene {
    explicit SuiteScene(const std::string& suite)
    {
        client_settings.policy.suites = {suite};
        server_settings.policy.suites = {suite};
    }
};

std::uint64_t discards(const DtlsEngine& engine, Discard why)
{
    return engine.discards().by_reason.at(static_cast<std::size_t>(why));
}

const std::vector<std::string> kSuites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                                          "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                                          "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                                          "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
                                          "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
                                          "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"};

} // namespace

TEST_SUITE_BEGIN("dtls_forgeries");

TEST_CASE("no forged record of whatever length ends an association, under any suite")
{
    for (const std::string& suite : kSuites) {
        CAPTURE(suite);
        const SuiteScene scene{suite};
        DatagramPair pair{scene};
        REQUIRE(pair.agree());
        for (std::size_t size = 0; size <= 80; ++size) {
            CAPTURE(size);
            pair.inject(Towards::server, forged(kApplicationData, static_cast<std::uint8_t>(size), size));
            pair.inject(Towards::client, forged(kApplicationData, static_cast<std::uint8_t>(size), size));
            REQUIRE(pair.agreed());
        }
        CHECK(discards(*pair.server, Discard::bad_record) == 81);
        CHECK(discards(*pair.client, Discard::bad_record) == 81);
        REQUIRE(pair.say(Towards::server, "still here"));
        pair.run(1s);
        CHECK(pair.to_server == std::vector<std::string>{"still here"});
    }
}

TEST_CASE("nor a handshake, at any of its steps")
{
    for (const std::string& suite : kSuites) {
        CAPTURE(suite);
        const SuiteScene scene{suite};
        DatagramPair pair{scene, [](Towards, std::size_t, const Octets&) { return std::vector<Nanoseconds>{1ms}; }};
        pair.start();
        for (std::uint8_t step = 0; step < 7; ++step) {
            for (const std::size_t size : {std::size_t{1}, std::size_t{15}, std::size_t{23}}) {
                pair.inject(Towards::server, forged(kHandshake, step, size));
                pair.inject(Towards::client, forged(kHandshake, step, size));
            }
            pair.run(1ms);
        }
        pair.run(5s);
        CHECK(pair.agreed());
    }
}

TEST_CASE("a stranger in the middle of a handshake makes us keep a few records, not a hundred")
{
    const DatagramScene scene;
    DatagramPair pair{scene, [](Towards to, std::size_t index, const Octets&) {
                          const bool lost = to == Towards::server && index >= 2; // after both hellos
                          return lost ? std::vector<Nanoseconds>{} : std::vector<Nanoseconds>{0ms};
                      }};
    pair.start();
    pair.run(10ms);
    REQUIRE(pair.server->state() == EngineState::handshaking);
    for (std::uint8_t number = 0; number < 100; ++number) {
        pair.inject(Towards::server, forged(kHandshake, number, 40));
    }
    CHECK(pair.server->state() == EngineState::handshaking);
    CHECK(discards(*pair.server, Discard::wrong_epoch) == 100 - 16);
}

TEST_CASE("why an attempt failed can be read when the attempt is gone")
{
    struct Impatient final : ChannelHandler {
        std::unique_ptr<Attempt> attempt;
        Loop* loop = nullptr;
        Failed seen;
        void on_open(std::unique_ptr<Channel>) override {}
        void on_message(Channel&, std::span<const std::byte>, Instant) override {}
        void on_end(Channel&) override {}
        void on_closed(Channel&, const Closed&) override {}
        void on_failed(const Failed& why) override
        {
            attempt.reset();
            const std::vector<std::string> others(8, std::string(64, 'x')); // where the attempt was
            seen = why;
            loop->stop();
        }
    };
    dtls_rig::Pair pair;
    Impatient handler;
    handler.loop = &pair.loop;
    handler.attempt = pair.connector->connect({"255.255.255.255", 4461}, handler); // nobody may send there
    pair.deadline.start(20s);
    pair.loop.run();
    CHECK(handler.seen.reason == CloseReason::unreachable);
    CHECK(handler.seen.peer.address == "255.255.255.255:4461");
}

TEST_SUITE_END();
