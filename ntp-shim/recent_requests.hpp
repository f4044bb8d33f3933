// Remembers the last few thousand requests, so that one that is sent again is told from a new one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/slot_index.hpp"

namespace ntp_shim {

/// Bounded: the oldest is forgotten first. A client is an address, whatever its port.
class RecentRequests {
public:
    static constexpr std::uint32_t kRemembered = 4096;

    explicit RecentRequests(std::uint64_t seed) noexcept : places_(seed) {}

    /// False when it is remembered already.
    [[nodiscard]] bool add(const std::array<std::byte, 16>& client, std::uint64_t transmit)
    {
        ByteReader address(client);
        const std::array words{address.u64(), address.u64(), transmit};
        const auto key = places_.fold(words);
        if (places_.find(key)) {
            return false;
        }
        if (keys_.size() < kRemembered) {
            keys_.push_back(key);
        } else {
            places_.erase(keys_[next_], next_);
            keys_[next_] = key;
        }
        places_.insert(key, next_);
        next_ = (next_ + 1) % kRemembered;
        return true;
    }

private:
    SlotIndex places_;
    std::vector<std::uint64_t> keys_; // a ring
    std::uint32_t next_ = 0;          // the oldest, or the first free one
};

} // namespace ntp_shim
