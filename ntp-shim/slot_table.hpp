// Records kept in numbered slots that are reused, and lists threaded through them: add, find and remove in constant
// time, and no allocation once the table has grown to its working size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace ntp_shim {

inline constexpr std::uint32_t kNoSlot = 0xffffffff;

/// Bounded: `add` refuses the newcomer when the bound is reached. A slot's generation changes when its record goes, so
/// that a handle made of both is never mistaken for a later record's. References live until the next `add`.
template <class Record>
class SlotTable {
public:
    explicit SlotTable(std::uint32_t bound) : bound_(bound) {}

    /// A default record's slot, or nothing when the table is full.
    [[nodiscard]] std::optional<std::uint32_t> add()
    {
        if (size_ == bound_) {
            return std::nullopt;
        }
        if (free_.empty()) {
            free_.push_back(static_cast<std::uint32_t>(entries_.size()));
            entries_.emplace_back();
        }
        const auto slot = free_.back();
        free_.pop_back();
        entries_[slot].used = true;
        ++size_;
        return slot;
    }
    /// `slot` is in use.
    void remove(std::uint32_t slot)
    {
        auto& entry = entries_[slot];
        entry.record = Record{};
        entry.used = false;
        ++entry.generation;
        free_.push_back(slot);
        --size_;
    }
    [[nodiscard]] bool holds(std::uint32_t slot, std::uint32_t generation) const noexcept
    {
        return slot < entries_.size() && entries_[slot].used && entries_[slot].generation == generation;
    }
    [[nodiscard]] std::uint32_t generation(std::uint32_t slot) const noexcept { return entries_[slot].generation; }
    [[nodiscard]] Record& operator[](std::uint32_t slot) noexcept { return entries_[slot].record; }
    [[nodiscard]] const Record& operator[](std::uint32_t slot) const noexcept { return entries_[slot].record; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_full() const noexcept { return size_ == bound_; }

private:
    struct Entry {
        Record record;
        std::uint32_t generation = 1; // a default handle, generation 0, names nothing
        bool used = false;
    };
    std::vector<Entry> entries_;
    std::vector<std::uint32_t> free_;
    std::uint32_t bound_;
    std::size_t size_ = 0;
};

/// A record's place in one list; a record has one for each list it can be in.
struct SlotLink {
    std::uint32_t previous = kNoSlot;
    std::uint32_t next = kNoSlot;
};

/// A doubly linked list of slots of one table. A record leaves its lists before it leaves the table.
template <class Record, SlotLink Record::*link>
class SlotList {
public:
    void push_back(SlotTable<Record>& records, std::uint32_t slot) { insert_after(records, last_, slot); }

    /// Behind every record that does not come `after(record, new_one)`. Searched from the end: our lists are ordered
    /// by instants that hardly ever arrive out of order.
    template <class After>
    void insert(SlotTable<Record>& records, std::uint32_t slot, After after)
    {
        auto place = last_;
        while (place != kNoSlot && after(records[place], records[slot])) {
            place = (records[place].*link).previous;
        }
        insert_after(records, place, slot);
    }
    void remove(SlotTable<Record>& records, std::uint32_t slot)
    {
        const auto left = std::exchange(records[slot].*link, SlotLink{});
        (left.previous == kNoSlot ? first_ : (records[left.previous].*link).next) = left.next;
        (left.next == kNoSlot ? last_ : (records[left.next].*link).previous) = left.previous;
        --size_;
    }
    /// The first slot, or kNoSlot.
    [[nodiscard]] std::uint32_t front() const noexcept { return first_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    void insert_after(SlotTable<Record>& records, std::uint32_t previous, std::uint32_t slot)
    {
        auto& next = previous == kNoSlot ? first_ : (records[previous].*link).next;
        records[slot].*link = {.previous = previous, .next = next};
        (next == kNoSlot ? last_ : (records[next].*link).previous) = slot;
        next = slot;
        ++size_;
    }

    std::uint32_t first_ = kNoSlot;
    std::uint32_t last_ = kNoSlot;
    std::size_t size_ = 0;
};

} // namespace ntp_shim
