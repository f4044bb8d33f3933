#include "gateway/audit.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "gateway/printable.hpp"
#include "gateway/utc_time.hpp"
#include "transports/clock.hpp"
#include "transports/tls_digest.hpp"

namespace gateway {

namespace {

using nlohmann::ordered_json;

constexpr std::chrono::milliseconds kNoPatience{0}; // the file has the record
constexpr std::chrono::milliseconds kOnlySinkPatience{200};

std::optional<std::string> write_to_stderr(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t count = ::write(STDERR_FILENO, text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            return std::string{"standard error: "} + std::strerror(errno);
        }
        text.remove_prefix(count < 0 ? 0 : static_cast<std::size_t>(count));
    }
    return std::nullopt;
}

ordered_json head_json(const ChainHead& head)
{
    return {{"seq", head.seq}, {"hash", head.hash}};
}

// Who began a channel that came to nothing, and with whom (FTP_ITC.1 of 2.2e).
void add_parties(ordered_json& line, const AuditRecord& record, const AuditedTunnel& tunnel)
{
    if (record.event != AuditEvent::channel_failed && record.event != AuditEvent::certificate_rejected &&
        record.event != AuditEvent::identifier_mismatch) {
        return;
    }
    const bool client = tunnel.role == Role::client;
    line["initiator"] = client ? std::string{"local"} : printable(record.peer);
    line["target"] = client ? printable(record.peer) : std::string{"local"};
}

} // namespace

AuditScope audit_scope(const Config& config)
{
    AuditScope scope{config.requirements, config.lab, {}};
    for (const Tunnel& tunnel : config.tunnels) {
        scope.tunnels.emplace(tunnel.name, AuditedTunnel{tunnel.role, tunnel.channel});
    }
    return scope;
}

ordered_json loaded_json(const Config& config)
{
    ordered_json fields = ordered_json::object();
    if (config.source) {
        fields["sha256"] = config.source->sha256;
    }
    fields["profile"] = config.profile;
    if (config.profile_file) {
        fields["profile-file"] = config.profile_file->path.string();
        fields["profile-sha256"] = config.profile_file->sha256;
    }
    return fields;
}

std::variant<std::unique_ptr<Audit>, std::string> Audit::open(const AuditSettings& settings, AuditScope scope)
{
    std::unique_ptr<Audit> audit{new Audit{settings, std::move(scope)}};
    if (settings.file) {
        auto file = AuditFile::open(*settings.file);
        if (auto* error = std::get_if<std::string>(&file)) {
            return std::move(*error);
        }
        audit->file_ = std::move(std::get<std::unique_ptr<AuditFile>>(file));
        (void)audit->continue_chain(); // a failure is told as that of any record
    }
    return audit;
}

Audit::Audit(const AuditSettings& settings, AuditScope scope)
    : scope_{std::move(scope)}, stop_when_full_{settings.stop_when_full}, path_{settings.file},
      system_log_{settings.syslog ? std::make_unique<SystemLog>(settings.file ? kNoPatience : kOnlySinkPatience)
                                  : nullptr},
      head_{0, chain_start()}
{}

Audit::~Audit() = default;

bool Audit::continue_chain()
{
    const ChainEnd end = file_->end();
    if (end.last) {
        head_ = *end.last;
    }
    if (!end.unreadable && !end.open_line) {
        return true;
    }
    if (end.open_line) {
        if (auto error = file_->append("\n")) {
            note_failure(std::move(*error));
            return false;
        }
    }
    const ChainHead before = head_;
    ordered_json fields = ordered_json::object();
    if (before.seq != 0) {
        fields["after"] = head_json(before);
    }
    head_.hash = end.unreadable.value_or(head_.hash);
    AuditRecord restarted;
    restarted.event = AuditEvent::chain_restarted;
    restarted.reason = end.open_line ? "torn_line" : "unreadable_line";
    if (!write_line(restarted, fields)) {
        head_ = before;
        return false;
    }
    return true;
}

