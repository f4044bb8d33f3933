#include "ntp-shim/peer_list.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <arpa/inet.h> // a pure function of text

namespace ntp_shim {

namespace {

constexpr std::size_t kMaxPeers = 64; // of one key
constexpr std::uint8_t kMappedBits = 96;
constexpr std::uint8_t kBits = 128;
constexpr std::byte kOnes{0xff};

std::optional<KeyPeers> parse_address(const std::string& text)
{
    KeyPeers peers;
    std::array<std::byte, 4> ipv4{};
    if (inet_pton(AF_INET, text.c_str(), ipv4.data()) == 1) {
        peers.address.at(10) = peers.address.at(11) = kOnes; // RFC 4291 section 2.5.5.2
        std::ranges::copy(ipv4, peers.address.begin() + 12);
        return peers;
    }
    if (inet_pton(AF_INET6, text.c_str(), peers.address.data()) == 1) {
        return peers;
    }
    return std::nullopt;
}

std::optional<KeyPeers> parse_block(std::string_view text)
{
    const auto slash = text.find('/');
    auto peers = parse_address(std::string{text.substr(0, slash)});
    if (!peers || slash == std::string_view::npos) {
        return peers;
    }
    const auto digits = text.substr(slash + 1);
    const bool is_ipv4 = text.find(':') == std::string_view::npos;
    const unsigned highest = is_ipv4 ? kBits - kMappedBits : kBits;
    unsigned prefix = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (error != std::errc{} || end != digits.data() + digits.size() || prefix > highest) {
        return std::nullopt;
    }
    peers->prefix = static_cast<std::uint8_t>(prefix + (is_ipv4 ? kMappedBits : 0));
    return peers;
}

} // namespace

std::optional<std::string> read_peers(std::string_view text, std::vector<KeyPeers>& peers)
{
    while (!text.empty()) {
        const auto comma = std::min(text.find(','), text.size());
        const auto block = parse_block(text.substr(0, comma));
        const bool ends_in_comma = comma + 1 == text.size();
        if (!block || ends_in_comma || peers.size() == kMaxPeers) {
            return "what follows the key is no list of addresses (expected ADDRESS[/BITS],... of at most 64)";
        }
        peers.push_back(*block);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return std::nullopt;
}

} // namespace ntp_shim
