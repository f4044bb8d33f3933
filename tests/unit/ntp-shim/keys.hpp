// Keys that the tests of seals and key files are made of.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ntp-shim/mac_seal.hpp"
#include "tests/unit/ntp-shim/packets.hpp"

namespace keys {

using ntp_shim::DigestKind;
using packets::Octets;

inline Octets hex(std::string_view digits)
{
    Octets octets;
    for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
        octets.push_back(static_cast<std::byte>(std::stoi(std::string{digits.substr(at, 2)}, nullptr, 16)));
    }
    return octets;
}

inline std::string hex(ntp_shim::Bytes octets)
{
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const auto octet : octets) {
        text += kDigits[std::to_integer<std::size_t>(octet >> 4)];
        text += kDigits[std::to_integer<std::size_t>(octet & std::byte{0xf})];
    }
    return text;
}

inline Octets text(std::string_view characters)
{
    return packets::copy(std::as_bytes(std::span{characters.data(), characters.size()}));
}

/// A key of the right length for `kind`; `seed` tells keys apart.
inline std::shared_ptr<const ntp_shim::MacKey> key(std::uint32_t id, DigestKind kind, std::uint8_t seed = 1,
                                                   std::vector<ntp_shim::KeyPeers> peers = {})
{
    const auto required = ntp_shim::required_key_size(kind);
    ntp_shim::Secret secret{required == 0 ? 20 : required};
    for (auto& octet : secret.octets()) {
        octet = static_cast<std::byte>(seed += 29);
    }
    auto digest = ntp_shim::KeyedDigest::create(kind, std::move(secret));
    REQUIRE(digest != nullptr);
    return std::make_shared<const ntp_shim::MacKey>(
        ntp_shim::MacKey::Description{.id = id, .line = 1, .peers = std::move(peers)}, std::move(digest));
}

inline std::shared_ptr<const ntp_shim::MacKeyRing> ring(std::vector<std::shared_ptr<const ntp_shim::MacKey>> all)
{
    return std::make_shared<const ntp_shim::MacKeyRing>(std::move(all));
}

inline constexpr std::array kEveryDigest{DigestKind::md5,    DigestKind::sha1,   DigestKind::sha256, DigestKind::sha384,
                                         DigestKind::sha512, DigestKind::aes128, DigestKind::aes256};

/// `packet` with a MAC of `key` behind it, `size` octets of digest (0: what its version asks for).
inline Octets with_mac(Octets packet, const ntp_shim::MacKey& key, std::size_t size = 0)
{
    const auto length = packet.size();
    const auto version = packets::parse(packet).version;
    packet.resize(length + 4 + ntp_shim::kMaxDigest);
    const auto whole = key.append(packet, length, size == 0 ? key.wire_size(version) : size);
    REQUIRE(whole.has_value());
    packet.resize(*whole);
    return packet;
}

} // namespace keys
