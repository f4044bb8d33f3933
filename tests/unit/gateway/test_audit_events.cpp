// The table of events and fields that NDcPP 2.2e, 3.0e and 4.0 ask for, against the records that are written.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/channel_events.hpp"
#include "tests/unit/gateway/audit_folder.hpp"

using namespace gateway;
using transports::CloseReason;

namespace {

constexpr auto k22e = Requirements::v2_2e;
constexpr auto k30e = Requirements::v3_0e;
constexpr auto k40 = Requirements::v4_0;

/// One row: in these versions, what happens on such a channel is recorded under this requirement, with these fields.
struct Row {
    std::string_view requirement;
    AuditEvent event;
    ChannelKind channel;
    std::vector<Role> roles;
    std::vector<std::string> fields;
    std::vector<Requirements> versions;
};

const std::vector<Role> kBoth = {Role::client, Role::server};
const std::vector<Requirements> kAll = {k22e, k30e, k40};
const std::vector<Requirements> kUntil30e = {k22e, k30e};
const std::vector<Requirements> kFrom30e = {k30e, k40};

const std::vector<Row> kRows = {
    {"FTP_ITC.1", AuditEvent::channel_opened, ChannelKind::tls, kBoth, {"peer"}, kAll},
    {"FTP_ITC.1", AuditEvent::channel_closed, ChannelKind::tls, kBoth, {"peer"}, kAll},
    {"FTP_ITC.1", AuditEvent::channel_opened, ChannelKind::mac, kBoth, {"peer"}, kAll},
    {"FTP_ITC.1", AuditEvent::channel_failed, ChannelKind::tls, kBoth, {"initiator", "target", "reason"}, kAll},
    {"FTP_ITC.1", AuditEvent::channel_failed, ChannelKind::ssh, kBoth, {"initiator", "target", "reason"}, kAll},
    {"FCS_TLSC_EXT.1", AuditEvent::channel_failed, ChannelKind::tls, {Role::client}, {"reason"}, kAll},
    {"FCS_TLSS_EXT.1", AuditEvent::channel_failed, ChannelKind::tls, {Role::server}, {"reason"}, kAll},
    {"FCS_DTLSC_EXT.1", AuditEvent::channel_failed, ChannelKind::dtls, {Role::client}, {"reason"}, kAll},
    {"FCS_DTLSS_EXT.1", AuditEvent::channel_failed, ChannelKind::dtls, {Role::server}, {"reason"}, kAll},
    {"FCS_TLSC_EXT.1", AuditEvent::certificate_rejected, ChannelKind::tls, {Role::client}, {"reason"}, kAll},
    {"FCS_DTLSS_EXT.1", AuditEvent::replay_detected, ChannelKind::dtls, {Role::server}, {"peer"}, kUntil30e},
    {"FCS_DTLSC_EXT.2", AuditEvent::replay_detected, ChannelKind::dtls, {Role::client}, {"peer"}, kUntil30e},
    {"FCS_TLSS_EXT.2", AuditEvent::certificate_rejected, ChannelKind::tls, {Role::server}, {"reason"}, kUntil30e},
    {"FCS_DTLSS_EXT.2", AuditEvent::certificate_rejected, ChannelKind::dtls, {Role::server}, {"reason"}, kUntil30e},
    {"FCS_SSHC_EXT.1", AuditEvent::channel_failed, ChannelKind::ssh, {Role::client}, {"reason"}, {k22e}},
    {"FCS_SSHS_EXT.1", AuditEvent::channel_failed, ChannelKind::ssh, {Role::server}, {"reason"}, {k22e}},
    {"FCS_SSH_EXT.1", AuditEvent::channel_failed, ChannelKind::ssh, kBoth, {"reason", "peer"}, kFrom30e},
    {"FCS_SSH_EXT.1", AuditEvent::channel_opened, ChannelKind::ssh, kBoth, {"peer"}, kFrom30e},
    {"FCS_SSH_EXT.1", AuditEvent::channel_closed, ChannelKind::ssh, kBoth, {"peer"}, kFrom30e},
    {"FCS_SSH_EXT.1", AuditEvent::oversize_dropped, ChannelKind::ssh, kBoth, {"octets"}, kFrom30e},
    {"FCS_TLSC_EXT.1",
     AuditEvent::identifier_mismatch,
     ChannelKind::tls,
     {Role::client},
     {"presented", "reference"},
     kAll},
    {"FCS_DTLSC_EXT.1",
     AuditEvent::identifier_mismatch,
     ChannelKind::dtls,
     {Role::client},
     {"presented", "reference"},
     kAll},
    {"FCS_TLSC_EXT.1", AuditEvent::channel_opened, ChannelKind::tls, {Role::client}, {"peer"}, {k40}},
    {"FCS_DTLSC_EXT.1", AuditEvent::channel_closed, ChannelKind::dtls, {Role::client}, {"peer"}, {k40}},
    {"FIA_X509_EXT.1/Rev",
     AuditEvent::certificate_rejected,
     ChannelKind::tls,
     kBoth,
     {"reason", "subject", "issuer", "serial"},
     kUntil30e},
    {"FIA_X509_EXT.1",
     AuditEvent::certificate_rejected,
     ChannelKind::tls,
     kBoth,
     {"reason", "subject", "issuer", "serial"},
     {k40}},
    {"FCS_NTP_EXT.1", AuditEvent::time_server_added, ChannelKind::tls, {Role::client}, {"subject", "peer"}, kAll},
    {"FCS_NTP_EXT.1", AuditEvent::time_server_removed, ChannelKind::tls, {Role::client}, {"subject", "peer"}, kAll},
    {"FPT_STM_EXT.1", AuditEvent::clock_stepped, ChannelKind::tls, kBoth, {"old", "new", "origin"}, kAll},
    {"FPT_TST_EXT.1", AuditEvent::self_test_failed, ChannelKind::tls, kBoth, {"reason"}, kAll},
};

transports::PeerIdentity peer_of_test()
{
    transports::PeerIdentity peer;
    peer.address = "192.0.2.1:4461";
    peer.subject = "CN=gw";
    peer.issuer = "CN=ca";
    peer.serial = "1f";
    peer.names = {"DNS:other.test"};
    peer.reference = "gw.test";
    return peer;
}

/// What the program would say of `event`, through the code that says it.
struct Bench {
    explicit Bench(const Row& row, Role role, Requirements version)
        : audit_{open(row, role, version)}, log_{LogLevel::error, LogFormat::text},
          admission_{{}, nullptr}, events_{{loop_, log_, *audit_, random_, admission_, budget_}, "hq"}
    {}

