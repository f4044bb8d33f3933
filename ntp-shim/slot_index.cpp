#include "ntp-shim/slot_index.hpp"

#include <utility>

namespace ntp_shim {

namespace {

constexpr std::size_t kFirstSize = 64;

/// A bijection of 64 bits in which every input bit changes about half of the output bits.
constexpr std::uint64_t mix(std::uint64_t value) noexcept
{
    value = (value ^ value >> 32) * 0xd6e8feb86659fd93;
    value = (value ^ value >> 29) * 0xa0761d6478bd642f;
    return value ^ value >> 32;
}

} // namespace

std::uint64_t SlotIndex::fold(std::span<const std::uint64_t> words) const noexcept
{
    auto key = mix(~seed_);
    for (const auto word : words) {
        key = mix(key ^ word);
    }
    return key;
}

std::size_t SlotIndex::home(std::uint64_t key) const noexcept
{
    // Twice, with the seed between: after one round alone the low bits of two keys could be related without it.
    return static_cast<std::size_t>(mix(mix(key ^ seed_) + seed_)) & (cells_.size() - 1);
}

void SlotIndex::insert(std::uint64_t key, std::uint32_t slot)
{
    if (2 * (used_ + 1) > cells_.size()) {
        grow();
    }
    auto place = home(key);
    while (cells_[place].slot != kNoSlot) {
        place = next(place);
    }
    cells_[place] = {.key = key, .slot = slot};
    ++used_;
}

void SlotIndex::erase(std::uint64_t key, std::uint32_t slot)
{
    auto hole = home(key);
    while (cells_[hole].key != key || cells_[hole].slot != slot) {
        hole = next(hole);
    }
    // What follows moves up when the hole lies between its home and itself: no tombstones, so that a table that has
    // turned over a million times searches as fast as a new one.
    for (auto place = next(hole); cells_[place].slot != kNoSlot; place = next(place)) {
        const auto mask = cells_.size() - 1;
        if (((place - home(cells_[place].key)) & mask) >= ((place - hole) & mask)) {
            cells_[hole] = cells_[place];
            hole = place;
        }
    }
    cells_[hole] = {};
    --used_;
}

void SlotIndex::grow()
{
    const auto old = std::exchange(cells_, std::vector<Cell>(cells_.empty() ? kFirstSize : 2 * cells_.size()));
    used_ = 0;
    for (const auto& cell : old) {
        if (cell.slot != kNoSlot) {
            insert(cell.key, cell.slot);
        }
    }
}

} // namespace ntp_shim
