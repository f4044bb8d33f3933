#include "gateway/audit_events.hpp"

#include <array>
#include <utility>

namespace gateway {

namespace {

struct Row {
    AuditEvent event{};
    std::string_view word;
    Repeats repeats = Repeats::written;
    std::string_view requirement; // what holds for every version and channel; more is added below
};

constexpr std::array<Row, kAuditEvents> kRows{{
    {AuditEvent::started, "started", Repeats::written, "FAU_GEN.1"},
    {AuditEvent::stopped, "stopped", Repeats::written, "FAU_GEN.1"},
    {AuditEvent::config_loaded, "config_loaded", Repeats::written, "FMT_SMF.1"},
    {AuditEvent::config_rejected, "config_rejected", Repeats::written, "FMT_SMF.1"},
    {AuditEvent::settings_changed, "settings_changed", Repeats::written, "FMT_SMF.1"},
    {AuditEvent::privileges_dropped, "privileges_dropped", Repeats::written, ""},
    {AuditEvent::self_test_failed, "self_test_failed", Repeats::written, "FPT_TST_EXT.1"},
    {AuditEvent::channel_opened, "channel_opened", Repeats::admitted, "FTP_ITC.1"},
    {AuditEvent::channel_closed, "channel_closed", Repeats::admitted, "FTP_ITC.1"},
    {AuditEvent::channel_failed, "channel_failed", Repeats::refused, "FTP_ITC.1"},
    {AuditEvent::certificate_rejected, "certificate_rejected", Repeats::refused, "FTP_ITC.1"},
    {AuditEvent::identifier_mismatch, "identifier_mismatch", Repeats::refused, "FTP_ITC.1"},
    {AuditEvent::replay_detected, "replay_detected", Repeats::refused, ""},
    {AuditEvent::oversize_dropped, "oversize_dropped", Repeats::refused, ""},
    {AuditEvent::time_server_added, "time_server_added", Repeats::written, "FCS_NTP_EXT.1"},
    {AuditEvent::time_server_removed, "time_server_removed", Repeats::written, "FCS_NTP_EXT.1"},
    {AuditEvent::key_loaded, "key_loaded", Repeats::written, "FAU_GEN.1 FMT_MTD.1/CryptoKeys"},
    {AuditEvent::key_destroyed, "key_destroyed", Repeats::written, "FAU_GEN.1 FCS_CKM.4"},
    {AuditEvent::credentials_reloaded, "credentials_reloaded", Repeats::written, "FMT_SMF.1"},
    {AuditEvent::trust_anchor_changed, "trust_anchor_changed", Repeats::written, ""},
    {AuditEvent::rekeyed, "rekeyed", Repeats::admitted, ""},
    {AuditEvent::ke_succeeded, "ke_succeeded", Repeats::refused, ""}, // NTS authenticates no client
    {AuditEvent::ke_failed, "ke_failed", Repeats::refused, ""},
    {AuditEvent::limit_reached, "limit_reached", Repeats::refused, "FTP_ITC.1"},
    {AuditEvent::clock_stepped, "clock_stepped", Repeats::written, "FPT_STM_EXT.1"},
    {AuditEvent::mirror_invalid, "mirror_invalid", Repeats::refused, ""},
    {AuditEvent::certificate_time, "certificate_time", Repeats::admitted, ""}, // CC profiles refuse bootstrap
    {AuditEvent::profile_claim, "profile_claim", Repeats::written, "FMT_SMF.1"},
    {AuditEvent::chain_restarted, "chain_restarted", Repeats::written, "FAU_GEN.1"},
}};

constexpr bool in_order()
{
    for (std::size_t at = 0; at < kRows.size(); ++at) {
        if (kRows.at(at).event != static_cast<AuditEvent>(at)) {
            return false;
        }
    }
    return true;
}
static_assert(in_order());

const Row& row_of(AuditEvent event) noexcept
{
    return kRows[static_cast<std::size_t>(event)]; // an enumerator is an index: in_order
}

bool is_session_failure(AuditEvent event) noexcept
{
    return event == AuditEvent::channel_failed || event == AuditEvent::certificate_rejected ||
           event == AuditEvent::identifier_mismatch;
}

bool is_session_event(AuditEvent event) noexcept
{
    return event == AuditEvent::channel_opened || event == AuditEvent::channel_closed || is_session_failure(event);
}

void add(std::string& list, std::string_view requirement)
{
    list += list.empty() ? "" : " ";
    list += requirement;
}

// The rows of TLS and DTLS: session failures always, session ends and identifiers in the package of 4.0, and the
// authentication of clients apart until 3.0e.
void add_tls(std::string& list, AuditEvent event, Requirements version, const AuditedTunnel& tunnel)
{
    const bool datagrams = tunnel.channel == ChannelKind::dtls;
    const bool client = tunnel.role == Role::client;
    const bool package = version == Requirements::v4_0 && client && is_session_event(event);
    if (is_session_failure(event) || package) {
        add(list, datagrams ? (client ? "FCS_DTLSC_EXT.1" : "FCS_DTLSS_EXT.1")
                            : (client ? "FCS_TLSC_EXT.1" : "FCS_TLSS_EXT.1"));
    }
    const bool about_client = event == AuditEvent::certificate_rejected || event == AuditEvent::identifier_mismatch;
    if (about_client && !client && version != Requirements::v4_0) {
        add(list, datagrams ? "FCS_DTLSS_EXT.2" : "FCS_TLSS_EXT.2");
    }
    if (event == AuditEvent::replay_detected && datagrams && version != Requirements::v4_0) {
        add(list, client ? "FCS_DTLSC_EXT.2" : "FCS_DTLSS_EXT.1");
    }
}

void add_ssh(std::string& list, AuditEvent event, Requirements version, const AuditedTunnel& tunnel)
{
    if (version == Requirements::v2_2e) {
        if (is_session_failure(event)) {
            add(list, tunnel.role == Role::client ? "FCS_SSHC_EXT.1" : "FCS_SSHS_EXT.1");
        }
    } else if (is_session_event(event) || event == AuditEvent::oversize_dropped) {
        add(list, "FCS_SSH_EXT.1");
    }
}

} // namespace

std::string_view name(AuditEvent event) noexcept
{
    return row_of(event).word;
}

Repeats repeats(AuditEvent event) noexcept
{
    return row_of(event).repeats;
}

std::string requirements_of(AuditEvent event, Requirements version, const AuditedTunnel* tunnel)
{
    std::string list{row_of(event).requirement};
    if (event == AuditEvent::certificate_rejected || event == AuditEvent::trust_anchor_changed) {
        add(list, version == Requirements::v4_0 ? "FIA_X509_EXT.1" : "FIA_X509_EXT.1/Rev");
    }
    if (tunnel == nullptr) {
        return list;
    }
    switch (tunnel->channel) {
    case ChannelKind::tls:
    case ChannelKind::dtls:
        add_tls(list, event, version, *tunnel);
        break;
    case ChannelKind::ssh:
        add_ssh(list, event, version, *tunnel);
        break;
    case ChannelKind::mac:
    case ChannelKind::nts:
        break;
    }
    return list;
}

} // namespace gateway
