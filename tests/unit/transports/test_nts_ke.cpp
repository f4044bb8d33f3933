#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/test_pki.hpp"
#include "transports/address.hpp"
#include "transports/nts_ke.hpp"

using namespace std::chrono_literals;
using namespace transports;

namespace {

using Octets = std::vector<std::byte>;

Octets octets(const std::string& text)
{
    Octets out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

std::string text_of(std::span<const std::byte> bytes)
{
    std::string out(bytes.size(), '\0');
    std::ranges::transform(bytes, out.begin(), [](std::byte octet) { return static_cast<char>(octet); });
    return out;
}

/// A question ends with '?', an answer with '!'.
struct Owner final : KeServerOwner {
    struct Conversation final : KeConversation {
        explicit Conversation(Owner& the_owner) : owner{the_owner} {}
        std::optional<Octets> hear(Channel& channel, std::span<const std::byte> received, bool over) override
        {
            const auto text = text_of(received);
            if (!over && !text.ends_with('?')) {
                return std::nullopt;
            }
            Octets exported(32);
            CHECK(channel.export_keys("EXPORTER-test", octets("context"), exported));
            owner.key = exported;
            owner.heard.push_back(text + (over ? " (over)" : ""));
            return octets("to " + text + "!");
        }
        Owner& owner;
    };
    std::unique_ptr<KeConversation> converse(const PeerIdentity&) override
    {
        return std::make_unique<Conversation>(*this);
    }
    void on_failed(const Failed& why) override { failed.push_back(why.reason); }

    std::vector<std::string> heard;
    std::vector<CloseReason> failed;
    Octets key;
};

struct World {
    support::Folder folder;
    support::Identity authority{support::authority_wish("Test CA"), nullptr};
    Loop loop;
    Admission admission{{0, 0, 0, 0}, nullptr};
    Owner owner;
    KeServer server{loop, {64, 300ms}, admission, owner};
    std::unique_ptr<KeClient> client;
    std::string answer;
    Octets key;
    std::optional<Failed> failed;
    bool timed_out = false;
    Timer deadline{loop, [this] {
                       timed_out = true;
                       loop.stop();
                   }};

    explicit World(const std::string& client_alpn = "ntske/1")
    {
        folder.write("ca.pem", authority.certificate());
        const auto listening = server.listen(*numeric_address("127.0.0.1", 0), context(TlsRole::server, "ntske/1"));
        REQUIRE_FALSE(listening.has_value());
        StreamOptions options;
        options.framing = StreamFraming::records;
        client = std::make_unique<KeClient>(
            loop, make_tls_connector(loop, context(TlsRole::client, client_alpn), options, "server"),
            KeClient::Options{256, 2s});
    }

    std::shared_ptr<const TlsContext> context(TlsRole role, const std::string& alpn)
    {
        TlsSettings settings;
        settings.role = role;
        settings.policy.versions = {"TLS1.3"};
        settings.policy.suites = {"TLS_AES_128_GCM_SHA256"};
        settings.policy.groups = {"secp256r1"};
        settings.policy.signatures = {"ecdsa_secp256r1_sha256"};
        settings.ca = folder.path() / "ca.pem";
        settings.client_certificate = ClientCertificate::none;
        settings.alpn = alpn;
        if (role == TlsRole::server) {
            support::Wish wish;
            wish.names = {"DNS:server"};
            const support::Identity identity{wish, &authority};
            settings.certificate = folder.write("server.pem", identity.certificate());
            settings.key = folder.write("server.key", identity.key());
        }
        auto made = TlsContext::create(settings);
        REQUIRE(std::holds_alternative<std::shared_ptr<const TlsContext>>(made));
        return std::get<std::shared_ptr<const TlsContext>>(made);
    }

    /// Asks, and runs until there is an answer that ends as one does, or a failure.
    void ask(const std::string& question)
    {
        const auto address = server.addresses().front();
        const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
        client->ask(
            {"127.0.0.1", port}, octets(question),
            [this](Channel& channel, std::span<const std::byte> received) {
                if (!text_of(received).ends_with('!')) {
                    return false;
                }
                answer = text_of(received);
                key.resize(32);
                CHECK(channel.export_keys("EXPORTER-test", octets("context"), key));
                loop.stop();
                return true;
            },
            [this](const Failed& why) {
                failed = why;
                loop.stop();
            });
        deadline.start(10s);
        loop.run();
        REQUIRE_FALSE(timed_out);
    }
};

} // namespace

TEST_SUITE_BEGIN("nts_ke");

TEST_CASE("a question is answered, and both ends export the same keys")
{
    World world;
    world.ask("what?");
    CHECK(world.answer == "to what?!");
    CHECK_FALSE(world.failed.has_value());
    CHECK(world.key == world.owner.key);
    CHECK(world.key != Octets(32));
}

TEST_CASE("another question has another key, on the same client")
{
    World world;
    world.ask("one?");
    const auto first = world.key;
    world.ask("two?");
    CHECK(world.answer == "to two?!");
    CHECK(world.key != first);
}

TEST_CASE("a question that does not end is answered at the deadline")
{
    World world;
    world.ask("what");
    CHECK(world.owner.heard == std::vector<std::string>{"what (over)"});
    CHECK(world.answer == "to what!");
}

TEST_CASE("a question that is too long is answered without the rest")
{
    World world;
    world.ask(std::string(65, 'x') + "?");
    CHECK(world.owner.heard == std::vector<std::string>{" (over)"});
}

TEST_CASE("an answer that ends before its end is a failure, and so is none at all")
{
    World world;
    world.client->cancel();
    world.ask("?");
    CHECK(world.answer == "to ?!");
    World other;
    other.answer.clear();
    // An answer of the server's that the judge does not take for whole: the server has ended, there is no more.
    const auto address = other.server.addresses().front();
    other.client->ask(
        {"127.0.0.1", static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)))}, octets("?"),
        [](Channel&, std::span<const std::byte>) { return false; },
        [&](const Failed& why) {
            other.failed = why;
            other.loop.stop();
        });
    other.deadline.start(10s);
    other.loop.run();
    REQUIRE(other.failed.has_value());
    CHECK(other.failed->reason == CloseReason::protocol_error);
    CHECK(other.failed->text == "the answer was cut short");
}

TEST_CASE("another protocol is refused on both sides before a question is asked")
{
    World world{"http/1.1"};
    world.ask("what?");
    REQUIRE(world.failed.has_value());
    CHECK(world.owner.heard.empty());
    CHECK(world.owner.failed == std::vector<CloseReason>{CloseReason::no_alpn});
}

TEST_CASE("who is cancelled hears nothing more")
{
    World world;
    world.client->ask(
        {"127.0.0.1", 1}, octets("?"), [](Channel&, std::span<const std::byte>) { return true; },
        [&](const Failed& why) { world.failed = why; });
    world.client->cancel();
    world.ask("what?");
    CHECK_FALSE(world.failed.has_value());
}

TEST_CASE("a server that stopped lets nobody in")
{
    World world;
    world.ask("what?");
    world.server.stop();
    const auto address = world.server.addresses().front();
    CHECK(world.server.counters().opened == 1);
    world.ask("again?");
    REQUIRE(world.failed.has_value());
    CHECK(world.failed->reason == CloseReason::unreachable);
}

TEST_SUITE_END();
