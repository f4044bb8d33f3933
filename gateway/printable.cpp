#include "gateway/printable.hpp"

#include <fmt/format.h>

namespace gateway {

std::string printable(std::string_view text, std::size_t longest)
{
    std::string out;
    for (const char character : text) {
        const auto code = static_cast<unsigned char>(character);
        std::string piece = code >= 0x20 && code < 0x7f && character != '\\' ? std::string(1, character)
                                                                             : fmt::format("\\x{:02x}", code);
        if (out.size() + piece.size() > longest) {
            return out + "...";
        }
        out += piece;
    }
    return out;
}

} // namespace gateway
