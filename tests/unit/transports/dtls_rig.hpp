// A DTLS listener and a connector on one loop, what they tell, and a client whose every datagram a test has in its
// hands.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/datagram_pair.hpp"
#include "transports/address.hpp"
#include "transports/dtls.hpp"
#include "transports/udp.hpp"

namespace dtls_rig {

using namespace std::chrono_literals;
using namespace transports;
using support::octets;

inline std::string text_of(std::span<const std::byte> bytes)
{
    std::string out(bytes.size(), '\0');
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}

struct Handler final : ChannelHandler {
    std::function<void()> progress = [] {};
    std::vector<std::unique_ptr<Channel>> channels;
    std::vector<std::string> messages;
    std::vector<Closed> closed;
    std::vector<Failed> failed;
    std::vector<Discarded> discarded;
    bool echo = false;

    void on_open(std::unique_ptr<Channel> channel) override
    {
        channels.push_back(std::move(channel));
        progress();
    }
    void on_message(Channel& from, std::span<const std::byte> message, Instant) override
    {
        messages.push_back(text_of(message));
        if (echo) {
            (void)from.send(message); // the test counts what arrives
        }
        progress();
    }
    void on_end(Channel&) override { FAIL("a datagram channel has no half"); }
    void on_closed(Channel& channel, const Closed& why) override
    {
        closed.push_back(why);
        std::erase_if(channels, [&](const auto& item) { return item.get() == &channel; });
        progress();
    }
    void on_failed(const Failed& why) override
    {
        failed.push_back(why);
        progress();
    }
    void on_discarded(const Discarded& record) override
    {
        discarded.push_back(record);
        progress();
    }
    [[nodiscard]] std::size_t count(Discard why) const
    {
        std::size_t sum = 0;
        for (const Discarded& record : discarded) {
            sum += record.why == why ? record.count : 0;
        }
        return sum;
    }
};

/// A listener and a connector on one loop, with certificates that fit.
struct Pair {
    support::DatagramScene scene;
    Loop loop;
    Handler server;
    Handler client;
    Admission admission;
    DatagramOptions options;
    std::unique_ptr<Listener> listener;
    std::unique_ptr<Connector> connector;
    std::vector<std::unique_ptr<Attempt>> attempts;
    bool timed_out = false;
    Timer deadline{loop, [this] {
                       timed_out = true;
                       loop.stop();
                   }};

    explicit Pair(const DatagramOptions& the_options = {}, const AdmissionLimits& limits = {0, 0, 0, 0},
                  const std::string& address = "127.0.0.1")
        : admission{limits, nullptr}, options{the_options}
    {
        auto listening = make_dtls_listener(loop, *numeric_address(address, 0),
                                            support::make_context(scene.server_settings), options, admission, server);
        REQUIRE(std::holds_alternative<std::unique_ptr<Listener>>(listening));
        listener = std::move(std::get<std::unique_ptr<Listener>>(listening));
        connector = make_dtls_connector(loop, support::make_context(scene.client_settings), options, "server.test");
    }

    [[nodiscard]] std::uint16_t port() const
    {
        return static_cast<std::uint16_t>(std::stoi(listener->address().substr(listener->address().rfind(':') + 1)));
    }
    void connect(const std::string& host = "127.0.0.1")
    {
        attempts.push_back(connector->connect({host, port()}, client));
    }
    [[nodiscard]] bool connected()
    {
        connect();
        return run_until([&] { return client.channels.size() == 1 && server.channels.size() == 1; });
    }
    /// Runs until `done`; false when that took longer than any correct run could.
    bool run_until(const std::function<bool()>& done)
    {
        server.progress = client.progress = [&] {
            if (done()) {
                loop.stop();
            }
        };
        deadline.start(20s);
        while (!done() && !timed_out) {
            loop.run();
        }
        return done();
    }
};

/// A client whose every datagram the test has in its hands, on one address of its own.
struct HandMade final : UdpHandler {
    HandMade(Pair& the_pair, const std::string& address) : pair{the_pair}
    {
        auto made = UdpSocket::bind(pair.loop, *numeric_address(address, 0), *this, {16384, 16, false});
        socket = std::move(std::get<std::unique_ptr<UdpSocket>>(made));
        begin_anew();
    }
    explicit HandMade(Pair& the_pair) : HandMade{the_pair, "127.0.0.1"} {}

    void begin_anew()
    {
        engine = support::make_dtls_engine(pair.scene.client_settings);
        received.clear();
        sent.clear();
        engine->start(read_boot());
        transmit();
    }
    void transmit()
    {
        while (const auto datagram = engine->next_output()) {
            sent.emplace_back(datagram->begin(), datagram->end());
            if (sent.size() <= send_at_most) {
                put(sent.back());
            }
        }
    }
    void put(const support::Datagram& datagram) const
    {
        socket->send(datagram, *numeric_address("127.0.0.1", pair.port()), {});
    }
    void say(const std::string& text)
    {
        REQUIRE(engine->send(octets(text)));
        transmit();
    }
    void on_datagram(const Datagram& datagram) override
    {
        engine->receive(datagram.bytes, read_boot());
        while (const auto message = engine->next_message()) {
            received.push_back(text_of(*message));
        }
        transmit();
        pair.client.progress();
    }
    void on_refused(int) override {}
    void on_send_failed(std::size_t) override {}
    [[nodiscard]] bool established() const { return engine->state() == EngineState::established; }

    Pair& pair;
    std::unique_ptr<UdpSocket> socket;
    std::unique_ptr<DtlsEngine> engine;
    std::vector<std::string> received;
    std::vector<support::Datagram> sent;
    std::size_t send_at_most = 1000; // datagrams of one handshake
};

} // namespace dtls_rig
