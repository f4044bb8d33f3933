// Both roles of a mac tunnel, joined in memory: what the local client sees, and what nobody gets past either of them.
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/server_shim.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using namespace packets;
using ntp_shim::ClientShim;
using ntp_shim::Framing;
using ntp_shim::Nanoseconds;
using ntp_shim::ServerShim;

TEST_SUITE_BEGIN("sealed_shims");

namespace {

constexpr std::uint64_t kFresh = 0x1122334455667788;
constexpr std::uint64_t kUpstream = 0x99aabbccddeeff01;
constexpr ntp_shim::ChannelNumber kSocket = 5;
const ntp_shim::ClientEndpoint kServerSeen{
    .address = ipv4(192, 0, 2, 1), .local = ipv4(192, 0, 2, 2), .scope = 0, .port = 50000, .listener = 0};

ntp_shim::ClientPolicy client_policy()
{
    ntp_shim::ClientPolicy policy;
    policy.framing = Framing::datagram;
    return policy;
}

ntp_shim::ServerPolicy server_policy()
{
    ntp_shim::ServerPolicy policy;
    policy.framing = Framing::datagram;
    policy.limits.per_channel = 0;
    return policy;
}

struct Tunnel {
    explicit Tunnel(DigestKind kind = DigestKind::sha256, std::uint8_t version = 4,
                    ntp_shim::MacServerSeal::Rules rules = {})
        : keys(ring({key(7, kind)})), client_seal(keys, version), server_seal(keys, rules),
          client(client_policy(), client_counters, &client_seal), server(server_policy(), server_counters, &server_seal)
    {
        client.open_channel(kSocket, {}, at(0s));
    }
    ~Tunnel() { check_sums(); }

    /// The sealed request, handed over `held` after it came at `t`.
    Octets ask(const Octets& request, Nanoseconds t = 0s, Nanoseconds held = 0s, std::uint64_t fresh = kFresh)
    {
        const auto taken = client.on_client_datagram(endpoint(), request, at(t), at(t), true);
        REQUIRE(dropped(taken) == "");
        const auto message = client.hand_over(std::get<ntp_shim::ExchangeHandle>(taken), kSocket, at(t + held), fresh);
        REQUIRE(dropped(message) == "");
        return copy(std::get<Bytes>(message));
    }
    /// What the daemon is asked.
    Octets serve(const Octets& sealed, Nanoseconds t, Nanoseconds held = 0s)
    {
        const auto verdict = server.on_datagram(kServerSeen, sealed, at(t), at(t + held), kUpstream);
        REQUIRE(std::holds_alternative<ntp_shim::ToUpstream>(verdict));
        return copy(std::get<ntp_shim::ToUpstream>(verdict).packet);
    }
    std::string refused(const Octets& datagram, Nanoseconds t = 0s)
    {
        const auto verdict = server.on_datagram(kServerSeen, datagram, at(t), at(t), kUpstream);
        const auto* refusal = std::get_if<ntp_shim::Refusal>(&verdict);
        told = refusal == nullptr ? Octets{} : copy(refusal->answer);
        check_sums();
        return refusal == nullptr ? "" : std::string{name(refusal->reason)};
    }
    Octets answer(const Octets& daemon, Nanoseconds t, Nanoseconds held = 0s)
    {
        const auto verdict = server.on_upstream_datagram(daemon, at(t), at(t + held));
        REQUIRE(std::holds_alternative<ntp_shim::Deliver>(verdict));
        const auto& delivery = std::get<ntp_shim::Deliver>(verdict);
        REQUIRE(delivery.client == kServerSeen);
        return copy(delivery.packet);
    }
    std::string receive(const Octets& sealed, Nanoseconds t, Nanoseconds held = 0s)
    {
        const auto verdict = client.on_message(kSocket, sealed, at(t), at(t + held));
        delivered.clear();
        if (const auto* delivery = std::get_if<ntp_shim::Deliver>(&verdict)) {
            delivered = copy(delivery->packet);
        }
        if (const auto* drop = std::get_if<ntp_shim::Drop>(&verdict)) {
            kiss = drop->kiss;
        }
        check_sums();
        return dropped(verdict);
    }
    /// One whole exchange without holds; the sealed reply.
    Octets sealed_reply(const Octets& request)
    {
        const auto daemon_asked = serve(ask(request), 1ms);
        return answer(packet(answer_to(daemon_asked)), 2ms);
    }
    void check_sums() const
    {
        for (const auto* counters : {&client_counters, &server_counters}) {
            REQUIRE(counters->requests.balanced());
            REQUIRE(counters->replies.balanced());
            REQUIRE(counters->exchanges.balanced());
        }
    }

