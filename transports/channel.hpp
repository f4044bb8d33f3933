// The seam to the network: what a carrier is, and what it tells whom. Read this first.
//
//   Connector --attempt--> on_open | on_failed          (one of them, once)
//   Listener  --peer-----> on_open | on_failed          (one of them, once for each peer that was let in)
//   Channel   --life-----> (on_message | on_rekeyed)* [on_end] on_closed (once, last)
//
// There is no unauthenticated channel: on_open comes only after the peer is verified. A carrier is unreliable by
// contract, since a late message is worse than a lost one: it never queues what is out of date, never blocks, and never
// calls its handler from inside a call made to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transports/clock.hpp"

namespace transports {

class Channel;

enum class SendResult : std::uint8_t {
    sent,
    congested, // not taken, nothing queued
    oversize,  // longer than what the path carries in one piece
    closed,
};

/// Why an attempt failed or a channel ended. An enumerator prints as itself in log, audit and tests.
enum class CloseReason : std::uint8_t {
    local_request,   // we closed it
    drained,         // we closed it after a goodbye
    peer_closed,     // orderly end by the peer
    connection_lost, // reset, or the end of the stream without close_notify
    unreachable,     // connect refused, no route
    resolve_failed,  // the name has no address
    connect_timeout,
    handshake_timeout,
    idle_timeout,
    dead_peer,       // liveness: two pings unanswered
    unanswered,      // raw framing: three requests unanswered
    max_channel_age, // replaced, or its certificate ended
    superseded,      // the peer opened another from the same address (RFC 6347 section 4.2.8)
    limit_reached,
    io_error,
    bad_framing,          // a broken stream length
    congested,            // the peer does not read
    credentials_replaced, // our certificate is another by now, and so is the channel
    protocol_error,       // not TLS, or TLS broken
    refused_by_peer,      // a fatal alert; the text names it
    // policy
    protocol_version,
    no_common_suite,
    no_common_group,
    no_common_signature,
    no_extended_master_secret, // RFC 7627, where the policy demands it
    no_alpn,                   // framing v1 and the peer does not speak it
    unexpected_alpn,           // framing raw and the peer offers some
    renegotiation,
    // ssh
    no_common_kex,
    no_common_host_key,
    no_common_cipher,
    no_common_mac,
    packet_too_large,
    rekey_timeout, // a renewal of keys that does not end
    host_key_unknown,
    host_key_changed, // the host is known by other keys, of whatever type
    host_key_revoked,
    user_unknown,
    user_key_unknown,
    user_key_wrong_address,
    user_key_expired,
    user_signature_invalid,
    password_refused,
    auth_method_refused,
    shell_refused,
    exec_refused,
    pty_refused,
    subsystem_refused, // another than ours
    forwarding_refused,
    x11_refused,
    agent_refused,
    channel_refused, // a second one on a connection
    // certificates
    no_certificate, // required of the peer and not sent
    certificate_expired,
    certificate_not_yet_valid,
    name_mismatch,
    name_only_in_subject, // no subjectAltName: the common name is not looked at
    no_subject,           // neither subject nor subjectAltName
    unknown_ca,
    self_signed,
    bad_signature,
    invalid_ca, // an issuer that may not issue
    path_too_long,
    eku_missing,
    eku_wrong,
    certificate_revoked,
    issuer_revoked,
    revocation_undetermined, // nothing says whether it is revoked
    crl_stale,               // the list that would say is not of this time
    ocsp_unknown,            // the responder does not know it
    ocsp_missing,            // no response was stapled, though it was asked for
    ocsp_unreachable,
    ocsp_stale,
    ocsp_bad_signature,
    ocsp_invalid, // broken, about something else, or an error
    weak_key,
    weak_signature, // of a certificate: none that the policy offers
    not_on_allow_list,
    time_too_early,      // bootstrap: what was learnt lies before the build date or the last good time
    certificate_invalid, // anything else; the text says what
};
inline constexpr std::size_t kCloseReasons = static_cast<std::size_t>(CloseReason::certificate_invalid) + 1;

[[nodiscard]] std::string_view name(CloseReason reason) noexcept;
[[nodiscard]] bool is_certificate_reason(CloseReason reason) noexcept;

struct Closed;

/// A certificate chain that was verified in all but its time (certificate-time: bootstrap).
class ProvisionalChain {
public:
    ProvisionalChain() = default;
    virtual ~ProvisionalChain() = default;
    ProvisionalChain(const ProvisionalChain&) = delete;
    ProvisionalChain& operator=(const ProvisionalChain&) = delete;
    /// The same verification, of everything, as if it were `wall` now; nothing when it succeeds.
    [[nodiscard]] virtual std::optional<Closed> verify_at(Nanoseconds wall) const = 0;
};

/// Who is at the other end. Text from the peer is as it came: escape it before writing it anywhere.
struct PeerIdentity {
    std::string address; // "192.0.2.1:4461", "[2001:db8::1]:4461"
    std::string subject; // RFC 2253; empty when the peer has no certificate
    std::string issuer;
    std::string serial;             // hex
    std::string fingerprint;        // SHA-256 of the certificate, hex
    std::vector<std::string> names; // subjectAltName, as in `allow`: "DNS:a", "IP:192.0.2.1", "URI:...", "EMAIL:..."
    std::string matched;            // the reference identifier or allow entry that admitted it; empty = any of the CA
    std::string reference;          // what its certificate was asked to bear; empty in the server role
    std::string protocol;           // "TLS1.3"
    std::string suite;              // IANA name
    std::string undetermined;  // why its revocation is not known, where that is tolerated; empty = it is not revoked
    Nanoseconds valid_until{}; // wall clock; the earlier end of the peer's certificate and ours; 0 = none
    std::shared_ptr<const ProvisionalChain> provisional; // null = nothing is left to verify
};

/// Why a datagram carrier discards a record, in silence; an enumerator prints as itself.
enum class Discard : std::uint8_t {
    not_a_record,    // no record header, or cut short
    no_association,  // its sender has no channel, and it opens none
    no_cookie,       // a ClientHello that does not prove its address: answered with a cookie if it can be read
    wrong_epoch,     // under a key that is over, or not agreed on yet
    bad_record,      // not authentic, or its number belongs to another record
    replay_detected, // it came before, or is too old to say
};
inline constexpr std::size_t kDiscards = static_cast<std::size_t>(Discard::replay_detected) + 1;
[[nodiscard]] std::string_view name(Discard discard) noexcept;

struct Discarded {
    Discard why{};
    bool verified = true;     // replay_detected: false = the number alone says so, and anybody can write that
    std::uint64_t count{};    // of one datagram
    const Channel* channel{}; // whose sender it claims; null when there is none
};

struct Closed {
    CloseReason reason{};
    std::string text; // the library's words, or empty
};

/// An attempt, or a peer, that never became a channel.
struct Failed {
    CloseReason reason{};
    std::string text;
    PeerIdentity peer; // what was learnt before the refusal; `address` whenever it is known
};

/// One authenticated peer; carries whole messages, promises neither delivery nor order. Destroying it closes it
/// without a further call; never destroy it inside one of its own callbacks other than on_closed.
class Channel {
public:
    Channel() = default;
    virtual ~Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    /// Copies what it keeps.
    [[nodiscard]] virtual SendResult send(std::span<const std::byte> message) = 0;
    /// Orderly: what was sent before still goes out, then on_closed comes on a later turn. Twice is as good as once.
    virtual void close(CloseReason why) = 0;
    [[nodiscard]] virtual const PeerIdentity& peer() const noexcept = 0;
    /// Unique on its loop, for ever.
    [[nodiscard]] virtual std::uint64_t number() const noexcept = 0;
    /// Its keys are being renewed by an exchange that nothing else may cross: send() says congested until on_rekeyed.
    /// What can wait with its hold corrected should wait; only an SSH channel ever says so.
    [[nodiscard]] virtual bool rekeying() const noexcept { return false; }
    /// What its carrier trusts may be another by now: judges the peer by it, and ends the channel with the reason when
    /// it is admitted no longer.
    virtual void recheck() {}
    /// Our own certificate was replaced since it was opened.
    [[nodiscard]] virtual bool outdated() const noexcept { return false; }
    /// Fills `out` with key material that both ends, and nobody else, derive from this channel (RFC 5705, RFC 8446
    /// section 7.5). False where the carrier has no such thing.
    [[nodiscard]] virtual bool export_keys(const std::string& /*label*/, std::span<const std::byte> /*context*/,
                                           std::span<std::byte> /*out*/)
    {
        return false;
    }
};

/// Hears from channels, from the event loop only. Outlives its connectors, listeners, attempts and channels.
class ChannelHandler {
public:
    /// Authenticated; the handler owns it from here.
    virtual void on_open(std::unique_ptr<Channel> channel) = 0;
    /// `message` lives for the call; `arrival` is when its last octet came, from the kernel where possible.
    virtual void on_message(Channel& from, std::span<const std::byte> message, Instant arrival) = 0;
    /// The peer will send nothing more but still reads (raw framing: socat half-closes at once).
    virtual void on_end(Channel& from) = 0;
    /// What was sent in this turn is sealed and about to be written: the latest instant at which a hold can end.
    virtual void on_leaving(Channel&) {}
    virtual void on_closed(Channel& channel, const Closed& why) = 0;
    /// Its keys are new, whoever began it: what waited for that may be sent.
    virtual void on_rekeyed(Channel& /*channel*/) {}
    /// For a peer that a limit kept out: limit_reached, and the limit's name as text.
    virtual void on_failed(const Failed& why) = 0;
    /// Of datagram carriers only.
    virtual void on_discarded(const Discarded& /*record*/) {}

protected:
    ~ChannelHandler() = default;
};

struct Target {
    std::string host; // name or address, without brackets
    std::uint16_t port{};
};

/// A running attempt to open one channel; destroying it cancels it without a further call.
class Attempt {
public:
    Attempt() = default;
    virtual ~Attempt() = default;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;
};

class Connector {
public:
    Connector() = default;
    virtual ~Connector() = default;
    Connector(const Connector&) = delete;
    Connector& operator=(const Connector&) = delete;
    /// The name is resolved anew at each attempt, every address tried in turn until one answers.
    [[nodiscard]] virtual std::unique_ptr<Attempt> connect(const Target& target, ChannelHandler& handler) = 0;
};

/// What keeps a peer from being let in; an enumerator prints as its configuration key ("half-open").
enum class Limit : std::uint8_t { channels, half_open, handshakes_per_second_per_source, handshakes_per_second };
inline constexpr std::size_t kLimits = static_cast<std::size_t>(Limit::handshakes_per_second) + 1;
[[nodiscard]] std::string_view name(Limit limit) noexcept;

/// Always: accepted == opened + all of failed + all of refused + pending.
struct ListenerCounters {
    std::uint64_t accepted{};
    std::uint64_t opened{};
    std::uint64_t pending{}; // handshakes under way; a gauge
    std::array<std::uint64_t, kCloseReasons> failed{};
    std::array<std::uint64_t, kLimits> refused{};
};

class Listener {
public:
    Listener() = default;
    virtual ~Listener() = default;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    [[nodiscard]] virtual const std::string& address() const noexcept = 0; // as bound
    [[nodiscard]] virtual const ListenerCounters& counters() const noexcept = 0;
    virtual void stop() = 0; // lets nobody in any more; open channels stay
};

} // namespace transports
