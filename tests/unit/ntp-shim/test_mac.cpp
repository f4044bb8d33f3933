#include "ntp-shim/mac.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using ntp_shim::find_trailer;
using ntp_shim::Trailer;
using packets::noise;
using packets::request;

TEST_SUITE_BEGIN("mac");

namespace {

constexpr std::uint8_t kNoMac = 0;

/// Extension field of `size` octets in all.
Octets field(std::size_t size, std::uint16_t type = 0x0104)
{
    Octets octets(size);
    ntp_shim::ByteWriter writer(octets);
    writer.u16(type);
    writer.u16(static_cast<std::uint16_t>(size));
    return octets;
}

/// A MAC that looks like one: a key id and `digest` octets.
Octets mac_tail(std::size_t digest, std::uint32_t id = 7)
{
    Octets octets(4 + digest, std::byte{0x5a});
    ntp_shim::ByteWriter(octets).u32(id);
    return octets;
}

Octets operator+(Octets one, const Octets& other)
{
    one.insert(one.end(), other.begin(), other.end());
    return one;
}

struct Seen {
    Trailer::Kind kind;
    std::size_t covered;
    std::size_t digest;
};

void check(const Octets& tail, std::uint8_t version, const Seen& expected)
{
    CAPTURE(tail.size());
    CAPTURE(version);
    const auto packet = request({.version = version, .tail = tail});
    const auto trailer = find_trailer(packet);
    CHECK(static_cast<int>(trailer.kind) == static_cast<int>(expected.kind));
    CHECK(trailer.covered.size() == expected.covered);
    CHECK(trailer.digest.size() == expected.digest);
}

} // namespace

TEST_CASE("version 3 and lower: whatever follows the header is the MAC")
{
    using enum Trailer::Kind;
    for (const std::uint8_t version : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
        check({}, version, {none, 48, kNoMac});
        check(packets::zeros(4), version, {crypto_nak, 48, 0});
        for (const std::size_t digest : {16U, 20U, 32U, 48U, 64U, 28U}) {
            check(mac_tail(digest), version, {ntp_shim::Trailer::Kind::mac, 48, digest});
        }
        check(mac_tail(15), version, {malformed, 48, 15});
        check(mac_tail(65), version, {malformed, 48, 65});
        check(mac_tail(0), version, {malformed, 48, 0});
        check(noise(3), version, {malformed, 48, 0});
    }
}

TEST_CASE("version 4: a MAC of 20 or 24 octets, behind any extension fields")
{
    using enum Trailer::Kind;
    check({}, 4, {none, 48, kNoMac});
    check(packets::zeros(4), 4, {crypto_nak, 48, 0});
    check(mac_tail(0), 4, {malformed, 48, 0});
    check(mac_tail(16), 4, {ntp_shim::Trailer::Kind::mac, 48, 16});
    check(mac_tail(20), 4, {ntp_shim::Trailer::Kind::mac, 48, 20});
    check(field(16) + mac_tail(16), 4, {ntp_shim::Trailer::Kind::mac, 64, 16});
    check(field(16) + field(28) + mac_tail(20), 4, {ntp_shim::Trailer::Kind::mac, 92, 20});
    check(field(28) + packets::zeros(4), 4, {crypto_nak, 76, 0});
    check(field(16) + packets::zeros(4), 4,
          {Trailer::Kind::mac, 48, 16}); // 20 octets are a MAC, whatever they look like
}

TEST_CASE("version 4: the last field before nothing has at least 28 octets")
{
    using enum Trailer::Kind;
    check(field(28), 4, {none, 76, kNoMac});
    check(field(16) + field(28), 4, {none, 92, kNoMac});
    check(field(16), 4, {malformed, 64, kNoMac});
    check(field(28) + field(16), 4, {malformed, 92, kNoMac});
}

TEST_CASE("version 4: what is neither field nor MAC is malformed")
{
    using enum Trailer::Kind;
    check(field(28) + noise(8), 4, {malformed, 84, kNoMac});
    check(noise(1), 4, {malformed, 49, kNoMac});
    check(field(12) + mac_tail(32), 4, {malformed, 96, kNoMac}); // shorter than a field may be
    auto longer = field(32);
    longer.resize(28); // says more than there is
    check(longer, 4, {malformed, 76, kNoMac});
    auto odd = field(30);
    check(odd, 4, {malformed, 78, kNoMac});
}

TEST_CASE("version 4: a whole digest of SHA-2, which ntpdig sends, is not taken for a field")
{
    for (const std::size_t digest : {32U, 48U, 64U}) {
        for (const std::uint32_t id : {1U, 7U, 36U, 52U, 68U, 65535U}) { // some look like a field's length
            check(mac_tail(digest, id), 4, {Trailer::Kind::mac, 48, digest});
        }
        // A field of that size is one: no type is 0.
        check(field(4 + digest), 4, {Trailer::Kind::none, 52 + digest, kNoMac});
    }
}

