// Cookies and the files that keep keys and cookies: nothing opens that no key of the ring sealed, and what is read from
// a file is written back as it was understood.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "ntp-shim/nts_ratchet.hpp"
#include "ntp-shim/nts_state.hpp"
#include "tests/fuzz/nts_keys.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::KeyRing;

void check_cookie(Bytes input)
{
    const auto opened = fuzz::ring().open_cookie(input);
    require(!opened || std::ranges::equal(fuzz::ring().seal_cookie(*opened, input.subspan(4, 16)), input),
            "a cookie that opens is one that its key seals");
    auto cookie = fuzz::ring().seal_cookie(fuzz::keys(), fuzz::octets(16, 1));
    if (input.size() >= 3) {
        const auto at = (std::to_integer<std::size_t>(input[0]) << 8 | std::to_integer<std::size_t>(input[1]));
        cookie[at % cookie.size()] ^= input[2];
        const bool changed = input[2] != std::byte{0} && !fuzz::kPlantedBug;
        require(fuzz::ring().open_cookie(cookie).has_value() != changed, "a cookie that was changed does not open");
    }
}

void check_files(std::string_view text)
{
    const auto own = KeyRing::parse_own(text);
    if (const auto* ring = std::get_if<KeyRing>(&own)) {
        const auto again = KeyRing::parse_own(ring->write_own(ring->stamp()));
        require(std::holds_alternative<KeyRing>(again) &&
                    std::get<KeyRing>(again).write_own(ring->stamp()) == ring->write_own(ring->stamp()),
                "a key file is written as it was read");
    }
    const auto chrony = KeyRing::parse_chrony(text);
    if (const auto* ring = std::get_if<KeyRing>(&chrony)) {
        const auto again = KeyRing::parse_chrony(ring->write_chrony(ring->stamp()));
        require(std::holds_alternative<KeyRing>(again), "chrony's file is written as it was read");
        require(ring->size() == KeyRing::kChronyKeys, "chrony keeps four keys");
    }
    const auto ratchet = ntp_shim::Ratchet::parse(text);
    if (const auto* seed = std::get_if<ntp_shim::Ratchet>(&ratchet)) {
        const auto again = ntp_shim::Ratchet::parse(seed->write());
        require(std::holds_alternative<ntp_shim::Ratchet>(again) &&
                    std::get<ntp_shim::Ratchet>(again).write() == seed->write(),
                "a seed is written as it was read");
    }
    const auto state = ntp_shim::parse_state(text);
    if (const auto* kept = std::get_if<ntp_shim::NtsClientState>(&state)) {
        const auto again = ntp_shim::parse_state(ntp_shim::write_state(*kept));
        require(std::holds_alternative<ntp_shim::NtsClientState>(again) &&
                    write_state(std::get<ntp_shim::NtsClientState>(again)) == write_state(*kept),
                "a state file is written as it was read");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    check_cookie(std::as_bytes(std::span{data, size}));
    check_files({reinterpret_cast<const char*>(data), size});
    return 0;
}
