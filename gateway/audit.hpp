// Security events, one JSON line each, chained by hashes (design 11).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "gateway/config.hpp"

namespace gateway {

enum class AuditEvent : std::uint8_t {
    started,
    stopped,
    config_loaded,
    config_rejected,
    privileges_dropped,
    channel_opened,
    channel_closed,
    channel_failed,
    certificate_rejected,
    identifier_mismatch,
    replay_detected,
    oversize_dropped,
    limit_reached,
    key_loaded,
    key_destroyed,
    rekeyed,
    ke_succeeded,
    ke_failed,
    mirror_invalid,
    profile_claim,
    chain_restarted,
};
[[nodiscard]] std::string_view name(AuditEvent event) noexcept;

struct AuditRecord {
    AuditEvent event{};
    bool success = true;
    std::string tunnel;
    std::string subject; // text from a peer is escaped and cut here, not by the caller
    std::string peer;
    std::string reason;
};

/// A remote party cannot make the file grow without bound: of the same (event, tunnel, reason) a few are written in
/// each interval and the rest become one record with a `count` at its end. Not copied, one for each process.
class Audit {
public:
    /// Continues the chain of an existing file. The error text names the file and the cause.
    [[nodiscard]] static std::variant<std::unique_ptr<Audit>, std::string> open(const AuditSettings& settings);
    ~Audit();
    Audit(const Audit&) = delete;
    Audit& operator=(const Audit&) = delete;

    /// False when the event was folded into a later record: the operator's log is then spared it, too.
    bool record(const AuditRecord& record);
    bool record(const AuditRecord& record, const nlohmann::ordered_json& fields); // an object; its keys are appended
    void write_folded(std::chrono::nanoseconds boot_now, bool all);
    [[nodiscard]] std::optional<std::string> reopen(); // for rotation; the error text, and the old file stays in use

    /// A record could not be written; under `on-full: stop` the program must end.
    [[nodiscard]] bool must_stop() const noexcept { return stop_when_full_ && !failure_.empty(); }
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; } // head
    [[nodiscard]] const std::string& head() const noexcept { return previous_; }

private:
    struct Fold {
        std::chrono::nanoseconds since{};
        std::uint32_t written{};
        std::uint64_t folded{};
        AuditRecord last;
    };
    using FoldKey = std::tuple<AuditEvent, std::string, std::string>;

    Audit(int descriptor, const AuditSettings& settings);
    [[nodiscard]] std::optional<std::string> continue_chain();
    void write(const AuditRecord& record, const nlohmann::ordered_json& fields);

    int descriptor_;
    std::optional<std::filesystem::path> file_;
    bool syslog_;
    bool stop_when_full_;
    std::string failure_;
    std::uint64_t sequence_ = 0;
    std::string previous_;
    std::map<FoldKey, Fold> folds_;
};

} // namespace gateway
