#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/credentials.hpp"
#include "gateway/nts_memory.hpp"
#include "gateway/nts_sealing.hpp"
#include "gateway/nts_watchful_seal.hpp"
#include "gateway/policies.hpp"
#include "gateway/printable.hpp"
#include "ntp-shim/filter.hpp"
#include "ntp-shim/nts_client_seal.hpp"
#include "ntp-shim/nts_host.hpp"
#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "transports/look_up.hpp"
#include "transports/nts_ke.hpp"

namespace gateway {

namespace {

using transports::CloseReason;
using transports::Failed;

constexpr unsigned kSilent = 8; // requests in a row without an answer: the server may have forgotten our cookies
constexpr const char* kRetryInterval = "nts_retry_interval"; // how long it is yet would make each record another kind

class NtsClient final : public ClientSealing {
public:
    NtsClient(Services services, const Tunnel& tunnel, const transports::TlsSupply& supply)
        : services_{services}, tunnel_{tunnel}, credentials_{credentials_of(services, tunnel, supply,
                                                                            [this] { trust_changed_ = true; })},
          memory_{services, tunnel}, seal_{[this](std::span<std::byte> octets) { services_.random.fill(octets); }},
          watchful_{seal_, [this] { look_at_session(); }}, client_{services.loop,
                                                                   make_connector(services, tunnel, supply),
                                                                   {ntp_shim::kMaxKeResponse, tunnel.timing.handshake}},
          report_{services.loop, [this] { report(); }}
    {}
    ~NtsClient() override
    {
        settle_uses();
        if (auto session = seal_.take_session(); session && !session->cookies.empty()) {
            memory_.keep(established_.target, established_.state, std::move(*session));
        }
    }
    NtsClient(const NtsClient&) = delete;
    NtsClient& operator=(const NtsClient&) = delete;

    [[nodiscard]] ntp_shim::ClientSeal& seal() noexcept override { return watchful_; }
    void reload() override { credentials_->reload(); }
    void distrust() override { (void)seal_.take_session(); }
    void use(const Route& /*route*/) override {}
    void on_stale(std::function<void()> stale) override { stale_ = std::move(stale); }
    void find(const Target& target, Found found) override;

private:
    /// What is known of the session beside its keys and cookies.
    struct Established {
        std::string target;
        ntp_shim::NtsClientState state;
        std::vector<Route> routes;
        transports::Nanoseconds at{};          // boot clock
        transports::Nanoseconds valid_until{}; // wall clock, of the certificates behind it; 0 = not known
    };

