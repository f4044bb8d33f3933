#include "gateway/random.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <sys/random.h>

namespace gateway {

std::uint64_t Random::bits() noexcept
{
    if (left_ == 0) {
        // Up to 256 octets come whole or not at all once the kernel's pool is set up; two calls of that size.
        for (std::size_t i = 0; i < pool_.size(); i += 32) {
            if (getrandom(&pool_.at(i), 32 * sizeof pool_[0], 0) != static_cast<ssize_t>(32 * sizeof pool_[0])) {
                std::perror("ntpgate: getrandom");
                std::abort();
            }
        }
        left_ = pool_.size();
    }
    --left_;
    const std::uint64_t out = pool_.at(left_);
    pool_.at(left_) = 0; // used once, kept nowhere
    return out;
}

void Random::fill(std::span<std::byte> octets) noexcept
{
    while (!octets.empty()) {
        const std::uint64_t word = bits();
        const auto part = octets.first(std::min(octets.size(), sizeof word));
        std::ranges::copy(std::as_bytes(std::span{&word, 1}).first(part.size()), part.begin());
        octets = octets.subspan(part.size());
    }
}

double Random::fraction() noexcept
{
    return static_cast<double>(bits() >> 11U) * 0x1.0p-53;
}

} // namespace gateway
