#include "gateway/program.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gateway/client_channels.hpp"
#include "gateway/confinement.hpp"
#include "gateway/datagram_client.hpp"
#include "gateway/heads.hpp"
#include "gateway/lab_faults.hpp"
#include "gateway/notify.hpp"
#include "gateway/policies.hpp"
#include "gateway/privileges.hpp"
#include "gateway/self_test.hpp"
#include "gateway/utc_time.hpp"
#include "gateway/version.hpp"
#include "transports/ocsp_desk.hpp"
#include "transports/off_loop.hpp"

namespace gateway {

namespace {

using nlohmann::ordered_json;
using Problems = std::vector<CarrierProblem>;

constexpr auto kReadyDeadline = std::chrono::seconds{10};
constexpr auto kDrainDeadline = std::chrono::seconds{5};
constexpr auto kDrainLook = std::chrono::milliseconds{10};
constexpr auto kHousekeeping = std::chrono::seconds{1};
constexpr const char* kAuditFailed = "audit_failed";
constexpr std::uint64_t kOtherDescriptors = 128; // standard streams, loop, audit, name look-ups, upstream sockets

std::uint64_t descriptors_needed(const Config& config)
{
    // Connections just refused keep theirs for a moment, so that the peer gets to read why.
    std::uint64_t needed = kOtherDescriptors + config.limits.half_open + transports::Loop::kMaxGuests;
    std::uint64_t each = 0; // for a channel; under ssh the library has a duplicate
    for (const Tunnel& tunnel : config.tunnels) {
        const std::uint64_t own = tunnel.channel == ChannelKind::ssh ? 2 : 1;
        each = std::max(each, tunnel.role == Role::server && !tunnel.stdio ? own : 0);
        needed += tunnel.listen.size() + own * ClientChannels::kMaxRawChannels;
        const bool asks = tunnel.channel == ChannelKind::mac || tunnel.channel == ChannelKind::nts;
        needed += tunnel.role == Role::client && asks ? DatagramClient::kMaxSockets : 0;
    }
    needed += each * config.limits.channels + (each > 1 ? config.limits.half_open : 0);
    return needed;
}

/// Responders that do not answer must not keep names from being looked up, nor files from being read.
unsigned threads_needed(const Config& config)
{
    constexpr unsigned kOthers = 4;
    constexpr unsigned kMost = 64;
    const auto asking = std::ranges::count_if(
        config.tunnels, [](const Tunnel& tunnel) { return tunnel.tls.ocsp != transports::Ocsp::none; });
    const auto each = static_cast<unsigned>(transports::OcspDesk::kMaxAtOnce) + 1; // and one for our own staple
    return std::min(kOthers + each * static_cast<unsigned>(asking), kMost);
}

AuditRecord record_of(AuditEvent event, bool success = true)
{
    AuditRecord record;
    record.event = event;
    record.success = success;
    return record;
}

ordered_json tunnel_json(const Tunnel& tunnel, const std::vector<std::string>& addresses)
{
    ordered_json result = {{"name", tunnel.name},
                           {"role", name(tunnel.role)},
                           {"channel", name(tunnel.channel)},
                           {"claim", tunnel.claim},
                           {"listen", addresses}};
    result.update(deliberate_wrongs(tunnel));
    return result;
}

} // namespace

Program::Program(const Config& config, Log& log, Audit& audit)
    : config_{config}, log_{log}, audit_{audit}, admission_{admission_limits(config.limits), nullptr},
      exchanges_{config.limits.exchanges, 0}, services_{loop_, log_, audit_, random_, admission_, exchanges_, &own_},
      ready_check_{loop_, [this] { check_ready(); }}, ready_deadline_{loop_, [this] { announce_ready(); }},
      drain_timer_{loop_, [this] { check_drained(); }}, housekeeping_{loop_, [this] { keep_house(); }},
      clock_steps_{loop_, [this](const transports::ClockStep& step) { tell_step(step); }}
{}

Program::~Program() = default;

std::optional<int> Program::open()
{
    transports::reserve_threads(threads_needed(config_));
    if (const auto error = allow_descriptors(descriptors_needed(config_))) {
        log_.error(*error);
        return kUsage;
    }
    for (const Tunnel& tunnel : config_.tunnels) {
        if (tunnel.stdio) {
            log_.info(fmt::format("tunnel {}: listen: stdio is for ntpgate stdio, under sshd", tunnel.name));
            continue;
        }
        if (const auto code = open_tunnel(tunnel)) {
            return code;
        }
    }
    return give_up_privileges();
}

std::optional<int> Program::give_up_privileges()
{
    const Reach reach = reach_of(config_);
    std::variant<int, std::string> landlock;
    if (auto error = drop_privileges(config_.user)) {
        landlock = std::move(*error);
    } else {
        landlock = confine(reach);
    }
    AuditRecord record = record_of(AuditEvent::privileges_dropped);
    record.subject = config_.user;
    if (const auto* error = std::get_if<std::string>(&landlock)) {
        log_.error("privileges not dropped: " + *error);
        record.success = false;
        record.reason = *error;
        audit_.record(record);
        return kFailure;
    }
    if (std::get<int>(landlock) == 0) {
        log_.warn("this kernel has no Landlock: files are protected by their modes alone");
    }
    audit_.record(record, {{"seccomp", true}, {"landlock", std::get<int>(landlock)}});
    return std::nullopt;
}

std::optional<int> Program::open_tunnel(const Tunnel& tunnel)
{
    std::vector<CarrierProblem> problems;
    std::optional<std::string> error;
    if (tunnel.role == Role::client) {
        auto front = std::make_unique<ClientFront>(services_, tunnel, [this] { ready_check_.request(); });
        problems = front->make_head();
        error = problems.empty() ? front->bind() : std::nullopt;
        own_.add(tunnel, front->addresses());
        clients_.push_back(std::move(front));
    } else if (auto made = make_server_role(services_, tunnel); std::holds_alternative<Problems>(made)) {
        problems = std::get<Problems>(std::move(made));
    } else {
        servers_.push_back(std::move(std::get<std::unique_ptr<ServerRole>>(made)));
        error = servers_.back()->bind();
        own_.add(tunnel, servers_.back()->addresses());
        if (auto broadcast = make_broadcast(services_, tunnel); std::holds_alternative<std::string>(broadcast)) {
            error = error ? error : std::get<std::string>(std::move(broadcast));
        } else if (std::get<std::unique_ptr<LabBroadcast>>(broadcast)) {
            broadcasts_.push_back(std::get<std::unique_ptr<LabBroadcast>>(std::move(broadcast)));
        }
    }
    for (const auto& problem : problems) {
        log_.error(fmt::format("tunnel {}: {}.{}: {}", tunnel.name, problem.block, problem.setting, problem.text));
    }
    if (!problems.empty()) {
        return kUsage; // a file changed since the configuration was checked
    }
    if (error) {
        log_.error(*error);
        return kFailure;
    }
    return std::nullopt;
}

int Program::run()
{
    const auto on = [this](int number, std::function<void()> action) {
        signals_.push_back(std::make_unique<transports::Signal>(loop_, number, std::move(action)));
    };
    on(SIGTERM, [this] { drain("SIGTERM"); });
    on(SIGINT, [this] { drain("SIGINT"); });
    on(SIGHUP, [this] { reopen_files(); });
    on(SIGUSR1, [this] { log_.info("counters " + counters().dump()); });
    for (const auto& client : clients_) {
        client->start();
    }
    ready_deadline_.start(kReadyDeadline);
    housekeeping_.start(kHousekeeping);
    if (clock_steps_.problem()) {
        log_.warn("steps of the clock can not be recorded: " + *clock_steps_.problem());
    }
    ready_check_.request();
    loop_.run();

    const ordered_json counted = counters();
    broadcasts_.clear();
    clients_.clear(); // their last records, of keys destroyed, come before the one that ends all
    servers_.clear();
    audit_.write_folded(transports::read_boot(), true);
    (void)obey_audit();
    AuditRecord record = record_of(AuditEvent::stopped, exit_code_ == kSuccess);
    record.reason = why_stopped_;
    audit_.record(record,
                  {{"counters", counted}, {"head", {{"seq", audit_.head().seq}, {"hash", audit_.head().hash}}}});
    log_.info(fmt::format("stopped: {}; audit head {}:{}", why_stopped_, audit_.head().seq, audit_.head().hash));
    return obey_audit() ? exit_code_ : static_cast<int>(kFailure);
}

void Program::check_ready()
{
    if (std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->head().tried(); })) {
        announce_ready();
    }
}

