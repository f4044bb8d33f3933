// What may carry the claim that the time is protected, and what a profile picks where a tunnel leaves it open
// (design 10). Pure: a profile and a tunnel's shape in, a verdict out.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "gateway/profile.hpp"

namespace gateway {

/// How a tunnel protects its packets: a channel, and perhaps a symmetric-key MAC inside of it.
struct Protection {
    ChannelKind channel{};
    bool inner_mac = false; // a mac: block under tls, dtls or ssh
    bool fips = false;      // `fips: required`
};

struct Claim {
    ChannelKind carried_by{};
    std::string text; // for `check` and the records: what carries it, and under which requirement
};
/// Or why there is none; the text names the requirement and what would do.
[[nodiscard]] std::variant<Claim, std::string> judge_claim(const Profile& profile, const Protection& protection);

/// The blocks that a tunnel without `channel:` has. tls: can mean dtls and tls, as far as what it says fits them.
struct Blocks {
    bool tls_fits = false;
    bool dtls_fits = false;
    bool ssh = false;
    bool mac = false;
    bool nts = false;
};
/// The first in the profile's order of what the blocks leave possible; mac: counts only where it stands alone.
[[nodiscard]] std::optional<ChannelKind> choose_channel(const Profile& profile, const Blocks& blocks);

/// Why choose_channel found nothing for a tunnel that has blocks.
[[nodiscard]] std::string no_choice(const Profile& profile, const Blocks& blocks);

/// "REQUIREMENT: ", or nothing where no document demands it; begins the refusal of what a profile does not offer.
[[nodiscard]] std::string demanded_by(const std::string& requirement);

} // namespace gateway
