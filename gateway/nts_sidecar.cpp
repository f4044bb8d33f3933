#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/credentials.hpp"
#include "gateway/nts_establishment.hpp"
#include "gateway/nts_memory.hpp"
#include "gateway/nts_sealing.hpp"
#include "gateway/nts_watchful_seal.hpp"
#include "gateway/printable.hpp"
#include "ntp-shim/nts_client_seal.hpp"

namespace gateway {

namespace {

using transports::CloseReason;
using transports::Failed;

constexpr unsigned kSilent = 8; // requests in a row without an answer: the server may have forgotten our cookies
constexpr const char* kRetryInterval = "nts_retry_interval"; // how long it is yet would make each record another kind

Route route_to(const sockaddr_storage& address, transports::PeerIdentity peer, std::string_view aead)
{
    Route route;
    route.address = address;
    route.peer = std::move(peer);
    route.peer.address = transports::address_text(address);
    route.peer.protocol = "NTPv4";
    route.peer.suite = aead;
    return route;
}

class NtsClient final : public ClientSealing {
public:
    NtsClient(Services services, const Tunnel& tunnel, const transports::TlsSupply& supply)
        : services_{services}, tunnel_{tunnel}, credentials_{credentials_of(services, tunnel, supply,
                                                                            [this] { trust_changed_ = true; })},
          memory_{services, tunnel}, seal_{[this](std::span<std::byte> octets) { services_.random.fill(octets); }},
          watchful_{seal_, [this] { look_at_session(); }},
          establishment_{services, tunnel, supply}, report_{services.loop, [this] { report(); }}
    {}
    ~NtsClient() override
    {
        settle_uses();
        if (auto session = seal_.take_session(); session && !session->cookies.empty()) {
            memory_.keep(established_.state.target, established_.state, std::move(*session));
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
        ntp_shim::NtsClientState state;
        std::vector<Route> routes;
        transports::Nanoseconds at{};          // boot clock
        transports::Nanoseconds valid_until{}; // wall clock, of the certificates behind it; 0 = not known
    };

    [[nodiscard]] bool is_for(const std::string& target) const
    {
        return established_.state.target == target && seal_.session() && !seal_.session()->cookies.empty();
    }
    [[nodiscard]] bool is_stale() const;
    [[nodiscard]] bool is_doubted() const;
    void look_at_session();
    void settle_uses();
    void restore(const std::string& target);
    void establish();
    void adopt(NtsEstablished made);
    void fail(const Failed& why);
    void report();
    void record(const transports::PeerIdentity& peer, std::string_view reason, const std::string& text);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    NtsMemory memory_;
    ntp_shim::NtsClientSeal seal_;
    WatchfulSeal watchful_;
    std::function<void()> stale_;
    bool trust_changed_ = false; // since the session was established
    Established established_;
    Target target_; // looked for now
    Found found_;
    std::variant<std::vector<Route>, Failed> outcome_;
    NtsEstablishment establishment_;
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
    if (seal_.was_answered() && !established_.state.target.empty()) {
        memory_.used(established_.state.target);
    }
}

/// Section 5.7: after a NAK the next poll comes first, then a new key establishment.
void NtsClient::look_at_session()
{
    settle_uses();
    if (seal_.session() && is_stale() && stale_ && memory_.may_attempt(established_.state.target)) {
        stale_();
    }
}

void NtsClient::find(const Target& target, Found found)
{
    establishment_.cancel();
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
    const auto route = route_to(*address, {}, name(seal_.session()->keys.aead));
    established_ = {std::move(*kept), {route}, transports::read_boot() - age, {}};
    services_.log.info(fmt::format("tunnel {}: {} cookies for {} kept from before", tunnel_.name,
                                   seal_.session()->cookies.size(), route.peer.address));
}

void NtsClient::establish()
{
    memory_.attempt(target_.text());
    establishment_.ask(target_, [this](std::variant<NtsEstablished, Failed> result) {
        if (const auto* failed = std::get_if<Failed>(&result)) {
            fail(*failed);
        } else {
            adopt(std::move(std::get<NtsEstablished>(result)));
        }
    });
}

void NtsClient::adopt(NtsEstablished made)
{
    const auto aead = name(made.session.keys.aead);
    std::vector<Route> routes;
    for (const auto& address : made.addresses) {
        routes.push_back(route_to(address, made.peer, aead));
    }
    const auto cookies = made.session.cookies.size();
    seal_.adopt(std::move(made.session));
    established_ = {std::move(made.state), routes, transports::read_boot(), made.peer.valid_until};
    trust_changed_ = false;
    record(made.peer, {}, fmt::format("{}, {} cookies, NTP server {}", aead, cookies, routes.front().peer.address));
    outcome_ = std::move(routes);
    report_.request();
}

void NtsClient::fail(const Failed& why)
{
    if (why.reason != CloseReason::limit_reached) {
        record(why.peer, name(why.reason), why.text);
    }
    const auto text = target_.text();
    const bool revoked = why.reason == CloseReason::certificate_revoked || why.reason == CloseReason::issuer_revoked;
    if (established_.state.target == text && transports::is_certificate_reason(why.reason) &&
        (revoked || is_doubted())) {
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
    if (const auto found = std::exchange(found_, nullptr)) {
        found(std::move(outcome_));
    }
}

/// A key establishment that succeeded when there is no `reason`.
void NtsClient::record(const transports::PeerIdentity& peer, std::string_view reason, const std::string& text)
{
    AuditRecord made;
    made.event = reason.empty() ? AuditEvent::ke_succeeded : AuditEvent::ke_failed;
    made.success = reason.empty();
    made.tunnel = tunnel_.name;
    made.subject = peer.subject;
    made.peer = peer.address.empty() ? target_.text() : peer.address;
    made.reason = reason;
    if (!services_.audit.record(made, {{"text", printable(text)}})) {
        return;
    }
    const auto line = fmt::format("tunnel {}: key establishment with {}: ", tunnel_.name, made.peer);
    if (made.success) {
        services_.log.info(line + printable(text));
    } else {
        services_.log.warn(fmt::format("{}{}: {}; none in the next {} s", line, reason, printable(text),
                                       memory_.seconds_left(target_.text())));
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
