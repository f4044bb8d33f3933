#include "gateway/nts_establishment.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "gateway/policies.hpp"
#include "ntp-shim/filter.hpp"
#include "ntp-shim/nts_host.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "transports/tls_digest.hpp"
#include "transports/tls_inventory.hpp"

namespace gateway {

namespace {

using transports::CloseReason;
using transports::Failed;

std::unique_ptr<transports::Connector> make_connector(Services services, const Tunnel& tunnel,
                                                      const transports::TlsSupply& supply)
{
    auto options = stream_options(tunnel);
    options.framing = transports::StreamFraming::records;
    return transports::make_tls_connector(services.loop, supply, options, tunnel.server_name);
}

/// "192.0.2.1:123" or "[2001:db8::1]:123" without port and brackets.
std::string host_of(const std::string& address)
{
    auto host = address.substr(0, address.rfind(':'));
    return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

} // namespace

NtsEstablishment::NtsEstablishment(Services services, const Tunnel& tunnel, const transports::TlsSupply& supply)
    : services_{services}, tunnel_{tunnel}, client_{services.loop,
                                                    make_connector(services, tunnel, supply),
                                                    {ntp_shim::kMaxKeResponse, tunnel.timing.handshake}}
{}

void NtsEstablishment::ask(const Target& target, Done done)
{
    look_up_.reset();
    target_ = target;
    done_ = std::move(done);
    made_ = {};
    made_.state.target = target.text();
    offer_ = {};
    offer_.aeads = tunnel_.nts->aeads;
    client_.ask(
        {target.host, target.port}, ntp_shim::make_request(offer_),
        [this](transports::Channel& channel, std::span<const std::byte> received) { return judge(channel, received); },
        [this](const Failed& why) { fail(why); });
}

void NtsEstablishment::cancel()
{
    client_.cancel();
    look_up_.reset();
    made_ = {};
    done_ = nullptr;
}

bool NtsEstablishment::judge(transports::Channel& channel, std::span<const std::byte> received)
{
    auto judged = ntp_shim::judge_response(received, offer_);
    const auto* const refusal = std::get_if<ntp_shim::KeRefusal>(&judged);
    if (services_.log.shows(LogLevel::debug)) {
        heard_.assign(received.begin(), received.end());
    }
    if (refusal != nullptr && refusal->fault == ntp_shim::KeFault::incomplete) {
        return false;
    }
    tell_heard();
    if (refusal != nullptr) {
        const bool has_code = refusal->fault == ntp_shim::KeFault::error_record ||
                              refusal->fault == ntp_shim::KeFault::warning_record ||
                              refusal->fault == ntp_shim::KeFault::aead_not_offered;
        fail({CloseReason::protocol_error,
              fmt::format("record: {}{}", name(refusal->fault), has_code ? fmt::format(" {}", refusal->code) : ""),
              channel.peer()});
        return true;
    }
    adopt(channel, std::move(std::get<ntp_shim::KeResult>(judged)));
    return true;
}

/// Once for each answer, whole or not.
void NtsEstablishment::tell_heard()
{
    for (const auto& line : ntp_shim::describe_message(std::exchange(heard_, {}))) {
        services_.log.debug(fmt::format("tunnel {}: {} answers: {}", tunnel_.name, target_.text(), line));
    }
}

void NtsEstablishment::adopt(transports::Channel& channel, ntp_shim::KeResult result)
{
    made_.peer = channel.peer();
    auto keys = export_session(channel, result.aead, result.compliant_export);
    if (!keys) {
        fail({CloseReason::protocol_error, "TLS: no keys could be exported", made_.peer});
        return;
    }
    made_.session.keys = std::move(*keys);
    for (auto& cookie : result.cookies) {
        made_.session.put(std::move(cookie));
    }
    made_.state.port = result.port;
    made_.state.ke_address = host_of(made_.peer.address);
    // Section 4.1.7: without a record, the address of the key establishment itself, not another one of its name.
    locate(result.host ? ntp_shim::absolute_host(*result.host) : made_.state.ke_address);
}

void NtsEstablishment::locate(const std::string& host)
{
    look_up_ = std::make_unique<transports::LookUp>(services_.loop, transports::Target{host, made_.state.port},
                                                    [this](std::variant<transports::Addresses, Failed> result) {
                                                        if (auto* failed = std::get_if<Failed>(&result)) {
                                                            failed->text = "name of the NTP server: " + failed->text;
                                                            fail(std::move(*failed));
                                                        } else {
                                                            located(std::get<transports::Addresses>(result));
                                                        }
                                                    });
}

void NtsEstablishment::located(const std::vector<sockaddr_storage>& addresses)
{
    const auto& chain = made_.peer.provisional;
    const auto time = chain ? transports::certificate_time(tunnel_.tls.clock) : std::nullopt;
    if (const auto refusal = time ? chain->verify_at(*time) : std::nullopt) {
        fail({refusal->reason, refusal->text, made_.peer}); // the time became known meanwhile
        return;
    }
    std::string unfit;
    for (const auto& address : addresses) {
        if (const auto why = why_unfit(services_.own, address, made_.state.ke_address)) {
            unfit = transports::address_text(address) + " " + *why;
        } else {
            made_.addresses.push_back(address);
        }
    }
    if (made_.addresses.empty()) {
        fail({CloseReason::unreachable, "record: the NTP server named is " + unfit, made_.peer});
        return;
    }
    made_.state.valid_until = std::chrono::duration_cast<std::chrono::seconds>(made_.peer.valid_until);
    made_.state.established = std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
    made_.state.address = host_of(transports::address_text(made_.addresses.front()));
    if (const auto done = std::exchange(done_, nullptr)) {
        done(std::move(made_));
    }
}

void NtsEstablishment::fail(Failed why)
{
    tell_heard();
    made_ = {};
    if (const auto done = std::exchange(done_, nullptr)) {
        done(std::move(why));
    }
}

std::optional<std::string> why_unfit(const OwnListeners* own, const sockaddr_storage& address,
                                     const std::string& ke_address)
{
    if (ntp_shim::check_source(transports::mapped(address), transports::port_of(address))) {
        return "no address that can be asked";
    }
    SocketAddress server;
    server.storage = address;
    if (own != nullptr && own->reached_by(server)) {
        return "where we listen";
    }
    SocketAddress establishment;
    establishment.storage = transports::numeric_address(ke_address, 1).value_or(sockaddr_storage{});
    if (server.is_loopback() && !establishment.is_loopback()) {
        return "this host, which the key establishment server is not";
    }
    return std::nullopt;
}

std::string trust_digest(const transports::TlsContext& context, const std::string& server_name)
{
    const auto held = transports::inventory_of(context);
    std::vector<std::string> all;
    for (const auto& anchor : held.anchors) {
        all.push_back("anchor " + anchor.fingerprint);
    }
    for (const auto& list : held.lists) {
        all.push_back("list " + list.fingerprint);
    }
    std::sort(all.begin(), all.end());
    return transports::sha256_hex(fmt::format("name {}\n{}", server_name, fmt::join(all, "\n")));
}

std::optional<ntp_shim::SessionKeys> export_session(transports::Channel& channel, ntp_shim::AeadId aead,
                                                    bool compliant_export)
{
    using ntp_shim::Direction;
    ntp_shim::SessionKeys keys{.aead = aead, .client_to_server = {}, .server_to_client = {}};
    const auto size = ntp_shim::key_size(aead);
    const auto up = exporter_context(aead, compliant_export, Direction::client_to_server);
    const auto down = exporter_context(aead, compliant_export, Direction::server_to_client);
    const bool exported = channel.export_keys(ntp_shim::kExporterLabel, up, keys.client_to_server.resize(size)) &&
                          channel.export_keys(ntp_shim::kExporterLabel, down, keys.server_to_client.resize(size));
    return exported ? std::optional{std::move(keys)} : std::nullopt;
}

} // namespace gateway
