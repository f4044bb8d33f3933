// Every address where this process takes NTP: nobody may be told to ask us there.
#pragma once

#include <string>
#include <vector>

#include "gateway/config.hpp"

namespace gateway {

enum class Locality : std::uint8_t { local, remote, unknown };
/// Whether `address` is one of this host's, by its interfaces as they are now; unknown when they cannot be listed.
[[nodiscard]] Locality locality_of(const SocketAddress& address);

/// Whether what this host sends to `address` comes to what is bound to `listener`. An address of unknown locality is
/// taken for ours: it is asked again at the next attempt, while a loop would serve its own time as another's.
[[nodiscard]] bool reaches(const SocketAddress& address, const SocketAddress& listener);

class OwnListeners {
public:
    /// `bound`: as the head-end says it, the addresses of `listen` first.
    void add(const Tunnel& tunnel, const std::vector<std::string>& bound);
    /// Whether what is sent there comes to us.
    [[nodiscard]] bool reached_by(const SocketAddress& address) const;

private:
    std::vector<SocketAddress> addresses_;
};

} // namespace gateway