std::optional<std::string> Audit::reopen()
{
    if (!file_ || !file_->moved()) {
        return std::nullopt;
    }
    auto opened = AuditFile::open(*path_);
    if (const auto* error = std::get_if<std::string>(&opened)) {
        return *error + "; the old file stays in use";
    }
    auto file = std::move(std::get<std::unique_ptr<AuditFile>>(opened));
    const ChainEnd end = file->end();
    if (end.last || end.unreadable || end.open_line) {
        return "audit file " + path_->string() + ": holds something already (expected a new one, in which the chain " +
               "goes on); the old file stays in use";
    }
    if (failing_) {
        (void)continue_chain(); // a piece in the old file is closed there, when it takes that much
    }
    file_ = std::move(file);
    rotated_ = true;
    (void)(failing_ ? recover() : begin_file()); // else before the next record
    return std::nullopt;
}

// First in a file that rotation made, so that a restart finds the chain there even when nothing else happens before it.
bool Audit::begin_file()
{
    if (!rotated_) {
        return true;
    }
    AuditRecord changed;
    changed.event = AuditEvent::settings_changed;
    changed.reason = "audit_file_reopened";
    rotated_ = !write_line(changed, {{"after", head_json(head_)}});
    return !rotated_;
}

bool Audit::record(const AuditRecord& record)
{
    return this->record(record, ordered_json::object());
}

bool Audit::record(const AuditRecord& record, const ordered_json& fields)
{
    if (!folds_.admits(record, transports::read_boot())) {
        return false;
    }
    write(record, fields);
    return true;
}

void Audit::write_folded(std::chrono::nanoseconds boot_now, bool all)
{
    for (const auto& sum : folds_.due(boot_now, all)) {
        write(sum.last, {{"count", sum.count}});
    }
}

void Audit::write(const AuditRecord& record, const ordered_json& fields)
{
    if ((failing_ && !recover()) || !write_line(record, fields)) {
        ++lost_;
    }
}

bool Audit::recover()
{
    if (file_ && (!continue_chain() || !begin_file())) {
        return false;
    }
    if (lost_ != 0) {
        AuditRecord loss;
        loss.event = AuditEvent::limit_reached;
        loss.success = false;
        loss.reason = "audit.on-full";
        if (!write_line(loss, {{"count", lost_}})) {
            return false;
        }
        lost_ = 0;
    }
    failing_ = false;
    return true;
}

bool Audit::write_line(const AuditRecord& record, const ordered_json& fields)
{
    const auto tunnel = scope_.tunnels.find(record.tunnel);
    const AuditedTunnel* about = tunnel == scope_.tunnels.end() ? nullptr : &tunnel->second;
    ordered_json line;
    line["seq"] = head_.seq + 1;
    line["time"] = utc_time_now();
    line["event"] = name(record.event);
    line["outcome"] = record.success ? "success" : "failure";
    line["tunnel"] = record.tunnel;
    line["subject"] = printable(record.subject);
    line["peer"] = printable(record.peer);
    line["reason"] = printable(record.reason);
    line["sfr"] = requirements_of(record.event, scope_.requirements, about);
    if (about != nullptr) {
        add_parties(line, record, *about);
    }
    for (const auto& [key, value] : fields.items()) {
        line[key] = value;
    }
    if (scope_.lab) {
        line["lab"] = true;
    }
    line["prev"] = head_.hash;
    const std::string text = line.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
    std::optional<std::string> error;
    if (file_) {
        error = file_->append(text + "\n");
    } else if (!system_log_) {
        error = write_to_stderr(text + "\n");
    }
    if (system_log_ && !error) {
        error = system_log_->send(text, record.success);
        if (error && file_) {
            ++missed_;
            system_log_failure_ = std::move(*error);
            error.reset();
        }
    }
    if (error) {
        note_failure(std::move(*error));
        return false;
    }
    head_ = {head_.seq + 1, transports::sha256_hex(text)};
    return true;
}

void Audit::note_failure(std::string failure)
{
    failing_ = true;
    failure_ = "audit record not written: " + std::move(failure);
}

} // namespace gateway
