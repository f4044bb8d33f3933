#include "ntp-shim/mac_seal.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using ntp_shim::DropReason;
using ntp_shim::MacClientSeal;
using ntp_shim::MacServerSeal;
using ntp_shim::OnBadMac;
using ntp_shim::SealBuffer;
using ntp_shim::SealPeer;
using ntp_shim::Unauthenticated;
using packets::request;

TEST_SUITE_BEGIN("mac_seal");

namespace {

const SealPeer kSomebody = packets::ipv4(192, 0, 2, 1);

std::string opened(MacServerSeal& seal, const Octets& packet, const SealPeer& from = kSomebody)
{
    const auto outcome = seal.open(packet, from);
    const auto* reason = std::get_if<DropReason>(&outcome);
    return reason == nullptr ? "" : std::string{name(*reason)};
}

/// A request as the seal makes it, and what it remembers of it.
struct Asked {
    explicit Asked(MacClientSeal& seal, std::uint64_t transmit = 0x1234)
    {
        SealBuffer buffer{};
        ntp_shim::write_reissued(std::span{buffer}.first<48>(), seal.version(), transmit);
        auto made = seal.seal(buffer);
        REQUIRE(std::holds_alternative<ntp_shim::ClientSeal::Sealed>(made));
        auto& sealed = std::get<ntp_shim::ClientSeal::Sealed>(made);
        packet.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(sealed.length));
        memory = std::move(sealed.memory);
    }
    Octets packet;
    ntp_shim::SealMemoryPointer memory;
};

Octets reply_to(const Octets& asked)
{
    return packets::packet(packets::answer_to(asked));
}

} // namespace

TEST_CASE("every digest and version: what one side seals the other opens, and answers in the same form")
{
    for (const auto kind : kEveryDigest) {
        for (const std::uint8_t version : {std::uint8_t{3}, std::uint8_t{4}}) {
            const auto keys = ring({key(7, kind)});
            MacClientSeal client{keys, version};
            MacServerSeal server{keys, {}};
            const Asked asked{client};
            CHECK(packets::parse(asked.packet).version == version);
            auto memory = server.open(asked.packet, kSomebody);
            REQUIRE(std::holds_alternative<ntp_shim::SealMemoryPointer>(memory));
            SealBuffer buffer{};
            std::ranges::copy(reply_to(asked.packet), buffer.begin());
            const auto length = server.seal(buffer, *std::get<ntp_shim::SealMemoryPointer>(memory));
            REQUIRE(std::holds_alternative<std::size_t>(length));
            CHECK(std::get<std::size_t>(length) == asked.packet.size());
            CHECK_FALSE(client.open(ntp_shim::Bytes{buffer}.first(asked.packet.size()), *asked.memory).has_value());
        }
    }
}

TEST_CASE("a reply must have the key, its id, its digest and the form that the request had (RFI 202412)")
{
    const auto right = key(7, DigestKind::sha256);
    MacClientSeal client{ring({right}), 4};
    const Asked asked{client};
    const auto reply = reply_to(asked.packet);
    const auto verdict = [&](const Octets& packet) { return packets::word(client.open(packet, *asked.memory)); };
    CHECK(verdict(with_mac(reply, *right)) == "");
    CHECK(verdict(reply) == "no_mac");
    CHECK(verdict(with_mac(reply, *key(7, DigestKind::sha512))) == "bad_mac"); // the same key, another digest
    CHECK(verdict(with_mac(reply, *key(7, DigestKind::sha1))) == "bad_mac");
    CHECK(verdict(with_mac(reply, *key(7, DigestKind::aes128))) == "bad_mac_form");
    CHECK(verdict(with_mac(reply, *key(7, DigestKind::sha256, 9))) == "bad_mac");  // another key
    CHECK(verdict(with_mac(reply, *key(8, DigestKind::sha256))) == "unknown_key"); // another id
    CHECK(verdict(with_mac(reply, *right, 32)) == "bad_mac_form");                 // not as it was asked
    auto shorter = with_mac(reply, *right);
    shorter.pop_back();
    CHECK(verdict(shorter) == "bad_mac_form");
    auto longer = with_mac(reply, *right);
    longer.push_back(std::byte{0});
    CHECK(verdict(longer) == "bad_mac_form");
    auto nak = reply;
    nak.resize(52);
    CHECK(verdict(nak) == "crypto_nak");
}

TEST_CASE("extension fields before the MAC are covered by it")
{
    const auto right = key(7, DigestKind::aes128);
    MacServerSeal server{ring({right}), {}};
    Octets field(28);
    ntp_shim::ByteWriter(field).u32(0x0104001c);
    auto packet = with_mac(request({.tail = field}), *right);
    CHECK(opened(server, packet) == "");
    packet[60] ^= std::byte{1};
    CHECK(opened(server, packet) == "bad_mac");
}

