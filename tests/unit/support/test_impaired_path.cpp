#include "tests/support/impaired_path.hpp"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using support::Act;
using support::Datagram;
using support::ImpairedPath;
using support::Impairment;
using support::Nanoseconds;

namespace {

Datagram datagram(std::uint32_t number, std::size_t length = 100)
{
    return {number, std::vector<std::byte>(length)};
}

struct Delivery {
    std::uint32_t number = 0;
    Nanoseconds when{};
    bool operator==(const Delivery&) const = default;
};

/// Everything that comes out, each at the moment it is due.
std::vector<Delivery> drain(ImpairedPath& path)
{
    std::vector<Delivery> out;
    while (const auto due = path.next_due()) {
        CHECK_FALSE(path.take(*due - 1ns));
        out.push_back({path.take(*due).value().flow, *due});
    }
    return out;
}

/// `count` datagrams, one each millisecond from 0 on, their numbers from 1 on.
std::vector<Delivery> run(ImpairedPath& path, std::uint32_t count)
{
    for (std::uint32_t number = 1; number <= count; ++number) {
        path.submit(datagram(number), (number - 1) * 1ms);
    }
    return drain(path);
}

std::vector<std::uint32_t> numbers(const std::vector<Delivery>& deliveries)
{
    std::vector<std::uint32_t> out;
    for (const Delivery& each : deliveries) {
        out.push_back(each.number);
    }
    return out;
}

Impairment with(double Impairment::*field, double value)
{
    Impairment impairment;
    impairment.queue = 1 << 20;
    impairment.*field = value;
    return impairment;
}

void check_sum(const ImpairedPath& path)
{
    const auto& counters = path.counters();
    CHECK(counters.received + counters.duplicated ==
          counters.sent + counters.lost + counters.overflowed + counters.hooked_away);
}

} // namespace

