// Keys of a bounded size, kept in place and copied freely, since one session's are needed in several: wiped when they
// go.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/secret.hpp"

namespace ntp_shim {

/// Up to `Capacity` octets.
template <std::size_t Capacity>
class FixedSecret {
public:
    FixedSecret() = default;
    /// Nothing is kept of what is longer than the capacity.
    explicit FixedSecret(Bytes octets) noexcept : size_(octets.size() <= Capacity ? octets.size() : 0)
    {
        std::ranges::copy(octets.first(size_), octets_.begin());
    }
    FixedSecret(const FixedSecret&) = default;
    FixedSecret& operator=(const FixedSecret&) = default;
    ~FixedSecret() { wipe(octets_); }

    [[nodiscard]] Bytes view() const noexcept { return Bytes{octets_}.first(size_); }
    /// For whoever fills it: exactly `size` octets, at most the capacity.
    [[nodiscard]] std::span<std::byte> resize(std::size_t size) noexcept
    {
        size_ = std::min(size, Capacity);
        return std::span{octets_}.first(size_);
    }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    bool operator==(const FixedSecret& other) const noexcept { return std::ranges::equal(view(), other.view()); }

private:
    std::array<std::byte, Capacity> octets_{};
    std::size_t size_ = 0;
};

} // namespace ntp_shim
