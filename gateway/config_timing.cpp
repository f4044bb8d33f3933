#include <fmt/format.h>

#include "gateway/config_tunnel.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr DurationRange kMaxAge{milliseconds{10}, milliseconds{900}};
constexpr DurationRange kMaxRoundTrip{milliseconds{10}, milliseconds{4000}};
constexpr DurationRange kMaxUncorrected{milliseconds{0}, milliseconds{900}};
constexpr DurationRange kSetUp{milliseconds{10}, seconds{60}};
constexpr DurationRange kQuiet{milliseconds{100}, seconds{24 * 3600}};
constexpr DurationRange kChannelAge{seconds{1}, seconds{366 * 24 * 3600}};

// The place named is the one that was written; when both are, the smaller bound's.
void check_timing(const Section& keys, Report& report, const TunnelDraft& draft)
{
    const auto is = [&](Role role) { return draft.has_role && draft.tunnel.role == role; };
    const auto& timing = draft.tunnel.timing;
    if (timing.max_round_trip < timing.max_age) {
        const auto key = keys.has("max-round-trip") ? "max-round-trip" : "max-age";
        report.error(keys.place(key),
                     fmt::format("max-round-trip {} is shorter than max-age {} (expected at least as long)",
                                 duration_text(timing.max_round_trip), duration_text(timing.max_age)));
    }
    if (timing.max_uncorrected > timing.max_age) {
        const auto key = keys.has("max-uncorrected") ? "max-uncorrected" : "max-age";
        report.error(keys.place(key),
                     fmt::format("max-uncorrected {} is longer than max-age {} (expected at most as long)",
                                 duration_text(timing.max_uncorrected), duration_text(timing.max_age)));
    }
    if (is(Role::client) && timing.idle <= timing.keepalive) {
        const auto key = keys.has("idle") ? "idle" : "keepalive";
        report.error(keys.place(key), fmt::format("idle {} is not longer than keepalive {} (expected a channel to "
                                                  "be asked before it counts as idle)",
                                                  duration_text(timing.idle), duration_text(timing.keepalive)));
    }
    for (const auto* key : {"connect", "keepalive"}) {
        if (is(Role::server) && keys.has(key)) {
            report.warning(keys.place(key), "has no effect in role server");
        }
    }
}

} // namespace

void read_timing(const Value& block, Report& report, TunnelDraft& draft)
{
    Section keys{block, report};
    auto& timing = draft.tunnel.timing;
    keys.duration("max-age", kMaxAge, timing.max_age);
    keys.duration("max-round-trip", kMaxRoundTrip, timing.max_round_trip);
    keys.duration("max-uncorrected", kMaxUncorrected, timing.max_uncorrected);
    keys.flag("correct-hold", timing.correct_hold);
    keys.flag("correct-excess", timing.correct_excess);
    keys.duration("connect", kSetUp, timing.connect);
    keys.duration("handshake", kSetUp, timing.handshake);
    keys.duration("keepalive", kQuiet, timing.keepalive);
    keys.duration("idle", kQuiet, timing.idle);
    keys.duration("max-channel-age", kChannelAge, timing.max_channel_age);
    keys.finish();
    check_timing(keys, report, draft);
}

} // namespace gateway
