// An SSH listener and a connector on one loop, with keys that fit; settings can be spoilt before open().
#pragma once

#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/test_pki.hpp"
#include "transports/address.hpp"
#include "transports/ssh.hpp"
#include "transports/ssh_keygen.hpp"

namespace support {

inline std::vector<std::byte> bytes_of(const std::string& text)
{
    std::vector<std::byte> out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

struct SshEnd final : transports::ChannelHandler {
    std::function<void()> progress = [] {};
    std::vector<std::unique_ptr<transports::Channel>> channels;
    std::vector<std::string> messages;
    std::vector<transports::Closed> closed;
    std::vector<transports::Failed> failed;
    int rekeyed = 0;
    bool echo = false;

    void on_open(std::unique_ptr<transports::Channel> channel) override
    {
        channels.push_back(std::move(channel));
        progress();
    }
    void on_message(transports::Channel& from, std::span<const std::byte> message, transports::Instant) override
    {
        messages.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
        if (echo) {
            (void)from.send(message); // the test counts what arrives
        }
        progress();
    }
    void on_end(transports::Channel&) override { FAIL("an SSH channel does not half-close"); }
    void on_closed(transports::Channel& channel, const transports::Closed& why) override
    {
        closed.push_back(why);
        std::erase_if(channels, [&](const auto& item) { return item.get() == &channel; });
        progress();
    }
    void on_rekeyed(transports::Channel&) override
    {
        ++rekeyed;
        progress();
    }
    void on_failed(const transports::Failed& why) override
    {
        failed.push_back(why);
        progress();
    }
};

/// Keys take a moment to make: once for all tests.
inline const std::filesystem::path& trial_keys()
{
    static const Folder kFolder;
    static const bool kMade =
        !transports::write_trial_ssh_keys({kFolder.path() / "keys", {"127.0.0.1"}, "ntpgate-client"});
    static const std::filesystem::path kPath = kFolder.path() / "keys";
    REQUIRE(kMade);
    return kPath;
}

inline std::string read_text(const std::filesystem::path& path)
{
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

inline transports::SshPolicy ssh_policy()
{
    transports::SshPolicy policy;
    policy.kex = {"curve25519-sha256"};
    policy.public_keys = {"ssh-ed25519", "rsa-sha2-512"};
    policy.ciphers = {"aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"};
    policy.macs = {"hmac-sha2-256-etm@openssh.com"};
    return policy;
}

struct SshPair {
    Folder folder;
    transports::Loop loop;
    std::unique_ptr<transports::Admission> admission; // outlives every channel
    SshEnd server;
    SshEnd client;
    transports::AdmissionLimits limits{0, 0, 0, 0};
    transports::SshSettings server_settings;
    transports::SshSettings client_settings;
    transports::SshOptions options;
    std::unique_ptr<transports::Listener> listener;
    std::unique_ptr<transports::Connector> connector;
    std::vector<std::unique_ptr<transports::Attempt>> attempts;
    bool timed_out = false;
    transports::Timer deadline{loop, [this] {
                                   timed_out = true;
                                   loop.stop();
                               }};

    SshPair()
    {
        server_settings.role = transports::SshRole::server;
        server_settings.policy = client_settings.policy = ssh_policy();
        server_settings.host_keys = {trial_keys() / "host_ed25519", trial_keys() / "host_rsa"};
        server_settings.authorized_keys = trial_keys() / "authorized_keys";
        client_settings.key = trial_keys() / "id_ed25519";
        client_settings.known_hosts = trial_keys() / "known_hosts";
    }

    static std::shared_ptr<const transports::SshContext> context(const transports::SshSettings& settings)
    {
        auto made = transports::SshContext::create(settings);
        if (auto* problems = std::get_if<std::vector<transports::SshProblem>>(&made)) {
            FAIL(problems->front().setting << ": " << problems->front().text);
        }
        return std::get<std::shared_ptr<const transports::SshContext>>(made);
    }
    void listen()
    {
        admission = std::make_unique<transports::Admission>(limits, nullptr);
        auto made = transports::make_ssh_listener(loop, *transports::numeric_address("127.0.0.1", 0),
                                                  context(server_settings), options, *admission, server);
        REQUIRE(std::holds_alternative<std::unique_ptr<transports::Listener>>(made));
        listener = std::move(std::get<std::unique_ptr<transports::Listener>>(made));
    }
    [[nodiscard]] std::uint16_t port() const
    {
        return static_cast<std::uint16_t>(std::stoi(listener->address().substr(listener->address().rfind(':') + 1)));
    }
    void connect()
    {
        if (!connector) {
            connector = transports::make_ssh_connector(loop, context(client_settings), options);
        }
        attempts.push_back(connector->connect({"127.0.0.1", port()}, client));
    }
    /// Both ends have a channel.
    void open()
    {
        listen();
        connect();
        REQUIRE(until([&] { return client.channels.size() == 1 && server.channels.size() == 1; }));
    }
    /// The attempt fails, and says why on both sides.
    void refuse()
    {
        listen();
        connect();
        REQUIRE(until([&] { return client.failed.size() == 1 && server.failed.size() == 1; }));
        CHECK(server.channels.empty());
        CHECK(client.channels.empty());
        const auto& counted = listener->counters();
        CHECK(counted.failed.at(static_cast<std::size_t>(server.failed.front().reason)) == 1);
        CHECK(counted.accepted == 1);
        CHECK(counted.pending == 0);
    }
    /// Runs until `done`; false when that took longer than any correct run could.
    bool until(const std::function<bool()>& done)
    {
        server.progress = client.progress = [this, done] {
            if (done()) {
                loop.stop();
            }
        };
        deadline.start(std::chrono::seconds{30});
        while (!done() && !timed_out) {
            loop.run();
        }
        return done();
    }
};

} // namespace support
