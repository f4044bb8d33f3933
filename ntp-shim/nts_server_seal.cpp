#include "ntp-shim/nts_server_seal.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace ntp_shim {

namespace {

constexpr std::uint32_t kKissNtsn = 0x4e54534e; // "NTSN"

/// What the reply to one request needs; nothing of it leaves the server. Without keys the request was unprotected.
class NtsMemory final : public SealMemory {
public:
    std::optional<SessionKeys> keys;
    std::vector<std::byte> unique_id;
    std::size_t cookies = 1;        // asked for: one and one for each placeholder
    std::size_t request_length = 0; // no reply is longer
};

using Judgement = std::variant<SealMemoryPointer, DropReason>;

/// Placeholders that were encrypted; a drop for what may not be.
std::variant<std::size_t, DropReason> count_encrypted(Bytes plain, std::size_t cookie_octets)
{
    std::size_t placeholders = 0;
    FieldReader reader(plain, 0, FieldReader::Place::encrypted);
    while (const auto field = reader.next()) {
        // Section 5.7: identifier and cookie MUST NOT be encrypted in a request.
        if (field->is(FieldType::unique_id) || field->is(FieldType::cookie) || field->is(FieldType::authenticator)) {
            return DropReason::bad_nts_field;
        }
        if (field->is(FieldType::placeholder)) {
            ++placeholders;
            if (field->body.size() != cookie_octets) {
                return DropReason::bad_nts_field;
            }
        }
    }
    return reader.ok() ? std::variant<std::size_t, DropReason>{placeholders} : DropReason::bad_nts_field;
}

Judgement verify(Bytes datagram, const NtsFields& fields, const KeyRing& ring)
{
    auto keys = ring.open_cookie(*fields.cookie);
    if (!keys) {
        return DropReason::bad_cookie;
    }
    const auto& authenticator = *fields.authenticator;
    // Section 5.6: servers MUST discard what leaves no room for a nonce of theirs.
    if (authenticator.nonce_room < padded(required_nonce_room(keys->aead)) ||
        !accepts_nonce(keys->aead, authenticator.nonce.size())) {
        return DropReason::bad_nts_field;
    }
    SealBuffer buffer; // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
    const auto plain = std::span{buffer}.first(authenticator.ciphertext.size() - kAeadTag);
    const auto cipher = Aead::make(keys->aead, keys->client_to_server.view());
    if (!cipher || !cipher->open({.nonce = authenticator.nonce, .associated = fields.associated},
                                 authenticator.ciphertext, plain)) {
        return DropReason::not_authentic;
    }
    const auto encrypted = count_encrypted(plain, fields.cookie->size());
    if (const auto* reason = std::get_if<DropReason>(&encrypted)) {
        return *reason;
    }
    auto memory = std::make_shared<NtsMemory>();
    memory->keys = std::move(*keys);
    memory->unique_id.assign(fields.unique_id->begin(), fields.unique_id->end());
    memory->cookies = 1 + std::min(fields.placeholders + std::get<std::size_t>(encrypted), kMaxPlaceholders);
    memory->request_length = datagram.size();
    return SealMemoryPointer{std::move(memory)};
}

/// Section 5.3: also who does not protect a request has its unique identifier repeated.
Judgement admit_plain(PlainRequests plain, std::optional<Bytes> unique_id)
{
    if (plain == PlainRequests::refuse) {
        return DropReason::unprotected;
    }
    if (!unique_id) {
        return SealMemoryPointer{};
    }
    auto memory = std::make_shared<NtsMemory>();
    memory->unique_id.assign(unique_id->begin(), unique_id->end());
    return SealMemoryPointer{std::move(memory)};
}

/// Identifier and stamps of a request that is told NAK; nothing where it is not well formed.
std::optional<Bytes> unique_id_of(Bytes request)
{
    const auto read = read_fields(request);
    const auto* const fields = std::get_if<NtsFields>(&read);
    return fields == nullptr ? std::nullopt : fields->unique_id;
}

/// The new cookies as fields; empty when not one fits into `room`.
std::size_t write_cookies(std::span<std::byte> room, const NtsMemory& memory, const KeyRing& ring,
                          const RandomFill& random)
{
    FieldWriter encrypted(room, 0);
    std::size_t size = 0;
    for (std::size_t count = 0; count < memory.cookies; ++count) {
        std::array<std::byte, 16> nonce{};
        random(nonce);
        const auto cookie = ring.seal_cookie(*memory.keys, nonce);
        encrypted.add(FieldType::cookie, cookie);
        if (cookie.empty() || !encrypted.ok()) {
            break; // what fits is what is given
        }
        size = encrypted.size();
    }
    return size;
}

} // namespace

