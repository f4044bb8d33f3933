#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <vector>

#include "transports/loop.hpp"

using namespace std::chrono_literals;
using transports::Loop;
using transports::Timer;
using transports::TurnEnd;

TEST_SUITE("loop")
{
    TEST_CASE("work for the turn's end runs once, however often it is asked for")
    {
        Loop loop;
        int runs = 0;
        TurnEnd work{loop, [&] { ++runs; }};
        Timer timer{loop, [&] {
                        work.request();
                        work.request();
                        CHECK(runs == 0);
                    }};
        timer.start(0ms);
        loop.run();
        CHECK(runs == 1);
    }

    TEST_CASE("work may ask for itself again without starving the loop")
    {
        Loop loop;
        int runs = 0;
        bool input = false;
        std::unique_ptr<TurnEnd> work;
        work = std::make_unique<TurnEnd>(loop, [&] {
            ++runs;
            if (!input) {
                work->request();
            }
        });
        Timer timer{loop, [&] { input = true; }};
        timer.start(1ms);
        work->request();
        loop.run();
        CHECK(input);
        CHECK(runs > 1);
    }

    TEST_CASE("a timer, a watch and turn-end work may be destroyed in their own callbacks")
    {
        Loop loop;
        int called = 0;
        auto work = std::make_unique<TurnEnd>(loop, [] {});
        work = std::make_unique<TurnEnd>(loop, [&] {
            ++called;
            work.reset();
        });
        auto timer = std::make_unique<Timer>(loop, [] {});
        timer = std::make_unique<Timer>(loop, [&] {
            ++called;
            work->request();
            timer.reset();
        });
        timer->start(0ms);
        loop.run();
        CHECK(called == 2);
        CHECK(work == nullptr);
        CHECK(timer == nullptr);
    }

    TEST_CASE("work destroyed before its turn ends does not run")
    {
        Loop loop;
        bool ran = false;
        auto victim = std::make_unique<TurnEnd>(loop, [&] { ran = true; });
        TurnEnd killer{loop, [&] { victim.reset(); }};
        Timer timer{loop, [&] {
                        killer.request();
                        victim->request();
                    }};
        timer.start(0ms);
        loop.run();
        CHECK_FALSE(ran);
    }

    TEST_CASE("a timer started anew keeps its last deadline only")
    {
        Loop loop;
        int expired = 0;
        Timer timer{loop, [&] { ++expired; }};
        timer.start(1h);
        timer.start(1ms);
        loop.run();
        CHECK(expired == 1);
        timer.start(1h);
        timer.stop();
        loop.run();
        CHECK(expired == 1);
    }

    TEST_CASE("guests above the bound are turned away, and the rest are gone with the loop")
    {
        static int alive = 0;
        struct Guest final : transports::LoopGuest {
            Guest() { ++alive; }
            ~Guest() override { --alive; }
            Guest(const Guest&) = delete;
            Guest& operator=(const Guest&) = delete;
        };
        {
            Loop loop;
            for (std::size_t i = 0; i < Loop::kMaxGuests + 10; ++i) {
                loop.adopt(std::make_unique<Guest>());
            }
            CHECK(alive == static_cast<int>(Loop::kMaxGuests));
            auto guest = std::make_unique<Guest>();
            const auto* name = guest.get();
            loop.dismiss(name); // not adopted: nothing happens
            CHECK(alive == static_cast<int>(Loop::kMaxGuests) + 1);
        }
        CHECK(alive == 0);
    }
}
