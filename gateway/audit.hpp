// Security events, one JSON line each, chained by hashes (design 11).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "gateway/audit_chain.hpp"
#include "gateway/audit_events.hpp"
#include "gateway/audit_file.hpp"
#include "gateway/audit_folds.hpp"
#include "gateway/config.hpp"

namespace gateway {

/// What records say of the configuration they were made under.
struct AuditScope {
    Requirements requirements = Requirements::v4_0;
    bool lab = false; // every record then says so
    std::map<std::string, AuditedTunnel, std::less<>> tunnels;
};
[[nodiscard]] AuditScope audit_scope(const Config& config);
/// What is in force: the `sha256` of the configuration's file, `profile`, and of one that is a file `profile-file` and
/// `profile-sha256`; hashes are of what was read.
[[nodiscard]] nlohmann::ordered_json loaded_json(const Config& config);

/// Not copied, one for each process. A remote party cannot make the file grow without bound (audit_folds.hpp).
class Audit {
public:
    /// Continues the chain of an existing file. The error text names the file and the cause.
    [[nodiscard]] static std::variant<std::unique_ptr<Audit>, std::string> open(const AuditSettings& settings,
                                                                                AuditScope scope = {});
    ~Audit();
    Audit(const Audit&) = delete;
    Audit& operator=(const Audit&) = delete;

    /// False when the event was folded into a later record: the operator's log is then spared it, too.
    bool record(const AuditRecord& record);
    bool record(const AuditRecord& record, const nlohmann::ordered_json& fields); // an object; its keys are appended
    void write_folded(std::chrono::nanoseconds boot_now, bool all);
    /// After rotation: the chain goes on in a new file. The error text, and the old file stays in use.
    [[nodiscard]] std::optional<std::string> reopen();

    /// A record was lost, and `on-full` is stop: the program must end, even if others can be written by now.
    [[nodiscard]] bool must_stop() const noexcept { return stop_when_full_ && !failure_.empty(); }
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; } // the latest; empty = never one
    [[nodiscard]] const ChainHead& head() const noexcept { return head_; }
    /// Records that are in the file and did not reach the system's log as well.
    [[nodiscard]] std::uint64_t missed_by_system_log() const noexcept { return missed_; }
    [[nodiscard]] const std::string& system_log_failure() const noexcept { return system_log_failure_; }

private:
    Audit(const AuditSettings& settings, AuditScope scope);
    // False when a line could not be written: failing_ then.
    bool continue_chain();
    bool begin_file();
    bool recover();
    bool write_line(const AuditRecord& record, const nlohmann::ordered_json& fields);
    void write(const AuditRecord& record, const nlohmann::ordered_json& fields);
    void note_failure(std::string failure);

    AuditScope scope_;
    bool stop_when_full_;
    std::optional<std::filesystem::path> path_;
    std::unique_ptr<AuditFile> file_;
    std::unique_ptr<SystemLog> system_log_;
    std::string failure_;
    bool failing_ = false;   // the latest attempt failed: what it left behind is put in order before the next record
    bool rotated_ = false;   // the file does not have its first record yet
    std::uint64_t lost_ = 0; // records that no limit_reached tells of yet
    std::uint64_t missed_ = 0;
    std::string system_log_failure_;
    ChainHead head_;
    AuditFolds folds_;
};

} // namespace gateway