    nlohmann::json tell(AuditEvent event)
    {
        const auto failed = [&](CloseReason reason) {
            events_.failed({reason, "the library's words", peer_of_test()});
        };
        if (event == AuditEvent::channel_opened) {
            events_.opened(peer_of_test());
        } else if (event == AuditEvent::channel_closed) {
            events_.closed(peer_of_test(), {CloseReason::peer_closed, ""});
        } else if (event == AuditEvent::channel_failed) {
            failed(CloseReason::protocol_version);
        } else if (event == AuditEvent::certificate_rejected) {
            failed(CloseReason::certificate_expired);
        } else if (event == AuditEvent::identifier_mismatch) {
            failed(CloseReason::name_mismatch);
        } else {
            AuditRecord record = audit_record(event, "reason");
            record.peer = "192.0.2.1:4461";
            record.subject = "gw.test";
            audit_->record(record, {{"octets", 40000}, {"old", "x"}, {"new", "y"}, {"origin", "local"}});
        }
        return nlohmann::json::parse(lines_of(folder_.file()).at(0));
    }

private:
    [[nodiscard]] std::unique_ptr<Audit> open(const Row& row, Role role, Requirements version) const
    {
        AuditSettings settings;
        settings.file = folder_.file();
        auto opened = Audit::open(settings, {version, false, {{"hq", {role, row.channel}}}});
        REQUIRE(std::holds_alternative<std::unique_ptr<Audit>>(opened));
        return std::move(std::get<std::unique_ptr<Audit>>(opened));
    }

    AuditFolder folder_;
    std::unique_ptr<Audit> audit_;
    Log log_;
    Random random_;
    transports::Loop loop_;
    transports::Admission admission_;
    ExchangeBudget budget_;
    ChannelEvents events_;
};

bool names(const nlohmann::json& line, std::string_view requirement)
{
    std::istringstream words{line["sfr"].get<std::string>()};
    for (std::string word; words >> word;) {
        if (word == requirement) {
            return true;
        }
    }
    return false;
}

} // namespace

TEST_SUITE("audit_events")
{
    TEST_CASE("each row of the requirements has its event, under its name and with its fields")
    {
        for (const auto& row : kRows) {
            for (const auto version : kAll) {
                for (const auto role : row.roles) {
                    CAPTURE(row.requirement);
                    CAPTURE(name(row.event));
                    CAPTURE(static_cast<int>(version));
                    const auto line = Bench{row, role, version}.tell(row.event);
                    CAPTURE(line.dump());
                    const auto& in = row.versions;
                    CHECK(names(line, row.requirement) == (std::find(in.begin(), in.end(), version) != in.end()));
                    CHECK(line["event"] == name(row.event));
                    for (const auto& field : row.fields) {
                        CAPTURE(field);
                        CHECK((line.contains(field) && !line[field].empty() && line[field] != ""));
                    }
                }
            }
        }
    }

    TEST_CASE("events are told apart by their words")
    {
        std::vector<std::string_view> words;
        for (std::size_t at = 0; at < kAuditEvents; ++at) {
            words.push_back(name(static_cast<AuditEvent>(at)));
            CHECK(words.back().find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
        }
        std::sort(words.begin(), words.end());
        CHECK(std::adjacent_find(words.begin(), words.end()) == words.end());
        CHECK(words.size() == 29);
    }
}
