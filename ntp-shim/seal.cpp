#include "ntp-shim/seal.hpp"

#include <algorithm>

namespace ntp_shim {

namespace {

constexpr std::size_t kPollOffset = 2; // RFC 5905 figure 8
constexpr std::byte kVersionBits{0x38};

} // namespace

void write_reissued(std::span<std::byte, kHeaderSize> header, std::uint8_t version, std::uint64_t transmit) noexcept
{
    std::ranges::fill(header, std::byte{0});
    header.front() = static_cast<std::byte>(version << 3 | kModeClient);
    write_stamp(header, StampField::transmit, transmit);
}

void restore(std::span<std::byte> header, const ClientFields& client) noexcept
{
    header.front() = (header.front() & ~kVersionBits) | static_cast<std::byte>(client.version << 3);
    header[kPollOffset] = static_cast<std::byte>(client.poll);
    write_stamp(header, StampField::origin, client.transmit);
}

} // namespace ntp_shim
