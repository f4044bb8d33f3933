// Random bits from the kernel, fetched some at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gateway {

class Random {
public:
    [[nodiscard]] std::uint64_t bits() noexcept; // ends the process when the kernel gives none
    void fill(std::span<std::byte> octets) noexcept;
    [[nodiscard]] double fraction() noexcept; // 0 <= x < 1

private:
    std::array<std::uint64_t, 64> pool_{};
    std::size_t left_ = 0;
};

} // namespace gateway
