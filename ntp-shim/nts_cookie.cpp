#include "ntp-shim/nts_cookie.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ntp_shim {

namespace {

constexpr std::size_t kKeyId = 4;
constexpr std::size_t kOwnPrefix = 4; // AEAD id and zeros before the keys, so that all is a multiple of four
constexpr std::size_t kMaxPlain = kOwnPrefix + 2 * kMaxAeadKey;

std::size_t plain_size(AeadId aead, CookieLayout layout) noexcept
{
    return 2 * key_size(aead) + (layout == CookieLayout::own ? kOwnPrefix : 0);
}

std::optional<SessionKeys> read_own(Bytes plain)
{
    ByteReader reader(plain);
    const auto aead = find_aead(reader.u16());
    const auto zero = reader.u16();
    if (!aead || zero != 0 || plain.size() != plain_size(*aead, CookieLayout::own)) {
        return std::nullopt;
    }
    SessionKeys keys{.aead = *aead, .client_to_server = {}, .server_to_client = {}};
    keys.server_to_client = AeadSecret{reader.take(key_size(*aead))};
    keys.client_to_server = AeadSecret{reader.take(key_size(*aead))};
    return keys;
}

std::optional<SessionKeys> read_chrony(Bytes plain)
{
    for (const AeadId aead : built_in_aeads()) {
        if (can_carry(CookieLayout::chrony, aead) && plain.size() == plain_size(aead, CookieLayout::chrony)) {
            return SessionKeys{.aead = aead,
                               .client_to_server = AeadSecret{plain.first(key_size(aead))},
                               .server_to_client = AeadSecret{plain.subspan(key_size(aead))}};
        }
    }
    return std::nullopt;
}

} // namespace

CookieKey::CookieKey(std::uint32_t id, const AeadSecret& key, Aead cipher) noexcept
    : id_(id), key_(key), cipher_(std::move(cipher))
{}

std::optional<CookieKey> CookieKey::make(std::uint32_t id, AeadId aead, Bytes key)
{
    auto cipher = Aead::make(aead, key);
    if (!cipher) {
        return std::nullopt;
    }
    return CookieKey{id, AeadSecret{key}, std::move(*cipher)};
}

std::vector<std::byte> CookieKey::seal(const SessionKeys& keys, CookieLayout layout, Bytes nonce) const
{
    const auto nonce_octets = nonce_size(aead());
    if (!can_carry(layout, keys.aead) || nonce.size() < nonce_octets) {
        return {};
    }
    std::array<std::byte, kMaxPlain> buffer{};
    ByteWriter plain(buffer);
    if (layout == CookieLayout::own) {
        plain.u16(static_cast<std::uint16_t>(keys.aead));
        plain.u16(0);
        plain.put(keys.server_to_client.view());
        plain.put(keys.client_to_server.view());
    } else {
        plain.put(keys.client_to_server.view());
        plain.put(keys.server_to_client.view());
    }
    std::vector<std::byte> cookie(cookie_size(keys.aead, aead(), layout));
    ByteWriter head(cookie);
    head.u32(id_);
    head.put(nonce.first(nonce_octets));
    const bool sealed = plain.written().size() == plain_size(keys.aead, layout) &&
                        cipher_.seal({.nonce = nonce.first(nonce_octets), .associated = {}}, plain.written(),
                                     std::span{cookie}.subspan(kKeyId + nonce_octets));
    wipe(buffer);
    return sealed ? cookie : std::vector<std::byte>{};
}

std::optional<SessionKeys> CookieKey::open(Bytes cookie, CookieLayout layout) const
{
    const auto overhead = kKeyId + nonce_size(aead()) + kAeadTag;
    if (cookie.size() <= overhead || cookie.size() - overhead > kMaxPlain) {
        return std::nullopt;
    }
    std::array<std::byte, kMaxPlain> buffer{};
    const auto plain = std::span{buffer}.first(cookie.size() - overhead);
    ByteReader reader(cookie);
    const bool ours = reader.u32() == id_;
    const auto nonce = reader.take(nonce_size(aead()));
    std::optional<SessionKeys> keys;
    if (ours && cipher_.open({.nonce = nonce, .associated = {}}, reader.rest(), plain)) {
        keys = layout == CookieLayout::own ? read_own(plain) : read_chrony(plain);
    }
    wipe(buffer);
    return keys;
}

std::optional<std::uint32_t> key_id_of(Bytes cookie) noexcept
{
    ByteReader reader(cookie);
    const auto id = reader.u32();
    return reader.ok() ? std::optional{id} : std::nullopt;
}

std::size_t cookie_size(AeadId aead, AeadId sealing, CookieLayout layout) noexcept
{
    return kKeyId + nonce_size(sealing) + plain_size(aead, layout) + kAeadTag;
}

bool can_carry(CookieLayout layout, AeadId aead) noexcept
{
    // chrony takes 32 octets for AEAD 15 and 16 for AEAD 30, and knows no others.
    return layout == CookieLayout::own || aead != AeadId::siv_cmac_512;
}

} // namespace ntp_shim
