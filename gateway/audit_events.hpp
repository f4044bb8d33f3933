// The security events, and the requirement each of them answers (Common Criteria, NDcPP 2.2e to 4.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/config.hpp"

namespace gateway {

enum class AuditEvent : std::uint8_t {
    started,
    stopped,
    config_loaded,
    config_rejected,
    settings_changed,
    privileges_dropped,
    self_test_failed,
    channel_opened,
    channel_closed,
    channel_failed,
    certificate_rejected,
    identifier_mismatch,
    replay_detected,
    oversize_dropped,
    time_server_added,
    time_server_removed,
    key_loaded,
    key_destroyed,
    credentials_reloaded,
    trust_anchor_changed,
    rekeyed,
    ke_succeeded,
    ke_failed,
    limit_reached,
    clock_stepped,
    mirror_invalid,
    certificate_time, // bootstrap: a channel before the time is known, and what came of it
    profile_claim,
    chain_restarted,
};
inline constexpr std::size_t kAuditEvents = static_cast<std::size_t>(AuditEvent::chain_restarted) + 1;
[[nodiscard]] std::string_view name(AuditEvent event) noexcept;

/// Who can make an event happen again and again, and so whether its repeats are folded.
enum class Repeats : std::uint8_t {
    written, // only who runs the program, or the program itself
    refused, // anybody who can reach it
    admitted // only a peer whose key is known
};
[[nodiscard]] Repeats repeats(AuditEvent event) noexcept;

/// What a record is about, as far as the requirements tell channels apart.
struct AuditedTunnel {
    Role role{};
    ChannelKind channel{};
};

/// The names of the requirements, separated by a space; empty when no document asks for the record. `tunnel` is null
/// for an event of the process.
[[nodiscard]] std::string requirements_of(AuditEvent event, Requirements version, const AuditedTunnel* tunnel);

} // namespace gateway
