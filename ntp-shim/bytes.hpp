// Bounds-checked reading and writing of big-endian integers: the only way any parser here touches a byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace ntp_shim {

using Bytes = std::span<const std::byte>;

/// Reads from the front of a view. A read beyond the end yields zero and fails; once failed it stays failed, so that
/// a parser reads every field in wire order and asks `ok` once.
class ByteReader {
public:
    explicit constexpr ByteReader(Bytes data) noexcept : rest_(data) {}

    constexpr std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(integer<1>()); }
    constexpr std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(integer<2>()); }
    constexpr std::uint32_t u32() noexcept { return static_cast<std::uint32_t>(integer<4>()); }
    constexpr std::uint64_t u64() noexcept { return integer<8>(); }
    /// The next `count` octets, or an empty view when there are fewer.
    constexpr Bytes take(std::size_t count) noexcept
    {
        if (!ok_ || count > rest_.size()) {
            ok_ = false;
            return {};
        }
        const auto taken = rest_.first(count);
        rest_ = rest_.subspan(count);
        return taken;
    }
    [[nodiscard]] constexpr Bytes rest() const noexcept { return ok_ ? rest_ : Bytes{}; }
    [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }

private:
    // Without a loop, in which the compiler would not see the one load that this is.
    template <std::size_t Octets>
    constexpr std::uint64_t integer() noexcept
    {
        const auto taken = take(Octets);
        if (taken.size() != Octets) {
            return 0;
        }
        return [&]<std::size_t... At>(std::index_sequence<At...>)
        {
            return ((std::to_integer<std::uint64_t>(taken[At]) << 8 * (Octets - 1 - At)) | ...);
        }
        (std::make_index_sequence<Octets>{});
    }

    Bytes rest_;
    bool ok_ = true;
};

/// Writes into a buffer of the caller's. A write that does not fit writes nothing and fails; failure is sticky.
class ByteWriter {
public:
    explicit constexpr ByteWriter(std::span<std::byte> buffer) noexcept : buffer_(buffer) {}

    constexpr void u8(std::uint8_t value) noexcept { integer<1>(value); }
    constexpr void u16(std::uint16_t value) noexcept { integer<2>(value); }
    constexpr void u32(std::uint32_t value) noexcept { integer<4>(value); }
    constexpr void u64(std::uint64_t value) noexcept { integer<8>(value); }
    constexpr void put(Bytes octets) noexcept
    {
        const auto place = claim(octets.size());
        std::ranges::copy(octets.first(place.size()), place.begin());
    }
    /// What has been written; empty after a failure.
    [[nodiscard]] constexpr Bytes written() const noexcept { return ok_ ? Bytes{buffer_.first(used_)} : Bytes{}; }
    [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }

private:
    constexpr std::span<std::byte> claim(std::size_t count) noexcept
    {
        if (!ok_ || count > buffer_.size() - used_) {
            ok_ = false;
            return {};
        }
        used_ += count;
        return buffer_.subspan(used_ - count, count);
    }
    template <std::size_t Octets>
    constexpr void integer(std::uint64_t value) noexcept
    {
        const auto place = claim(Octets);
        if (place.size() == Octets) {
            [&]<std::size_t... At>(std::index_sequence<At...>)
            {
                ((place[At] = static_cast<std::byte>(value >> 8 * (Octets - 1 - At) & 0xff)), ...);
            }
            (std::make_index_sequence<Octets>{});
        }
    }

    std::span<std::byte> buffer_;
    std::size_t used_ = 0;
    bool ok_ = true;
};

} // namespace ntp_shim
