#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "transports/stream_framing.hpp"

using transports::append_framed;
using transports::StreamDecoder;

namespace {

std::vector<std::byte> message_of(std::size_t size, unsigned seed)
{
    std::vector<std::byte> out;
    for (std::size_t i = 0; i < size; ++i) {
        out.push_back(static_cast<std::byte>((seed + i * 7) & 0xffU));
    }
    return out;
}

/// Feeds the stream in pieces of `piece` octets and collects what comes out.
std::vector<std::vector<std::byte>> decode(StreamDecoder& decoder, std::span<const std::byte> stream, std::size_t piece)
{
    std::vector<std::vector<std::byte>> out;
    while (!stream.empty()) {
        auto part = stream.first(std::min(piece, stream.size()));
        stream = stream.subspan(part.size());
        while (const auto message = decoder.next(part)) {
            out.emplace_back(message->begin(), message->end());
        }
    }
    return out;
}

} // namespace

TEST_SUITE("stream_framing")
{
    TEST_CASE("messages come out whole however the stream is cut")
    {
        std::vector<std::vector<std::byte>> messages = {message_of(32, 1), message_of(80, 2), message_of(1056, 3),
                                                        message_of(32, 4)};
        std::vector<std::byte> stream;
        for (const auto& message : messages) {
            append_framed(stream, message);
        }
        for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
            StreamDecoder decoder{32, 1056};
            CHECK(decode(decoder, stream, piece) == messages);
            CHECK_FALSE(decoder.broken());
        }
    }

    TEST_CASE("a length just outside the limits breaks the stream, just inside does not")
    {
        for (const auto& [size, broken] :
             {std::pair<std::size_t, bool>{31, true}, {32, false}, {1056, false}, {1057, true}}) {
            StreamDecoder decoder{32, 1056};
            std::vector<std::byte> stream;
            append_framed(stream, message_of(size, 9));
            std::span<const std::byte> data{stream};
            CHECK(decoder.next(data).has_value() != broken);
            CHECK(decoder.broken() == broken);
        }
    }

    TEST_CASE("a broken stream gives nothing any more")
    {
        StreamDecoder decoder{32, 1056};
        std::vector<std::byte> stream;
        append_framed(stream, message_of(5, 0));
        append_framed(stream, message_of(32, 0));
        CHECK(decode(decoder, stream, 1).empty());
        CHECK(decoder.broken());
    }

    TEST_CASE("what is kept is bounded by one message")
    {
        StreamDecoder decoder{1, 64};
        std::vector<std::byte> stream;
        append_framed(stream, message_of(64, 5));
        stream.pop_back();
        std::span<const std::byte> data{stream};
        CHECK_FALSE(decoder.next(data).has_value());
        CHECK(data.empty());
        CHECK(decoder.kept() == 65);
    }
}
