// Finds slots by 64-bit keys: open addressing, no allocation in the steady state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ntp-shim/slot_table.hpp"

namespace ntp_shim {

/// Several slots may share a key. Keys are chosen by whoever sends packets, so the place of a key depends on a secret
/// `seed`: who does not know it cannot pile keys up in one place and make every search long.
class SlotIndex {
public:
    explicit SlotIndex(std::uint64_t seed) noexcept : seed_(seed) {}

    void insert(std::uint64_t key, std::uint32_t slot);
    /// (key, slot) was inserted before.
    void erase(std::uint64_t key, std::uint32_t slot);
    /// The first slot under `key` that `matches(slot)`.
    template <class Matches>
    [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key, Matches matches) const
    {
        if (cells_.empty()) {
            return std::nullopt;
        }
        for (auto place = home(key); cells_[place].slot != kNoSlot; place = next(place)) {
            if (cells_[place].key == key && matches(cells_[place].slot)) {
                return cells_[place].slot;
            }
        }
        return std::nullopt;
    }
    [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key) const
    {
        return find(key, [](std::uint32_t) { return true; });
    }
    [[nodiscard]] std::size_t size() const noexcept { return used_; }

    /// Many words as one key. It depends on the seed too, or keys made equal would share a place whatever the seed.
    [[nodiscard]] std::uint64_t fold(std::span<const std::uint64_t> words) const noexcept;

private:
    struct Cell {
        std::uint64_t key{};
        std::uint32_t slot = kNoSlot;
    };
    [[nodiscard]] std::size_t home(std::uint64_t key) const noexcept;
    [[nodiscard]] std::size_t next(std::size_t place) const noexcept { return (place + 1) & (cells_.size() - 1); }
    void grow();

    std::uint64_t seed_;
    std::vector<Cell> cells_; // a power of two, never more than half full
    std::size_t used_ = 0;
};

} // namespace ntp_shim
