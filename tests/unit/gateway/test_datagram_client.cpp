#include "gateway/datagram_client.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "ntp-shim/mac_seal.hpp"
#include "tests/unit/ntp-shim/keys.hpp"
#include "transports/address.hpp"

using namespace std::chrono_literals;
using namespace gateway;

TEST_SUITE_BEGIN("datagram_client");

namespace {

constexpr std::uint32_t kDeny = 0x44454e59;

/// Whom nobody may connect to: the socket is refused at once, as one without a route is.
Route no_way()
{
    Route route;
    route.address = *transports::numeric_address("255.255.255.255", 123);
    route.peer.address = "255.255.255.255:123";
    return route;
}

/// A server on the loopback that has the key; or, once closed, a port that refuses.
class Server {
public:
    Server() : descriptor_{socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)}
    {
        auto address = *transports::numeric_address("127.0.0.1", 0);
        REQUIRE(bind(descriptor_, transports::as_sockaddr(address), transports::address_length(address)) == 0);
        socklen_t size = sizeof address;
        REQUIRE(getsockname(descriptor_, transports::as_sockaddr(address), &size) == 0);
        route_.address = address;
        route_.peer.address = transports::address_text(address);
    }
    ~Server() { close(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    void close()
    {
        if (descriptor_ >= 0) {
            ::close(std::exchange(descriptor_, -1));
        }
    }
    [[nodiscard]] const Route& route() const noexcept { return route_; }
    /// Answers what has come, with a kiss if it is not zero; how many there were.
    int serve(const ntp_shim::MacKey& key, std::uint32_t kiss = 0) const
    {
        std::array<std::byte, 1024> memory{};
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        int served = 0;
        for (ssize_t size = 0; (size = recvfrom(descriptor_, memory.data(), memory.size(), 0,
                                                transports::as_sockaddr(from), &length)) > 0;
             ++served) {
            auto fields = packets::answer_to(ntp_shim::Bytes{memory}.first(static_cast<std::size_t>(size)));
            if (kiss != 0) {
                fields.stratum = 0;
                fields.reference_id = kiss;
            }
            const auto reply = keys::with_mac(packets::packet(fields), key);
            CHECK(sendto(descriptor_, reply.data(), reply.size(), 0, transports::as_sockaddr(from), length) ==
                  static_cast<ssize_t>(reply.size()));
        }
        return served;
    }

private:
    int descriptor_;
    Route route_;
};

/// Finds what it is told, on a later turn.
struct FakeSealing final : ClientSealing {
    struct World {
        std::shared_ptr<const ntp_shim::MacKey> key = keys::key(7, ntp_shim::DigestKind::sha256);
        std::vector<std::vector<Route>> found; // for each target; none: a failure
        int look_ups = 0;
        transports::Nanoseconds last_look_up{};
    };
    FakeSealing(transports::Loop& loop, const Tunnel& tunnel, World& world)
        : tunnel_{tunnel}, world_{world}, seal_{keys::ring({world.key}), 4}, later_{loop, [this] { answer(); }}
    {}
    ntp_shim::ClientSeal& seal() noexcept override { return seal_; }
    void reload() override {}
    void find(const Target& target, Found found) override
    {
        ++world_.look_ups;
        world_.last_look_up = transports::read_boot();
        at_ = target.host == tunnel_.connect.front().host ? 0 : 1;
        found_ = std::move(found);
        later_.request();
    }
    void use(const Route&) override {}

private:
    void answer()
    {
        const auto found = std::exchange(found_, nullptr);
        if (world_.found[at_].empty()) {
            found(transports::Failed{transports::CloseReason::resolve_failed, "no such name", {}});
        } else {
            found(world_.found[at_]);
        }
    }
    const Tunnel& tunnel_;
    World& world_;
    ntp_shim::MacClientSeal seal_;
    std::size_t at_ = 0;
    Found found_;
    transports::TurnEnd later_;
};

struct Sink final : ReplySink {
    int delivered = 0;
    int failed = 0;
    int lost = 0;
    void deliver(const ntp_shim::ClientEndpoint&, std::span<const std::byte>) override { ++delivered; }
    void on_attempt_failed(const transports::Failed&) override { ++failed; }
    void on_channel(const transports::PeerIdentity&) override {}
    void on_channel_lost(const transports::Closed&) override { ++lost; }
};

struct Rig {
    transports::Loop loop;
    Log log{LogLevel::error, LogFormat::text};
    std::unique_ptr<Audit> audit;
    Random random;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget budget;
    Tunnel tunnel;
    Sink sink;
    FakeSealing::World world;
    std::unique_ptr<DatagramClient> client;
    std::uint64_t stamp = 0;

    explicit Rig(std::vector<std::vector<Route>> found, std::chrono::milliseconds round_trip = 1000ms)
    {
        tunnel.timing.max_round_trip = round_trip;
        AuditSettings nowhere;
        nowhere.file = "/dev/null";
        audit = std::move(std::get<std::unique_ptr<Audit>>(Audit::open(nowhere)));
        tunnel.name = "hq";
        tunnel.channel = ChannelKind::mac;
        for (std::size_t i = 0; i < found.size(); ++i) {
            tunnel.connect.push_back({"ntp" + std::to_string(i), 123});
        }
        world.found = std::move(found);
        client = std::make_unique<DatagramClient>(Services{loop, log, *audit, random, admission, budget}, tunnel,
                                                  std::make_unique<FakeSealing>(loop, tunnel, world), sink);
        client->start();
    }
    void ask()
    {
        const auto now = transports::read_clocks().now;
        client->submit(packets::endpoint(), packets::request({.transmit = ++stamp}), now);
    }
    void run_for(std::chrono::milliseconds time)
    {
        transports::Timer end{loop, [&] { loop.stop(); }};
        end.start(time);
        loop.run();
    }
    /// Asks, runs, has `server` answer, runs.
    void exchange(const Server& server, std::uint32_t kiss = 0)
    {
        ask();
        run_for(20ms);
        server.serve(*world.key, kiss);
        run_for(20ms);
    }
    nlohmann::ordered_json drops() { return client->counters()["requests"]["drops"]; }
};

} // namespace

TEST_CASE("a request whose route cannot be reached at all goes to the next one, and its reply is delivered")
{
    const Server server;
    Rig rig{{{no_way(), server.route()}}};
    rig.run_for(20ms);
    rig.exchange(server);
    CHECK(rig.sink.delivered == 1);
    CHECK(rig.sink.lost == 1);
    CHECK(rig.drops().empty());
    rig.exchange(server);
    CHECK(rig.sink.delivered == 2);
    CHECK(rig.sink.lost == 1);
}

TEST_CASE("requests that waited for a route go to one that can be reached")
{
    const Server server;
    Rig rig{{{no_way(), no_way(), server.route()}}};
    rig.ask();
    rig.ask();
    rig.run_for(20ms);
    CHECK(server.serve(*rig.world.key) == 2);
    rig.run_for(20ms);
    CHECK(rig.sink.delivered == 2);
    CHECK(rig.drops().empty());
}

TEST_CASE("a server that refuses is looked for again with growing pauses, not with every request")
{
    Server server;
    Rig rig{{{server.route()}}};
    server.close();
    const auto began = transports::read_boot();
    for (int i = 0; i < 90; ++i) {
        rig.ask();
        rig.run_for(10ms);
    }
    // Pauses of 100, 200, 400 ms, each at least half of it; then one attempt a second.
    const auto most = 6 + (transports::read_boot() - began) / 1s;
    CHECK(rig.sink.lost >= 3);
    CHECK(rig.sink.lost <= most);
    CHECK(rig.world.look_ups <= most);
}

TEST_CASE("a server that answers has its pauses forgotten")
{
    Server server;
    Rig rig{{{server.route()}}};
    rig.run_for(20ms);
    rig.exchange(server);
    REQUIRE(rig.sink.delivered == 1);
    server.close();
    rig.ask();
    rig.run_for(20ms);
    CHECK(rig.sink.lost == 1);
    CHECK(rig.world.look_ups == 2); // at once
}

TEST_CASE("a waiting request permits an attempt a second during a long pause")
{
    Rig rig{{{}}};
    for (int i = 0; i < 200 && rig.world.look_ups < 6; ++i) {
        rig.run_for(50ms);
    }
    REQUIRE(rig.world.look_ups == 6); // the sixth pause is at least 1.6 s
    const auto before = rig.world.last_look_up;
    while (rig.world.look_ups == 6) {
        rig.ask();
        rig.run_for(20ms);
    }
    const auto pause = rig.world.last_look_up - before;
    CHECK(pause >= 990ms); // between two readings of ours, taken just after the product's
    CHECK(pause < 1600ms);
}

TEST_CASE("a server that denies with its key is left alone, however many targets there are")
{
    const Server server;
    for (const std::size_t targets : {1U, 2U}) {
        Rig rig{std::vector<std::vector<Route>>(targets, {server.route()})};
        rig.run_for(20ms);
        rig.exchange(server, kDeny);
        for (int i = 0; i < 20; ++i) {
            rig.ask();
            rig.run_for(20ms);
        }
        CHECK(server.serve(*rig.world.key) == 0);
    }
}

TEST_CASE("a server that denies makes room for the next address of its name")
{
    const Server server;
    const Server other;
    Rig rig{{{server.route(), other.route()}}};
    rig.run_for(20ms);
    rig.exchange(server, kDeny);
    rig.exchange(other);
    CHECK(rig.sink.delivered == 1);
}

TEST_CASE("a name that cannot be looked up any more leaves what was found of it before")
{
    const Server server;
    Rig rig{{{server.route(), no_way()}}, 300ms};
    rig.run_for(20ms);
    rig.exchange(server);
    REQUIRE(rig.sink.delivered == 1);
    rig.world.found.front().clear();
    for (int i = 0; i < 100 && rig.world.look_ups < 2; ++i) { // three without a reply: the one, then the other goes
        rig.ask();
        rig.run_for(50ms);
    }
    (void)server.serve(*rig.world.key);
    REQUIRE(rig.world.look_ups >= 2);
    for (int i = 0; i < 30 && rig.sink.delivered == 1; ++i) {
        rig.exchange(server);
    }
    CHECK(rig.sink.delivered >= 2);
}

TEST_SUITE_END();
