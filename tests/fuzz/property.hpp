// What the fuzz targets share: how a broken property is told, and whether this build carries the planted bug.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace fuzz {

#ifdef NTPGATE_PLANTED_BUG
inline constexpr bool kPlantedBug = true;
#else
inline constexpr bool kPlantedBug = false;
#endif

inline void require(bool condition, const char* property)
{
    if (!condition) {
        std::fprintf(stderr, "does not hold: %s\n", property);
        std::abort();
    }
}

} // namespace fuzz
