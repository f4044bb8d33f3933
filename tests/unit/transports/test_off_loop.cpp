#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include <doctest/doctest.h>

#include "transports/off_loop.hpp"

using namespace std::chrono_literals;

TEST_SUITE("off_loop")
{
    TEST_CASE("as much work as was reserved for is under way at once")
    {
        constexpr unsigned kWorks = 9; // more than the library has threads by itself
        transports::reserve_threads(kWorks);
        transports::Loop loop;
        std::mutex mutex;
        std::condition_variable all_here;
        unsigned here = 0;
        unsigned met = 0;
        unsigned done = 0;
        std::vector<std::unique_ptr<transports::OffLoop>> works;
        for (unsigned i = 0; i < kWorks; ++i) {
            works.push_back(std::make_unique<transports::OffLoop>(
                loop,
                [&] {
                    std::unique_lock lock{mutex};
                    ++here;
                    all_here.notify_all();
                    met += all_here.wait_for(lock, 10s, [&] { return here == kWorks; }) ? 1U : 0U;
                },
                [&] {
                    if (++done == kWorks) {
                        loop.stop();
                    }
                }));
        }
        loop.run();
        CHECK(met == kWorks);
    }
}
