#include "ntp-shim/nts_client_seal.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ntp-shim/nts_ke_client.hpp"

namespace ntp_shim {

namespace {

// More than a 12-octet nonce needs by section 5.6; to be on the safe side of what others take it to mean.
constexpr std::size_t kRequestNonceRoom = 16;

/// One request under way. It keeps its keys: a later key establishment does not make its reply unreadable.
class NtsMemory final : public SealMemory {
public:
    SessionKeys keys;
    std::array<std::byte, kMinUniqueId> unique_id{};
    std::uint64_t transmit{};
    std::uint64_t generation{};
};

/// Placeholders so that the stock comes to eight again, as far as the datagram stays within every path's MTU.
std::size_t placeholders_for(std::size_t cookies_left, std::size_t cookie_octets) noexcept
{
    const auto lacking = NtsSession::kCookies - 1 - std::min(cookies_left, NtsSession::kCookies - 1);
    const auto fixed = kHeaderSize + kFieldHeader + kMinUniqueId + 2 * kFieldHeader + kRequestNonceRoom + kAeadTag;
    const auto room = (kMaxSealed - fixed) / (kFieldHeader + cookie_octets);
    return std::min({lacking, kMaxPlaceholders, room > 0 ? room - 1 : 0});
}

/// The cookies among the encrypted fields; nothing when those are malformed.
std::optional<std::vector<std::vector<std::byte>>> cookies_in(Bytes plain)
{
    std::vector<std::vector<std::byte>> cookies;
    FieldReader reader(plain, 0, FieldReader::Place::encrypted);
    while (const auto field = reader.next()) {
        const bool usable = field->body.size() >= kMinField - kFieldHeader && field->body.size() <= kMaxCookie;
        if (field->is(FieldType::cookie) && usable && cookies.size() < NtsSession::kCookies) {
            cookies.emplace_back(field->body.begin(), field->body.end());
        }
    }
    return reader.ok() ? std::optional{std::move(cookies)} : std::nullopt;
}

DropReason reason_of_unsealed(const Packet& packet, const NtsMemory& sent, bool has_unique_id)
{
    // Section 5.7: MUST be discarded. With our stamp as origin it comes from somebody who saw the request.
    if (packet.origin != sent.transmit) {
        return DropReason::no_exchange;
    }
    if (!has_unique_id || !packet.is_kiss()) {
        return DropReason::unprotected;
    }
    return packet.reference_id == kKissNak ? DropReason::nts_nak : DropReason::kiss_of_death;
}

} // namespace

NtsClientSeal::NtsClientSeal(RandomFill random) : random_(std::move(random))
{}

void NtsClientSeal::adopt(NtsSession session)
{
    session_ = std::move(session);
    ++generation_;
    answered_ = false;
    refused_ = false;
    unanswered_ = 0;
}

std::optional<NtsSession> NtsClientSeal::take_session() noexcept
{
    return std::exchange(session_, std::nullopt);
}

std::variant<ClientSeal::Sealed, DropReason> NtsClientSeal::seal(SealBuffer& packet)
{
    const auto cipher =
        session_ ? Aead::make(session_->keys.aead, session_->keys.client_to_server.view()) : std::optional<Aead>{};
    if (!cipher || session_->cookies.empty()) {
        return DropReason::no_cookie;
    }
    const auto cookie = std::move(session_->cookies.front());
    session_->cookies.pop_front();
    auto memory = std::make_shared<NtsMemory>();
    memory->keys = session_->keys;
    memory->transmit = Packet::parse(packet).value_or(Packet{}).transmit;
    memory->generation = generation_;
    random_(memory->unique_id);
    std::array<std::byte, 16> nonce{};
    random_(nonce);
    FieldWriter fields(packet, kHeaderSize);
    fields.add(FieldType::unique_id, memory->unique_id);
    fields.add(FieldType::cookie, cookie);
    for (auto left = placeholders_for(session_->cookies.size(), cookie.size()); left > 0; --left) {
        fields.add_zeros(FieldType::placeholder, cookie.size());
    }
    fields.seal({.aead = *cipher,
                 .nonce = Bytes{nonce}.first(nonce_size(session_->keys.aead)),
                 .plain = {},
                 .least_room = kRequestNonceRoom,
                 .least_total = 0});
    if (!fields.ok()) {
        return DropReason::no_cookie;
    }
    ++unanswered_;
    return Sealed{.length = fields.size(), .memory = std::move(memory)};
}

std::optional<DropReason> NtsClientSeal::open(Bytes reply, const SealMemory& memory)
{
    const auto& sent = static_cast<const NtsMemory&>(memory); // made by this file (seal.hpp)
    const auto packet = Packet::parse(reply);
    if (!packet) {
        return DropReason::too_short;
    }
    if (!packet->has_extension_fields()) {
        return reason_of_unsealed(*packet, sent, false);
    }
    const auto read = read_fields(reply);
    const auto* const fields = std::get_if<NtsFields>(&read);
    if (fields == nullptr) {
        return DropReason::bad_nts_field;
    }
    if (!fields->unique_id || !std::ranges::equal(*fields->unique_id, sent.unique_id)) {
        return DropReason::no_exchange;
    }
    if (!fields->authenticator) {
        const auto reason = reason_of_unsealed(*packet, sent, true);
        refused_ = refused_ || (reason == DropReason::nts_nak && sent.generation == generation_);
        return reason;
    }
    SealBuffer buffer{};
    const auto& authenticator = *fields->authenticator;
    const auto plain = std::span{buffer}.first(authenticator.ciphertext.size() - kAeadTag);
    const auto cipher = Aead::make(sent.keys.aead, sent.keys.server_to_client.view());
    if (!cipher || !cipher->open({.nonce = authenticator.nonce, .associated = fields->associated},
                                 authenticator.ciphertext, plain)) {
        return DropReason::not_authentic;
    }
    auto cookies = cookies_in(plain);
    if (!cookies) {
        return DropReason::bad_nts_field;
    }
    if (sent.generation == generation_ && session_) {
        // An authentic answer beats a NAK, which anybody can write who saw the request.
        answered_ = true;
        refused_ = false;
        unanswered_ = 0;
        for (auto& cookie : *cookies) {
            session_->put(std::move(cookie));
        }
    }
    return std::nullopt;
}

} // namespace ntp_shim
