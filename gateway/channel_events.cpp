#include "gateway/channel_events.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/printable.hpp"

namespace gateway {

namespace {

using transports::CloseReason;

constexpr std::size_t kMostNames = 16; // a certificate may have thousands

AuditEvent event_of(CloseReason reason) noexcept
{
    if (reason == CloseReason::name_mismatch || reason == CloseReason::name_only_in_subject) {
        return AuditEvent::identifier_mismatch;
    }
    if (reason == CloseReason::limit_reached) {
        return AuditEvent::limit_reached;
    }
    return transports::is_certificate_reason(reason) ? AuditEvent::certificate_rejected : AuditEvent::channel_failed;
}

bool is_orderly(CloseReason reason) noexcept
{
    return reason == CloseReason::local_request || reason == CloseReason::drained ||
           reason == CloseReason::peer_closed || reason == CloseReason::idle_timeout ||
           reason == CloseReason::max_channel_age || reason == CloseReason::superseded ||
           reason == CloseReason::credentials_replaced;
}

AuditRecord record_of(AuditEvent event, const std::string& tunnel, const transports::PeerIdentity& peer)
{
    AuditRecord record;
    record.event = event;
    record.tunnel = tunnel;
    record.subject = peer.subject;
    record.peer = peer.address;
    return record;
}

nlohmann::ordered_json identity_fields(AuditEvent event, const transports::PeerIdentity& peer)
{
    nlohmann::ordered_json fields = nlohmann::ordered_json::object();
    const auto add = [&](const char* key, const std::string& value) {
        if (!value.empty()) {
            fields[key] = printable(value);
        }
    };
    add("issuer", peer.issuer);
    add("serial", peer.serial);
    add("fingerprint", peer.fingerprint);
    add("matched", peer.matched);
    if (event == AuditEvent::identifier_mismatch) {
        fields["presented"] = nlohmann::ordered_json::array();
        for (std::size_t at = 0; at < std::min(peer.names.size(), kMostNames); ++at) {
            fields["presented"].push_back(printable(peer.names[at]));
        }
        add("reference", peer.reference);
    }
    add("protocol", peer.protocol);
    add("suite", peer.suite);
    add("undetermined", peer.undetermined);
    return fields;
}

std::string with_text(std::string_view reason, const std::string& text)
{
    return text.empty() ? std::string{reason} : fmt::format("{} ({})", reason, printable(text));
}

} // namespace

std::string_view limit_key(ntp_shim::DropReason reason) noexcept
{
    if (reason == ntp_shim::DropReason::rate_limited) {
        return "requests-per-second-per-client";
    }
    if (reason == ntp_shim::DropReason::client_limit) {
        return "exchanges-per-client";
    }
    if (reason == ntp_shim::DropReason::channel_limit) {
        return "exchanges-per-channel";
    }
    if (reason == ntp_shim::DropReason::exchange_limit) {
        return "exchanges";
    }
    return {};
}

ChannelEvents::ChannelEvents(Services services, std::string tunnel) : services_{services}, tunnel_{std::move(tunnel)}
{}

void ChannelEvents::opened(const transports::PeerIdentity& peer)
{
    ++counters_.opened;
    const AuditRecord record = record_of(AuditEvent::channel_opened, tunnel_, peer);
    if (services_.audit.record(record, identity_fields(record.event, peer))) {
        services_.log.info(fmt::format("tunnel {}: channel to {} open, {} {}, peer {}", tunnel_, peer.address,
                                       peer.protocol, peer.suite, printable(peer.subject)));
    }
}

void ChannelEvents::closed(const transports::PeerIdentity& peer, const transports::Closed& why)
{
    ++counters_.closed.at(static_cast<std::size_t>(why.reason));
    if (transports::is_certificate_reason(why.reason)) { // admitted once, and no longer
        AuditRecord rejected = record_of(AuditEvent::certificate_rejected, tunnel_, peer);
        rejected.success = false;
        rejected.reason = name(why.reason);
        nlohmann::ordered_json fields = identity_fields(rejected.event, peer);
        fields["text"] = printable(why.text);
        (void)services_.audit.record(rejected, fields);
    }
    AuditRecord record = record_of(AuditEvent::channel_closed, tunnel_, peer);
    record.success = is_orderly(why.reason);
    record.reason = name(why.reason);
    if (services_.audit.record(record, {{"text", printable(why.text)}})) {
        services_.log.info(fmt::format("tunnel {}: channel to {} closed: {}", tunnel_, peer.address,
                                       with_text(name(why.reason), why.text)));
    }
}

void ChannelEvents::failed(const transports::Failed& why)
{
    ++counters_.failed.at(static_cast<std::size_t>(why.reason));
    AuditRecord record = record_of(event_of(why.reason), tunnel_, why.peer);
    record.success = false;
    const bool limit = why.reason == CloseReason::limit_reached;
    record.reason = limit ? why.text : std::string{name(why.reason)};
    nlohmann::ordered_json fields = identity_fields(record.event, why.peer);
    fields["text"] = printable(why.text);
    if (services_.audit.record(record, fields)) {
        services_.log.warn(fmt::format("tunnel {}: no channel with {}: {}", tunnel_,
                                       why.peer.address.empty() ? "peer" : why.peer.address,
                                       with_text(name(why.reason), why.text)));
    }
}

void ChannelEvents::discarded(const transports::Discarded& record)
{
    counters_.discarded.at(static_cast<std::size_t>(record.why)) += record.count;
    if (record.why != transports::Discard::replay_detected || record.channel == nullptr) {
        return;
    }
    const auto& peer = record.channel->peer();
    AuditRecord entry = record_of(AuditEvent::replay_detected, tunnel_, peer);
    entry.success = false;
    entry.reason = record.verified ? "same_record" : "older_than_window";
    if (services_.audit.record(entry, {{"verified", record.verified}})) {
        services_.log.warn(
            fmt::format("tunnel {}: a record of {} came again, and was discarded", tunnel_, peer.address));
    }
}

void ChannelEvents::oversize(const transports::PeerIdentity& peer, std::size_t octets)
{
    AuditRecord record = record_of(AuditEvent::oversize_dropped, tunnel_, peer);
    record.success = false;
    record.reason = "oversize";
    if (services_.audit.record(record, {{"octets", octets}})) {
        services_.log.warn(
            fmt::format("tunnel {}: a message of {} octets does not fit dtls.mtu, and was dropped", tunnel_, octets));
    }
}

void ChannelEvents::rekeyed(const transports::PeerIdentity& peer)
{
    const AuditRecord record = record_of(AuditEvent::rekeyed, tunnel_, peer);
    (void)services_.audit.record(record, {{"suite", peer.suite}}); // folded like any other; not worth a log line
}

void ChannelEvents::dropped(ntp_shim::DropReason reason, const std::string& client)
{
    const std::string_view key = limit_key(reason);
    if (key.empty()) {
        return;
    }
    AuditRecord record;
    record.event = AuditEvent::limit_reached;
    record.success = false;
    record.tunnel = tunnel_;
    record.peer = client;
    record.reason = key;
    if (services_.audit.record(record)) {
        services_.log.warn(fmt::format("tunnel {}: limit {} reached by {}", tunnel_, key, client));
    }
}

} // namespace gateway
