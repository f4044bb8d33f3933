#include "ntp-shim/drop_reason.hpp"

#include <array>

namespace ntp_shim {

namespace {

struct Named {
    DropReason reason;
    std::string_view name;
};

constexpr auto kNames = std::to_array<Named>({
    {DropReason::too_short, "too_short"},
    {DropReason::too_long, "too_long"},
    {DropReason::bad_version, "bad_version"},
    {DropReason::bad_mode, "bad_mode"},
    {DropReason::bad_source, "bad_source"},
    {DropReason::not_allowed, "not_allowed"},
    {DropReason::rate_limited, "rate_limited"},
    {DropReason::client_limit, "client_limit"},
    {DropReason::channel_limit, "channel_limit"},
    {DropReason::exchange_limit, "exchange_limit"},
    {DropReason::raw_busy, "raw_busy"},
    {DropReason::congested, "congested"},
    {DropReason::oversize, "oversize"},
    {DropReason::too_old, "too_old"},
    {DropReason::too_late, "too_late"},
    {DropReason::replaced, "replaced"},
    {DropReason::no_channel, "no_channel"},
    {DropReason::channel_lost, "channel_lost"},
    {DropReason::bad_frame, "bad_frame"},
    {DropReason::unexpected_frame, "unexpected_frame"},
    {DropReason::frame_limit, "frame_limit"},
    {DropReason::duplicate_exchange, "duplicate_exchange"},
    {DropReason::raw_partial, "raw_partial"},
    {DropReason::no_mac, "no_mac"},
    {DropReason::bad_mac_form, "bad_mac_form"},
    {DropReason::unknown_key, "unknown_key"},
    {DropReason::key_not_allowed, "key_not_allowed"},
    {DropReason::bad_mac, "bad_mac"},
    {DropReason::replayed, "replayed"},
    {DropReason::no_key, "no_key"},
    {DropReason::sealed_already, "sealed_already"},
    {DropReason::asked_to_wait, "asked_to_wait"},
    {DropReason::no_exchange, "no_exchange"},
    {DropReason::second_reply, "second_reply"},
    {DropReason::bad_origin, "bad_origin"},
    {DropReason::zero_stamp, "zero_stamp"},
    {DropReason::reply_too_long, "reply_too_long"},
    {DropReason::unsynchronised, "unsynchronised"},
    {DropReason::kiss_of_death, "kiss_of_death"},
    {DropReason::crypto_nak, "crypto_nak"},
    {DropReason::implausible_hold, "implausible_hold"},
    {DropReason::hold_overflow, "hold_overflow"},
    {DropReason::not_correctable, "not_correctable"},
    {DropReason::held_too_long, "held_too_long"},
    {DropReason::unprotected, "unprotected"},
    {DropReason::bad_nts_field, "bad_nts_field"},
    {DropReason::bad_cookie, "bad_cookie"},
    {DropReason::not_authentic, "not_authentic"},
    {DropReason::nts_nak, "nts_nak"},
    {DropReason::no_cookie, "no_cookie"},
    {DropReason::keys_unsure, "keys_unsure"},
    {DropReason::mirror_invalid, "mirror_invalid"},
    {DropReason::upstream_unreachable, "upstream_unreachable"},
    {DropReason::upstream_unsynchronised, "upstream_unsynchronised"},
    {DropReason::send_failed, "send_failed"},
});

constexpr bool are_in_order() noexcept
{
    for (std::size_t index = 0; index < kNames.size(); ++index) {
        if (kNames.at(index).reason != static_cast<DropReason>(index)) {
            return false;
        }
    }
    return kNames.size() == kDropReasons;
}
static_assert(are_in_order(), "name() looks a reason up by its position");

} // namespace

std::string_view name(DropReason reason) noexcept
{
    const auto index = static_cast<std::size_t>(reason);
    return index < kNames.size() ? kNames.at(index).name : std::string_view{"unknown"};
}

} // namespace ntp_shim
