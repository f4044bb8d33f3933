// What an NTS client remembers of each key-establishment server over a restart: unused cookies and failed attempts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "gateway/config.hpp"
#include "gateway/services.hpp"
#include "ntp-shim/nts_backoff.hpp"
#include "ntp-shim/nts_state.hpp"

namespace gateway {

/// One file for each target in nts.state: "TUNNEL.N.nts", N its place in `connect`. Without nts.state it forgets.
class NtsMemory {
public:
    /// Reads the files of `tunnel`, which outlives it, and deletes them: no cookie may be used by two processes.
    NtsMemory(Services services, const Tunnel& tunnel);

    /// What was read of a target's session, once.
    [[nodiscard]] std::optional<ntp_shim::NtsClientState> take(const std::string& target);
    /// At the end of the process.
    void keep(const std::string& target, ntp_shim::NtsClientState state, ntp_shim::NtsSession session);

    // RFC 8915 section 4.2:
    [[nodiscard]] bool may_attempt(const std::string& target) const;
    [[nodiscard]] std::int64_t seconds_left(const std::string& target) const;
    void attempt(const std::string& target); // one begins now; written down, so that no restart forgets it
    void used(const std::string& target);    // what was established last has worked

private:
    struct Known {
        std::filesystem::path file; // empty = none
        ntp_shim::KeBackoff backoff;
        transports::Nanoseconds not_before{}; // boot clock
        std::optional<ntp_shim::NtsClientState> read;
    };
    void load(const std::string& target, Known& known);
    void write(const Known& known, const ntp_shim::NtsClientState& state);

    Services services_;
    const Tunnel& tunnel_;
    std::map<std::string, Known> known_; // one for each target of the tunnel
};

} // namespace gateway
