// `ntpgate run`: the loop and every head-end on it, from the first bind to the last goodbye.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/client_front.hpp"
#include "gateway/config.hpp"
#include "gateway/lab_faults.hpp"
#include "gateway/roles.hpp"
#include "gateway/services.hpp"
#include "transports/clock_steps.hpp"

namespace gateway {

enum ExitCode : int { kSuccess = 0, kFailure = 1, kUsage = 2, kSelfTest = 3 };

/// Runs the tunnels of a valid configuration until a signal ends it; the exit code of design section 9. Errors are on
/// stderr by then.
[[nodiscard]] int run_tunnels(const Config& config);

/// One for each process: it handles SIGTERM, SIGINT, SIGHUP and SIGUSR1.
class Program {
public:
    Program(const Config& config, Log& log, Audit& audit);
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    /// Makes and binds every head-end; on an error the exit code to end with.
    [[nodiscard]] std::optional<int> open();
    [[nodiscard]] int run(); // from bound to stopped

private:
    [[nodiscard]] std::optional<int> open_tunnel(const Tunnel& tunnel);
    [[nodiscard]] std::optional<int> give_up_privileges();
    void check_ready();
    void announce_ready();
    void drain(const char* why);
    void check_drained();
    void keep_house();
    [[nodiscard]] bool obey_audit();
    void tell_step(const transports::ClockStep& step);
    void reopen_files();
    void stop(int code);
    [[nodiscard]] nlohmann::ordered_json counters() const;

    const Config& config_;
    Log& log_;
    Audit& audit_;
    Random random_;
    transports::Loop loop_;
    transports::Admission admission_;
    ExchangeBudget exchanges_;
    OwnListeners own_;
    Services services_;
    std::vector<std::unique_ptr<ClientFront>> clients_;
    std::vector<std::unique_ptr<ServerRole>> servers_;
    std::vector<std::unique_ptr<LabBroadcast>> broadcasts_;
    std::vector<std::unique_ptr<transports::Signal>> signals_;
    transports::TurnEnd ready_check_;
    transports::Timer ready_deadline_;
    transports::Timer drain_timer_;
    transports::Timer housekeeping_;
    transports::ClockSteps clock_steps_;
    transports::Nanoseconds drain_deadline_{};
    std::uint64_t told_missed_ = 0; // of the records that the system's log lacks
    bool ready_ = false;
    bool draining_ = false;
    int exit_code_ = kSuccess;
    std::string why_stopped_;
};

} // namespace gateway