void Program::announce_ready()
{
    if (ready_ || draining_) {
        return;
    }
    ready_ = true;
    ready_deadline_.stop();
    ordered_json tunnels = ordered_json::array();
    for (const auto& client : clients_) {
        tunnels.push_back(tunnel_json(client->tunnel(), client->addresses()));
    }
    for (const auto& server : servers_) {
        tunnels.push_back(tunnel_json(server->tunnel(), server->addresses()));
    }
    audit_.record(
        record_of(AuditEvent::started),
        {{"version", kVersion}, {"profile", config_.profile}, {"config", config_.file}, {"tunnels", tunnels}});
    if (!obey_audit()) {
        stop(kFailure);
        return;
    }
    for (const auto& tunnel : tunnels) {
        log_.info(fmt::format("tunnel {}: {} role on {}", tunnel["name"].get<std::string>(),
                              tunnel["role"].get<std::string>(), tunnel["listen"].dump()));
        if (tunnel.contains("faults") || tunnel.contains("clock-offset")) {
            log_.warn(
                fmt::format("tunnel {}: deliberately wrong: {}", tunnel["name"].get<std::string>(), tunnel.dump()));
        }
    }
    notify_service_manager("READY=1");
}

void Program::drain(const char* why)
{
    if (draining_) {
        return;
    }
    draining_ = true;
    why_stopped_ = why;
    log_.info(fmt::format("{}: draining", why));
    notify_service_manager("STOPPING=1");
    for (const auto& client : clients_) {
        client->head().drain();
    }
    for (const auto& server : servers_) {
        server->drain();
    }
    drain_deadline_ = transports::read_boot() + kDrainDeadline;
    drain_timer_.start(kDrainLook);
}