    std::shared_ptr<const ntp_shim::MacKeyRing> keys;
    ntp_shim::MacClientSeal client_seal;
    ntp_shim::MacServerSeal server_seal;
    ntp_shim::Counters client_counters;
    ntp_shim::Counters server_counters;
    ClientShim client;
    ServerShim server;
    Octets delivered;
    Octets told;
    std::uint32_t kiss = 0;
};

Octets local()
{
    return request({.version = 2, .stratum = 16, .poll = 10});
}

} // namespace

TEST_CASE("a request goes out anew: version 4, a fresh stamp, and nothing else")
{
    Tunnel tunnel;
    const auto sealed = tunnel.ask(local());
    CHECK(sealed.size() == 72);
    auto expected = zeros(48);
    expected[0] = std::byte{0x23};
    ntp_shim::write_stamp(expected, ntp_shim::StampField::transmit, kFresh);
    CHECK(Octets(sealed.begin(), sealed.begin() + 48) == expected);
}

TEST_CASE("the daemon sees a header and a stamp of the server role's own")
{
    Tunnel tunnel;
    const auto asked = tunnel.serve(tunnel.ask(local()), 1ms);
    CHECK(asked.size() == 48);
    CHECK(parse(asked).transmit == kUpstream);
    CHECK(parse(asked).version == 4);
}

TEST_CASE("the client finds its own version, poll and stamp in the reply, and no MAC")
{
    Tunnel tunnel;
    CHECK(tunnel.receive(tunnel.sealed_reply(local()), 3ms) == "");
    REQUIRE(tunnel.delivered.size() == 48);
    const auto reply = parse(tunnel.delivered);
    CHECK(reply.version == 2);
    CHECK(reply.mode == 4);
    CHECK(reply.poll == 10);
    CHECK(reply.origin == kT1);
    CHECK(reply.stratum == 2);
    CHECK(reply.receive == kT2);
    CHECK(reply.transmit == kT3);
}

TEST_CASE("each role corrects its own hold, and the digest covers the server role's")
{
    Tunnel tunnel;
    const auto sealed = tunnel.ask(local(), 0ms, 40ms);
    const auto asked = tunnel.serve(sealed, 50ms, 10ms);
    const auto reply = tunnel.answer(packet(answer_to(asked)), 70ms, 20ms);
    const auto between = parse(Bytes{reply}.first(48));
    CHECK(between.receive == kT2 - static_cast<std::uint64_t>(ntp_shim::to_ticks(10ms).count()));
    CHECK(between.transmit == kT3 + static_cast<std::uint64_t>(ntp_shim::to_ticks(20ms).count()));
    CHECK(tunnel.receive(reply, 100ms, 30ms) == "");
    const auto seen = parse(tunnel.delivered);
    CHECK(seen.receive == between.receive - static_cast<std::uint64_t>(ntp_shim::to_ticks(40ms).count()));
    CHECK(seen.transmit == between.transmit + static_cast<std::uint64_t>(ntp_shim::to_ticks(30ms).count()));
}

TEST_CASE("a reply with any single bit changed is refused, and the right one still comes")
{
    for (const std::uint8_t version : {std::uint8_t{3}, std::uint8_t{4}}) {
        for (const auto kind : {DigestKind::sha256, DigestKind::aes128}) {
            Tunnel tunnel{kind, version};
            const auto reply = tunnel.sealed_reply(local());
            for (std::size_t bit = 0; bit < reply.size() * 8; ++bit) {
                CAPTURE(bit);
                auto changed = reply;
                changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
                CHECK(tunnel.receive(changed, 3ms) != "");
                CHECK(tunnel.delivered.empty());
            }
            CHECK(tunnel.receive(reply, 3ms) == "");
        }
    }
}

TEST_CASE("a request with any single bit changed does not reach the daemon")
{
    Tunnel tunnel;
    const auto sealed = tunnel.ask(local());
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        auto changed = sealed;
        changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        CHECK(tunnel.refused(changed) != "");
    }
    CHECK(tunnel.server_counters.requests.forwarded == 0);
}

