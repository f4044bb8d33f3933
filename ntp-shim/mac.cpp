#include "ntp-shim/mac.hpp"

#include <algorithm>
#include <utility>

namespace ntp_shim {

namespace {

constexpr std::uint8_t kVersion4 = 4;
constexpr std::size_t kMinField = 16;     // RFC 7822 section 7.5
constexpr std::size_t kMinLastField = 28; // RFC 7822 section 7.5.1.1: without a MAC behind it
constexpr std::size_t kMinDigest = 16;
constexpr std::array<std::size_t, 2> kMacSizes{20, 24};
constexpr std::array<std::size_t, 3> kWholeMacSizes{36, 52, 68};
constexpr std::size_t kCheckedZeros = 16;
constexpr std::size_t kCheckOctets = 4;

Trailer mac_of(Bytes packet, std::size_t start) noexcept
{
    ByteReader reader(packet.subspan(start));
    Trailer trailer{.kind = Trailer::Kind::mac, .covered = packet.first(start), .key_id = reader.u32(), .digest = {}};
    trailer.digest = reader.rest();
    if (reader.ok() && trailer.digest.empty() && trailer.key_id == 0) {
        trailer.kind = Trailer::Kind::crypto_nak;
    } else if (trailer.digest.size() < kMinDigest || trailer.digest.size() > kMaxDigest) {
        trailer.kind = Trailer::Kind::malformed;
    }
    return trailer;
}

/// ntpdig does not cut its digests. No extension field has the type 0, and no key id of NTPsec's exceeds 65535.
bool is_whole_mac(Bytes rest) noexcept
{
    return std::ranges::find(kWholeMacSizes, rest.size()) != kWholeMacSizes.end() && ByteReader(rest).u16() == 0;
}

} // namespace

Trailer find_trailer(Bytes packet) noexcept
{
    if (packet.size() == kHeaderSize) {
        return {.kind = Trailer::Kind::none, .covered = packet, .digest = {}};
    }
    if (const auto parsed = Packet::parse(packet); !parsed || parsed->version < kVersion4) {
        return mac_of(packet, kHeaderSize);
    }
    std::size_t start = kHeaderSize;
    std::size_t last_field = 0;
    while (start < packet.size()) {
        const auto rest = packet.subspan(start);
        const bool is_mac = std::ranges::find(kMacSizes, rest.size()) != kMacSizes.end();
        if (is_mac || rest.size() == kKeyIdSize || is_whole_mac(rest)) {
            return mac_of(packet, start);
        }
        ByteReader field(rest);
        (void)field.u16(); // its type is nobody's business here
        last_field = field.u16();
        if (!field.ok() || last_field < kMinField || last_field % 4 != 0 || last_field > rest.size()) {
            return {.kind = Trailer::Kind::malformed, .covered = packet, .digest = {}};
        }
        start += last_field;
    }
    const auto kind = last_field < kMinLastField ? Trailer::Kind::malformed : Trailer::Kind::none;
    return {.kind = kind, .covered = packet, .digest = {}};
}

bool KeyPeers::contains(const SealPeer& peer) const noexcept
{
    const std::size_t whole = prefix / 8U;
    const unsigned bits = prefix % 8U;
    if (!std::ranges::equal(std::span{address}.first(whole), std::span{peer}.first(whole))) {
        return false;
    }
    const auto mask = static_cast<std::byte>(0xff00U >> bits);
    return bits == 0 || (address.at(whole) & mask) == (peer.at(whole) & mask);
}

MacKey::MacKey(Description description, std::unique_ptr<KeyedDigest> digest)
    : description_(std::move(description)), digest_(std::move(digest))
{}

bool MacKey::may_serve(const SealPeer& peer) const noexcept
{
    const auto& peers = description_.peers;
    return peers.empty() || std::ranges::any_of(peers, [&](const KeyPeers& block) { return block.contains(peer); });
}

bool MacKey::is_same(const MacKey& other) const noexcept
{
    return id() == other.id() && has_secret_of(other) && description_.peers == other.description_.peers;
}

std::size_t MacKey::wire_size(std::uint8_t version) const noexcept
{
    const auto whole = digest_size(kind());
    return version < kVersion4 ? whole : std::min(whole, kCutDigest);
}

bool MacKey::has_form(std::size_t size) const noexcept
{
    const auto whole = digest_size(kind());
    return size == whole || size == std::min(whole, kCutDigest);
}

std::shared_ptr<const MacKey> MacKey::with_digest(DigestKind kind) const
{
    auto digest = digest_->with_kind(kind);
    return digest == nullptr ? nullptr : std::make_shared<const MacKey>(description_, std::move(digest));
}

std::optional<std::size_t> MacKey::append(std::span<std::byte> packet, std::size_t length,
                                          std::size_t size) const noexcept
{
    KeyedDigest::Digest digest{};
    if (length > packet.size() || !has_form(size) || !digest_->compute(packet.first(length), digest)) {
        return std::nullopt;
    }
    ByteWriter writer(packet.subspan(length));
    writer.u32(id());
    writer.put(Bytes{digest}.first(size));
    if (!writer.ok()) {
        return std::nullopt;
    }
    return length + kKeyIdSize + size;
}

bool MacKey::verifies(Bytes covered, Bytes digest) const noexcept
{
    KeyedDigest::Digest own{};
    return has_form(digest.size()) && digest_->compute(covered, own) &&
           equal_in_constant_time(Bytes{own}.first(digest.size()), digest);
}

std::string MacKey::check_value() const
{
    static constexpr std::string_view kDigits = "0123456789abcdef";
    constexpr std::array<std::byte, kCheckedZeros> zeros{};
    KeyedDigest::Digest digest{};
    std::string text;
    if (digest_->compute(zeros, digest)) {
        for (const auto octet : Bytes{digest}.first(kCheckOctets)) {
            text += kDigits[std::to_integer<std::size_t>(octet >> 4)];
            text += kDigits[std::to_integer<std::size_t>(octet & std::byte{0xf})];
        }
    }
    return text;
}

MacKeyRing::MacKeyRing(std::vector<std::shared_ptr<const MacKey>> keys) : keys_(std::move(keys))
{
    by_id_.reserve(keys_.size());
    for (std::size_t at = 0; at < keys_.size(); ++at) {
        by_id_.push_back({.id = keys_[at]->id(), .at = at});
    }
    std::ranges::sort(by_id_, {}, &Place::id);
}

std::shared_ptr<const MacKey> MacKeyRing::find(std::uint32_t id) const noexcept
{
    const auto found = std::ranges::lower_bound(by_id_, id, {}, &Place::id);
    return found == by_id_.end() || found->id != id ? nullptr : keys_[found->at];
}

} // namespace ntp_shim
