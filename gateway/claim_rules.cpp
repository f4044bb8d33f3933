#include "gateway/claim_rules.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace gateway {

namespace {

bool holds(const std::vector<ChannelKind>& list, ChannelKind channel)
{
    return std::find(list.begin(), list.end(), channel) != list.end();
}

std::string names_of(const std::vector<ChannelKind>& list)
{
    std::string names;
    for (std::size_t at = 0; at < list.size(); ++at) {
        names += at == 0 ? "" : at + 1 == list.size() ? " or " : ", ";
        names += name(list[at]);
    }
    return names;
}

std::string claim_text(const Profile& profile, const std::string& carrier)
{
    const auto& claim = profile.claim;
    return fmt::format("{}, under profile {}{}{}: {}", carrier, profile.name, claim.requirement.empty() ? "" : ", ",
                       claim.requirement, claim.rule);
}

} // namespace

std::string demanded_by(const std::string& requirement)
{
    return requirement.empty() ? std::string{} : requirement + ": ";
}

std::variant<Claim, std::string> judge_claim(const Profile& profile, const Protection& protection)
{
    const auto& rules = profile.claim;
    const auto channel = protection.channel;
    const auto requirement = demanded_by(rules.requirement);
    const auto use = names_of(rules.claimable);
    if (protection.inner_mac && channel == ChannelKind::nts) {
        return std::string{"nts seals every packet itself: a mac: block can not be inside of it (expected one of the "
                           "two)"};
    }
    if (protection.fips && channel == ChannelKind::nts) {
        return std::string{
            "fips: required refuses channel nts: AES-SIV, which RFC 8915 demands, is not an approved mode "
            "(expected another channel)"};
    }
    if (holds(rules.forbidden, channel)) {
        return fmt::format("{}channel {} is refused under {}; use {}", requirement, name(channel), profile.name, use);
    }
    if (protection.inner_mac && holds(rules.forbidden, ChannelKind::mac)) {
        return fmt::format("{}a mac: block is refused under {}; leave it out", requirement, profile.name);
    }
    if (holds(rules.claimable, channel)) {
        const auto* const with = protection.inner_mac ? " with an inner mac" : "";
        return Claim{channel, claim_text(profile, std::string{name(channel)} + with)};
    }
    const bool mac_claims = holds(rules.claimable, ChannelKind::mac);
    const bool can_hold_mac =
        channel == ChannelKind::tls || channel == ChannelKind::dtls || channel == ChannelKind::ssh;
    if (protection.inner_mac && can_hold_mac && mac_claims) {
        return Claim{ChannelKind::mac, claim_text(profile, fmt::format("mac inside {}", name(channel)))};
    }
    return fmt::format("{}channel {} cannot carry the claim under {}; use {}{}", requirement, name(channel),
                       profile.name, use, mac_claims && can_hold_mac ? ", or add a mac: block" : "");
}

std::optional<ChannelKind> choose_channel(const Profile& profile, const Blocks& blocks)
{
    const bool mac_alone = blocks.mac && !blocks.tls_fits && !blocks.dtls_fits && !blocks.ssh && !blocks.nts;
    const auto possible = [&](ChannelKind channel) {
        switch (channel) {
        case ChannelKind::tls:
            return blocks.tls_fits;
        case ChannelKind::dtls:
            return blocks.dtls_fits;
        case ChannelKind::ssh:
            return blocks.ssh;
        case ChannelKind::mac:
            return mac_alone;
        case ChannelKind::nts:
            return blocks.nts;
        }
        return false;
    };
    const auto chosen = std::find_if(profile.order.begin(), profile.order.end(), possible);
    return chosen == profile.order.end() ? std::nullopt : std::optional{*chosen};
}

std::string no_choice(const Profile& profile, const Blocks& blocks)
{
    const auto* const block = blocks.nts ? "nts" : blocks.ssh ? "ssh" : blocks.mac ? "mac" : "tls";
    return fmt::format("{}profile {} chooses among {}, and the block {}: is good for none of them (expected channel: "
                       "with a name, or other blocks)",
                       demanded_by(profile.claim.requirement), profile.name, names_of(profile.order), block);
}

} // namespace gateway