TEST_CASE("replayed and unsolicited replies are refused, cut and longer ones too")
{
    Tunnel tunnel;
    const auto reply = tunnel.sealed_reply(local());
    for (std::size_t size = 0; size < reply.size(); ++size) {
        CHECK(tunnel.receive({reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(size)}, 3ms) != "");
    }
    for (const std::size_t more : {1U, 4U, 16U, 28U, 1300U}) {
        auto longer = reply;
        longer.resize(longer.size() + more);
        CHECK(tunnel.receive(longer, 3ms) != "");
    }
    CHECK(tunnel.receive(reply, 3ms) == "");
    CHECK(tunnel.receive(reply, 4ms) == "second_reply");
    const auto next = tunnel.ask(local(), 5ms, 0s, kFresh + 1);
    CHECK(tunnel.receive(reply, 6ms) == "second_reply");
    auto stray = answer_to(next);
    stray.origin = 4711;
    CHECK(tunnel.receive(with_mac(packet(stray), *tunnel.keys->find(7)), 7ms) == "bad_origin");
    CHECK(tunnel.client.open() == 1);
}

TEST_CASE("a forged crypto-NAK or kiss ends nothing; a sealed kiss is vouched for, and not delivered")
{
    Tunnel tunnel;
    const auto sealed = tunnel.ask(local());
    auto nak = answer_to(sealed);
    nak.tail = zeros(4);
    CHECK(tunnel.receive(packet(nak), 2ms) == "crypto_nak");
    auto kiss = answer_to(sealed);
    kiss.stratum = 0;
    kiss.reference_id = 0x52415445;
    CHECK(tunnel.receive(packet(kiss), 2ms) == "no_mac");
    CHECK(tunnel.kiss == 0);
    CHECK(tunnel.client.open() == 1);
    CHECK(tunnel.receive(with_mac(packet(kiss), *tunnel.keys->find(7)), 2ms) == "kiss_of_death");
    CHECK(tunnel.kiss == 0x52415445);
    CHECK(tunnel.client.open() == 0);
}

TEST_CASE("a local client's own MAC or field cannot go through a tunnel that re-issues requests")
{
    Tunnel tunnel;
    const auto sealed = with_mac(request(), *key(3, DigestKind::sha1));
    CHECK(dropped(tunnel.client.on_client_datagram(endpoint(), sealed, at(0s), at(0s), true)) == "sealed_already");
}

TEST_CASE("without a key nothing goes out")
{
    Tunnel tunnel;
    tunnel.client_seal.use(ring({}));
    const auto taken = tunnel.client.on_client_datagram(endpoint(), local(), at(0s), at(0s), true);
    CHECK(dropped(tunnel.client.hand_over(std::get<ntp_shim::ExchangeHandle>(taken), kSocket, at(0s), kFresh)) ==
          "no_key");
    CHECK(tunnel.client_counters.requests.forwarded == 0);
}

TEST_CASE("several exchanges on one socket are told apart by their stamps")
{
    Tunnel tunnel;
    const auto one = tunnel.ask(request({.transmit = 1}), 0ms, 0s, 101);
    const auto two = tunnel.ask(request({.transmit = 2}), 0ms, 0s, 102);
    const auto& sealing = *tunnel.keys->find(7);
    CHECK(tunnel.receive(with_mac(packet(answer_to(two)), sealing), 1ms) == "");
    CHECK(parse(tunnel.delivered).origin == 2);
    CHECK(tunnel.receive(with_mac(packet(answer_to(one)), sealing), 1ms) == "");
    CHECK(parse(tunnel.delivered).origin == 1);
}

TEST_CASE("a server role's clients have a rate and a number of exchanges")
{
    Tunnel tunnel;
    const auto& sealing = *tunnel.keys->find(7);
    for (std::uint64_t i = 0; i < 16; ++i) {
        (void)tunnel.server.on_datagram(kServerSeen, with_mac(request({.transmit = i + 1}), sealing), at(0s), at(0s),
                                        1000 + i);
    }
    CHECK(tunnel.server.open() == 16);
    for (std::uint64_t i = 16; i < 100; ++i) {
        CHECK(tunnel.refused(with_mac(request({.transmit = i + 1}), sealing)) == "client_limit");
    }
    CHECK(tunnel.refused(with_mac(request({.transmit = 101}), sealing)) == "rate_limited");
    tunnel.server.expire(at(5s));
    CHECK(tunnel.refused(with_mac(request({.transmit = 102}), sealing), 6s) == "");
}

