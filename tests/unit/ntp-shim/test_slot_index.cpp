#include "ntp-shim/slot_index.hpp"

#include <map>

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::SlotIndex;

TEST_SUITE_BEGIN("slot_index");

TEST_CASE("what was inserted is found, and what was erased is not")
{
    SlotIndex index(1);
    CHECK_FALSE(index.find(5).has_value());
    index.insert(5, 50);
    index.insert(6, 60);
    CHECK(index.find(5) == 50);
    CHECK(index.find(6) == 60);
    index.erase(5, 50);
    CHECK_FALSE(index.find(5).has_value());
    CHECK(index.find(6) == 60);
    CHECK(index.size() == 1);
}

TEST_CASE("several slots may have one key")
{
    SlotIndex index(2);
    for (const std::uint32_t slot : {1U, 2U, 3U}) {
        index.insert(9, slot);
    }
    CHECK(index.find(9, [](std::uint32_t slot) { return slot == 3; }) == 3);
    index.erase(9, 2);
    CHECK_FALSE(index.find(9, [](std::uint32_t slot) { return slot == 2; }).has_value());
    CHECK(index.find(9, [](std::uint32_t slot) { return slot == 1; }) == 1);
    CHECK(index.find(9, [](std::uint32_t slot) { return slot == 3; }) == 3);
}

TEST_CASE("ten thousand keys come and go as in a plain map")
{
    SlotIndex index(3);
    std::map<std::uint64_t, std::uint32_t> expected;
    std::uint64_t state = 1;
    for (std::uint32_t step = 0; step < 40000; ++step) {
        state = state * 6364136223846793005 + 1442695040888963407;
        const auto key = state >> 50; // 16384 keys: half of the steps find one that is there
        if (expected.contains(key)) {
            index.erase(key, expected.at(key));
            expected.erase(key);
        } else {
            index.insert(key, step);
            expected.emplace(key, step);
        }
    }
    CHECK(index.size() == expected.size());
    for (std::uint64_t key = 0; key < 16384; ++key) {
        const auto found = expected.find(key);
        CHECK(index.find(key) == (found == expected.end() ? std::nullopt : std::optional{found->second}));
    }
}

TEST_CASE("a folded key depends on every word, their order and the seed")
{
    const SlotIndex one(1);
    const SlotIndex other(2);
    using Words = std::array<std::uint64_t, 2>;
    CHECK(one.fold(Words{1, 2}) == one.fold(Words{1, 2}));
    CHECK(one.fold(Words{1, 2}) != one.fold(Words{2, 1}));
    CHECK(one.fold(Words{1, 2}) != one.fold(Words{1, 3}));
    CHECK(one.fold(Words{1, 2}) != one.fold(Words{0, 2}));
    CHECK(one.fold(Words{1, 2}) != other.fold(Words{1, 2}));
}

TEST_SUITE_END();