NtsServerSeal::NtsServerSeal(std::shared_ptr<const KeyRing> ring, PlainRequests plain, RandomFill random)
    : ring_(std::move(ring)), plain_(plain), random_(std::move(random))
{}

Judgement NtsServerSeal::open(Bytes request, const SealPeer& /*from*/)
{
    const auto packet = Packet::parse(request);
    if (!packet) {
        return DropReason::too_short;
    }
    if (!packet->has_extension_fields()) {
        return admit_plain(plain_, std::nullopt);
    }
    const auto read = read_fields(request);
    const auto* const fields = std::get_if<NtsFields>(&read);
    if (fields == nullptr) {
        return DropReason::bad_nts_field;
    }
    const bool is_protected = fields->cookie || fields->authenticator || fields->placeholders > 0;
    if (!is_protected) {
        return admit_plain(plain_, fields->unique_id);
    }
    const bool complete = fields->unique_id && fields->cookie && fields->authenticator;
    const bool even = fields->placeholders == 0 ||
                      (fields->cookie && fields->placeholder_size == fields->cookie->size()); // section 5.5
    if (!complete || !even) {
        return DropReason::bad_nts_field;
    }
    return ring_ == nullptr ? Judgement{DropReason::keys_unsure} : verify(request, *fields, *ring_);
}

std::variant<std::size_t, DropReason> NtsServerSeal::seal(SealBuffer& packet, const SealMemory& memory)
{
    const auto& request = static_cast<const NtsMemory&>(memory); // made by this file (seal.hpp)
    FieldWriter fields(packet, kHeaderSize);
    fields.add(FieldType::unique_id, request.unique_id);
    if (!request.keys) {
        return fields.ok() ? std::variant<std::size_t, DropReason>{fields.size()} : DropReason::bad_nts_field;
    }
    if (ring_ == nullptr) {
        return DropReason::keys_unsure;
    }
    const auto cipher = Aead::make(request.keys->aead, request.keys->server_to_client.view());
    const auto most = std::min(request.request_length, packet.size()) / 4 * 4;
    std::array<std::byte, 16> nonce_octets{};
    random_(nonce_octets);
    const auto nonce = Bytes{nonce_octets}.first(nonce_size(request.keys->aead));
    const auto fixed = fields.size() + 2 * kFieldHeader + padded(nonce.size()) + kAeadTag;
    if (!cipher || !fields.ok() || fixed >= most) {
        return DropReason::no_cookie;
    }
    SealBuffer inner; // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
    const auto size = write_cookies(std::span{inner}.first(most - fixed), request, *ring_, random_);
    if (size == 0) {
        return DropReason::no_cookie;
    }
    fields.seal(
        {.aead = *cipher, .nonce = nonce, .plain = Bytes{inner}.first(size), .least_room = 0, .least_total = most});
    return fields.ok() ? std::variant<std::size_t, DropReason>{fields.size()} : DropReason::no_cookie;
}

std::size_t NtsServerSeal::refusal(Bytes request, DropReason why, SealBuffer& answer)
{
    const auto asked = Packet::parse(request);
    const bool is_nak = why == DropReason::bad_cookie || why == DropReason::not_authentic;
    const auto unique_id = is_nak ? unique_id_of(request) : std::nullopt;
    if (!asked || !unique_id) {
        return 0;
    }
    // A kiss (RFC 5905 section 7.4): no stamp in it that a client could believe, and none of our fields but the one.
    std::ranges::fill(std::span{answer}.first(kHeaderSize), std::byte{0});
    ByteWriter writer(answer);
    writer.u8(static_cast<std::uint8_t>(kLeapUnknown << 6 | asked->version << 3 | kModeServer));
    writer.u8(0);
    writer.u8(asked->poll);
    ByteWriter(std::span{answer}.subspan(12)).u32(kKissNtsn);
    write_stamp(answer, StampField::origin, asked->transmit);
    FieldWriter fields(answer, kHeaderSize);
    fields.add(FieldType::unique_id, *unique_id);
    return fields.ok() ? fields.size() : 0;
}

} // namespace ntp_shim
