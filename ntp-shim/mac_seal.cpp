#include "ntp-shim/mac_seal.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

/// The key of one exchange and the form its request had.
class MacMemory final : public SealMemory {
public:
    MacMemory(std::shared_ptr<const MacKey> key, std::size_t size) noexcept : key_(std::move(key)), size_(size) {}
    [[nodiscard]] const MacKey& key() const noexcept { return *key_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::shared_ptr<const MacKey> key_;
    std::size_t size_; // of the digest on the wire
};

const MacMemory& mac_memory(const SealMemory& memory) noexcept
{
    return static_cast<const MacMemory&>(memory); // made by this file (seal.hpp)
}

std::optional<DropReason> fault_of(const Trailer& trailer) noexcept
{
    switch (trailer.kind) {
    case Trailer::Kind::mac:
        return std::nullopt;
    case Trailer::Kind::none:
        return DropReason::no_mac;
    case Trailer::Kind::crypto_nak:
        return DropReason::crypto_nak;
    case Trailer::Kind::malformed:
        return DropReason::bad_mac_form;
    }
    return DropReason::bad_mac_form;
}

/// As long as the right digest wherever there is a form of that length, so that nothing but the octets tells.
std::variant<std::size_t, DropReason> seal_wrongly(SealBuffer& packet, const MacKey& key, std::size_t size,
                                                   DigestKind kind)
{
    const auto other = key.with_digest(kind);
    if (other == nullptr) {
        return DropReason::no_key;
    }
    const auto length = other->append(packet, kHeaderSize, other->has_form(size) ? size : other->wire_size(4));
    return length ? std::variant<std::size_t, DropReason>{*length} : DropReason::no_key;
}

} // namespace

MacClientSeal::MacClientSeal(std::shared_ptr<const MacKeyRing> ring, std::uint8_t version) noexcept
    : ring_(std::move(ring)), version_(version)
{}

std::shared_ptr<const MacKey> MacClientSeal::key_for(const SealPeer& peer) const noexcept
{
    const auto& keys = ring_->keys();
    const auto found = std::ranges::find_if(keys, [&](const auto& key) { return key->may_serve(peer); });
    return found == keys.end() ? nullptr : *found;
}

std::variant<ClientSeal::Sealed, DropReason> MacClientSeal::seal(SealBuffer& packet)
{
    auto chosen = key_for(peer_);
    if (chosen == nullptr) {
        return DropReason::no_key;
    }
    const auto size = chosen->wire_size(version_);
    const auto length = chosen->append(packet, kHeaderSize, size);
    if (!length) {
        return DropReason::no_key;
    }
    return Sealed{.length = *length, .memory = std::make_shared<const MacMemory>(std::move(chosen), size)};
}

std::optional<DropReason> MacClientSeal::open(Bytes reply, const SealMemory& memory)
{
    const auto& sent = mac_memory(memory);
    const auto trailer = find_trailer(reply);
    if (const auto fault = fault_of(trailer)) {
        return fault;
    }
    if (trailer.key_id != sent.key().id()) {
        return DropReason::unknown_key;
    }
    if (trailer.digest.size() != sent.size()) {
        return DropReason::bad_mac_form;
    }
    return sent.key().verifies(trailer.covered, trailer.digest) ? std::nullopt : std::optional{DropReason::bad_mac};
}

MacServerSeal::MacServerSeal(std::shared_ptr<const MacKeyRing> ring, const Rules& rules) noexcept
    : ring_(std::move(ring)), rules_(rules)
{}

std::variant<SealMemoryPointer, DropReason> MacServerSeal::open(Bytes request, const SealPeer& from)
{
    const auto trailer = find_trailer(request);
    if (trailer.kind == Trailer::Kind::none && rules_.unauthenticated == Unauthenticated::serve) {
        return SealMemoryPointer{};
    }
    if (const auto fault = fault_of(trailer)) {
        return *fault;
    }
    auto key = ring_->find(trailer.key_id);
    if (key == nullptr) {
        return DropReason::unknown_key;
    }
    if (!key->may_serve(from)) {
        return DropReason::key_not_allowed;
    }
    if (!key->has_form(trailer.digest.size())) {
        return DropReason::bad_mac_form;
    }
    if (!key->verifies(trailer.covered, trailer.digest)) {
        return DropReason::bad_mac;
    }
    return std::make_shared<const MacMemory>(std::move(key), trailer.digest.size());
}

std::variant<std::size_t, DropReason> MacServerSeal::seal(SealBuffer& packet, const SealMemory& memory)
{
    const auto& request = mac_memory(memory);
    if (rules_.seal_with) {
        return seal_wrongly(packet, request.key(), request.size(), *rules_.seal_with);
    }
    const auto length = request.key().append(packet, kHeaderSize, request.size());
    return length ? std::variant<std::size_t, DropReason>{*length} : DropReason::no_key;
}

std::size_t MacServerSeal::refusal(Bytes request, DropReason why, SealBuffer& answer)
{
    const bool about_mac = why == DropReason::bad_mac || why == DropReason::unknown_key ||
                           why == DropReason::bad_mac_form || why == DropReason::key_not_allowed;
    const auto asked = Packet::parse(request);
    if (rules_.on_bad_mac != OnBadMac::nak || !about_mac || !asked || request.size() < kHeaderSize + kKeyIdSize) {
        return 0;
    }
    // RFC 5905 section 9.2: a key id of zero behind a header that says nothing else.
    std::ranges::fill(std::span{answer}.first(kHeaderSize + kKeyIdSize), std::byte{0});
    answer.front() = static_cast<std::byte>(kLeapUnknown << 6 | asked->version << 3 | kModeServer);
    write_stamp(answer, StampField::origin, asked->transmit);
    return kHeaderSize + kKeyIdSize;
}

} // namespace ntp_shim
