// Where audit records go: a file that only this process writes, and the system's log.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/audit_chain.hpp"

namespace gateway {

/// A regular file is locked (flock) while it is open: a second writer is refused, for two of them could not form one
/// chain.
class AuditFile {
public:
    using Opened = std::variant<std::unique_ptr<AuditFile>, std::string>; // or the error text

    [[nodiscard]] static Opened open(const std::filesystem::path& path);
    ~AuditFile();
    AuditFile(const AuditFile&) = delete;
    AuditFile& operator=(const AuditFile&) = delete;

    [[nodiscard]] ChainEnd end() const; // of what it holds so far
    /// The whole text or nothing of it: after a failure the file is as it was. The error text.
    [[nodiscard]] std::optional<std::string> append(std::string_view text) const;
    /// True when the path names another file than the one that is open: it was rotated.
    [[nodiscard]] bool moved() const noexcept;

private:
    [[nodiscard]] bool is_regular() const noexcept;
    AuditFile(int descriptor, std::filesystem::path path) : descriptor_{descriptor}, path_{std::move(path)} {}
    int descriptor_;
    std::filesystem::path path_;
};

/// The system's log, by its datagram socket.
class SystemLog {
public:
    /// `patience` is how long one record may wait for a log that is behind; zero where the records have another place.
    /// Once that was in vain none waits for kPause: a log that is stuck does not hold up whoever records.
    static constexpr std::chrono::seconds kPause{5};
    explicit SystemLog(std::chrono::milliseconds patience, std::filesystem::path socket = "/dev/log")
        : patience_{patience}, path_{std::move(socket)}
    {}
    ~SystemLog();
    SystemLog(const SystemLog&) = delete;
    SystemLog& operator=(const SystemLog&) = delete;

    /// One record, as facility authpriv, a failure as warning and a success as notice. The error text.
    [[nodiscard]] std::optional<std::string> send(std::string_view record, bool success);
    /// How often a record has waited.
    [[nodiscard]] std::uint64_t waits() const noexcept { return waits_; }

private:
    [[nodiscard]] std::optional<std::string> connect();
    [[nodiscard]] int send_once(std::string_view message); // 0, or the error number
    std::chrono::milliseconds patience_;
    std::filesystem::path path_;
    int descriptor_ = -1;
    std::uint64_t waits_ = 0;
    std::optional<std::chrono::nanoseconds> no_wait_before_; // by the boot clock
};

} // namespace gateway
