#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/audit.hpp"
#include "transports/clock.hpp"
#include "transports/tls_digest.hpp"

using gateway::Audit;
using gateway::AuditEvent;
using gateway::AuditRecord;

namespace {

/// A directory that goes with the test.
class Scratch {
public:
    Scratch()
    {
        std::string pattern = std::filesystem::temp_directory_path() / "ntpgate-audit-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~Scratch() { std::filesystem::remove_all(path_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    [[nodiscard]] std::filesystem::path file() const { return path_ / "audit.jsonl"; }

private:
    std::filesystem::path path_;
};

std::unique_ptr<Audit> open_audit(const std::filesystem::path& file)
{
    gateway::AuditSettings settings;
    settings.file = file;
    auto result = Audit::open(settings);
    REQUIRE(std::holds_alternative<std::unique_ptr<Audit>>(result));
    return std::move(std::get<std::unique_ptr<Audit>>(result));
}

AuditRecord record_of(AuditEvent event, const std::string& reason = {})
{
    AuditRecord record;
    record.event = event;
    record.tunnel = "hq";
    record.reason = reason;
    return record;
}

std::vector<std::string> lines_of(const std::filesystem::path& file)
{
    std::vector<std::string> lines;
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

void check_chain(const std::vector<std::string>& lines)
{
    std::string previous(64, '0');
    std::uint64_t sequence = 0;
    for (const std::string& line : lines) {
        const auto record = nlohmann::json::parse(line);
        CHECK(record["prev"] == previous);
        CHECK(record["seq"] == ++sequence);
        previous = transports::sha256_hex(line);
    }
}

} // namespace

TEST_SUITE("audit")
{
    TEST_CASE("fields stand in a fixed order, and peers' text is escaped")
    {
        const Scratch scratch;
        AuditRecord record = record_of(AuditEvent::channel_failed, "unknown_ca");
        record.success = false;
        record.subject = "CN=evil\n{\"seq\":9}";
        record.peer = "192.0.2.1:4461";
        CHECK(open_audit(scratch.file())->record(record, {{"text", "why"}}));
        const auto lines = lines_of(scratch.file());
        REQUIRE(lines.size() == 1);
        const auto parsed = nlohmann::ordered_json::parse(lines[0]);
        std::vector<std::string> keys;
        for (const auto& [key, value] : parsed.items()) {
            keys.push_back(key);
        }
        CHECK(keys == std::vector<std::string>{"seq", "time", "event", "outcome", "tunnel", "subject", "peer", "reason",
                                               "sfr", "text", "prev"});
        CHECK(parsed["outcome"] == "failure");
        CHECK(parsed["subject"] == "CN=evil\\x0a{\"seq\":9}");
        CHECK(lines[0].starts_with("{\"seq\":1,"));
    }

    TEST_CASE("each line carries the hash of the one before, across restarts")
    {
        const Scratch scratch;
        for (int run = 0; run < 3; ++run) {
            const auto audit = open_audit(scratch.file());
            audit->record(record_of(AuditEvent::started));
            audit->record(record_of(AuditEvent::stopped));
        }
        const auto lines = lines_of(scratch.file());
        CHECK(lines.size() == 6);
        check_chain(lines);
    }

    TEST_CASE("a torn last line is kept, closed, and said to be torn")
    {
        const Scratch scratch;
        open_audit(scratch.file())->record(record_of(AuditEvent::started));
        std::ofstream{scratch.file(), std::ios::app} << "{\"seq\":2,\"ti";
        open_audit(scratch.file())->record(record_of(AuditEvent::started));
        const auto lines = lines_of(scratch.file());
        REQUIRE(lines.size() == 4);
        CHECK(lines[1] == "{\"seq\":2,\"ti");
        const auto restarted = nlohmann::json::parse(lines[2]);
        CHECK(restarted["event"] == "chain_restarted");
        CHECK(restarted["reason"] == "torn_line");
        check_chain({lines[2], lines[3]});
    }

    TEST_CASE("a flood of one failure becomes a few records and one with a count")
    {
        const Scratch scratch;
        const auto audit = open_audit(scratch.file());
        int written = 0;
        for (int i = 0; i < 1000; ++i) {
            written += audit->record(record_of(AuditEvent::channel_failed, "unknown_ca")) ? 1 : 0;
        }
        CHECK(written == 10);
        CHECK(audit->record(record_of(AuditEvent::channel_failed, "eku_missing")));
        audit->write_folded(transports::read_boot(), true);
        const auto lines = lines_of(scratch.file());
        REQUIRE(lines.size() == 12);
        CHECK(nlohmann::json::parse(lines[11])["count"] == 990);
        check_chain(lines);
    }

    TEST_CASE("reasons without end do not grow the table of what is folded")
    {
        const Scratch scratch;
        const auto audit = open_audit(scratch.file());
        for (int i = 0; i < 2000; ++i) {
            CHECK(audit->record(record_of(AuditEvent::limit_reached, "reason" + std::to_string(i))));
        }
        CHECK(audit->sequence() == 2000);
    }

    TEST_CASE("events that matter to the last one are never folded")
    {
        const Scratch scratch;
        const auto audit = open_audit(scratch.file());
        for (int i = 0; i < 300; ++i) {
            CHECK(audit->record(record_of(AuditEvent::config_loaded)));
        }
    }

    TEST_CASE("a file that cannot be opened, and a full disk, are errors")
    {
        gateway::AuditSettings settings;
        settings.file = "/nonexistent-directory/audit.jsonl";
        const auto result = Audit::open(settings);
        REQUIRE(std::holds_alternative<std::string>(result));
        CHECK(std::get<std::string>(result).find("/nonexistent-directory/audit.jsonl") != std::string::npos);
        const auto full = open_audit("/dev/full");
        full->record(record_of(AuditEvent::started));
        CHECK(full->must_stop());
        CHECK(full->sequence() == 0);
    }
}
