// Nothing but the genuine reply is delivered, nothing but the genuine request reaches the daemon. The input is how a
// packet under way is changed: one octet chooses key and version, one the direction; then places and values in turn, or
// under direction bit 1 the whole datagram.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/mac_seal.hpp"
#include "ntp-shim/server_shim.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::DigestKind;
using Octets = std::vector<std::byte>;

constexpr ntp_shim::Instant kNow{std::chrono::seconds{1000}, std::chrono::seconds{5000}};
constexpr std::uint64_t kFresh = 0x0123456789abcdef;

std::shared_ptr<const ntp_shim::MacKeyRing> one_key(DigestKind kind)
{
    const auto required = ntp_shim::required_key_size(kind);
    ntp_shim::Secret secret{required == 0 ? 20 : required};
    std::ranges::fill(secret.octets(), std::byte{0x42});
    return std::make_shared<const ntp_shim::MacKeyRing>(std::vector<std::shared_ptr<const ntp_shim::MacKey>>{
        std::make_shared<const ntp_shim::MacKey>(ntp_shim::MacKey::Description{.id = 7, .line = 1, .peers = {}},
                                                 ntp_shim::KeyedDigest::create(kind, std::move(secret)))});
}

/// The planted bug: the digest is not looked at.
class BlindSeal final : public ntp_shim::ClientSeal {
public:
    explicit BlindSeal(ntp_shim::ClientSeal& seal) : seal_(seal) {}
    [[nodiscard]] std::uint8_t version() const noexcept override { return seal_.version(); }
    [[nodiscard]] std::variant<Sealed, ntp_shim::DropReason> seal(ntp_shim::SealBuffer& packet) override
    {
        return seal_.seal(packet);
    }
    [[nodiscard]] std::optional<ntp_shim::DropReason> open(Bytes, const ntp_shim::SealMemory&) override
    {
        return std::nullopt;
    }

private:
    ntp_shim::ClientSeal& seal_;
};

ntp_shim::ClientEndpoint endpoint()
{
    ntp_shim::ClientEndpoint client;
    client.address[10] = client.address[11] = std::byte{0xff};
    client.address[12] = std::byte{127};
    client.address[15] = std::byte{1};
    client.port = 123;
    return client;
}

Octets local_request()
{
    Octets packet(48);
    packet[0] = std::byte{0x23};
    packet[47] = std::byte{9};
    return packet;
}

Octets daemon_reply(Bytes asked)
{
    Octets reply(asked.begin(), asked.end());
    reply[0] = (asked[0] & std::byte{0x38}) | std::byte{4};
    reply[1] = std::byte{2};
    std::copy_n(asked.begin() + 40, 8, reply.begin() + 24);
    std::fill_n(reply.begin() + 32, 16, std::byte{0});
    reply[32] = reply[40] = std::byte{0xeb};
    reply[47] = std::byte{1};
    return reply;
}

Octets changed(const Octets& genuine, bool whole, Bytes input)
{
    if (whole) {
        return {input.begin(), input.end()};
    }
    auto packet = genuine;
    for (; input.size() >= 2; input = input.subspan(2)) {
        packet[std::to_integer<std::size_t>(input[0]) % packet.size()] ^= input[1];
    }
    if (input.size() == 1) {
        packet.resize(packet.size() + std::to_integer<std::size_t>(input[0]) % 80);
    }
    return packet;
}

void require_balanced(const ntp_shim::Counters& counters)
{
    require(counters.requests.balanced() && counters.replies.balanced() && counters.exchanges.balanced(),
            "every datagram ends in one counter");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 2) {
        return 0;
    }
    const auto keys = one_key(static_cast<DigestKind>(data[0] % ntp_shim::kDigestKinds));
    ntp_shim::MacClientSeal honest{keys, static_cast<std::uint8_t>((data[0] & 0x80) != 0 ? 3 : 4)};
    BlindSeal blind{honest};
    ntp_shim::ClientSeal& client_seal = fuzz::kPlantedBug ? static_cast<ntp_shim::ClientSeal&>(blind) : honest;
    ntp_shim::MacServerSeal server_seal{keys, {}};
    ntp_shim::Counters client_counters;
    ntp_shim::Counters server_counters;
    ntp_shim::ClientPolicy client_policy;
    client_policy.framing = ntp_shim::Framing::datagram;
    ntp_shim::ServerPolicy server_policy;
    server_policy.framing = ntp_shim::Framing::datagram;
    ntp_shim::ClientShim client{client_policy, client_counters, &client_seal};
    ntp_shim::ServerShim server{server_policy, server_counters, &server_seal};
    client.open_channel(1, {}, kNow);

    const auto taken = client.on_client_datagram(endpoint(), local_request(), kNow, kNow, true);
    require(std::holds_alternative<ntp_shim::ExchangeHandle>(taken), "a plain request is taken");
    const auto message = client.hand_over(std::get<ntp_shim::ExchangeHandle>(taken), 1, kNow, kFresh);
    require(std::holds_alternative<Bytes>(message), "and sealed");
    const Octets request(std::get<Bytes>(message).begin(), std::get<Bytes>(message).end());

    const bool on_request = (data[1] & 1) != 0;
    const auto input = std::as_bytes(std::span{data, size}).subspan(2);
    bool came_before = false;
    if (on_request) {
        const auto forged = changed(request, (data[1] & 2) != 0, input);
        const auto verdict = server.on_datagram(endpoint(), forged, kNow, kNow, kFresh + 1);
        require(std::holds_alternative<ntp_shim::Refusal>(verdict) || forged == request,
                "the daemon is asked for genuine requests only");
        came_before = forged == request;
    }
    const auto asked = server.on_datagram(endpoint(), request, kNow, kNow, kFresh + 2);
    if (came_before) {
        require(std::holds_alternative<ntp_shim::Refusal>(asked), "a genuine request reaches the daemon once");
        return 0;
    }
    require(std::holds_alternative<ntp_shim::ToUpstream>(asked), "a genuine request reaches the daemon");
    const auto answered =
        server.on_upstream_datagram(daemon_reply(std::get<ntp_shim::ToUpstream>(asked).packet), kNow, kNow);
    require(std::holds_alternative<ntp_shim::Deliver>(answered), "its reply is sealed");
    const auto sealed = std::get<ntp_shim::Deliver>(answered).packet;
    const Octets reply(sealed.begin(), sealed.end());
    require(reply.size() == request.size(), "a reply is as long as its request");
    bool is_answered = false;
    if (!on_request) {
        const auto forged = changed(reply, (data[1] & 2) != 0, input);
        is_answered = std::holds_alternative<ntp_shim::Deliver>(client.on_message(1, forged, kNow, kNow));
        require(!is_answered || forged == reply, "a client sees genuine replies only");
    }
    const auto last = client.on_message(1, reply, kNow, kNow);
    require(is_answered || std::holds_alternative<ntp_shim::Deliver>(last), "the genuine reply is still taken");
    require_balanced(client_counters);
    require_balanced(server_counters);
    return 0;
}
