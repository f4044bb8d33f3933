#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test_pki.hpp"
#include "transports/address.hpp"
#include "transports/tls.hpp"

using namespace std::chrono_literals;
using namespace transports;

namespace {

std::vector<std::byte> octets(const std::string& text)
{
    std::vector<std::byte> out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

std::string text_of(std::span<const std::byte> bytes)
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
    std::function<void(Channel&)> leaving = [](Channel&) {};
    int ends = 0;
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
    void on_leaving(Channel& channel) override { leaving(channel); }
    void on_end(Channel&) override
    {
        ++ends;
        progress();
    }
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
};

/// A listener and a connector on one loop, with certificates that fit.
struct Pair {
    support::Folder folder;
    support::Identity authority{support::authority_wish("Test CA"), nullptr};
    Loop loop;
    Handler server;
    Handler client;
    Admission admission{{0, 0, 0, 0}, nullptr};
    StreamOptions options;
    std::unique_ptr<Listener> listener;
    std::unique_ptr<Connector> connector;
    std::vector<std::unique_ptr<Attempt>> attempts;
    bool timed_out = false;
    Timer deadline{loop, [this] {
                       timed_out = true;
                       loop.stop();
                   }};

    explicit Pair(const StreamOptions& the_options = {}, const std::string& client_usage = "clientAuth",
                  const AdmissionLimits& limits = {0, 0, 0, 0})
        : admission{limits, nullptr}, options{the_options}
    {
        folder.write("ca.pem", authority.certificate());
        const auto context = [&](TlsRole role, const std::string& usage, const std::string& name) {
            support::Wish wish;
            wish.names = {"DNS:" + name, "IP:127.0.0.1"};
            wish.usage = usage;
            const support::Identity identity{wish, &authority};
            TlsSettings settings;
            settings.role = role;
            settings.policy.versions = {"TLS1.3", "TLS1.2"};
            settings.policy.suites = {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
            settings.policy.groups = {"secp256r1"};
            settings.policy.signatures = {"ecdsa_secp256r1_sha256"};
            settings.ca = folder.path() / "ca.pem";
            settings.certificate = folder.write(name + ".pem", identity.certificate());
            settings.key = folder.write(name + ".key", identity.key());
            settings.alpn = "ntpgate/1";
            auto made = TlsContext::create(settings);
            REQUIRE(std::holds_alternative<std::shared_ptr<const TlsContext>>(made));
            return std::get<std::shared_ptr<const TlsContext>>(made);
        };
        auto listening =
            make_tls_listener(loop, *numeric_address("127.0.0.1", 0), context(TlsRole::server, "serverAuth", "server"),
                              options, admission, server);
        REQUIRE(std::holds_alternative<std::unique_ptr<Listener>>(listening));
        listener = std::move(std::get<std::unique_ptr<Listener>>(listening));
        connector = make_tls_connector(loop, context(TlsRole::client, client_usage, "client"), options, "server");
    }

    [[nodiscard]] std::uint16_t port() const
    {
        return static_cast<std::uint16_t>(std::stoi(listener->address().substr(listener->address().rfind(':') + 1)));
    }
    void connect() { attempts.push_back(connector->connect({"127.0.0.1", port()}, client)); }
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

} // namespace

TEST_SUITE("tls_channel")
{
    TEST_CASE("messages keep their borders both ways, also when many share a record")
    {
        Pair pair;
        pair.server.echo = true;
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() == 1; }));
        std::vector<std::string> sent;
        for (int i = 0; i < 300; ++i) {
            sent.emplace_back(1 + static_cast<std::size_t>(i) % 120, static_cast<char>('a' + i % 26));
            REQUIRE(pair.client.channels[0]->send(octets(sent.back())) == SendResult::sent);
        }
        REQUIRE(pair.run_until([&] { return pair.client.messages.size() == sent.size(); }));
        CHECK(pair.server.messages == sent);
        CHECK(pair.client.messages == sent);
        CHECK(pair.server.channels[0]->peer().protocol == "TLS1.3");
        CHECK(pair.client.channels[0]->peer().matched.find("server") != std::string::npos);
    }

    TEST_CASE("what was sent leaves once, at the turn's end and before the peer can have it")
    {
        Pair pair;
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() + pair.server.channels.size() == 2; }));
        int left = 0;
        std::size_t had = 99;
        pair.client.leaving = [&](Channel& channel) {
            CHECK(&channel == pair.client.channels[0].get());
            ++left;
            had = pair.server.messages.size();
        };
        REQUIRE(pair.client.channels[0]->send(octets("one")) == SendResult::sent);
        REQUIRE(pair.client.channels[0]->send(octets("two")) == SendResult::sent);
        CHECK(left == 0);
        REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 2; }));
        CHECK(left == 1);
        CHECK(had == 0);
    }
    TEST_CASE("send and close never call back, and closing comes once, on both sides")
    {
        Pair pair;
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() == 1 && pair.server.channels.size() == 1; }));
        Channel& channel = *pair.client.channels[0];
        CHECK(channel.send(octets("last words")) == SendResult::sent);
        channel.close(CloseReason::local_request);
        channel.close(CloseReason::drained);
        CHECK(pair.client.closed.empty());
        CHECK(channel.send(octets("after")) == SendResult::closed);
        REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1 && pair.client.closed.size() == 1; }));
        CHECK(pair.server.messages == std::vector<std::string>{"last words"});
        CHECK(pair.client.closed[0].reason == CloseReason::local_request);
        CHECK(pair.server.closed[0].reason == CloseReason::peer_closed);
    }

    TEST_CASE("a peer whose certificate is wrong never becomes a channel, and hears why")
    {
        // Its own check would stop our client; this one is made for the other role on purpose.
        Pair pair;
        Handler stranger;
        support::Identity other{support::authority_wish("Other CA"), nullptr};
        support::Wish wish;
        wish.usage = "clientAuth";
        const support::Identity identity{wish, &other};
        TlsSettings settings;
        settings.policy.versions = {"TLS1.3"};
        settings.policy.suites = {"TLS_AES_128_GCM_SHA256"};
        settings.policy.groups = {"secp256r1"};
        settings.policy.signatures = {"ecdsa_secp256r1_sha256"};
        settings.ca = pair.folder.path() / "ca.pem";
        settings.certificate = pair.folder.write("other.pem", identity.certificate());
        settings.key = pair.folder.write("other.key", identity.key());
        settings.alpn = "ntpgate/1";
        auto made = TlsContext::create(settings);
        REQUIRE(std::holds_alternative<std::shared_ptr<const TlsContext>>(made));
        const auto connector =
            make_tls_connector(pair.loop, std::get<std::shared_ptr<const TlsContext>>(made), pair.options, "server");
        const auto attempt = connector->connect({"127.0.0.1", pair.port()}, stranger);
        stranger.progress = [&] { pair.loop.stop(); };
        REQUIRE(pair.run_until([&] { return pair.server.failed.size() == 1 && stranger.closed.size() == 1; }));
        CHECK(pair.server.channels.empty());
        CHECK(pair.server.failed[0].reason == CloseReason::unknown_ca);
        CHECK(pair.server.failed[0].peer.address.starts_with("127.0.0.1:"));
        CHECK(stranger.closed[0].reason == CloseReason::refused_by_peer);
        const ListenerCounters& counters = pair.listener->counters();
        CHECK(counters.accepted == 1);
        CHECK(counters.failed[static_cast<std::size_t>(CloseReason::unknown_ca)] == 1);
        CHECK(counters.pending == 0);
    }

    TEST_CASE("a silent peer is closed at the handshake's deadline")
    {
        StreamOptions options;
        options.handshake = 50ms;
        Pair pair{options};
        const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto address = *numeric_address("127.0.0.1", pair.port());
        REQUIRE(::connect(silent, as_sockaddr(address), address_length(address)) == 0);
        REQUIRE(pair.run_until([&] { return !pair.server.failed.empty(); }));
        CHECK(pair.server.failed[0].reason == CloseReason::handshake_timeout);
        close(silent);
    }

    TEST_CASE("an idle channel is closed at its deadline")
    {
        StreamOptions options;
        options.idle = 50ms;
        Pair pair{options};
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1 && pair.client.closed.size() == 1; }));
        const auto idle = [](const Closed& closed) {
            return closed.reason == CloseReason::idle_timeout || closed.reason == CloseReason::peer_closed;
        };
        CHECK(idle(pair.server.closed[0]));
        CHECK(idle(pair.client.closed[0]));
        const bool both_by_the_other = pair.server.closed[0].reason == CloseReason::peer_closed &&
                                       pair.client.closed[0].reason == CloseReason::peer_closed;
        CHECK_FALSE(both_by_the_other);
    }

    TEST_CASE("a peer above the limit is turned away, and let in when there is room")
    {
        Pair pair{{}, "clientAuth", {1, 0, 0, 0}};
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.server.channels.size() == 1; }));
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.failed.size() == 1; }));
        CHECK(pair.server.failed[0].reason == CloseReason::limit_reached);
        CHECK(pair.server.failed[0].text == "channels");
        CHECK(pair.listener->counters().refused[static_cast<std::size_t>(Limit::channels)] == 1);
        pair.server.channels[0]->close(CloseReason::local_request);
        REQUIRE(pair.run_until([&] { return pair.server.closed.size() == 1; }));
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.server.channels.size() == 1; }));
    }

    TEST_CASE("nobody there, and nobody by that name, are told apart")
    {
        Pair pair;
        const std::uint16_t port = pair.port();
        pair.listener.reset();
        pair.attempts.push_back(pair.connector->connect({"127.0.0.1", port}, pair.client));
        REQUIRE(pair.run_until([&] { return pair.client.failed.size() == 1; }));
        CHECK(pair.client.failed[0].reason == CloseReason::unreachable);
        pair.attempts.push_back(pair.connector->connect({"no-such-host.invalid", port}, pair.client));
        REQUIRE(pair.run_until([&] { return pair.client.failed.size() == 2; }));
        CHECK((pair.client.failed[1].reason == CloseReason::resolve_failed ||
               pair.client.failed[1].reason == CloseReason::connect_timeout));
    }

    TEST_CASE("an attempt that is dropped calls nobody")
    {
        Pair pair;
        pair.connect();
        pair.attempts.clear();
        Timer later{pair.loop, [&] { pair.loop.stop(); }};
        later.start(20ms);
        pair.loop.run();
        CHECK(pair.client.channels.empty());
        CHECK(pair.client.failed.empty());
    }

    TEST_CASE("a peer that does not read is congested, not queued for")
    {
        Pair pair;
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() == 1 && pair.server.channels.size() == 1; }));
        // All in one turn: the server's side of the loop never gets to read.
        const auto message = octets(std::string(1000, 'x'));
        std::size_t taken = 0;
        while (pair.client.channels[0]->send(message) == SendResult::sent) {
            taken += message.size();
            REQUIRE(taken < 1'000'000);
        }
        CHECK(taken <= 64 * 1024);
        CHECK(pair.client.channels[0]->send(message) == SendResult::congested);
        REQUIRE(pair.run_until([&] { return pair.server.messages.size() * message.size() == taken; }));
        CHECK(pair.client.channels[0]->send(message) == SendResult::sent);
    }

    TEST_CASE("records framing: a half-closed peer is still written to")
    {
        StreamOptions options;
        options.framing = StreamFraming::records;
        Pair pair{options};
        pair.connect();
        REQUIRE(pair.run_until([&] { return pair.client.channels.size() == 1 && pair.server.channels.size() == 1; }));
        CHECK(pair.client.channels[0]->send(octets("one record")) == SendResult::sent);
        CHECK(pair.client.channels[0]->send(octets("another")) == SendResult::sent);
        REQUIRE(pair.run_until([&] { return pair.server.messages.size() == 2; }));
        CHECK(pair.server.messages == std::vector<std::string>{"one record", "another"});
        pair.client.channels[0]->close(CloseReason::local_request);
        REQUIRE(pair.run_until([&] { return pair.server.ends == 1; }));
        CHECK(pair.server.closed.empty());
        CHECK(pair.server.channels[0]->send(octets("late reply")) == SendResult::sent);
    }
}
