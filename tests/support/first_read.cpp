// Preloaded: the first open of the file FIRST_READ opens FIRST_READ.first in its place, every later one the file
// itself.
#include <cstdlib>
#include <cstring>
#include <string>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>

namespace {

using Open = int (*)(const char*, int, ...);

int open_as_told(const char* symbol, const char* path, int flags, mode_t mode)
{
    static bool opened = false;
    const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, symbol));
    const char* const swapped = std::getenv("FIRST_READ");
    if (!opened && swapped != nullptr && std::strcmp(path, swapped) == 0) {
        opened = true;
        return next((std::string{swapped} + ".first").c_str(), flags, mode);
    }
    return next(path, flags, mode);
}

mode_t mode_in(int flags, va_list& rest)
{
    return (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
}

} // namespace

extern "C" int open(const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_in(flags, rest);
    va_end(rest);
    return open_as_told("open", path, flags, mode);
}

extern "C" int open64(const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_in(flags, rest);
    va_end(rest);
    return open_as_told("open64", path, flags, mode);
}
