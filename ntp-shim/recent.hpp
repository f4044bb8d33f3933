// Remembers the last few exchanges that were answered, so that a second reply is told from a stray one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace ntp_shim {

/// The most recent 64 values; searched only for replies that answer nothing open, so a linear search is good enough.
class Recent {
public:
    static constexpr std::size_t kRemembered = 64;

    void add(std::uint64_t value) noexcept
    {
        values_.at(next_) = value;
        next_ = (next_ + 1) % kRemembered;
    }
    [[nodiscard]] bool contains(std::uint64_t value) const noexcept
    {
        return std::ranges::find(values_, std::optional{value}) != values_.end();
    }

private:
    std::array<std::optional<std::uint64_t>, kRemembered> values_{};
    std::size_t next_ = 0;
};

} // namespace ntp_shim
