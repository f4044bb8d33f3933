#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/client_channels.hpp"

using namespace std::chrono_literals;
using namespace gateway;
using transports::CloseReason;

namespace {

class FakeChannel final : public transports::Channel {
public:
    FakeChannel(std::uint64_t number, transports::ChannelHandler& handler) : number_{number}, handler_{handler} {}
    transports::SendResult send(std::span<const std::byte>) override { return transports::SendResult::sent; }
    void close(CloseReason why) override { closed_for = why; }
    const transports::PeerIdentity& peer() const noexcept override
    {
        ++looks;
        return identity;
    }
    std::uint64_t number() const noexcept override { return number_; }
    void end(CloseReason why) { handler_.on_closed(*this, {why, {}}); } // destroys it

    mutable int looks = 0;
    transports::PeerIdentity identity;
    std::optional<CloseReason> closed_for;

private:
    std::uint64_t number_;
    transports::ChannelHandler& handler_;
};

struct FakeConnector final : transports::Connector {
    struct Try {
        transports::Target target;
        transports::ChannelHandler* handler;
    };
    std::vector<Try>* tries;
    explicit FakeConnector(std::vector<Try>& all) : tries{&all} {}
    std::unique_ptr<transports::Attempt> connect(const transports::Target& target,
                                                 transports::ChannelHandler& handler) override
    {
        tries->push_back({target, &handler});
        return std::make_unique<transports::Attempt>();
    }
};

struct Owner final : ClientChannelsOwner {
    int opened = 0;
    int failed = 0;
    std::vector<std::uint64_t> closed;
    std::vector<std::uint64_t> left;
    void on_channel_open(transports::Channel&) override { ++opened; }
    void on_channel_leaving(std::uint64_t number) override { left.push_back(number); }
    void on_channel_message(transports::Channel&, std::span<const std::byte>, transports::Instant) override {}
    void on_channel_closed(std::uint64_t number, const transports::Closed&) override { closed.push_back(number); }
    void on_attempt_failed(const transports::Failed&) override { ++failed; }
};

struct Rig {
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    std::unique_ptr<Audit> audit;
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    Tunnel tunnel;
    Owner owner;
    std::vector<FakeConnector::Try> tries;
    std::unique_ptr<ClientChannels> channels;
    std::uint64_t last_number = 0;

    explicit Rig(std::size_t targets = 1, Framing framing = Framing::v1)
    {
        AuditSettings nowhere;
        nowhere.file = "/dev/null";
        audit = std::move(std::get<std::unique_ptr<Audit>>(Audit::open(nowhere)));
        tunnel.name = "hq";
        tunnel.framing = framing;
        for (std::size_t i = 0; i < targets; ++i) {
            tunnel.connect.push_back({"gw" + std::to_string(i), 4461});
        }
        channels = std::make_unique<ClientChannels>(Services{loop, log, *audit, random, admission, budget}, tunnel,
                                                    std::make_unique<FakeConnector>(tries), owner);
    }
    /// The latest attempt becomes a channel.
    FakeChannel& open(transports::Nanoseconds valid_until = {})
    {
        auto channel = std::make_unique<FakeChannel>(++last_number, *tries.back().handler);
        channel->identity.valid_until = valid_until;
        FakeChannel& kept = *channel;
        tries.back().handler->on_open(std::move(channel));
        return kept;
    }
    void fail() { tries.back().handler->on_failed({CloseReason::unreachable, {}, {}}); }
    void run_for(std::chrono::milliseconds time)
    {
        transports::Timer end{loop, [&] { loop.stop(); }};
        end.start(time);
        loop.run();
    }
};

} // namespace