TEST_CASE("a captured request that is sent again in its sender's name uses up nothing and asks nobody")
{
    Tunnel tunnel;
    const auto& sealing = *tunnel.keys->find(7);
    const auto captured = with_mac(request(), sealing);
    CHECK(tunnel.refused(captured) == "");
    for (int i = 0; i < 1000; ++i) {
        CHECK(tunnel.refused(captured) == "replayed");
    }
    CHECK(tunnel.server.open() == 1);
    CHECK(tunnel.server_counters.requests.forwarded == 1);
    CHECK(tunnel.refused(with_mac(request({.transmit = 1}), sealing)) == "");
    auto elsewhere = kServerSeen;
    elsewhere.address = ipv4(192, 0, 2, 3);
    CHECK(std::holds_alternative<ntp_shim::ToUpstream>(
        tunnel.server.on_datagram(elsewhere, captured, at(0s), at(0s), kUpstream + 5)));
}

TEST_CASE("requests without a stamp, or without a MAC where that is served, are no replays")
{
    Tunnel tunnel{DigestKind::sha256, 4, {.unauthenticated = ntp_shim::Unauthenticated::serve}};
    auto stampless = request();
    ntp_shim::write_stamp(stampless, ntp_shim::StampField::transmit, 0);
    for (int i = 0; i < 3; ++i) {
        CHECK(tunnel.refused(with_mac(stampless, *tunnel.keys->find(7))) == "");
        CHECK(tunnel.refused(request()) == "");
    }
}

TEST_CASE("what is forged in a client's name does not use up its share")
{
    Tunnel tunnel;
    const auto bad = with_mac(request(), *key(7, DigestKind::sha256, 5));
    for (int i = 0; i < 1000; ++i) {
        CHECK(tunnel.refused(bad) == "bad_mac");
    }
    CHECK(tunnel.refused(with_mac(request(), *tunnel.keys->find(7))) == "");
}

TEST_CASE("a server role tells no more than a hundred senders a second of a bad MAC")
{
    Tunnel tunnel{DigestKind::sha256, 4, {.on_bad_mac = ntp_shim::OnBadMac::nak}};
    const auto bad = with_mac(request(), *key(7, DigestKind::sha256, 5));
    int told = 0;
    for (int i = 0; i < 150; ++i) {
        CHECK(tunnel.refused(bad) == "bad_mac");
        told += tunnel.told.empty() ? 0 : 1;
    }
    CHECK(told == 100);
}

TEST_CASE("refusals that are answered with nothing leave the others their share")
{
    Tunnel tunnel{DigestKind::sha256, 4, {.on_bad_mac = ntp_shim::OnBadMac::nak}};
    for (int i = 0; i < 1000; ++i) {
        CHECK(tunnel.refused(request()) == "no_mac");
    }
    CHECK(tunnel.refused(with_mac(request(), *key(7, DigestKind::sha256, 5))) == "bad_mac");
    CHECK(tunnel.told.size() == 52);
}

TEST_CASE("a server role tells of a bad MAC when it is asked to, once for each request and not in more octets")
{
    Tunnel tunnel{DigestKind::sha256, 4, {.on_bad_mac = ntp_shim::OnBadMac::nak}};
    CHECK(tunnel.refused(with_mac(request(), *key(7, DigestKind::sha256, 3))) == "bad_mac");
    CHECK(tunnel.told.size() == 52);
    CHECK(tunnel.refused(request()) == "no_mac");
    CHECK(tunnel.told.empty());
}

TEST_CASE("unauthenticated: serve answers in the clear, with the hold corrected")
{
    Tunnel tunnel{DigestKind::sha256, 4, {.unauthenticated = ntp_shim::Unauthenticated::serve}};
    const auto asked = tunnel.serve(request(), 0ms, 10ms);
    const auto reply = tunnel.answer(packet(answer_to(asked)), 20ms);
    REQUIRE(reply.size() == 48);
    CHECK(parse(reply).origin == kT1);
    CHECK(parse(reply).receive == kT2 - static_cast<std::uint64_t>(ntp_shim::to_ticks(10ms).count()));
}

