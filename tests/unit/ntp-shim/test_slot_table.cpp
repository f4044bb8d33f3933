#include "ntp-shim/slot_table.hpp"

#include "tests/unit/ntp-shim/packets.hpp"

namespace {

struct Record {
    int value = 0;
    ntp_shim::SlotLink link;
};
using Table = ntp_shim::SlotTable<Record>;
using List = ntp_shim::SlotList<Record, &Record::link>;

std::uint32_t add(Table& table, int value)
{
    const auto slot = table.add();
    REQUIRE(slot.has_value());
    table[*slot].value = value;
    return *slot;
}

std::vector<int> values(const Table& table, const List& list)
{
    std::vector<int> found;
    for (auto slot = list.front(); slot != ntp_shim::kNoSlot; slot = table[slot].link.next) {
        found.push_back(table[slot].value);
    }
    return found;
}

bool is_greater(const Record& one, const Record& other)
{
    return one.value > other.value;
}

} // namespace

TEST_SUITE_BEGIN("slot_table");

TEST_CASE("a full table refuses the newcomer")
{
    Table table(2);
    CHECK(table.add().has_value());
    CHECK_FALSE(table.is_full());
    const auto second = table.add();
    REQUIRE(second.has_value());
    CHECK(table.is_full());
    CHECK_FALSE(table.add().has_value());
    table.remove(*second);
    CHECK(table.size() == 1);
    CHECK(table.add().has_value());
}

TEST_CASE("a reused slot has another generation and a fresh record")
{
    Table table(1);
    const auto slot = add(table, 7);
    const auto before = table.generation(slot);
    CHECK(table.holds(slot, before));
    table.remove(slot);
    CHECK_FALSE(table.holds(slot, before));
    CHECK_FALSE(table.holds(slot, table.generation(slot))); // empty: the next record's handle is nobody's yet
    REQUIRE(add(table, 0) == slot);
    CHECK(table[slot].value == 0);
    CHECK_FALSE(table.holds(slot, before));
    CHECK(table.holds(slot, table.generation(slot)));
}

TEST_CASE("a handle never given out names nothing")
{
    Table table(4);
    CHECK_FALSE(table.holds(0, 0));
    const auto slot = add(table, 1);
    CHECK_FALSE(table.holds(slot, 0));
    CHECK_FALSE(table.holds(99, 1));
}

TEST_CASE("a list keeps its order whichever record leaves")
{
    Table table(4);
    List list;
    std::vector<std::uint32_t> slots;
    for (const int value : {1, 2, 3, 4}) {
        slots.push_back(add(table, value));
        list.push_back(table, slots.back());
    }
    CHECK(values(table, list) == std::vector{1, 2, 3, 4});
    list.remove(table, slots[1]);
    CHECK(values(table, list) == std::vector{1, 3, 4});
    list.remove(table, slots[3]);
    list.remove(table, slots[0]);
    CHECK(values(table, list) == std::vector{3});
    CHECK(list.size() == 1);
    list.remove(table, slots[2]);
    CHECK(list.empty());
    CHECK(list.front() == ntp_shim::kNoSlot);
    list.push_back(table, slots[1]);
    CHECK(values(table, list) == std::vector{2});
}

TEST_CASE("what comes out of order is put in its place, behind its equals")
{
    Table table(5);
    List list;
    for (const int value : {10, 30, 20, 5, 30}) {
        list.insert(table, add(table, value), is_greater);
    }
    CHECK(values(table, list) == std::vector{5, 10, 20, 30, 30});
}

TEST_SUITE_END();
