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
constexpr transports::Nanoseconds kDoubtedFor = std::chrono::hours{1}; // at most, without a renewal
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
        : services_{services}, tunnel_{tunnel},
          credentials_{credentials_of(services, tunnel, supply, [this] { read_trust(); })}, supply_{supply},
          memory_{services, tunnel}, seal_{[this](std::span<std::byte> octets) { services_.random.fill(octets); }},
          watchful_{seal_, [this] { look_at_session(); }},
          establishment_{services, tunnel, supply}, report_{services.loop, [this] { report(); }}
    {
        read_trust();
    }
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
        transports::Nanoseconds at{}; // boot clock
    };

    [[nodiscard]] bool is_for(const std::string& target) const
    {
        return established_.state.target == target && seal_.session() && !seal_.session()->cookies.empty();
    }
    [[nodiscard]] bool is_stale() const;
    [[nodiscard]] bool has_ended(const ntp_shim::NtsClientState& session) const;
    void read_trust();
    void compare_trust();
    void look_at_session();
    void drop_if_over();
    void drop(const char* why);
    void settle_uses();
    void restore(const std::string& target);
    [[nodiscard]] std::optional<std::string> why_unused(const ntp_shim::NtsClientState& kept) const;
    void establish();
    void adopt(NtsEstablished made);
    void fail(const Failed& why);
    void report();
    void record(const transports::PeerIdentity& peer, std::string_view reason, const std::string& text);

    Services services_;
    const Tunnel& tunnel_;
    std::unique_ptr<Credentials> credentials_; // last to go
    transports::TlsSupply supply_;
    std::string trust_; // a digest of whom we believe
    NtsMemory memory_;
    ntp_shim::NtsClientSeal seal_;
    WatchfulSeal watchful_;
    std::function<void()> stale_;
    Established established_;
    /// Others are trusted than when it was established; boot clock.
    std::optional<transports::Nanoseconds> doubted_since_;
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
           transports::read_boot() - established_.at >= tunnel_.timing.max_channel_age || doubted_since_;
}

/// The certificate that it rests on.
bool NtsClient::has_ended(const ntp_shim::NtsClientState& session) const
{
    const auto time = transports::certificate_time(tunnel_.tls.clock);
    return tunnel_.tls.check_time && time && *time >= session.valid_until;
}

void NtsClient::read_trust()
{
    trust_ = trust_digest(*supply_.current(), tunnel_.server_name);
    compare_trust();
}

void NtsClient::compare_trust()
{
    if (!seal_.session() || established_.state.trust == trust_) {
        doubted_since_.reset();
    } else if (!doubted_since_) {
        doubted_since_ = transports::read_boot();
    }
}

/// Section 5.7: polling goes on with what there is as long as no key establishment succeeds. Not beyond what vouches
/// for it, though: whoever keeps us from the key-establishment server must not keep a bad key in use.
void NtsClient::drop_if_over()
{
    const auto longest = std::min<transports::Nanoseconds>(kDoubtedFor, tunnel_.timing.max_channel_age);
    if (has_ended(established_.state)) {
        drop("the certificate behind them has ended");
    } else if (doubted_since_ && transports::read_boot() - *doubted_since_ >= longest) {
        drop("others are trusted now, and no keys could be established since");
    }
}

void NtsClient::drop(const char* why)
{
    if (seal_.take_session()) {
        services_.log.warn(fmt::format("tunnel {}: keys and cookies of {} are dropped: {}", tunnel_.name,
                                       established_.state.target, why));
    }
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
    drop_if_over();
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
    drop_if_over();
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
    if (const auto why = why_unused(*kept)) {
        services_.log.info(fmt::format("tunnel {}: cookies for {} kept from before are not used: {}", tunnel_.name,
                                       kept->address, *why));
        return;
    }
    const auto wall = std::chrono::duration_cast<std::chrono::seconds>(transports::read_wall());
    const auto age = std::max(wall - kept->established, std::chrono::seconds{0});
    seal_.adopt(std::move(*kept->session));
    kept->session.reset();
    const auto address = transports::numeric_address(kept->address, kept->port).value_or(sockaddr_storage{});
    const auto route = route_to(address, {}, name(seal_.session()->keys.aead));
    established_ = {std::move(*kept), {route}, transports::read_boot() - age};
    services_.log.info(fmt::format("tunnel {}: {} cookies for {} kept from before", tunnel_.name,
                                   seal_.session()->cookies.size(), route.peer.address));
}

/// What became of host and process since may not make a session good that would not be established now.
std::optional<std::string> NtsClient::why_unused(const ntp_shim::NtsClientState& kept) const
{
    if (tunnel_.tls.clock && !tunnel_.tls.clock->is_known()) {
        return "nobody knows yet whether the certificate behind them is still valid";
    }
    if (has_ended(kept)) {
        return "the certificate behind them has ended";
    }
    if (kept.trust != trust_) {
        return "others are trusted now";
    }
    const auto address = transports::numeric_address(kept.address, kept.port);
    return address ? why_unfit(services_.own, *address, kept.ke_address) : "no address";
}

void NtsClient::establish()
{
    memory_.attempt(target_.text());
    establishment_.ask(target_, [this, trust = trust_](std::variant<NtsEstablished, Failed> result) {
        if (const auto* failed = std::get_if<Failed>(&result)) {
            fail(*failed);
        } else {
            auto& made = std::get<NtsEstablished>(result);
            made.state.trust = trust; // as it was asked; it may be another by now
            adopt(std::move(made));
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
    established_ = {std::move(made.state), routes, transports::read_boot()};
    doubted_since_.reset();
    compare_trust();
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
        (revoked || doubted_since_)) {
        // That is no failure to sit out. A certificate that merely does not hold may be anybody's on the way.
        drop("who gave them is not believed any more");
    }
    drop_if_over();
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
