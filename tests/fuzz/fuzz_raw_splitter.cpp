// However a raw peer's stream is cut into records, no octet is lost, repeated or moved, and what is kept is bounded.
//
//   input: direction (1) | records: length (1, 0 = 256) | octets
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/raw_splitter.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::RawSplitter;

bool may_begin(std::byte first, unsigned mode)
{
    const auto value = std::to_integer<unsigned>(first);
    const auto version = value >> 3 & 7;
    return (value & 7) == mode && version >= 1 && version <= 4;
}

/// The packets that the rule of design 5 names for `octets`, as lengths.
std::vector<std::size_t> expected_lengths(Bytes octets, unsigned mode)
{
    if (octets.size() < 48) {
        return {};
    }
    bool in_blocks = octets.size() % 48 == 0;
    for (std::size_t position = 0; in_blocks && position < octets.size(); position += 48) {
        in_blocks = may_begin(octets[position], mode);
    }
    return in_blocks ? std::vector<std::size_t>(octets.size() / 48, 48) : std::vector<std::size_t>{octets.size()};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    ntp_shim::ByteReader reader(std::as_bytes(std::span{data, size}));
    const bool replies = (reader.u8() & 1) != 0;
    RawSplitter splitter(replies ? RawSplitter::Direction::replies : RawSplitter::Direction::requests);
    std::vector<std::byte> unread; // what the splitter has been given and not yet given back
    while (!reader.rest().empty()) {
        const std::size_t length = reader.u8();
        const auto record = reader.take(std::min<std::size_t>(length == 0 ? 256 : length, reader.rest().size()));
        unread.insert(unread.end(), record.begin(), record.end());
        const auto lengths = expected_lengths(unread, replies ? 4 : 3);
        const auto packets = splitter.split(record, {});
        require(packets.size() == lengths.size(), "a record is cut by the rule");
        std::size_t position = 0;
        for (std::size_t index = 0; index < packets.size(); ++index) {
            auto given = packets[index];
            if (fuzz::kPlantedBug && index > 0) {
                given = packets[0]; // the first packet, given again
            }
            require(given.size() == lengths[index], "every packet has its length");
            require(std::ranges::equal(given, Bytes{unread}.subspan(position, given.size())),
                    "every octet stays in its place");
            position += given.size();
        }
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(position));
        require(unread.size() < 48, "less than a packet is kept");
        require(splitter.partial() == !unread.empty(), "what is kept has a deadline");
    }
    return 0;
}
