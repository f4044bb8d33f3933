// The pattern lists of SSH files: host names with wildcards, addresses with wildcards or prefix lengths. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transports/address.hpp"

namespace transports {

/// `*` stands for any run of characters, `?` for one. Letter case does not count.
[[nodiscard]] bool matches_wildcards(std::string_view pattern, std::string_view text) noexcept;

/// A comma-separated list; one that begins with `!` and matches speaks against the text, whatever else matches.
[[nodiscard]] bool matches_host_list(std::string_view list, std::string_view host) noexcept;

/// `from=` of authorized_keys: "10.0.0.0/8,!10.0.0.5,192.168.1.*,2001:db8::/32".
class AddressList {
public:
    /// Nothing when an entry is neither an address, a block, nor a pattern of digits, dots, colons and wildcards: a
    /// host name could only be matched by asking the peer's own name server.
    [[nodiscard]] static std::optional<AddressList> parse(std::string_view list);
    [[nodiscard]] bool matches(const MappedAddress& address) const;

private:
    struct Entry {
        bool against = false;
        std::string wildcards; // empty: `address` and `prefix` count
        MappedAddress address{};
        unsigned prefix{}; // of the 128-bit form
    };
    [[nodiscard]] static std::optional<Entry> parse_entry(std::string_view text);
    std::vector<Entry> entries_;
};

} // namespace transports
