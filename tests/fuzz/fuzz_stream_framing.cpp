// However a stream is cut, it gives the same messages; a broken one gives none; what is kept is bounded.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "transports/stream_framing.hpp"

namespace {

constexpr std::uint16_t kMin = 32;
constexpr std::uint16_t kMax = 1056;

void require(bool condition, const char* what)
{
    if (!condition) {
        std::fprintf(stderr, "stream_framing: %s\n", what);
        std::abort();
    }
}

struct Outcome {
    std::vector<std::vector<std::byte>> messages;
    bool broken = false;
    bool operator==(const Outcome&) const = default;
};

/// Cuts by the octets of `cuts`, one piece for each, repeated; no cuts = whole.
Outcome decode(std::span<const std::byte> stream, std::span<const std::byte> cuts)
{
    transports::StreamDecoder decoder{kMin, kMax};
    Outcome out;
    std::size_t turn = 0;
    while (!stream.empty()) {
        std::size_t size = cuts.empty() ? stream.size() : 1 + std::to_integer<std::size_t>(cuts[turn++ % cuts.size()]);
        size = std::min(size, stream.size());
        auto part = stream.first(size);
        while (const auto message = decoder.next(part)) {
            require(message->size() >= kMin && message->size() <= kMax, "a message outside the limits");
            out.messages.emplace_back(message->begin(), message->end());
        }
        require(decoder.kept() <= kMax + 2U, "more kept than one message");
        require(decoder.broken() || part.empty(), "input left over");
        stream = stream.subspan(size);
#ifdef NTPGATE_PLANTED_BUG
        stream = stream.subspan(std::min<std::size_t>(size == 7 ? 1 : 0, stream.size())); // an octet lost between reads
#endif
    }
    out.broken = decoder.broken();
    return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    // The first eight octets say how the second decoder's stream is cut.
    const auto input = std::as_bytes(std::span{data, size});
    if (input.size() < 8) {
        return 0;
    }
    const auto cuts = input.first(8);
    const auto stream = input.subspan(8);
    const Outcome whole = decode(stream, {});
    require(decode(stream, cuts) == whole, "the cuts changed the outcome");
    std::vector<std::byte> again;
    for (const auto& message : whole.messages) {
        transports::append_framed(again, message);
    }
    require(again.size() <= stream.size() && std::equal(again.begin(), again.end(), stream.begin()),
            "encoding again gives other octets");
    return 0;
}
