#include "transports/channel.hpp"

#include <array>
#include <utility>

namespace transports {

namespace {

using enum CloseReason;

constexpr std::array<std::pair<CloseReason, std::string_view>, kCloseReasons> kNames{{
    {local_request, "local_request"},
    {drained, "drained"},
    {peer_closed, "peer_closed"},
    {connection_lost, "connection_lost"},
    {unreachable, "unreachable"},
    {resolve_failed, "resolve_failed"},
    {connect_timeout, "connect_timeout"},
    {handshake_timeout, "handshake_timeout"},
    {idle_timeout, "idle_timeout"},
    {dead_peer, "dead_peer"},
    {unanswered, "unanswered"},
    {max_channel_age, "max_channel_age"},
    {superseded, "superseded"},
    {limit_reached, "limit_reached"},
    {io_error, "io_error"},
    {bad_framing, "bad_framing"},
    {congested, "congested"},
    {credentials_replaced, "credentials_replaced"},
    {protocol_error, "protocol_error"},
    {refused_by_peer, "refused_by_peer"},
    {protocol_version, "protocol_version"},
    {no_common_suite, "no_common_suite"},
    {no_common_group, "no_common_group"},
    {no_common_signature, "no_common_signature"},
    {no_extended_master_secret, "no_extended_master_secret"},
    {no_alpn, "no_alpn"},
    {unexpected_alpn, "unexpected_alpn"},
    {renegotiation, "renegotiation"},
    {no_common_kex, "no_common_kex"},
    {no_common_host_key, "no_common_host_key"},
    {no_common_cipher, "no_common_cipher"},
    {no_common_mac, "no_common_mac"},
    {packet_too_large, "packet_too_large"},
    {rekey_timeout, "rekey_timeout"},
    {host_key_unknown, "host_key_unknown"},
    {host_key_changed, "host_key_changed"},
    {host_key_revoked, "host_key_revoked"},
    {user_unknown, "user_unknown"},
    {user_key_unknown, "user_key_unknown"},
    {user_key_wrong_address, "user_key_wrong_address"},
    {user_key_expired, "user_key_expired"},
    {user_signature_invalid, "user_signature_invalid"},
    {password_refused, "password_refused"},
    {auth_method_refused, "auth_method_refused"},
    {shell_refused, "shell_refused"},
    {exec_refused, "exec_refused"},
    {pty_refused, "pty_refused"},
    {subsystem_refused, "subsystem_refused"},
    {forwarding_refused, "forwarding_refused"},
    {x11_refused, "x11_refused"},
    {agent_refused, "agent_refused"},
    {channel_refused, "channel_refused"},
    {no_certificate, "no_certificate"},
    {certificate_expired, "certificate_expired"},
    {certificate_not_yet_valid, "certificate_not_yet_valid"},
    {name_mismatch, "name_mismatch"},
    {name_only_in_subject, "name_only_in_subject"},
    {no_subject, "no_subject"},
    {unknown_ca, "unknown_ca"},
    {self_signed, "self_signed"},
    {bad_signature, "bad_signature"},
    {invalid_ca, "invalid_ca"},
    {path_too_long, "path_too_long"},
    {eku_missing, "eku_missing"},
    {eku_wrong, "eku_wrong"},
    {certificate_revoked, "certificate_revoked"},
    {issuer_revoked, "issuer_revoked"},
    {revocation_undetermined, "revocation_undetermined"},
    {crl_stale, "crl_stale"},
    {ocsp_unknown, "ocsp_unknown"},
    {ocsp_missing, "ocsp_missing"},
    {ocsp_unreachable, "ocsp_unreachable"},
    {ocsp_stale, "ocsp_stale"},
    {ocsp_bad_signature, "ocsp_bad_signature"},
    {ocsp_invalid, "ocsp_invalid"},
    {weak_key, "weak_key"},
    {weak_signature, "weak_signature"},
    {not_on_allow_list, "not_on_allow_list"},
    {time_too_early, "time_too_early"},
    {certificate_invalid, "certificate_invalid"},
}};

constexpr bool stands_in_order()
{
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if (static_cast<std::size_t>(kNames.at(i).first) != i || kNames.at(i).second.empty()) {
            return false;
        }
    }
    return true;
}
static_assert(stands_in_order(), "name() looks up by position");

} // namespace

std::string_view name(CloseReason reason) noexcept
{
    const auto position = static_cast<std::size_t>(reason);
    return position < kNames.size() ? kNames[position].second : std::string_view{"unknown"};
}

std::string_view name(Discard discard) noexcept
{
    switch (discard) {
    case Discard::not_a_record:
        return "not_a_record";
    case Discard::no_association:
        return "no_association";
    case Discard::no_cookie:
        return "no_cookie";
    case Discard::wrong_epoch:
        return "wrong_epoch";
    case Discard::bad_record:
        return "bad_record";
    case Discard::replay_detected:
        return "replay_detected";
    }
    return "unknown";
}

bool is_certificate_reason(CloseReason reason) noexcept
{
    // They stand together at the end of the enumeration.
    return reason >= no_certificate;
}

} // namespace transports