TEST_CASE("a server knows its trusted keys only, with whom they may be used")
{
    const auto near = key(7, DigestKind::sha256, 1, {{.address = packets::ipv4(192, 0, 2, 0), .prefix = 120}});
    MacServerSeal server{ring({near, key(8, DigestKind::aes128)}), {}};
    CHECK(opened(server, with_mac(request(), *near)) == "");
    CHECK(opened(server, with_mac(request(), *near), packets::ipv4(192, 0, 3, 1)) == "key_not_allowed");
    CHECK(opened(server, with_mac(request(), *near), SealPeer{}) == "key_not_allowed");
    CHECK(opened(server, with_mac(request(), *key(8, DigestKind::aes128)), SealPeer{}) == "");
    CHECK(opened(server, with_mac(request(), *key(9, DigestKind::sha256))) == "unknown_key");
    CHECK(opened(server, with_mac(request(), *key(8, DigestKind::aes256))) == "bad_mac");
    CHECK(opened(server, request()) == "no_mac");
}

TEST_CASE("both forms of a long digest are accepted")
{
    const auto long_key = key(7, DigestKind::sha512);
    MacServerSeal server{ring({long_key}), {}};
    for (const std::uint8_t version : {std::uint8_t{3}, std::uint8_t{4}}) {
        for (const std::size_t size : {20U, 64U}) {
            CHECK(opened(server, with_mac(request({.version = version}), *long_key, size)) == "");
        }
    }
}

TEST_CASE("unauthenticated: serve answers in the clear what has no MAC, and nothing that has a wrong one")
{
    const auto right = key(7, DigestKind::sha256);
    MacServerSeal server{ring({right}), {.unauthenticated = Unauthenticated::serve}};
    const auto outcome = server.open(request(), kSomebody);
    REQUIRE(std::holds_alternative<ntp_shim::SealMemoryPointer>(outcome));
    CHECK(std::get<ntp_shim::SealMemoryPointer>(outcome) == nullptr);
    CHECK(opened(server, with_mac(request(), *key(7, DigestKind::sha256, 5))) == "bad_mac");
    CHECK(opened(server, with_mac(request(), *key(9, DigestKind::sha256))) == "unknown_key");
    CHECK(opened(server, request({.tail = packets::zeros(4)})) == "crypto_nak");
}

TEST_CASE("on-bad-mac: nak answers with a crypto-NAK that says nothing else and is shorter than what it answers")
{
    const auto keys = ring({key(7, DigestKind::sha256)});
    MacServerSeal silent{keys, {}};
    MacServerSeal loud{keys, {.on_bad_mac = OnBadMac::nak}};
    const auto bad = with_mac(request({.version = 3}), *key(7, DigestKind::sha256, 5));
    SealBuffer answer{};
    CHECK(silent.refusal(bad, DropReason::bad_mac, answer) == 0);
    REQUIRE(loud.refusal(bad, DropReason::bad_mac, answer) == 52);
    const auto nak = packets::parse(ntp_shim::Bytes{answer}.first(52));
    CHECK(nak.is_crypto_nak());
    CHECK(nak.mode == 4);
    CHECK(nak.version == 3);
    CHECK(nak.leap == 3);
    CHECK(nak.origin == packets::kT1);
    CHECK(nak.transmit == 0);
    for (const auto reason :
         {DropReason::no_mac, DropReason::crypto_nak, DropReason::rate_limited, DropReason::bad_mode}) {
        CHECK(loud.refusal(bad, reason, answer) == 0);
    }
    CHECK(loud.refusal(request(), DropReason::bad_mac, answer) == 0); // it would be longer than the request
}

TEST_CASE("a client seals with the first key that may be used with the peer")
{
    const auto far = key(7, DigestKind::sha256, 1, {{.address = packets::ipv4(198, 51, 100, 1)}});
    MacClientSeal client{ring({far, key(8, DigestKind::aes128)}), 4};
    CHECK(client.key_for(packets::ipv4(198, 51, 100, 1))->id() == 7);
    CHECK(client.key_for(kSomebody)->id() == 8);
    client.ask(packets::ipv4(198, 51, 100, 1));
    CHECK(ntp_shim::find_trailer(Asked{client}.packet).key_id == 7);
    client.use(ring({far}));
    client.ask(kSomebody);
    SealBuffer buffer{};
    ntp_shim::write_reissued(std::span{buffer}.first<48>(), 4, 1);
    const auto none = client.seal(buffer);
    REQUIRE(std::holds_alternative<DropReason>(none));
    CHECK(std::get<DropReason>(none) == DropReason::no_key);
}

TEST_CASE("a key that is replaced still closes what it opened, and opens nothing new")
{
    const auto old = key(7, DigestKind::sha256);
    const auto fresh = ring({key(7, DigestKind::sha256, 2)});
    MacClientSeal client{ring({old}), 4};
    MacServerSeal server{ring({old}), {}};
    const Asked asked{client};
    const auto memory = std::get<ntp_shim::SealMemoryPointer>(server.open(asked.packet, kSomebody));
    client.use(fresh);
    server.use(fresh);
    SealBuffer buffer{};
    std::ranges::copy(reply_to(asked.packet), buffer.begin());
    REQUIRE(std::holds_alternative<std::size_t>(server.seal(buffer, *memory)));
    CHECK_FALSE(client.open(ntp_shim::Bytes{buffer}.first(asked.packet.size()), *asked.memory).has_value());
    CHECK(opened(server, asked.packet) == "bad_mac");
}

TEST_SUITE_END();
