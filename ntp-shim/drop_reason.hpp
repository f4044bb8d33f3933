// Why a datagram, frame or packet was not forwarded: one word for the log, the counter, the tests and the documents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ntp_shim {

/// An enumerator prints as itself. Each refused input is counted under exactly one of these.
enum class DropReason : std::uint8_t {
    // the shape of a datagram
    too_short,   // fewer than 48 octets
    too_long,    // more than an NTP packet may have (1024; NTS 1280), or truncated by the kernel
    bad_version, // version outside 1..4, or not the request's
    bad_mode,    // not mode 3 towards a daemon, not mode 4 towards a client
    bad_source,  // source port 0; multicast, broadcast or unspecified address; one of our own listeners
    not_allowed, // source outside `clients`
    // limits
    rate_limited,   // requests-per-second-per-client
    client_limit,   // exchanges-per-client
    channel_limit,  // exchanges-per-channel
    exchange_limit, // exchanges
    raw_busy,       // raw framing: every channel has its one exchange outstanding
    congested,      // the carrier takes no more without queueing what would be out of date
    oversize,       // the carrier's path takes no packet of this length in one piece
    // age
    too_old,      // held longer than max-age
    too_late,     // the exchange's max-round-trip had passed
    replaced,     // a repetition of the same request took its place
    no_channel,   // no open channel before the request became too old, or when draining
    channel_lost, // the channel closed before hand-over
    // frames
    bad_frame,          // length, version, type, reserved bits
    unexpected_frame,   // a type this role does not accept from its peer
    frame_limit,        // more than ten pings a second
    duplicate_exchange, // an id (or, unchanged requests, a transmit stamp) that is open already
    raw_partial,        // raw framing: the rest of a packet did not come within 50 ms
    // seals
    no_mac,          // nothing protects it, and something must
    bad_mac_form,    // what follows the header is neither extension fields nor a MAC of a length that the key has
    unknown_key,     // a key id that is not ours, is not trusted, or is not the request's
    key_not_allowed, // the key's address list does not have the peer
    bad_mac,         // the digest is not the key's over this packet
    replayed,        // a sealed request that came from this address before
    no_key,          // the key file has none of the keys to seal with
    sealed_already,  // a client's own MAC or extension fields, where the request would have to be re-issued
    asked_to_wait,   // an authenticated RATE kiss: too early to ask again
    // replies
    no_exchange,      // answers no open exchange
    second_reply,     // the exchange was answered already
    bad_origin,       // origin is not the request's transmit stamp
    zero_stamp,       // T2 or T3 is zero
    reply_too_long,   // longer than a request without extension fields
    unsynchronised,   // leap 3, stratum 0 or 16 and up
    kiss_of_death,    // stratum 0 with a kiss code
    crypto_nak,       // four zero octets after the header
    implausible_hold, // holds + (T3 - T2) exceed what the client role itself measured
    hold_overflow,    // a hold of a second or more
    not_correctable,  // protected end to end, and no open channel
    held_too_long,    // protected end to end, and held more than max-uncorrected
    // NTS
    unprotected,   // no NTS where it is asked for; of a reply: somebody else answers on the way
    bad_nts_field, // an extension field that is malformed, missing, repeated or in a wrong place
    bad_cookie,    // sealed by no key that is still taken; answered with a NAK
    not_authentic, // the authenticator is not of this packet and its keys; a request is answered with a NAK
    nts_nak,       // the server does not know our cookie any more
    no_cookie,     // none left to ask with, or none fits into a reply
    keys_unsure,   // ratchet: the clock claims an epoch that nothing else bears out
    // upstream
    mirror_invalid,          // upstream mirror: daemon and system clock are not in agreement
    upstream_unreachable,    // the daemon's port answered ECONNREFUSED, or the socket would not take it
    upstream_unsynchronised, // upstream clock: the kernel says it is not synchronised
    // delivery
    send_failed, // the local socket refused the reply
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(DropReason::send_failed) + 1;

[[nodiscard]] std::string_view name(DropReason reason) noexcept;

} // namespace ntp_shim
