// Whatever the file of the last good time says: a time that is read is one of this era, and is what is written of it.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "gateway/good_time.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto read = gateway::parse_good_time({reinterpret_cast<const char*>(data), size});
    if (const auto* time = std::get_if<std::chrono::seconds>(&read)) {
        fuzz::require(time->count() >= 0 && time->count() < 100'000'000'000, "eleven digits at most");
        const auto again = gateway::parse_good_time(gateway::write_good_time(*time));
        const auto* same = std::get_if<std::chrono::seconds>(&again);
        fuzz::require(same != nullptr && (*same == *time) != fuzz::kPlantedBug, "what is written is read again");
    }
    return 0;
}