TEST_CASE("a longer digest than 20 octets is cut under version 4 only")
{
    for (const auto kind : kEveryDigest) {
        const auto made = key(7, kind);
        const auto whole = ntp_shim::digest_size(kind);
        CHECK(made->wire_size(3) == whole);
        CHECK(made->wire_size(4) == std::min<std::size_t>(whole, 20));
        CHECK(made->has_form(whole));
        CHECK(made->has_form(std::min<std::size_t>(whole, 20)));
        CHECK_FALSE(made->has_form(12));
        CHECK_FALSE(made->has_form(whole - 1));
    }
    CHECK_FALSE(key(7, DigestKind::sha256)->has_form(16)); // the size of a CMAC is none of SHA-2's
}

TEST_CASE("a key verifies its own MAC in both forms, and no other")
{
    for (const auto kind : kEveryDigest) {
        const auto made = key(7, kind);
        for (const std::uint8_t version : {std::uint8_t{3}, std::uint8_t{4}}) {
            const auto packet = with_mac(request({.version = version}), *made);
            const auto trailer = find_trailer(packet);
            CHECK(trailer.key_id == 7);
            CHECK(made->verifies(trailer.covered, trailer.digest));
            CHECK_FALSE(key(7, kind, 2)->verifies(trailer.covered, trailer.digest));
            CHECK_FALSE(made->verifies(trailer.covered, trailer.digest.first(trailer.digest.size() - 1)));
            CHECK_FALSE(made->verifies(trailer.covered.first(47), trailer.digest));
        }
    }
}

TEST_CASE("nothing is appended where it does not fit")
{
    const auto made = key(7, DigestKind::sha1);
    Octets packet(48 + 24);
    CHECK(made->append(packet, 48, 20) == 72);
    CHECK_FALSE(made->append(packet, 49, 20).has_value());
    CHECK_FALSE(made->append(packet, 48, 16).has_value());
    CHECK_FALSE(made->append(packet, 100, 20).has_value());
}

TEST_CASE("a check value is the same for the same key only, and eight digits of it")
{
    const auto known = std::make_shared<const ntp_shim::MacKey>(
        ntp_shim::MacKey::Description{.id = 1, .line = 1, .peers = {}},
        ntp_shim::KeyedDigest::create(DigestKind::aes128,
                                      ntp_shim::Secret{ntp_shim::Bytes{hex("2b7e151628aed2a6abf7158809cf4f3c")}}));
    CHECK(known->check_value().size() == 8);
    CHECK(known->check_value() == known->check_value());
    CHECK(key(1, DigestKind::sha256)->check_value() == key(2, DigestKind::sha256)->check_value());
    CHECK(key(1, DigestKind::sha256)->check_value() != key(1, DigestKind::sha512)->check_value());
    CHECK(key(1, DigestKind::sha256)->check_value() != key(1, DigestKind::sha256, 2)->check_value());
}

TEST_CASE("a ring finds keys by id")
{
    const auto all = ring({key(7, DigestKind::sha1), key(8, DigestKind::aes128)});
    REQUIRE(all->find(8) != nullptr);
    CHECK(all->find(8)->kind() == DigestKind::aes128);
    CHECK(all->find(9) == nullptr);
    CHECK(all->find(0) == nullptr);
}

TEST_CASE("a ring finds each of many keys, whatever their order, and keeps that order")
{
    std::vector<std::shared_ptr<const ntp_shim::MacKey>> all;
    for (std::uint32_t i = 0; i < 500; ++i) {
        all.push_back(key(1 + i * 37 % 500 * 1000003, DigestKind::sha256));
    }
    const auto many = ring(all);
    CHECK(many->keys() == all);
    for (const auto& one : all) {
        CHECK(many->find(one->id()) == one);
        CHECK(many->find(one->id() + 1) == nullptr);
    }
    CHECK(many->find(0xffffffff) == nullptr);
    CHECK(ring({})->find(1) == nullptr);
}

TEST_CASE("keys are the same only in id, digest, every octet and address list")
{
    const ntp_shim::KeyPeers block{.address = packets::ipv4(192, 0, 2, 1), .prefix = 128};
    auto wider = block;
    wider.prefix = 120;
    const auto one = key(7, DigestKind::sha256, 1, {block});
    CHECK(one->is_same(*key(7, DigestKind::sha256, 1, {block})));
    CHECK_FALSE(one->is_same(*key(8, DigestKind::sha256, 1, {block})));
    CHECK_FALSE(one->is_same(*key(7, DigestKind::sha512, 1, {block})));
    CHECK_FALSE(one->is_same(*key(7, DigestKind::sha256, 2, {block})));
    CHECK_FALSE(one->is_same(*key(7, DigestKind::sha256, 1)));
    CHECK_FALSE(one->is_same(*key(7, DigestKind::sha256, 1, {wider})));
    CHECK(one->has_secret_of(*key(8, DigestKind::sha256, 1)));
}

TEST_SUITE_END();
