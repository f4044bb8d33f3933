#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/ssh_pair.hpp"

using namespace std::chrono_literals;
using namespace transports;

TEST_SUITE_BEGIN("ssh_channel");

TEST_CASE("messages go both ways, whole and in order")
{
    support::SshPair pair;
    pair.open();
    pair.server.echo = true;
    for (const char* const text : {"one", "two", "three"}) {
        REQUIRE(pair.client.channels.front()->send(support::bytes_of(text)) == SendResult::sent);
    }
    REQUIRE(pair.until([&] { return pair.client.messages.size() == 3; }));
    CHECK(pair.server.messages == std::vector<std::string>{"one", "two", "three"});
    CHECK(pair.client.messages == pair.server.messages);
}

TEST_CASE("each side knows who the other is")
{
    support::SshPair pair;
    pair.open();
    const PeerIdentity& host = pair.client.channels.front()->peer();
    const PeerIdentity& user = pair.server.channels.front()->peer();
    CHECK(host.subject == "host key ssh-ed25519");
    CHECK(host.fingerprint.starts_with("SHA256:"));
    CHECK(host.matched == "127.0.0.1");
    CHECK(user.subject == "ntpgate");
    CHECK(user.matched == "ntpgate-client");
    CHECK(user.fingerprint.starts_with("SHA256:"));
    CHECK(user.fingerprint != host.fingerprint);
    CHECK(host.protocol == "SSH2");
    CHECK(host.suite == "curve25519-sha256 aes256-gcm@openssh.com aead-gcm");
    CHECK(user.suite == host.suite);
    CHECK(pair.listener->counters().opened == 1);
    CHECK(pair.listener->counters().pending == 0);
}

TEST_CASE("an orderly end is told to both, once")
{
    support::SshPair pair;
    pair.open();
    pair.client.channels.front()->close(CloseReason::drained);
    REQUIRE(pair.until([&] { return pair.client.closed.size() == 1 && pair.server.closed.size() == 1; }));
    CHECK(pair.client.closed.front().reason == CloseReason::drained);
    CHECK(pair.server.closed.front().reason == CloseReason::peer_closed);
}

TEST_CASE("what was sent before a close still arrives")
{
    support::SshPair pair;
    pair.open();
    REQUIRE(pair.client.channels.front()->send(support::bytes_of("last words")) == SendResult::sent);
    pair.client.channels.front()->close(CloseReason::local_request);
    REQUIRE(pair.until([&] { return pair.server.closed.size() == 1; }));
    CHECK(pair.server.messages == std::vector<std::string>{"last words"});
}

TEST_CASE("a destroyed channel is closed without a word to its own side")
{
    support::SshPair pair;
    pair.open();
    pair.client.channels.clear();
    REQUIRE(pair.until([&] { return pair.server.closed.size() == 1; }));
    CHECK(pair.client.closed.empty());
}

TEST_CASE("keys are renewed by time, on an idle channel, and messages go on")
{
    support::SshPair pair;
    pair.client_settings.rekey_time = 2s;
    pair.open();
    REQUIRE(pair.until([&] { return pair.client.rekeyed >= 2 && pair.server.rekeyed >= 2; }));
    pair.server.echo = true;
    REQUIRE(pair.client.channels.front()->send(support::bytes_of("after")) == SendResult::sent);
    REQUIRE(pair.until([&] { return !pair.client.messages.empty(); }));
}

TEST_CASE("keys are renewed by the server's data limit, and nothing is lost or held back by it")
{
    support::SshPair pair;
    pair.server_settings.rekey_data = 64 * 1024;
    pair.open();
    const auto message = support::bytes_of(std::string(1000, 'x'));
    int refused = 0;
    std::size_t sent = 0;
    std::function<void()> send;
    Timer pace{pair.loop, [&] { send(); }};
    send = [&] {
        if (pair.client.rekeyed < 1) {
            const auto result = pair.client.channels.front()->send(message);
            sent += result == SendResult::sent ? 1 : 0;
            refused += result != SendResult::sent && !pair.client.channels.front()->rekeying() ? 1 : 0;
            pace.start(1ms);
        }
    };
    send();
    REQUIRE(pair.until([&] { return pair.client.rekeyed >= 1; }));
    REQUIRE(pair.until([&] { return pair.server.messages.size() == sent; }));
    CHECK(refused == 0);
    CHECK(pair.client.closed.empty());
}

TEST_SUITE_END();
