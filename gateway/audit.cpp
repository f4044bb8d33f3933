#include "gateway/audit.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "gateway/printable.hpp"
#include "gateway/utc_time.hpp"
#include "transports/clock.hpp"
#include "transports/tls_digest.hpp"

namespace gateway {

namespace {

constexpr auto kFoldInterval = std::chrono::seconds{10};
constexpr std::uint32_t kRefusalsPerInterval = 10;  // what an unauthenticated sender can cause
constexpr std::uint32_t kChannelsPerInterval = 200; // what only an authenticated peer can
constexpr std::size_t kMaxFolds = 512;
const std::string kChainStart(64, '0');

bool is_folded(AuditEvent event) noexcept
{
    switch (event) {
    case AuditEvent::channel_opened:
    case AuditEvent::channel_closed:
    case AuditEvent::channel_failed:
    case AuditEvent::certificate_rejected:
    case AuditEvent::identifier_mismatch:
    case AuditEvent::replay_detected:
    case AuditEvent::oversize_dropped:
    case AuditEvent::limit_reached:
    case AuditEvent::rekeyed:
    case AuditEvent::ke_succeeded:
    case AuditEvent::ke_failed:
        return true;
    case AuditEvent::started:
    case AuditEvent::stopped:
    case AuditEvent::config_loaded:
    case AuditEvent::config_rejected:
    case AuditEvent::privileges_dropped:
    case AuditEvent::key_loaded:
    case AuditEvent::key_destroyed:
    case AuditEvent::mirror_invalid:
    case AuditEvent::profile_claim:
    case AuditEvent::chain_restarted:
        return false;
    }
    return false;
}

/// The requirement an event answers, by common criteria's own name.
std::string_view requirement(AuditEvent event) noexcept
{
    switch (event) {
    case AuditEvent::started:
    case AuditEvent::stopped:
    case AuditEvent::chain_restarted:
        return "FAU_GEN.1";
    case AuditEvent::config_loaded:
    case AuditEvent::config_rejected:
    case AuditEvent::profile_claim:
        return "FMT_SMF.1";
    case AuditEvent::key_loaded:
        return "FMT_MTD.1/CryptoKeys";
    case AuditEvent::key_destroyed:
        return "FCS_CKM.4";
    case AuditEvent::mirror_invalid:
    case AuditEvent::privileges_dropped:
        return "";
    case AuditEvent::channel_opened:
    case AuditEvent::channel_closed:
    case AuditEvent::channel_failed:
    case AuditEvent::oversize_dropped:
    case AuditEvent::limit_reached:
    case AuditEvent::ke_succeeded:
    case AuditEvent::ke_failed:
        return "FTP_ITC.1";
    case AuditEvent::rekeyed:
        return "FCS_SSHC_EXT.1, FCS_SSHS_EXT.1";
    case AuditEvent::replay_detected:
        return "FCS_DTLSC_EXT.2, FCS_DTLSS_EXT.1";
    case AuditEvent::certificate_rejected:
    case AuditEvent::identifier_mismatch:
        return "FIA_X509_EXT.1/Rev";
    }
    return "";
}

bool write_all(int descriptor, std::string_view text)
{
    while (!text.empty()) {
        const ssize_t count = ::write(descriptor, text.data(), text.size());
        if (count < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

int open_file(const std::filesystem::path& file) noexcept
{
    return ::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
}

/// The end of a file, at most 64 KiB of it: more than any record is long.
std::string read_tail(int descriptor)
{
    constexpr off_t kTail = off_t{64} * 1024;
    struct stat status {};
    if (fstat(descriptor, &status) != 0 || status.st_size == 0) {
        return {};
    }
    const off_t from = status.st_size > kTail ? status.st_size - kTail : 0;
    std::string tail(static_cast<std::size_t>(status.st_size - from), '\0');
    const ssize_t count = pread(descriptor, tail.data(), tail.size(), from);
    tail.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return tail;
}

} // namespace

std::string_view name(AuditEvent event) noexcept
{
    switch (event) {
    case AuditEvent::started:
        return "started";
    case AuditEvent::stopped:
        return "stopped";
    case AuditEvent::config_loaded:
        return "config_loaded";
    case AuditEvent::config_rejected:
        return "config_rejected";
    case AuditEvent::privileges_dropped:
        return "privileges_dropped";
    case AuditEvent::channel_opened:
        return "channel_opened";
    case AuditEvent::channel_closed:
        return "channel_closed";
    case AuditEvent::channel_failed:
        return "channel_failed";
    case AuditEvent::certificate_rejected:
        return "certificate_rejected";
    case AuditEvent::identifier_mismatch:
        return "identifier_mismatch";
    case AuditEvent::replay_detected:
        return "replay_detected";
    case AuditEvent::oversize_dropped:
        return "oversize_dropped";
    case AuditEvent::limit_reached:
        return "limit_reached";
    case AuditEvent::ke_succeeded:
        return "ke_succeeded";
    case AuditEvent::ke_failed:
        return "ke_failed";
    case AuditEvent::mirror_invalid:
        return "mirror_invalid";
    case AuditEvent::key_loaded:
        return "key_loaded";
    case AuditEvent::key_destroyed:
        return "key_destroyed";
    case AuditEvent::rekeyed:
        return "rekeyed";
    case AuditEvent::profile_claim:
        return "profile_claim";
    case AuditEvent::chain_restarted:
        return "chain_restarted";
    }
    return "?";
}

std::variant<std::unique_ptr<Audit>, std::string> Audit::open(const AuditSettings& settings)
{
    int descriptor = STDERR_FILENO;
    if (settings.file) {
        descriptor = open_file(*settings.file);
        if (descriptor < 0) {
            return "audit file " + settings.file->string() + ": " + std::strerror(errno);
        }
    }
    std::unique_ptr<Audit> audit{new Audit{descriptor, settings}};
    if (auto error = audit->continue_chain()) {
        return std::move(*error);
    }
    return audit;
}

Audit::Audit(int descriptor, const AuditSettings& settings)
    : descriptor_{descriptor}, file_{settings.file}, syslog_{settings.syslog},
      stop_when_full_{settings.stop_when_full}, previous_{kChainStart}
{}

Audit::~Audit()
{
    if (file_) {
        close(descriptor_);
    }
}

std::optional<std::string> Audit::continue_chain()
{
    if (!file_) {
        return std::nullopt;
    }
    std::string tail = read_tail(descriptor_);
    if (tail.empty()) {
        return std::nullopt;
    }
    const bool torn = tail.back() != '\n';
    if (torn && !write_all(descriptor_, "\n")) {
        return "audit file " + file_->string() + ": " + std::strerror(errno);
    }
    if (!torn) {
        tail.pop_back();
        const std::string line = tail.substr(tail.rfind('\n') + 1);
        const auto last = nlohmann::json::parse(line, nullptr, false);
        if (last.is_object() && last.contains("seq") && last["seq"].is_number_unsigned()) {
            sequence_ = last["seq"].get<std::uint64_t>();
            previous_ = transports::sha256_hex(line);
            return std::nullopt;
        }
    }
    AuditRecord restarted;
    restarted.event = AuditEvent::chain_restarted;
    restarted.reason = torn ? "torn_line" : "unreadable_line";
    record(restarted);
    return std::nullopt;
}

std::optional<std::string> Audit::reopen()
{
    if (!file_) {
        return std::nullopt;
    }
    const int descriptor = open_file(*file_);
    if (descriptor < 0) {
        return "audit file " + file_->string() + ": " + std::strerror(errno) + "; the old one stays in use";
    }
    close(descriptor_);
    descriptor_ = descriptor;
    return std::nullopt;
}

bool Audit::record(const AuditRecord& record)
{
    return this->record(record, nlohmann::ordered_json::object());
}

bool Audit::record(const AuditRecord& record, const nlohmann::ordered_json& fields)
{
    if (is_folded(record.event)) {
        const std::chrono::nanoseconds now = transports::read_boot();
        FoldKey key{record.event, record.tunnel, record.reason};
        if (folds_.size() >= kMaxFolds && !folds_.contains(key)) {
            write_folded(now, true); // more kinds than reasons and tunnels there are: begin anew
        }
        Fold& fold = folds_[std::move(key)];
        if (now - fold.since >= kFoldInterval && fold.folded == 0) {
            fold = {now, 0, 0, {}};
        }
        const bool authenticated = record.event == AuditEvent::channel_opened ||
                                   record.event == AuditEvent::channel_closed || record.event == AuditEvent::rekeyed;
        if (fold.written >= (authenticated ? kChannelsPerInterval : kRefusalsPerInterval)) {
            ++fold.folded;
            fold.last = record;
            return false;
        }
        ++fold.written;
    }
    write(record, fields);
    return true;
}

void Audit::write_folded(std::chrono::nanoseconds boot_now, bool all)
{
    for (auto item = folds_.begin(); item != folds_.end();) {
        Fold& fold = item->second;
        if (!all && boot_now - fold.since < kFoldInterval) {
            ++item;
            continue;
        }
        if (fold.folded != 0) {
            write(fold.last, {{"count", fold.folded}});
        }
        item = folds_.erase(item);
    }
}

void Audit::write(const AuditRecord& record, const nlohmann::ordered_json& fields)
{
    nlohmann::ordered_json line;
    line["seq"] = sequence_ + 1;
    line["time"] = utc_time_now();
    line["event"] = name(record.event);
    line["outcome"] = record.success ? "success" : "failure";
    line["tunnel"] = record.tunnel;
    line["subject"] = printable(record.subject);
    line["peer"] = printable(record.peer);
    line["reason"] = printable(record.reason);
    line["sfr"] = requirement(record.event);
    for (const auto& [key, value] : fields.items()) {
        line[key] = value;
    }
    line["prev"] = previous_;
    const std::string text = line.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
    if (syslog_) {
        // It says nothing of success: what the collector loses shows as a hole in seq and a broken chain.
        ::syslog(LOG_AUTHPRIV | (record.success ? LOG_NOTICE : LOG_WARNING), "%s", text.c_str());
    } else if (!write_all(descriptor_, text + "\n")) {
        failure_ = std::string{"audit record not written: "} + std::strerror(errno);
        return;
    }
    failure_.clear();
    ++sequence_;
    previous_ = transports::sha256_hex(text);
}

} // namespace gateway