void Program::check_drained()
{
    const bool clients =
        std::all_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->head().drained(); });
    const bool servers = std::all_of(servers_.begin(), servers_.end(), [](const auto& s) { return s->drained(); });
    if ((clients && servers) || transports::read_boot() >= drain_deadline_) {
        stop(exit_code_);
        return;
    }
    drain_timer_.start(kDrainLook);
}

void Program::keep_house()
{
    audit_.write_folded(transports::read_boot(), false);
    clock_steps_.follow();
    if (const auto missed = audit_.missed_by_system_log(); missed != told_missed_) {
        log_.warn(fmt::format("{} audit records did not reach the system's log: {}", missed - told_missed_,
                              audit_.system_log_failure()));
        told_missed_ = missed;
    }
    if (!obey_audit()) {
        stop(kFailure);
        return;
    }
    housekeeping_.start(kHousekeeping);
}

// False when it has to end: what leaves no trace is not served.
bool Program::obey_audit()
{
    if (!audit_.must_stop()) {
        return true;
    }
    if (why_stopped_ != kAuditFailed) {
        log_.error(audit_.failure() + "; stopping, since audit.on-full is stop");
        why_stopped_ = kAuditFailed;
        exit_code_ = kFailure;
    }
    return false;
}

// Who did it is known to the kernel only: the record says that it was somebody on this host.
void Program::tell_step(const transports::ClockStep& step)
{
    const double by = std::chrono::duration<double>(step.after - step.before).count();
    const std::string old_time = utc_time(step.before);
    const std::string new_time = utc_time(step.after);
    audit_.record(record_of(AuditEvent::clock_stepped),
                  {{"old", old_time}, {"new", new_time}, {"by", by}, {"origin", "local"}});
    for (const auto& server : servers_) {
        server->on_clock_step();
    }
    log_.warn(fmt::format("the clock was stepped by {:+.6f} s, from {} to {}", by, old_time, new_time));
}

void Program::reopen_files()
{
    if (const auto error = audit_.reopen()) {
        log_.error(*error);
    }
    for (const auto& client : clients_) {
        client->head().reload();
    }
    for (const auto& server : servers_) {
        server->reload();
    }
    log_.warn("SIGHUP: audit file reopened; keys, certificates and lists are read again; the configuration is not "
              "reloaded by this version");
}

void Program::stop(int code)
{
    exit_code_ = code;
    loop_.stop();
}

ordered_json Program::counters() const
{
    ordered_json tunnels = ordered_json::object();
    for (const auto& client : clients_) {
        tunnels[client->tunnel().name] = client->head().counters();
    }
    for (const auto& server : servers_) {
        tunnels[server->tunnel().name] = server->counters();
    }
    return {{"tunnels", tunnels}};
}

namespace {

bool lost_record(const Audit& records, Log& log)
{
    if (records.must_stop()) {
        log.error(records.failure() + "; not started, since audit.on-full is stop");
    }
    return records.must_stop();
}

} // namespace

int run_tunnels(const Config& config)
{
    forbid_core_dumps();
    Log log{config.log_level, config.log_format};
    auto audit = Audit::open(config.audit, audit_scope(config));
    if (const auto* error = std::get_if<std::string>(&audit)) {
        log.error(*error);
        return kFailure;
    }
    Audit& records = *std::get<std::unique_ptr<Audit>>(audit);
    if (config.lab) {
        log.warn("profile " + config.profile + " is for laboratories: never use it where time matters");
    }
    if (const auto failed = self_test(config, records)) {
        log.error(fmt::format("self-test failed: {}: {}", failed->reason, failed->text));
        return kSelfTest;
    }
    AuditRecord loaded = record_of(AuditEvent::config_loaded);
    loaded.subject = config.file;
    records.record(loaded, loaded_json(config));
    for (const Tunnel& tunnel : config.tunnels) {
        AuditRecord claim = record_of(AuditEvent::profile_claim);
        claim.tunnel = tunnel.name;
        records.record(claim, {{"profile", config.profile}, {"claim", tunnel.claim}});
        for (const Target& target : tunnel.connect) {
            AuditRecord added = record_of(AuditEvent::time_server_added);
            added.tunnel = tunnel.name;
            added.subject = tunnel.server_name.empty() ? target.host : tunnel.server_name;
            added.peer = target.text();
            records.record(added);
        }
    }
    if (lost_record(records, log)) {
        return kFailure;
    }
    Program program{config, log, records};
    if (const auto code = program.open()) {
        return *code;
    }
    return lost_record(records, log) ? kFailure : program.run();
}

} // namespace gateway