TEST_SUITE("impaired_path")
{
    TEST_CASE("a path without impairment delivers each datagram at once and in order")
    {
        ImpairedPath path{1};
        const auto out = run(path, 100);
        REQUIRE(out.size() == 100);
        for (std::uint32_t number = 1; number <= 100; ++number) {
            CHECK(out[number - 1] == Delivery{number, (number - 1) * 1ms});
        }
        CHECK(path.counters().latest == 0ns);
        check_sum(path);
    }

    TEST_CASE("it loses as many as it says")
    {
        ImpairedPath path{7};
        path.set(with(&Impairment::loss, 0.2));
        const auto out = run(path, 20000);
        CHECK(path.counters().lost == 20000 - out.size());
        // Five standard deviations of a binomial distribution.
        CHECK(path.counters().lost > 4000 - 283);
        CHECK(path.counters().lost < 4000 + 283);
        check_sum(path);
    }

    TEST_CASE("the same seed loses the same datagrams, another seed others")
    {
        std::vector<std::vector<std::uint32_t>> outs;
        for (const std::uint64_t seed : {3U, 3U, 4U}) {
            ImpairedPath path{seed};
            path.set(with(&Impairment::loss, 0.5));
            outs.push_back(numbers(run(path, 200)));
        }
        CHECK(outs[0] == outs[1]);
        CHECK(outs[0] != outs[2]);
    }

    TEST_CASE("other impairments do not change which datagrams are lost")
    {
        ImpairedPath plain{3};
        ImpairedPath rich{3};
        plain.set(with(&Impairment::loss, 0.3));
        Impairment more = with(&Impairment::loss, 0.3);
        more.jitter = 3ms;
        more.delay = 20ms;
        rich.set(more);
        CHECK(numbers(run(plain, 200)) == numbers(run(rich, 200)));
    }

    TEST_CASE("delay is exact, jitter lies within its bounds and keeps the order")
    {
        ImpairedPath path{5};
        Impairment impairment;
        impairment.delay = 20ms;
        impairment.jitter = 10ms;
        path.set(impairment);
        const auto out = run(path, 500);
        REQUIRE(out.size() == 500);
        Nanoseconds longest{};
        for (std::uint32_t number = 1; number <= 500; ++number) {
            CHECK(out[number - 1].number == number);
            const Nanoseconds held = out[number - 1].when - (number - 1) * 1ms;
            CHECK(held >= 20ms);
            CHECK(held < 30ms);
            longest = std::max(longest, held);
        }
        CHECK(longest > 29ms);
    }

    TEST_CASE("a reordered datagram is overtaken, the others keep their time")
    {
        ImpairedPath path{9};
        Impairment impairment = with(&Impairment::reorder, 0.1);
        impairment.reorder_by = 2500us;
        path.set(impairment);
        const auto out = run(path, 1000);
        REQUIRE(out.size() == 1000);
        std::uint64_t late = 0;
        for (const Delivery& each : out) {
            const Nanoseconds held = each.when - (each.number - 1) * 1ms;
            CHECK((held == 0ns || held == 2500us));
            late += held == 2500us ? 1 : 0;
        }
        CHECK(late == path.counters().reordered);
        CHECK(late > 50);
        CHECK_FALSE(std::is_sorted(out.begin(), out.end(),
                                   [](const Delivery& a, const Delivery& b) { return a.number < b.number; }));
    }

    TEST_CASE("duplicates come right behind their originals")
    {
        ImpairedPath path{2};
        path.set(with(&Impairment::duplicate, 1));
        CHECK(numbers(run(path, 3)) == std::vector<std::uint32_t>{1, 1, 2, 2, 3, 3});
        check_sum(path);
    }

    TEST_CASE("a slow link sends one datagram after the other, and drops what its queue has no room for")
    {
        ImpairedPath path{2};
        Impairment impairment;
        impairment.rate = 80000; // 100 octets in 10 ms
        impairment.delay = 1ms;
        impairment.queue = 3;
        path.set(impairment);
        for (std::uint32_t number = 1; number <= 5; ++number) {
            path.submit(datagram(number), 0ns);
        }
        const auto out = drain(path);
        CHECK(out == std::vector<Delivery>{{1, 11ms}, {2, 21ms}, {3, 31ms}});
        CHECK(path.counters().overflowed == 2);
        check_sum(path);
    }

    TEST_CASE("a hook acts on the datagram of its number only")
    {
        const auto hooked = [](support::Hook hook) {
            ImpairedPath path{1};
            path.hook(2, hook);
            const auto out = run(path, 4);
            CHECK(path.counters().hooked == 1);
            check_sum(path);
            return out;
        };
        CHECK(numbers(hooked({Act::drop, {}})) == std::vector<std::uint32_t>{1, 3, 4});
        CHECK(numbers(hooked({Act::duplicate, {}})) == std::vector<std::uint32_t>{1, 2, 2, 3, 4});
        CHECK(numbers(hooked({Act::swap, {}})) == std::vector<std::uint32_t>{1, 3, 2, 4});
        CHECK(hooked({Act::delay, 1500us}) == std::vector<Delivery>{{1, 0ns}, {3, 2ms}, {2, 2500us}, {4, 3ms}});
    }

    TEST_CASE("numbers begin anew when told to, and hooks are forgotten")
    {
        ImpairedPath path{1};
        path.hook(5, {Act::drop, {}});
        CHECK(run(path, 3).size() == 3);
        path.renumber();
        CHECK(run(path, 5).size() == 5);
        path.renumber();
        path.hook(1, {Act::drop, {}});
        CHECK(run(path, 3).size() == 2);
    }

    TEST_CASE("the largest datagram is known, also when it was lost")
    {
        ImpairedPath path{1};
        path.submit(datagram(1, 100), 0ns);
        path.hook(2, {Act::drop, {}});
        path.submit(datagram(2, 300), 0ns);
        path.submit(datagram(3, 200), 0ns);
        CHECK(path.counters().largest == 300);
    }

    TEST_CASE("how late a datagram was taken is told")
    {
        ImpairedPath path{1};
        path.submit(datagram(1), 5ms);
        CHECK(path.take(7ms));
        CHECK(path.counters().latest == 2ms);
    }
}