TEST_SUITE("client_channels")
{
    TEST_CASE("one attempt at start; when it opens the channel is used")
    {
        Rig rig;
        rig.channels->start();
        REQUIRE(rig.tries.size() == 1);
        CHECK_FALSE(rig.channels->tried());
        const FakeChannel& channel = rig.open();
        CHECK(rig.channels->tried());
        REQUIRE(rig.channels->usable().size() == 1);
        CHECK(rig.channels->usable()[0] == &channel);
        CHECK(rig.owner.opened == 1);
        rig.channels->want(5);
        CHECK(rig.tries.size() == 1); // one channel serves them all
    }

    TEST_CASE("targets are tried in order, and only a full round backs off")
    {
        Rig rig{3};
        rig.channels->start();
        rig.fail();
        REQUIRE(rig.tries.size() == 2);
        CHECK(rig.tries[1].target.host == "gw1");
        rig.fail();
        REQUIRE(rig.tries.size() == 3);
        CHECK(rig.tries[2].target.host == "gw2");
        rig.fail();
        CHECK(rig.tries.size() == 3);
        CHECK(rig.channels->tried());
        rig.run_for(200ms); // the first back-off is 50 to 100 ms
        REQUIRE(rig.tries.size() >= 4);
        CHECK(rig.tries[3].target.host == "gw0");
    }

    TEST_CASE("a target is kept until its channel fails")
    {
        Rig rig{2};
        rig.channels->start();
        FakeChannel& first = rig.open();
        rig.channels->heard_from(first.number());
        first.end(CloseReason::connection_lost);
        CHECK(rig.owner.closed == std::vector<std::uint64_t>{1});
        REQUIRE(rig.tries.size() == 2); // at once: the peer had spoken
        CHECK(rig.tries[1].target.host == "gw1");
        CHECK(rig.channels->open().empty());
    }

    TEST_CASE("a channel that never spoke counts as a failure and backs off")
    {
        Rig rig;
        rig.channels->start();
        rig.open().end(CloseReason::refused_by_peer);
        CHECK(rig.tries.size() == 1);
        rig.run_for(200ms);
        CHECK(rig.tries.size() == 2);
    }

    TEST_CASE("a waiting request permits an attempt a second during a long back-off, not more")
    {
        Rig rig;
        rig.channels->start();
        for (int i = 0; i < 9; ++i) { // the ninth back-off is above ten seconds
            rig.fail();
            while (rig.tries.size() == static_cast<std::size_t>(i) + 1 && i < 4) {
                rig.run_for(50ms);
            }
            if (i >= 4) {
                break;
            }
        }
        const std::size_t before = rig.tries.size();
        rig.channels->want(1);
        CHECK(rig.tries.size() == before);
        rig.run_for(1100ms);
        CHECK(rig.tries.size() == before + 1);
    }

    TEST_CASE("a retiring channel serves on until its successor is open")
    {
        Rig rig;
        rig.channels->start();
        FakeChannel& old = rig.open();
        rig.channels->heard_from(old.number());
        rig.channels->retire(old.number());
        REQUIRE(rig.tries.size() == 2);
        REQUIRE(rig.channels->usable().size() == 1);
        CHECK(rig.channels->usable()[0] == &old);
        CHECK_FALSE(rig.channels->is_replaced(old.number()));
        FakeChannel& successor = rig.open();
        REQUIRE(rig.channels->usable().size() == 1);
        CHECK(rig.channels->usable()[0] == &successor);
        CHECK(rig.channels->is_replaced(old.number()));
        CHECK(rig.channels->open().size() == 2);
        old.end(CloseReason::drained);
        CHECK(rig.channels->open().size() == 1);
        CHECK(rig.tries.size() == 2); // nothing is missing
    }

    TEST_CASE("a channel reaches its greatest age and is replaced")
    {
        Rig rig;
        rig.tunnel.timing.max_channel_age = 50ms;
        rig.channels->start();
        rig.channels->heard_from(rig.open().number());
        rig.run_for(100ms);
        CHECK(rig.tries.size() == 2);
    }

    TEST_CASE("a channel ends with its certificates, whether or not it has a successor")
    {
        for (const bool retiring : {false, true}) {
            CAPTURE(retiring);
            Rig rig;
            rig.channels->start();
            const FakeChannel& old = rig.open(transports::read_wall() + 300ms);
            if (retiring) {
                rig.channels->retire(old.number());
            }
            rig.run_for(100ms);
            CHECK_FALSE(old.closed_for.has_value());
            rig.run_for(500ms);
            CHECK(old.closed_for == CloseReason::max_channel_age);
        }
    }

    TEST_CASE("under bootstrap a wall clock beyond the certificates' end neither ends a channel nor keeps us busy")
    {
        for (const bool known : {false, true}) {
            CAPTURE(known);
            Rig rig;
            rig.tunnel.tls.clock = std::make_shared<transports::CertificateClock>(transports::Nanoseconds{});
            const auto wall = transports::read_wall();
            if (known) {
                REQUIRE(rig.tunnel.tls.clock->learn(wall - 2h, transports::read_boot()));
            }
            rig.channels->start();
            const FakeChannel& channel = rig.open(wall - 1h);
            const int before = channel.looks;
            rig.run_for(200ms);
            CHECK_FALSE(channel.closed_for.has_value());
            CHECK(channel.looks - before <= 2);
        }
    }

    TEST_CASE("a channel that nobody succeeds ends nevertheless, after as much time again")
    {
        Rig rig;
        rig.tunnel.timing.max_channel_age = 200ms;
        rig.channels->start();
        const FakeChannel& old = rig.open();
        rig.run_for(300ms);
        CHECK(rig.tries.size() == 2);
        CHECK_FALSE(old.closed_for.has_value());
        rig.run_for(300ms);
        CHECK(old.closed_for == CloseReason::max_channel_age);
    }

    TEST_CASE("raw framing opens as many channels as requests wait, up to eight")
    {
        Rig rig{1, Framing::raw};
        rig.channels->start();
        CHECK(rig.tries.size() == 1);
        rig.channels->want(3);
        CHECK(rig.tries.size() == 3);
        rig.channels->want(20);
        CHECK(rig.tries.size() == ClientChannels::kMaxRawChannels);
    }

    TEST_CASE("after stop nothing is tried and open channels are asked to close")
    {
        Rig rig;
        rig.channels->start();
        FakeChannel& channel = rig.open();
        rig.channels->stop();
        REQUIRE(channel.closed_for.has_value());
        CHECK(*channel.closed_for == CloseReason::local_request);
        channel.end(CloseReason::local_request);
        rig.channels->want(1);
        rig.run_for(20ms);
        CHECK(rig.tries.size() == 1);
    }
}
