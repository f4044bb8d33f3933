// A directory for audit files that goes with the test, and what the tests of audit records share.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include <stdlib.h>

#include <doctest/doctest.h>

#include "gateway/audit.hpp"
#include "gateway/audit_verify.hpp"

namespace gateway {

class AuditFolder {
public:
    AuditFolder()
    {
        std::string pattern = std::filesystem::temp_directory_path() / "ntpgate-audit-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~AuditFolder() { std::filesystem::remove_all(path_); }
    AuditFolder(const AuditFolder&) = delete;
    AuditFolder& operator=(const AuditFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path file() const { return path_ / "audit.jsonl"; }

private:
    std::filesystem::path path_;
};

inline std::variant<std::unique_ptr<Audit>, std::string> try_audit(const std::filesystem::path& file)
{
    AuditSettings settings;
    settings.file = file;
    return Audit::open(settings);
}

inline std::unique_ptr<Audit> open_audit(const std::filesystem::path& file)
{
    auto result = try_audit(file);
    REQUIRE(std::holds_alternative<std::unique_ptr<Audit>>(result));
    return std::move(std::get<std::unique_ptr<Audit>>(result));
}

inline AuditRecord audit_record(AuditEvent event, const std::string& reason = {})
{
    AuditRecord record;
    record.event = event;
    record.tunnel = "hq";
    record.reason = reason;
    return record;
}

inline std::vector<std::string> lines_of(const std::filesystem::path& file)
{
    std::vector<std::string> lines;
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

/// What `ntpgate audit verify` answers.
struct Verdict {
    int code = -1;
    std::string out;
    std::string err;
};
inline Verdict verify(const std::vector<std::filesystem::path>& files, const std::string& head = {})
{
    std::ostringstream out;
    std::ostringstream err;
    const int code = verify_audit({files, head}, out, err);
    return {code, out.str(), err.str()};
}

} // namespace gateway
