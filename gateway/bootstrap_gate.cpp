#include "gateway/bootstrap_gate.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/good_time.hpp"
#include "gateway/printable.hpp"
#include "gateway/query_report.hpp"
#include "gateway/secret_file.hpp"
#include "gateway/utc_time.hpp"
#include "ntp-shim/clock_reply.hpp"
#include "transports/address.hpp"

namespace gateway {

namespace {

using ntp_shim::DropReason;
using std::chrono::duration_cast;
using transports::Closed;
using transports::CloseReason;
using transports::Nanoseconds;

constexpr Nanoseconds kAskAgain = std::chrono::seconds{2};
constexpr Nanoseconds kSaveEvery = std::chrono::hours{1};
constexpr std::size_t kMaxChains = 64; // certificates that a tunnel's servers may show before one of them answers

/// An address that the shim takes for a client's; nothing is sent to it.
ntp_shim::ClientEndpoint self()
{
    ntp_shim::ClientEndpoint endpoint;
    endpoint.address = transports::mapped(in_addr{htonl(INADDR_LOOPBACK)});
    endpoint.port = 1;
    return endpoint;
}

/// The moment of an NTP timestamp, of all eras in the one that lies nearest to `pivot`.
Nanoseconds since_1970(std::uint64_t stamp, Nanoseconds pivot)
{
    const auto away = static_cast<std::int64_t>(stamp - ntp_shim::ntp_timestamp(pivot)); // 32.32, modulo 2^64
    const auto whole = away >> 32;
    const auto fraction =
        static_cast<std::int64_t>((static_cast<std::uint64_t>(away) & 0xffffffff) * 1'000'000'000 >> 32);
    return pivot + std::chrono::seconds{whole} + Nanoseconds{fraction};
}

} // namespace

BootstrapGate::BootstrapGate(Services services, const Tunnel& tunnel, ReplySink& sink)
    : services_{services}, tunnel_{tunnel}, sink_{sink}, clock_{tunnel.tls.clock},
      ask_{services.loop, [this] { ask(); }}, save_{services.loop, [this] { save(); }}, judge_{services.loop,
                                                                                               [this] { judge(); }}
{}

BootstrapGate::~BootstrapGate()
{
    if (is_open()) {
        save();
    }
}

bool BootstrapGate::is_open() const noexcept
{
    return clock_->is_known();
}

void BootstrapGate::start()
{
    inner_->start();
}

void BootstrapGate::submit(const ntp_shim::ClientEndpoint& from, std::span<const std::byte> datagram,
                           transports::Instant arrival)
{
    if (is_open()) {
        inner_->submit(from, datagram, arrival);
    } else {
        inner_->refuse(DropReason::no_channel); // none that a client may use
    }
}

void BootstrapGate::drain()
{
    asking_ = false;
    ask_.stop();
    inner_->drain();
}

bool BootstrapGate::tried() const noexcept
{
    return is_open() || failed_;
}

nlohmann::ordered_json BootstrapGate::counters() const
{
    auto counted = inner_->counters();
    counted["certificate-time"] = is_open() ? "proven" : "unproven";
    return counted;
}

void BootstrapGate::on_channel(const transports::PeerIdentity& peer)
{
    if (is_open()) {
        if (const auto why = peer.provisional ? peer.provisional->verify_at(*clock_->now()) : std::nullopt) {
            peer_ = peer; // it was on its way when the time was proven
            give_up(nullptr, *why);
        } else {
            sink_.on_channel(peer);
        }
        return;
    }
    if (chains_.size() >= kMaxChains) {
        give_up(nullptr, {CloseReason::limit_reached, "too many certificates without an answer"});
        return;
    }
    peer_ = peer;
    chains_[peer.fingerprint] = peer.provisional;
    record(true, "provisional", nullptr, "verified in all but its time, for our own query only");
    asking_ = true;
    ask();
}

void BootstrapGate::ask()
{
    if (!asking_) {
        return;
    }
    ask_.start(kAskAgain);
    transmit_ = services_.random.bits();
    inner_->submit(self(), query_packet(transmit_), transports::read_instant());
}

void BootstrapGate::deliver(const ntp_shim::ClientEndpoint& client, std::span<const std::byte> bytes)
{
    const auto packet = ntp_shim::Packet::parse(bytes);
    if (client.port != self().port || !packet || packet->origin != transmit_) {
        sink_.deliver(client, bytes);
        return;
    }
    if (asking_ && !packet->is_unsynchronised() && packet->transmit != 0) {
        answer_ = Answer{since_1970(packet->transmit, clock_->floor()), transports::read_boot()};
        judge_.request(); // not here, where the channel is in the middle of its work
    }
}

void BootstrapGate::judge()
{
    const auto answer = std::exchange(answer_, std::nullopt);
    if (!answer || !asking_) {
        return;
    }
    if (const auto why = why_not(*answer)) {
        give_up(&*answer, *why);
    } else {
        open(*answer);
    }
}

std::optional<Closed> BootstrapGate::why_not(const Answer& answer) const
{
    if (answer.time < clock_->floor()) {
        return Closed{CloseReason::time_too_early,
                      "it lies before " + utc_time(clock_->floor()) + ", the build date or the last good time"};
    }
    for (const auto& [fingerprint, chain] : chains_) {
        if (chain == nullptr) { // opened by something else than a certificate of now
            return Closed{CloseReason::no_certificate, "there is no certificate to verify"};
        }
        if (auto refusal = chain->verify_at(answer.time)) {
            return refusal;
        }
    }
    return std::nullopt;
}

void BootstrapGate::open(const Answer& answer)
{
    asking_ = false;
    ask_.stop();
    (void)clock_->learn(answer.time, answer.boot); // not before the floor: why_not
    chains_.clear();
    record(true, "verified", &answer, {});
    save();
    sink_.on_channel(peer_);
}

void BootstrapGate::give_up(const Answer* answer, const Closed& why)
{
    asking_ = false;
    failed_ = true;
    ask_.stop();
    chains_.clear();
    record(false, name(why.reason), answer, why.text);
    const auto peer = peer_;
    inner_->distrust(why);
    sink_.on_attempt_failed({why.reason, why.text, peer});
}

void BootstrapGate::on_attempt_failed(const transports::Failed& why)
{
    failed_ = true;
    sink_.on_attempt_failed(why);
}

void BootstrapGate::on_channel_lost(const Closed& why)
{
    sink_.on_channel_lost(why);
}

void BootstrapGate::record(bool success, std::string_view reason, const Answer* answer, const std::string& text)
{
    AuditRecord made;
    made.event = AuditEvent::certificate_time;
    made.success = success;
    made.tunnel = tunnel_.name;
    made.subject = peer_.subject;
    made.peer = peer_.address;
    made.reason = reason;
    nlohmann::ordered_json fields{{"local", utc_time_now()}};
    if (answer != nullptr) {
        fields["learnt"] = utc_time(answer->time);
    }
    fields["text"] = printable(text); // it names the peer's certificate
    if (services_.audit.record(made, fields)) {
        const auto line = fmt::format("tunnel {}: certificate-time: {}{}{}", tunnel_.name, reason,
                                      text.empty() ? "" : ": ", printable(text));
        success ? services_.log.info(line) : services_.log.warn(line);
    }
}

/// Never less than what is there: the floor rises with what is written.
void BootstrapGate::save()
{
    const auto now = clock_->now();
    if (!now || !tunnel_.last_good_time) {
        return;
    }
    save_.start(kSaveEvery);
    if (*now <= clock_->floor()) {
        return;
    }
    if (const auto error =
            replace_secret(*tunnel_.last_good_time, write_good_time(duration_cast<std::chrono::seconds>(*now)))) {
        services_.log.warn(fmt::format("tunnel {}: last-good-time: {}", tunnel_.name, *error));
        return;
    }
    clock_->raise_floor(*now);
}

} // namespace gateway
