#include "gateway/policies.hpp"

#include "ntp-shim/frame.hpp"

namespace gateway {

namespace {

ntp_shim::Framing shim_framing(Framing framing) noexcept
{
    return framing == Framing::raw ? ntp_shim::Framing::raw : ntp_shim::Framing::v1;
}

ntp_shim::ExchangeLimits exchange_limits(const Limits& limits) noexcept
{
    return {limits.exchanges, limits.exchanges_per_channel, limits.exchanges_per_client,
            limits.requests_per_second_per_client};
}

} // namespace

ntp_shim::ChannelSeed channel_seed(Random& random) noexcept
{
    return {static_cast<std::uint32_t>(random.bits()), random.bits()};
}

ntp_shim::ClientPolicy client_policy(const Tunnel& tunnel, Random& random)
{
    ntp_shim::ClientPolicy policy;
    policy.hash_seed = random.bits(); // a client that chooses its stamps cannot choose their places in a table
    policy.framing = shim_framing(tunnel.framing);
    policy.max_age = tunnel.timing.max_age;
    policy.max_round_trip = tunnel.timing.max_round_trip;
    policy.max_uncorrected = tunnel.timing.max_uncorrected;
    policy.correct_hold = tunnel.timing.correct_hold;
    policy.forward_kod = tunnel.forward_kod;
    policy.forward_unsynchronised = tunnel.forward_unsynchronised;
    policy.limits = exchange_limits(tunnel.limits);
    return policy;
}

ntp_shim::ServerPolicy server_policy(const Tunnel& tunnel, Random& random)
{
    ntp_shim::ServerPolicy policy;
    policy.hash_seed = random.bits(); // a client that chooses its stamps cannot choose their places in a table
    policy.framing = shim_framing(tunnel.framing);
    policy.max_age = tunnel.timing.max_age;
    policy.max_round_trip = tunnel.timing.max_round_trip;
    policy.max_uncorrected = tunnel.timing.max_uncorrected;
    policy.correct_hold = tunnel.timing.correct_hold;
    policy.limits = exchange_limits(tunnel.limits);
    return policy;
}

transports::StreamOptions stream_options(const Tunnel& tunnel)
{
    transports::StreamOptions options;
    if (tunnel.framing == Framing::raw) {
        options.framing = transports::StreamFraming::records;
    } else {
        options.min_message = static_cast<std::uint16_t>(ntp_shim::kFrameHeaderSize);
        options.max_message = static_cast<std::uint16_t>(ntp_shim::kMaxFrame);
    }
    options.connect = tunnel.timing.connect;
    options.handshake = tunnel.timing.handshake;
    options.idle = tunnel.timing.idle;
    return options;
}

transports::DatagramOptions datagram_options(const Tunnel& tunnel)
{
    return {tunnel.mtu, tunnel.timing.connect, tunnel.timing.handshake, tunnel.timing.idle};
}

transports::SshOptions ssh_options(const Tunnel& tunnel)
{
    transports::SshOptions options;
    options.min_message = static_cast<std::uint16_t>(ntp_shim::kFrameHeaderSize);
    options.max_message = static_cast<std::uint16_t>(ntp_shim::kMaxFrame);
    options.connect = tunnel.timing.connect;
    options.handshake = tunnel.timing.handshake;
    options.idle = tunnel.timing.idle;
    return options;
}

transports::AdmissionLimits admission_limits(const Limits& limits)
{
    return {limits.channels, limits.half_open, limits.handshakes_per_second_per_source, limits.handshakes_per_second};
}

} // namespace gateway
