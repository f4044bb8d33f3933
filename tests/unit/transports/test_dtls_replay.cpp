#include <map>
#include <random>

#include <doctest/doctest.h>

#include "transports/dtls_replay.hpp"

using namespace transports;
using Verdict = ReplayWindow::Verdict;

namespace {

RecordTail tail(unsigned char mark)
{
    RecordTail out{};
    out.back() = std::byte{mark};
    return out;
}

} // namespace

TEST_SUITE_BEGIN("dtls_replay");

TEST_CASE("a number is fresh until it is marked, then the tail tells the record from another")
{
    ReplayWindow window;
    CHECK(window.judge(0, tail(1)) == Verdict::fresh);
    window.mark(0, tail(1));
    CHECK(window.judge(0, tail(1)) == Verdict::same_record);
    CHECK(window.judge(0, tail(2)) == Verdict::same_number);
    CHECK(window.judge(1, tail(1)) == Verdict::fresh);
}

TEST_CASE("the window holds 64 numbers and no more")
{
    ReplayWindow window;
    window.mark(100, tail(1));
    window.mark(163, tail(2));
    CHECK(window.judge(100, tail(1)) == Verdict::same_record);
    CHECK(window.judge(99, tail(1)) == Verdict::too_old);
    CHECK(window.judge(101, tail(1)) == Verdict::fresh);
    window.mark(164, tail(3));
    CHECK(window.judge(100, tail(1)) == Verdict::too_old);
    CHECK(window.judge(163, tail(2)) == Verdict::same_record);
}

TEST_CASE("a jump forgets what it passes, whichever slot it had")
{
    ReplayWindow window;
    for (std::uint64_t number = 0; number < 64; ++number) {
        window.mark(number, tail(1));
    }
    window.mark(70, tail(1));
    for (std::uint64_t number = 64; number < 70; ++number) {
        CHECK(window.judge(number, tail(1)) == Verdict::fresh);
    }
    window.mark(1'000'000, tail(1));
    CHECK(window.judge(999'999, tail(1)) == Verdict::fresh);
    CHECK(window.judge(999'937, tail(1)) == Verdict::fresh);
    CHECK(window.judge(999'936, tail(1)) == Verdict::too_old);
}

TEST_CASE("marking what is too old changes nothing")
{
    ReplayWindow window;
    window.mark(64, tail(1));
    window.mark(0, tail(2)); // shares the slot of 64
    CHECK(window.judge(64, tail(1)) == Verdict::same_record);
}

TEST_CASE("it agrees with a list of everything ever marked")
{
    std::mt19937 random{20261126};
    ReplayWindow window;
    std::map<std::uint64_t, unsigned char> all;
    std::uint64_t top = 0;
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t spread = random() % 20 == 0 ? 400 : 90;
        const std::uint64_t number = top + 20 - std::min<std::uint64_t>(top + 20, random() % spread);
        const auto mark = static_cast<unsigned char>(random() % 3);
        const auto known = all.find(number);
        const bool old = !all.empty() && number + 64 <= top;
        const Verdict expected = old                     ? Verdict::too_old
                                 : known == all.end()    ? Verdict::fresh
                                 : known->second == mark ? Verdict::same_record
                                                         : Verdict::same_number;
        REQUIRE(window.judge(number, tail(mark)) == expected);
        if (expected == Verdict::fresh && random() % 4 != 0) {
            window.mark(number, tail(mark));
            all[number] = mark;
            top = std::max(top, number);
        }
    }
}

TEST_SUITE_END();
