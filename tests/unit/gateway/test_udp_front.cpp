#include "gateway/udp_front.hpp"

#include <chrono>
#include <cstring>

#include <doctest/doctest.h>

#include "transports/address.hpp"

using namespace std::chrono_literals;
using namespace gateway;

TEST_SUITE_BEGIN("udp_front");

namespace {

ntp_shim::ClientEndpoint client(const char* address)
{
    ntp_shim::ClientEndpoint endpoint;
    endpoint.address = transports::mapped(*transports::numeric_address(address, 9));
    endpoint.port = 9;
    return endpoint;
}

struct Rig final : UdpFrontOwner {
    transports::Loop loop;
    Tunnel tunnel;
    UdpFront front{loop, tunnel, UdpFront::Default::everybody, *this};
    std::size_t undelivered = 0;

    Rig()
    {
        SocketAddress local;
        local.storage = *transports::numeric_address("127.0.0.1", 0);
        tunnel.listen.push_back(local);
        REQUIRE_FALSE(front.bind());
    }
    void on_request(const ntp_shim::ClientEndpoint&, std::span<const std::byte>, transports::Instant) override {}
    void on_refused_request(ntp_shim::DropReason) override {}
    void on_undelivered(std::size_t count) override { undelivered += count; }
    void turn()
    {
        transports::Timer end{loop, [&] { loop.stop(); }};
        end.start(1ms);
        loop.run();
    }
};

constexpr std::array<std::byte, 52> kPacket{};
constexpr const char* kNobody = "255.255.255.255"; // the kernel refuses it on a socket without SO_BROADCAST

} // namespace

TEST_CASE("a reply that was not sent is reported, what was only told is not")
{
    Rig rig;
    CHECK_FALSE(rig.front.tell(client(kNobody), kPacket));
    CHECK(rig.front.tell(client("127.0.0.1"), kPacket));
    rig.turn();
    CHECK(rig.undelivered == 0);
    rig.front.deliver(client(kNobody), kPacket);
    rig.front.deliver(client("127.0.0.1"), kPacket);
    CHECK(rig.front.tell(client("127.0.0.1"), kPacket)); // sends what is queued first, with its own failures
    CHECK(rig.undelivered == 1);
    CHECK_FALSE(rig.front.tell(client(kNobody), kPacket));
    rig.turn();
    CHECK(rig.undelivered == 1);
}

TEST_SUITE_END();
