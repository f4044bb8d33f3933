#include "gateway/command_line.hpp"

#include <cstdio>
#include <exception>

int main(int argc, char** argv)
{
    try {
        return gateway::run_command_line(argc, argv);
    } catch (const std::exception& error) {
        (void)std::fprintf(stderr, "ntpgate: %s\n", error.what());
        return 1;
    }
}
