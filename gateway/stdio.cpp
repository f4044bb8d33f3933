#include "gateway/stdio.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "gateway/carrier.hpp"
#include "gateway/lab_faults.hpp"
#include "gateway/mac_sealing.hpp"
#include "gateway/policies.hpp"
#include "gateway/privileges.hpp"
#include "gateway/program.hpp"
#include "gateway/self_test.hpp"
#include "gateway/server_head.hpp"
#include "gateway/services.hpp"
#include "gateway/version.hpp"
#include "transports/clock_steps.hpp"
#include "transports/stdio_channel.hpp"

namespace gateway {

namespace {

constexpr auto kDrainLook = std::chrono::milliseconds{10};
constexpr auto kAuditLook = std::chrono::seconds{1};

std::string environment(const char* name)
{
    const char* const value = std::getenv(name); // NOLINT(concurrency-mt-unsafe): before any thread is made
    return value == nullptr ? "" : value;
}

/// "192.0.2.1 50022 198.51.100.7 22" as sshd writes it: client address and port first.
std::string address_of(const std::string& connection)
{
    const auto address = connection.substr(0, connection.find(' '));
    const auto rest = connection.substr(std::min(address.size() + 1, connection.size()));
    const auto port = rest.substr(0, rest.find(' '));
    if (address.empty() || port.empty()) {
        return "stdio";
    }
    return address.find(':') == std::string::npos ? address + ":" + port : "[" + address + "]:" + port;
}

class StdioCarrier final : public Carrier {
public:
    StdioCarrier(const Tunnel& tunnel, std::function<void()> gone)
    {
        const auto stream = ssh_options(tunnel);
        options_.min_message = stream.min_message;
        options_.max_message = stream.max_message;
        options_.idle = stream.idle;
        options_.peer.address = address_of(environment("SSH_CONNECTION"));
        options_.peer.subject = environment("LOGNAME");
        options_.peer.protocol = "sshd";
        options_.gone = std::move(gone);
    }
    [[nodiscard]] std::unique_ptr<transports::Connector> connector(transports::Loop&) const override { return nullptr; }
    [[nodiscard]] Bound listen(transports::Loop& loop, const SocketAddress&, transports::Admission&,
                               transports::ChannelHandler& handler) const override
    {
        return transports::make_stdio_listener(loop, options_, handler);
    }

private:
    transports::StdioOptions options_;
};

/// Ends the loop when a record can not be written and `on-full` is stop: what leaves no trace is not served.
class AuditWatch {
public:
    AuditWatch(transports::Loop& loop, const Audit& audit)
        : loop_{loop}, audit_{audit}, timer_{loop, [this] { look(); }}
    {
        timer_.start(kAuditLook);
    }

private:
    void look()
    {
        if (audit_.must_stop()) {
            loop_.stop();
        } else {
            timer_.start(kAuditLook);
        }
    }

