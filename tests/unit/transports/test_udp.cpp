#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "transports/udp.hpp"

using namespace std::chrono_literals;
using transports::Datagram;
using transports::Loop;
using transports::UdpSocket;

namespace {

std::vector<std::byte> octets(const std::string& text)
{
    std::vector<std::byte> out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

/// Remembers what came, and ends the loop when it is enough.
struct Collector final : transports::UdpHandler {
    std::function<void(const Datagram&)> each = [](const Datagram&) {};
    std::size_t datagrams = 0;
    int refused = 0;
    std::size_t send_failed = 0;
    void on_datagram(const Datagram& datagram) override
    {
        ++datagrams;
        each(datagram);
    }
    void on_refused(int error) override { refused = error; }
    void on_send_failed(std::size_t count) override { send_failed += count; }
};

std::unique_ptr<UdpSocket> bound(Loop& loop, Collector& handler, const std::string& host = "127.0.0.1")
{
    auto socket = UdpSocket::bind(loop, *transports::numeric_address(host, 0), handler);
    REQUIRE(std::holds_alternative<std::unique_ptr<UdpSocket>>(socket));
    return std::move(std::get<std::unique_ptr<UdpSocket>>(socket));
}

std::unique_ptr<UdpSocket> connected(Loop& loop, Collector& handler, const UdpSocket& to)
{
    auto socket = UdpSocket::connect(loop, to.local(), handler);
    REQUIRE(std::holds_alternative<std::unique_ptr<UdpSocket>>(socket));
    return std::move(std::get<std::unique_ptr<UdpSocket>>(socket));
}

} // namespace

TEST_SUITE("udp")
{
    TEST_CASE("a burst of more than one batch arrives whole, stamped no later than it is read")
    {
        constexpr std::size_t kCount = 200;
        Loop loop;
        Collector server;
        Collector client;
        const auto listening = bound(loop, server);
        const auto asking = connected(loop, client, *listening);
        transports::Timer deadline{loop, [&] { loop.stop(); }};
        deadline.start(5s);
        const auto before = transports::read_instant();
        server.each = [&](const Datagram& datagram) {
            CHECK(datagram.arrival.raw <= transports::read_instant().raw);
            CHECK(datagram.arrival.raw >= before.raw);
            CHECK_FALSE(datagram.truncated);
            CHECK(datagram.bytes.size() == 48);
            if (server.datagrams == kCount) {
                loop.stop();
            }
        };
        for (std::size_t i = 0; i < kCount; ++i) {
            asking->send(std::vector<std::byte>(48));
        }
        loop.run();
        CHECK(server.datagrams == kCount);
        CHECK(client.send_failed == 0);
        CHECK(listening->stamps_unusable() == 0);
    }

    TEST_CASE("the reply leaves from the address that was asked")
    {
        Loop loop;
        Collector server;
        Collector client;
        const auto listening = bound(loop, server, "0.0.0.0");
        const auto to = *transports::numeric_address("127.0.0.77", transports::port_of(listening->local()));
        auto result = UdpSocket::connect(loop, to, client); // hears from this very address only
        const auto asking = std::move(std::get<std::unique_ptr<UdpSocket>>(result));
        transports::Timer deadline{loop, [&] { loop.stop(); }};
        deadline.start(5s);
        server.each = [&](const Datagram& datagram) {
            CHECK(datagram.local == transports::mapped(to));
            listening->send(datagram.bytes, datagram.from, datagram.local);
        };
        client.each = [&](const Datagram&) { loop.stop(); };
        asking->send(octets("hello"));
        loop.run();
        CHECK(client.datagrams == 1);
    }

    TEST_CASE("a datagram above the largest is cut and says so")
    {
        Loop loop;
        Collector server;
        Collector client;
        const auto listening = bound(loop, server);
        const auto big = bound(loop, client);
        transports::Timer deadline{loop, [&] { loop.stop(); }};
        deadline.start(5s);
        std::vector<bool> truncated;
        server.each = [&](const Datagram& datagram) {
            truncated.push_back(datagram.truncated);
            if (truncated.size() == 2) {
                loop.stop();
            }
        };
        const int raw = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        REQUIRE(raw >= 0);
        const std::vector<std::byte> longest(transports::kMaxDatagram);
        const std::vector<std::byte> longer(transports::kMaxDatagram + 1);
        const auto length = transports::address_length(listening->local());
        CHECK(sendto(raw, longest.data(), longest.size(), 0, transports::as_sockaddr(listening->local()), length) > 0);
        CHECK(sendto(raw, longer.data(), longer.size(), 0, transports::as_sockaddr(listening->local()), length) > 0);
        loop.run();
        close(raw);
        CHECK(truncated == std::vector<bool>{false, true});
    }

    TEST_CASE("a peer that is not there is reported as refused")
    {
        Loop loop;
        Collector server;
        Collector client;
        auto listening = bound(loop, server);
        const auto asking = connected(loop, client, *listening);
        listening.reset();
        transports::Timer deadline{loop, [&] { loop.stop(); }};
        transports::Timer look{loop, [&] {
                                   asking->send(octets("anybody?"));
                                   if (client.refused != 0) {
                                       loop.stop();
                                   } else {
                                       look.start(1ms);
                                   }
                               }};
        deadline.start(5s);
        look.start(1ms);
        loop.run();
        CHECK(client.refused == ECONNREFUSED);
    }

    TEST_CASE("a socket whose peer was away hears it again when it is back")
    {
        Loop loop;
        Collector server;
        Collector client;
        auto listening = bound(loop, server);
        const auto address = listening->local();
        const auto asking = connected(loop, client, *listening);
        listening.reset();
        bool timed_out = false;
        transports::Timer deadline{loop, [&] {
                                       timed_out = true;
                                       loop.stop();
                                   }};
        deadline.start(5s);
        // Nothing is sent after the refusal, so that it reaches the reading side.
        transports::Timer look{loop, [&] { client.refused != 0 ? loop.stop() : look.start(1ms); }};
        asking->send(octets("anybody?"));
        look.start(1ms);
        loop.run();
        REQUIRE_FALSE(timed_out);
        auto back = UdpSocket::bind(loop, address, server);
        REQUIRE(std::holds_alternative<std::unique_ptr<UdpSocket>>(back));
        const auto& answering = std::get<std::unique_ptr<UdpSocket>>(back);
        server.each = [&](const Datagram& datagram) { answering->send(datagram.bytes, datagram.from, {}); };
        client.each = [&](const Datagram&) { loop.stop(); };
        asking->send(octets("again"));
        loop.run();
        CHECK_FALSE(timed_out);
        CHECK(client.datagrams == 1);
    }

    TEST_CASE("nobody else may bind beside us above the privileged ports")
    {
        Loop loop;
        Collector handler;
        const auto first = bound(loop, handler);
        const auto second = UdpSocket::bind(loop, first->local(), handler);
        REQUIRE(std::holds_alternative<std::string>(second));
        CHECK(std::get<std::string>(second).find(transports::address_text(first->local())) != std::string::npos);
    }
}
