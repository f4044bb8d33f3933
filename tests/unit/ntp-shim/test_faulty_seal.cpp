#include "ntp-shim/faulty_seal.hpp"
#include "ntp-shim/mac_seal.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using ntp_shim::DropReason;
using ntp_shim::FaultySeal;
using ntp_shim::MacServerSeal;
using ntp_shim::SealBuffer;
using ntp_shim::SealPeer;

TEST_SUITE_BEGIN("faulty_seal");

namespace {

constexpr std::uint64_t kAsked = 0x0123456789abcdef;
const SealPeer kPeer = packets::ipv4(192, 0, 2, 1);

Octets sealed_request(const std::shared_ptr<const ntp_shim::MacKeyRing>& keys)
{
    ntp_shim::MacClientSeal client{keys, 4};
    SealBuffer buffer{};
    ntp_shim::write_reissued(std::span{buffer}.first<48>(), 4, kAsked);
    const auto made = client.seal(buffer);
    const auto length = std::get<ntp_shim::ClientSeal::Sealed>(made).length;
    return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length)};
}

/// The reply to `request` as `seal` lets it out.
Octets sealed_reply(ntp_shim::ServerSeal& seal, const Octets& request)
{
    const auto opened = seal.open(request, kPeer);
    REQUIRE(std::holds_alternative<ntp_shim::SealMemoryPointer>(opened));
    SealBuffer buffer{};
    const Octets reply = packets::packet(packets::answer_to(request));
    std::ranges::copy(reply, buffer.begin());
    const auto length = seal.seal(buffer, *std::get<ntp_shim::SealMemoryPointer>(opened));
    REQUIRE(std::holds_alternative<std::size_t>(length));
    return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(std::get<std::size_t>(length))};
}

bool verifies(const ntp_shim::MacKey& key, ntp_shim::Bytes packet)
{
    const auto trailer = ntp_shim::find_trailer(packet);
    return trailer.kind == ntp_shim::Trailer::Kind::mac && key.verifies(trailer.covered, trailer.digest);
}

} // namespace

TEST_CASE("without a fault it is the genuine seal")
{
    const auto keys = ring({key(7, DigestKind::sha256)});
    MacServerSeal genuine{keys, {}};
    FaultySeal seal{&genuine, {}};
    const auto reply = sealed_reply(seal, sealed_request(keys));
    CHECK(packets::parse(reply).origin == kAsked);
    CHECK(verifies(*keys->find(7), reply));
    CHECK(seal.unsolicited().empty());
}

TEST_CASE("a wrong origin is under the seal, so that nothing but the origin is wrong")
{
    const auto keys = ring({key(7, DigestKind::aes128)});
    MacServerSeal genuine{keys, {}};
    FaultySeal seal{&genuine, {.wrong_origin = true}};
    const auto reply = sealed_reply(seal, sealed_request(keys));
    CHECK(packets::parse(reply).origin != kAsked);
    CHECK(packets::parse(reply).origin != 0);
    CHECK(verifies(*keys->find(7), reply));
}

TEST_CASE("an unsolicited reply is sealed like the right one beside it, an hour ahead")
{
    const auto keys = ring({key(7, DigestKind::sha512)});
    MacServerSeal genuine{keys, {}};
    FaultySeal seal{&genuine, {.unsolicited = true}};
    const auto reply = sealed_reply(seal, sealed_request(keys));
    const auto extra = packets::copy(seal.unsolicited());
    CHECK(packets::parse(reply).origin == kAsked);
    CHECK(packets::parse(extra).origin != kAsked);
    CHECK(packets::parse(extra).transmit - packets::parse(reply).transmit == 3600ULL << 32);
    CHECK(verifies(*keys->find(7), reply));
    CHECK(verifies(*keys->find(7), extra));
}

TEST_CASE("around no seal it spoils the bare packet, and opens whatever comes")
{
    FaultySeal seal{nullptr, {.wrong_origin = true, .unsolicited = true}};
    const auto reply = sealed_reply(seal, packets::request());
    CHECK(reply.size() == ntp_shim::kHeaderSize);
    CHECK(seal.unsolicited().size() == ntp_shim::kHeaderSize);
    SealBuffer answer{};
    CHECK(seal.refusal(reply, DropReason::bad_mac, answer) == 0);
}

TEST_CASE("what the genuine seal refuses stays refused")
{
    const auto keys = ring({key(7, DigestKind::sha256)});
    MacServerSeal genuine{keys, {}};
    FaultySeal seal{&genuine, {.wrong_origin = true}};
    auto request = sealed_request(keys);
    request.back() ^= std::byte{1};
    const auto opened = seal.open(request, kPeer);
    REQUIRE(std::holds_alternative<DropReason>(opened));
    CHECK(std::get<DropReason>(opened) == DropReason::bad_mac);
}

TEST_CASE("another digest: the same key id and octets, and no more room than the right one takes")
{
    for (const auto right : {DigestKind::sha256, DigestKind::sha512}) {
        for (const auto wrong : {DigestKind::sha1, DigestKind::sha384}) {
            const auto keys = ring({key(7, right)});
            MacServerSeal seal{keys, {.seal_with = wrong}};
            const auto request = sealed_request(keys);
            const auto reply = sealed_reply(seal, request);
            CHECK(reply.size() == request.size());
            CHECK_FALSE(verifies(*keys->find(7), reply));
            const auto other = keys->find(7)->with_digest(wrong);
            REQUIRE(other);
            CHECK(verifies(*other, reply));
        }
    }
}

TEST_SUITE_END();