    static std::unique_ptr<transports::Connector> make_connector(Services services, const Tunnel& tunnel,
                                                                 const transports::TlsSupply& supply)
    {
        auto options = stream_options(tunnel);
        options.framing = transports::StreamFraming::records;
        return transports::make_tls_connector(services.loop, supply, options, tunnel.server_name);
    }
    [[nodiscard]] bool is_for(const std::string& target) const
    {
        return established_.target == target && seal_.session() && !seal_.session()->cookies.empty();
    }
    [[nodiscard]] bool is_stale() const;
    [[nodiscard]] bool is_doubted() const;
    void look_at_session();
    void settle_uses();
    void restore(const std::string& target);
    void establish();
    [[nodiscard]] bool judge(transports::Channel& channel, std::span<const std::byte> received);
    void tell_heard();
    void adopt(transports::Channel& channel, ntp_shim::KeResult result);
    void locate(const std::string& host);
    void located(const std::vector<sockaddr_storage>& addresses);
    void fail(const Failed& why);
    void report();
    [[nodiscard]] std::optional<std::string> why_unfit(const sockaddr_storage& address) const;
    [[nodiscard]] Route route_to(const sockaddr_storage& address) const;
    void record(bool success, const std::string& peer, std::string_view reason, const std::string& text);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    NtsMemory memory_;
    ntp_shim::NtsClientSeal seal_;
    WatchfulSeal watchful_;
    std::function<void()> stale_;
    bool trust_changed_ = false; // since the session was established
    Established established_;
    // A key establishment under way:
    Target target_;
    ntp_shim::KeOffer offer_;
    transports::PeerIdentity ke_peer_;
    std::vector<std::byte> heard_;              // log level debug only
    std::optional<ntp_shim::NtsSession> fresh_; // until its server's address is known
    ntp_shim::NtsClientState fresh_state_;
    Found found_;
    std::variant<std::vector<Route>, Failed> outcome_;
    transports::KeClient client_;
    std::unique_ptr<transports::LookUp> look_up_;
    transports::TurnEnd report_;
};

/// A session that should be replaced, though it may still work.
bool NtsClient::is_stale() const
{
    return seal_.was_refused() || seal_.unanswered() >= kSilent ||
           transports::read_boot() - established_.at >= tunnel_.timing.max_channel_age || is_doubted();
}

/// Whom to trust was changed since, or the certificate that the keys came with has ended.
bool NtsClient::is_doubted() const
{
    const auto time = transports::certificate_time(tunnel_.tls.clock);
    const auto until = established_.valid_until;
    return trust_changed_ || (time && until != transports::Nanoseconds::zero() && *time >= until);
}

/// RFC 8915 section 4.2: the interval is reset by use, and by nothing else.
void NtsClient::settle_uses()
{
    if (seal_.was_answered() && !established_.target.empty()) {
        memory_.used(established_.target);
    }
}

/// Section 5.7: after a NAK the next poll comes first, then a new key establishment.
void NtsClient::look_at_session()
{
    settle_uses();
    if (seal_.session() && is_stale() && stale_ && memory_.may_attempt(established_.target)) {
        stale_();
    }
}

void NtsClient::find(const Target& target, Found found)
{
    client_.cancel();
    look_up_.reset();
    fresh_.reset();
    found_ = std::move(found);
    target_ = target;
    const auto text = target.text();
    settle_uses();
    restore(text);
    const bool usable = is_for(text);
    if (usable && (!is_stale() || !memory_.may_attempt(text))) {
        outcome_ = established_.routes;
        report_.request();
        return;
    }
    if (!memory_.may_attempt(text)) {
        fail({CloseReason::limit_reached, kRetryInterval, {}});
        return;
    }
    establish();
}

/// What an earlier process left for this target, once.
void NtsClient::restore(const std::string& target)
{
    auto kept = memory_.take(target);
    if (!kept || !kept->session || seal_.session()) {
        return;
    }
    if (tunnel_.tls.clock && !tunnel_.tls.clock->is_known()) {
        return; // nobody knows whether the certificate behind them is still valid: these cookies go unused
    }
    const auto address = transports::numeric_address(kept->address, kept->port);
    if (!address) {
        return;
    }
    const auto wall = std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
    const auto age = std::max(wall - kept->established, std::chrono::seconds{0});
    seal_.adopt(std::move(*kept->session));
    kept->session.reset();
    ke_peer_ = {};
    ke_peer_.address = kept->ke_address;
    established_ = {target, std::move(*kept), {}, transports::read_boot() - age, {}};
    established_.routes = {route_to(*address)};
    services_.log.info(fmt::format("tunnel {}: {} cookies for {} kept from before", tunnel_.name,
                                   seal_.session()->cookies.size(), established_.routes.front().peer.address));
}

void NtsClient::establish()
{
    memory_.attempt(target_.text());
    offer_ = {};
    offer_.aeads = tunnel_.nts->aeads;
    const transports::Target target{target_.host, target_.port};
    client_.ask(
        target, ntp_shim::make_request(offer_),
        [this](transports::Channel& channel, std::span<const std::byte> received) { return judge(channel, received); },
        [this](const Failed& why) { fail(why); });
}

bool NtsClient::judge(transports::Channel& channel, std::span<const std::byte> received)
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
void NtsClient::tell_heard()
{
    for (const auto& line : ntp_shim::describe_message(std::exchange(heard_, {}))) {
        services_.log.debug(fmt::format("tunnel {}: {} answers: {}", tunnel_.name, target_.text(), line));
    }
}

void NtsClient::adopt(transports::Channel& channel, ntp_shim::KeResult result)
{
    using ntp_shim::Direction;
    ke_peer_ = channel.peer();
    ntp_shim::NtsSession session{.keys = {.aead = result.aead, .client_to_server = {}, .server_to_client = {}},
                                 .cookies = {}};
    const auto size = ntp_shim::key_size(result.aead);
    const auto key = [&](Direction direction, std::span<std::byte> out) {
        return channel.export_keys(ntp_shim::kExporterLabel,
                                   exporter_context(result.aead, result.compliant_export, direction), out);
    };
    if (!key(Direction::client_to_server, session.keys.client_to_server.resize(size)) ||
        !key(Direction::server_to_client, session.keys.server_to_client.resize(size))) {
        fail({CloseReason::protocol_error, "TLS: no keys could be exported", ke_peer_});
        return;
    }
    for (auto& cookie : result.cookies) {
        session.put(std::move(cookie));
    }
    fresh_ = std::move(session);
    fresh_state_ = {};
    fresh_state_.target = target_.text();
    fresh_state_.port = result.port;
    const auto colon = ke_peer_.address.rfind(':');
    auto ke_host = ke_peer_.address.substr(0, colon);
    if (ke_host.starts_with('[')) {
        ke_host = ke_host.substr(1, ke_host.size() - 2);
    }
    fresh_state_.ke_address = ke_host;
    // Section 4.1.7: without a record, the address of the key establishment itself, not another one of its name.
    locate(result.host ? ntp_shim::absolute_host(*result.host) : ke_host);
}

void NtsClient::locate(const std::string& host)
{
    look_up_ = std::make_unique<transports::LookUp>(services_.loop, transports::Target{host, fresh_state_.port},
                                                    [this](std::variant<transports::Addresses, Failed> result) {
                                                        if (auto* failed = std::get_if<Failed>(&result)) {
                                                            failed->text = "name of the NTP server: " + failed->text;
                                                            fail(*failed);
                                                        } else {
                                                            located(std::get<transports::Addresses>(result));
                                                        }
                                                    });
}

void NtsClient::located(const std::vector<sockaddr_storage>& addresses)
{
    const auto time = ke_peer_.provisional ? transports::certificate_time(tunnel_.tls.clock) : std::nullopt;
    if (const auto refusal = time ? ke_peer_.provisional->verify_at(*time) : std::nullopt) {
        fail({refusal->reason, refusal->text, ke_peer_}); // the time became known meanwhile
        return;
    }
    std::vector<Route> routes;
    std::string unfit;
    for (const auto& address : addresses) {
        if (const auto why = why_unfit(address)) {
            unfit = transports::address_text(address) + " " + *why;
        } else {
            routes.push_back(route_to(address));
        }
    }
    if (routes.empty()) {
        fail({CloseReason::unreachable, "record: the NTP server named is " + unfit, ke_peer_});
        return;
    }
    fresh_state_.established = std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
    const auto& route = routes.front();
    fresh_state_.address = route.peer.address.substr(0, route.peer.address.rfind(':'));
    if (fresh_state_.address.starts_with('[')) {
        fresh_state_.address = fresh_state_.address.substr(1, fresh_state_.address.size() - 2);
    }
    const auto aead = name(fresh_->keys.aead);
    const auto cookies = fresh_->cookies.size();
    seal_.adopt(std::move(*fresh_));
    fresh_.reset();
    for (auto& each : routes) {
        each.peer.suite = aead;
    }
    established_ = {target_.text(), fresh_state_, routes, transports::read_boot(), ke_peer_.valid_until};
    trust_changed_ = false;
    record(true, ke_peer_.address, {},
           fmt::format("{}, {} cookies, NTP server {}", aead, cookies, routes.front().peer.address));
    outcome_ = std::move(routes);
    report_.request();
}

/// What no server of ours may be sent to: ourselves, nobody, everybody, and this host unless the key establishment was
/// with it.
std::optional<std::string> NtsClient::why_unfit(const sockaddr_storage& address) const
{
    if (ntp_shim::check_source(transports::mapped(address), transports::port_of(address))) {
        return "no address that can be asked";
    }
    SocketAddress server;
    server.storage = address;
    if (services_.own != nullptr && services_.own->reached_by(server)) {
        return "where we listen";
    }
    const auto ke = transports::numeric_address(fresh_state_.ke_address, 1);
    SocketAddress establishment;
    establishment.storage = ke.value_or(sockaddr_storage{});
    if (server.is_loopback() && !establishment.is_loopback()) {
        return "this host, which the key establishment server is not";
    }
    return std::nullopt;
}

Route NtsClient::route_to(const sockaddr_storage& address) const
{
    Route route;
    route.address = address;
    route.peer = ke_peer_;
    route.peer.address = transports::address_text(address);
    route.peer.protocol = "NTPv4";
    route.peer.suite = seal_.session() ? name(seal_.session()->keys.aead) : std::string_view{};
    return route;
}

void NtsClient::fail(const Failed& why)
{
    tell_heard();
    fresh_.reset();
    if (why.reason != CloseReason::limit_reached) {
        record(false, why.peer.address, name(why.reason), why.text);
    }
    const auto text = target_.text();
    const bool revoked = why.reason == CloseReason::certificate_revoked || why.reason == CloseReason::issuer_revoked;
    if (established_.target == text && transports::is_certificate_reason(why.reason) && (revoked || is_doubted())) {
        // Who gave us these keys is not believed any more: that is no failure to sit out. A certificate that merely
        // does not hold may be anybody's on the way.
        (void)seal_.take_session();
    }
    // Section 5.7: as long as no key establishment succeeds, polling goes on with what there is.
    if (is_for(text)) {
        outcome_ = established_.routes;
    } else {
        outcome_ = why;
    }
    report_.request();
}

void NtsClient::report()
{
    look_up_.reset();
    if (const auto found = std::exchange(found_, nullptr)) {
        found(std::move(outcome_));
    }
}

void NtsClient::record(bool success, const std::string& peer, std::string_view reason, const std::string& text)
{
    AuditRecord made;
    made.event = success ? AuditEvent::ke_succeeded : AuditEvent::ke_failed;
    made.success = success;
    made.tunnel = tunnel_.name;
    made.subject = ke_peer_.subject;
    made.peer = peer.empty() ? target_.text() : peer;
    made.reason = reason;
    if (services_.audit.record(made, {{"text", printable(text)}})) {
        const auto line = fmt::format("tunnel {}: key establishment with {}: {}{}", tunnel_.name, made.peer,
                                      reason.empty() ? "" : fmt::format("{}: ", reason), printable(text));
        success
            ? services_.log.info(line)
            : services_.log.warn(fmt::format("{}; none in the next {} s", line, memory_.seconds_left(target_.text())));
    }
}

} // namespace

std::variant<std::unique_ptr<ClientSealing>, std::vector<CarrierProblem>> make_nts_client_sealing(Services services,
                                                                                                  const Tunnel& tunnel)
{
    auto context = transports::TlsContext::create(tunnel.tls);
    if (const auto* problems = std::get_if<std::vector<transports::TlsProblem>>(&context)) {
        std::vector<CarrierProblem> out;
        for (const auto& problem : *problems) {
            out.push_back({"tls", problem.setting, problem.text});
        }
        return out;
    }
    return std::make_unique<NtsClient>(services, tunnel,
                                       std::get<std::shared_ptr<const transports::TlsContext>>(std::move(context)));
}

} // namespace gateway
