// Where the two sides' vocabularies meet: policies, instants and stream options made from a tunnel's configuration.
#pragma once

#include "gateway/config.hpp"
#include "gateway/random.hpp"
#include "ntp-shim/client_shim.hpp"
#include "ntp-shim/server_shim.hpp"
#include "transports/admission.hpp"
#include "transports/clock.hpp"
#include "transports/dtls.hpp"
#include "transports/ssh.hpp"
#include "transports/tls.hpp"

namespace gateway {

[[nodiscard]] inline ntp_shim::Instant shim_instant(transports::Instant instant) noexcept
{
    return {instant.raw, instant.boot};
}
[[nodiscard]] inline ntp_shim::Instant shim_now() noexcept
{
    return shim_instant(transports::read_instant());
}
[[nodiscard]] ntp_shim::ChannelSeed channel_seed(Random& random) noexcept;
[[nodiscard]] ntp_shim::ClientPolicy client_policy(const Tunnel& tunnel, Random& random);
[[nodiscard]] ntp_shim::ServerPolicy server_policy(const Tunnel& tunnel, Random& random);
[[nodiscard]] transports::StreamOptions stream_options(const Tunnel& tunnel);
[[nodiscard]] transports::DatagramOptions datagram_options(const Tunnel& tunnel);
[[nodiscard]] transports::SshOptions ssh_options(const Tunnel& tunnel);
[[nodiscard]] transports::AdmissionLimits admission_limits(const Limits& limits);

} // namespace gateway