TEST_CASE("an inner seal: frames carry sealed packets, and the server role's hold is in the stamps")
{
    const auto keys = ring({key(7, DigestKind::aes128)});
    ntp_shim::MacClientSeal client_seal{keys, 4};
    ntp_shim::MacServerSeal server_seal{keys, {}};
    ntp_shim::Counters client_counters;
    ntp_shim::Counters server_counters;
    ClientShim client{{}, client_counters, &client_seal};
    ServerShim server{{}, server_counters, &server_seal};
    client.open_channel(1, {}, at(0s));
    server.open_channel(2, {});
    const auto taken = client.on_client_datagram(endpoint(), local(), at(0s), at(0s), true);
    const auto message = client.hand_over(std::get<ntp_shim::ExchangeHandle>(taken), 1, at(5ms), kFresh);
    REQUIRE(dropped(message) == "");
    const auto frame = copy(std::get<Bytes>(message));
    CHECK(frame.size() == 32 + 68);
    const auto asked = server.on_message(2, frame, at(10ms), at(20ms), kUpstream);
    REQUIRE(std::holds_alternative<ntp_shim::ToUpstream>(asked));
    const auto daemon = copy(std::get<ntp_shim::ToUpstream>(asked).packet);
    CHECK(daemon.size() == 48);
    const auto answered = server.on_upstream_datagram(packet(answer_to(daemon)), at(21ms), at(23ms));
    REQUIRE(std::holds_alternative<ntp_shim::ToChannel>(answered));
    const auto reply = copy(std::get<ntp_shim::ToChannel>(answered).message);
    CHECK(decode(reply).forward_hold == 0);
    CHECK(decode(reply).backward_hold == 0);
    const auto seen = client.on_message(1, reply, at(30ms), at(30ms));
    REQUIRE(std::holds_alternative<ntp_shim::Deliver>(seen));
    const auto delivered = parse(copy(std::get<ntp_shim::Deliver>(seen).packet));
    CHECK(delivered.origin == kT1);
    CHECK(delivered.receive ==
          kT2 - static_cast<std::uint64_t>((ntp_shim::to_ticks(10ms) + ntp_shim::to_ticks(5ms)).count()));
    CHECK(delivered.transmit == kT3 + static_cast<std::uint64_t>(ntp_shim::to_ticks(2ms).count()));
}

TEST_CASE("an inner seal meets a keyed daemon: the holds that frames report are corrected once the MAC is verified")
{
    const auto keys = ring({key(7, DigestKind::sha1)});
    ntp_shim::MacClientSeal client_seal{keys, 4};
    ntp_shim::Counters client_counters;
    ntp_shim::Counters server_counters;
    ClientShim client{{}, client_counters, &client_seal};
    ServerShim server{{}, server_counters};
    client.open_channel(1, {}, at(0s));
    server.open_channel(2, {});
    const auto taken = client.on_client_datagram(endpoint(), local(), at(0s), at(0s), true);
    const auto message = client.hand_over(std::get<ntp_shim::ExchangeHandle>(taken), 1, at(0s), kFresh);
    const auto asked = server.on_message(2, copy(std::get<Bytes>(message)), at(1ms), at(2ms), kUpstream);
    REQUIRE(std::holds_alternative<ntp_shim::ToUpstream>(asked));
    const auto daemon = copy(std::get<ntp_shim::ToUpstream>(asked).packet);
    CHECK(ntp_shim::find_trailer(daemon).key_id == 7);
    const auto sealed = with_mac(packet(answer_to(daemon)), *keys->find(7));
    const auto answered = server.on_upstream_datagram(sealed, at(3ms), at(3ms));
    REQUIRE(std::holds_alternative<ntp_shim::ToChannel>(answered));
    const auto seen = client.on_message(1, copy(std::get<ntp_shim::ToChannel>(answered).message), at(4ms), at(4ms));
    REQUIRE(std::holds_alternative<ntp_shim::Deliver>(seen));
    const auto delivered = copy(std::get<ntp_shim::Deliver>(seen).packet);
    CHECK(delivered.size() == 48);
    CHECK(parse(delivered).receive == kT2 - static_cast<std::uint64_t>(ntp_shim::to_ticks(1ms).count()));
}

TEST_SUITE_END();
