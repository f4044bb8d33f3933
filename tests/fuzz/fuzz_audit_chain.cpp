// No edit of an audit file passes for the file that was written, when the head of its chain is known; and what is no
// audit file at all is refused, never believed.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/audit_chain.hpp"
#include "tests/fuzz/property.hpp"
#include "transports/tls_digest.hpp"

namespace {

using fuzz::require;
using gateway::ChainHead;
using gateway::ChainVerifier;

struct Written {
    std::string text;
    ChainHead head;
};

Written write_records(std::size_t count)
{
    Written written{{}, {0, gateway::chain_start()}};
    for (std::size_t at = 1; at <= count; ++at) {
        const std::string line =
            "{\"seq\":" + std::to_string(at) + ",\"event\":\"started\",\"prev\":\"" + written.head.hash + "\"}";
        written.text += line + '\n';
        written.head = {at, transports::sha256_hex(line)};
    }
    return written;
}

/// Whether all of `text` is believed; `lines` gets how many lines it has.
bool believed(std::string_view text, const std::optional<ChainHead>& head)
{
    // The planted bug: a verifier that forgets what the head is for.
    ChainVerifier chain{fuzz::kPlantedBug ? std::nullopt : head};
    chain.begin_file("fuzzed");
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (chain.add(text.substr(0, end), end != std::string_view::npos)) {
            return false;
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return !chain.finish().has_value();
}

/// Overwrites, inserts, removes and copies octets, as the input says.
std::string edit(std::string text, const std::uint8_t* data, std::size_t size)
{
    for (std::size_t at = 0; at + 5 <= size && !text.empty(); at += 5) {
        const std::size_t from = (std::size_t{data[at + 1]} << 8U | data[at + 2]) % text.size();
        const std::size_t length = std::min<std::size_t>(data[at + 3], text.size() - from);
        const std::string piece = text.substr(from, length);
        switch (data[at] % 4) {
        case 0:
            text[from] = static_cast<char>(data[at + 4]);
            break;
        case 1:
            text.insert(text.size() * data[at + 4] / 256, piece);
            break;
        case 2:
            text.erase(from, length);
            break;
        default:
            text.erase(from, length);
            text.insert(text.size() * data[at + 4] / 256, piece);
            break;
        }
    }
    return text;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const Written written = write_records(8);
    require(fuzz::kPlantedBug || believed(written.text, written.head), "what was written is believed");
    const std::string edited = edit(written.text, data, size);
    if (believed(edited, written.head)) {
        require(edited == written.text, "an edit is found");
    }
    const std::string_view raw{reinterpret_cast<const char*>(data), size};
    require(fuzz::kPlantedBug || !believed(raw, written.head), "what is no audit file is refused");
    (void)gateway::find_chain_end(raw);
    (void)gateway::parse_chain_head(raw);
    return 0;
}
