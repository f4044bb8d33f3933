// Key establishments one after another with the server at 127.0.0.1:PORT, for SECONDS: how many a second.
//
//   ke_rate CA-FILE PORT SECONDS nagle|nodelay
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/ke_link.hpp"

int main(int count, char** arguments)
{
    using Clock = std::chrono::steady_clock;
    if (count != 5) {
        bench::fail("usage: ke_rate CA-FILE PORT SECONDS nagle|nodelay");
    }
    bench::KeClient client{arguments[1], static_cast<std::uint16_t>(std::atoi(arguments[2])),
                           std::string{arguments[4]} == "nagle"};
    (void)client.establish(); // caches are warm
    const auto begin = Clock::now();
    const auto until = begin + std::chrono::duration<double>(std::atof(arguments[3]));
    int done = 0;
    while (Clock::now() < until) {
        (void)client.establish();
        ++done;
    }
    std::printf("%.1f\n", done / std::chrono::duration<double>(Clock::now() - begin).count());
}
