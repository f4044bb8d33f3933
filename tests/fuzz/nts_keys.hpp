// Keys and randomness for fuzz targets: the same in every run, so that a finding can be repeated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ntp-shim/nts_key_ring.hpp"
#include "ntp-shim/nts_session.hpp"

namespace fuzz {

inline std::vector<std::byte> octets(std::size_t count, std::uint8_t seed)
{
    std::vector<std::byte> made(count);
    for (std::size_t at = 0; at < count; ++at) {
        made[at] = static_cast<std::byte>(at * 131 + seed * 29U);
    }
    return made;
}

inline ntp_shim::RandomFill counting()
{
    return [next = std::uint8_t{0}](std::span<std::byte> out) mutable {
        for (auto& octet : out) {
            octet = static_cast<std::byte>(++next);
        }
    };
}

inline ntp_shim::KeyRing ring()
{
    const auto key = [](std::uint32_t id, std::uint8_t seed) {
        return ntp_shim::FreshKey{.id = id, .key = ntp_shim::AeadSecret{octets(32, seed)}};
    };
    return ntp_shim::KeyRing::create(ntp_shim::CookieLayout::own, {key(1, 1), key(2, 2)});
}

inline ntp_shim::SessionKeys keys()
{
    return {.aead = ntp_shim::AeadId::siv_cmac_256,
            .client_to_server = ntp_shim::AeadSecret{octets(32, 7)},
            .server_to_client = ntp_shim::AeadSecret{octets(32, 8)}};
}

} // namespace fuzz
