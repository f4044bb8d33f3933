#include "ntp-shim/nts_ke_server.hpp"

#include <algorithm>
#include <span>

#include "ntp-shim/nts_host.hpp"

namespace ntp_shim {

namespace {

/// How often the records were there that may be there once.
struct Seen {
    int next_protocol = 0;
    int aead = 0;
    int server = 0;
    int port = 0;
};

class RequestReader {
public:
    explicit RequestReader(const KeServerPolicy& policy) : policy_(policy) {}

    std::optional<KeError> take(const Record& record)
    {
        switch (static_cast<RecordType>(record.type)) {
        case RecordType::next_protocol:
            return take_protocols(record);
        case RecordType::aead:
            return take_aeads(record);
        case RecordType::ntp_server:
            return take_server(record);
        case RecordType::ntp_port:
            return take_port(record);
        case RecordType::compliant_gcm_siv_export:
            agreement_.compliant_export = true;
            return record.body.empty() ? std::nullopt : std::optional{KeError::bad_request};
        case RecordType::end_of_message:
        case RecordType::error:      // section 4.1.3: clients MUST NOT
        case RecordType::warning:    // section 4.1.4: clients MUST NOT
        case RecordType::new_cookie: // section 4.1.6: clients MUST NOT
            return KeError::bad_request;
        }
        return record.critical ? std::optional{KeError::unrecognised_critical_record} : std::nullopt;
    }

    std::variant<KeAgreement, KeError> finish()
    {
        // Section 4.1.5: the record of algorithms belongs to every request that names NTPv4.
        const bool complete = seen_.next_protocol == 1 && (!agreement_.ntpv4 || seen_.aead == 1);
        if (!complete) {
            return KeError::bad_request;
        }
        if (!agreement_.ntpv4) {
            agreement_.aead.reset();
        }
        return std::move(agreement_);
    }

private:
    std::optional<KeError> take_protocols(const Record& record)
    {
        const auto ids = numbers_of(record.body);
        if (!record.critical || ++seen_.next_protocol > 1 || !ids || ids->empty()) {
            return KeError::bad_request;
        }
        agreement_.ntpv4 = std::ranges::count(*ids, kProtocolNtpv4) > 0;
        return std::nullopt;
    }

    std::optional<KeError> take_aeads(const Record& record)
    {
        const auto ids = numbers_of(record.body);
        if (++seen_.aead > 1 || !ids || ids->empty()) {
            return KeError::bad_request;
        }
        for (const auto id : *ids) {
            const auto known = find_aead(id);
            if (known && std::ranges::count(policy_.aeads, *known) > 0 && !agreement_.aead) {
                agreement_.aead = known;
            }
        }
        return std::nullopt;
    }

    std::optional<KeError> take_server(const Record& record)
    {
        agreement_.host_wish = host_of(record.body);
        const bool good = ++seen_.server == 1 && agreement_.host_wish;
        return good ? std::nullopt : std::optional{KeError::bad_request};
    }

    std::optional<KeError> take_port(const Record& record)
    {
        const auto ports = numbers_of(record.body);
        if (++seen_.port > 1 || !ports || ports->size() != 1) {
            return KeError::bad_request;
        }
        agreement_.port_wish = ports->front();
        return std::nullopt;
    }

    const KeServerPolicy& policy_;
    Seen seen_;
    KeAgreement agreement_;
};

bool in_family(const NtpServerOffer& server, bool ipv6) noexcept
{
    const auto form = host_form(server.host);
    return !form || *form == HostForm::name || (*form == HostForm::ipv6) == ipv6;
}

} // namespace

std::variant<KeAgreement, KeError> judge_request(Bytes message, const KeServerPolicy& policy)
{
    const auto records = parse_message(message);
    if (!records) {
        return KeError::bad_request;
    }
    RequestReader reader(policy);
    for (const auto& record : *records) {
        if (const auto error = reader.take(record)) {
            return *error;
        }
    }
    return reader.finish();
}

const NtpServerOffer* choose_server(const KeServerPolicy& policy, const KeAgreement& agreement, bool ipv6_session,
                                    std::uint64_t turn) noexcept
{
    const auto& servers = policy.servers;
    if (servers.empty()) {
        return nullptr;
    }
    if (agreement.host_wish) {
        const auto wished = std::ranges::find_if(servers, [&](const NtpServerOffer& server) {
            return server.host == *agreement.host_wish && server.port == agreement.port_wish.value_or(server.port);
        });
        if (wished != servers.end()) {
            return &*wished;
        }
    }
    const auto fits = [&](const NtpServerOffer& server) { return in_family(server, ipv6_session); };
    const auto fitting = static_cast<std::uint64_t>(std::ranges::count_if(servers, fits));
    if (fitting == 0) {
        return &servers[turn % servers.size()];
    }
    auto left = turn % fitting;
    for (const auto& server : servers) {
        if (fits(server) && left-- == 0) {
            return &server;
        }
    }
    return nullptr;
}

std::vector<std::byte> make_response(const KeAgreement& agreement, const NtpServerOffer* server,
                                     const std::vector<std::vector<std::byte>>& cookies)
{
    MessageBuilder message;
    if (!agreement.ntpv4) {
        message.add(true, RecordType::next_protocol, {});
        return message.finish();
    }
    message.add_u16(true, RecordType::next_protocol, kProtocolNtpv4);
    if (!agreement.aead) {
        message.add(true, RecordType::aead, {});
        return message.finish();
    }
    message.add_u16(true, RecordType::aead, static_cast<std::uint16_t>(*agreement.aead));
    if (*agreement.aead == AeadId::gcm_siv_128 && agreement.compliant_export) {
        message.add(false, RecordType::compliant_gcm_siv_export, {});
    }
    // Critical: a client that passed over them would ask a server that does not know its cookies.
    if (server != nullptr && !server->host.empty()) {
        message.add(true, RecordType::ntp_server, std::as_bytes(std::span{server->host}));
    }
    if (server != nullptr && server->port != NtpServerOffer{}.port) {
        message.add_u16(true, RecordType::ntp_port, server->port);
    }
    for (const auto& cookie : cookies) {
        message.add(false, RecordType::new_cookie, cookie);
    }
    return message.finish();
}

std::vector<std::byte> make_error(KeError error)
{
    MessageBuilder message;
    message.add_u16(true, RecordType::error, static_cast<std::uint16_t>(error));
    return message.finish();
}

ExporterContext exporter_context(AeadId aead, bool compliant_export, Direction direction) noexcept
{
    const AeadId told = aead == AeadId::gcm_siv_128 && !compliant_export ? AeadId::siv_cmac_256 : aead;
    ExporterContext context{};
    ByteWriter writer(context);
    writer.u16(kProtocolNtpv4);
    writer.u16(static_cast<std::uint16_t>(told));
    writer.u8(static_cast<std::uint8_t>(direction));
    return context;
}

} // namespace ntp_shim