    transports::Loop& loop_;
    const Audit& audit_;
    transports::Timer timer_;
};

AuditRecord record_of(AuditEvent event, const Tunnel& tunnel)
{
    AuditRecord record;
    record.event = event;
    record.tunnel = tunnel.name;
    return record;
}

nlohmann::ordered_json started_json(const Config& config, const Tunnel& tunnel)
{
    nlohmann::ordered_json fields = {{"version", kVersion}};
    fields.update({{"config", config.file}, {"claim", tunnel.claim}});
    fields.update(loaded_json(config));
    fields.update(deliberate_wrongs(tunnel));
    return fields;
}

int serve(const Config& config, const Tunnel& tunnel, Audit& audit)
{
    Log log{LogLevel::error, config.log_format}; // the rest would be the peer's to read
    Random random;
    transports::Loop loop;
    transports::Admission admission{{0, 0, 0, 0}, nullptr};
    ExchangeBudget exchanges{config.limits.exchanges, 0};
    const Services services{loop, log, audit, random, admission, exchanges};
    std::unique_ptr<ServerSealing> sealing;
    if (tunnel.mac) {
        auto made = make_mac_server_sealing(services, tunnel);
        if (const auto* problems = std::get_if<std::vector<CarrierProblem>>(&made)) {
            log.error(
                fmt::format("{}.{}: {}", problems->front().block, problems->front().setting, problems->front().text));
            return kUsage; // a file changed since the configuration was checked
        }
        sealing = std::move(std::get<std::unique_ptr<ServerSealing>>(made));
    }
    sealing = with_faults(tunnel, std::move(sealing));
    ServerHead head{services, tunnel, std::make_unique<StdioCarrier>(tunnel, [&] { loop.stop(); }), std::move(sealing)};
    if (const auto error = head.bind()) {
        log.error(*error);
        return kFailure;
    }
    if (const auto error = drop_privileges({})) {
        log.error("privileges not dropped: " + *error);
        return kFailure;
    }
    audit.record(record_of(AuditEvent::started, tunnel), started_json(config, tunnel));
    transports::Timer drained{loop, [&] {
                                  if (head.drained()) {
                                      loop.stop();
                                  } else {
                                      drained.start(kDrainLook);
                                  }
                              }};
    const auto drain = [&] {
        head.drain();
        drained.start(kDrainLook);
    };
    const transports::Signal terminate{loop, SIGTERM, drain};
    const transports::Signal interrupt{loop, SIGINT, drain};
    const transports::Signal hang_up{loop, SIGHUP, drain}; // sshd's way to say that the session is over
    const transports::ClockSteps steps{loop, [&](const transports::ClockStep&) { head.on_clock_step(); }};
    if (!audit.must_stop()) {
        const AuditWatch watch{loop, audit};
        loop.run();
    }
    audit.write_folded(transports::read_boot(), true);
    audit.record(record_of(AuditEvent::stopped, tunnel), {{"counters", head.counters()}});
    if (audit.must_stop()) {
        log.error(audit.failure() + "; stopped, since audit.on-full is stop");
        return kFailure;
    }
    return kSuccess;
}

int usage(const std::string& text)
{
    std::cerr << "ntpgate: " << text << '\n';
    return kUsage;
}

} // namespace

int run_stdio(const Loaded& loaded, const std::string& name)
{
    if (!loaded.config) {
        for (const Problem& problem : loaded.errors) {
            std::cerr << problem.text() << '\n';
        }
        return kUsage;
    }
    const auto& tunnels = loaded.config->tunnels;
    const auto tunnel =
        std::find_if(tunnels.begin(), tunnels.end(), [&](const Tunnel& candidate) { return candidate.name == name; });
    if (tunnel == tunnels.end() || !tunnel->stdio) {
        return usage(fmt::format("{} has no tunnel named {} with listen: stdio", loaded.config->file, name));
    }
    if (isatty(STDIN_FILENO) != 0 || isatty(STDOUT_FILENO) != 0) {
        return usage("stdio is for sshd to run, as its subsystem: a terminal is no channel");
    }
    forbid_core_dumps();
    (void)std::signal(SIGPIPE, SIG_IGN); // a peer that is gone shows as EPIPE
    AuditSettings settings;
    settings.syslog = true;
    settings.stop_when_full = loaded.config->audit.stop_when_full;
    auto audit = Audit::open(settings, audit_scope(*loaded.config));
    if (const auto* error = std::get_if<std::string>(&audit)) {
        std::cerr << *error << '\n';
        return kFailure;
    }
    if (const auto failed = self_test(*loaded.config, *std::get<std::unique_ptr<Audit>>(audit))) {
        std::cerr << fmt::format("ntpgate: self-test failed: {}: {}\n", failed->reason, failed->text);
        return kSelfTest;
    }
    return serve(*loaded.config, *tunnel, *std::get<std::unique_ptr<Audit>>(audit));
}

} // namespace gateway
