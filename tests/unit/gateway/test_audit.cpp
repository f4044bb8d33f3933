#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/gateway/audit_folder.hpp"
#include "transports/clock.hpp"

using namespace gateway;

namespace {

std::string head_text(const Audit& audit)
{
    return std::to_string(audit.head().seq) + ":" + audit.head().hash;
}

/// A system log that keeps what it is sent.
class LogSocket {
public:
    explicit LogSocket(const std::filesystem::path& path) : descriptor_{socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)}
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    ~LogSocket() { close(descriptor_); }
    LogSocket(const LogSocket&) = delete;
    LogSocket& operator=(const LogSocket&) = delete;
    [[nodiscard]] std::string next() const
    {
        std::string text(65536, '\0');
        const ssize_t count = recv(descriptor_, text.data(), text.size(), 0);
        text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return text;
    }

private:
    int descriptor_;
};

/// No file of this process grows beyond `octets` while it lives: what a full disk does to a write.
class FullDisk {
public:
    explicit FullDisk(std::uintmax_t octets)
    {
        REQUIRE(getrlimit(RLIMIT_FSIZE, &before_) == 0);
        handler_ = signal(SIGXFSZ, SIG_IGN);
        const rlimit now{static_cast<rlim_t>(octets), before_.rlim_max};
        REQUIRE(setrlimit(RLIMIT_FSIZE, &now) == 0);
    }
    ~FullDisk()
    {
        (void)setrlimit(RLIMIT_FSIZE, &before_);
        (void)signal(SIGXFSZ, handler_);
    }
    FullDisk(const FullDisk&) = delete;
    FullDisk& operator=(const FullDisk&) = delete;

private:
    rlimit before_{};
    void (*handler_)(int) = SIG_DFL;
};

std::vector<std::string> events_of(const std::filesystem::path& file)
{
    std::vector<std::string> events;
    for (const auto& line : lines_of(file)) {
        events.push_back(nlohmann::json::parse(line)["event"]);
    }
    return events;
}

std::unique_ptr<Audit> open_audit_that_continues(const std::filesystem::path& file)
{
    AuditSettings settings;
    settings.file = file;
    settings.stop_when_full = false;
    auto opened = Audit::open(settings);
    REQUIRE(std::holds_alternative<std::unique_ptr<Audit>>(opened));
    return std::move(std::get<std::unique_ptr<Audit>>(opened));
}

} // namespace

TEST_SUITE("audit")
{
    TEST_CASE("fields stand in a fixed order, and peers' text is escaped")
    {
        const AuditFolder folder;
        AuditRecord record = audit_record(AuditEvent::channel_failed, "unknown_ca");
        record.success = false;
        record.subject = "CN=evil\n{\"seq\":9}";
        record.peer = "192.0.2.1:4461";
        CHECK(open_audit(folder.file())->record(record, {{"text", "why"}}));
        const auto lines = lines_of(folder.file());
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
        const AuditFolder folder;
        std::string head;
        for (int run = 0; run < 3; ++run) {
            const auto audit = open_audit(folder.file());
            audit->record(audit_record(AuditEvent::started));
            audit->record(audit_record(AuditEvent::stopped));
            head = head_text(*audit);
        }
        CHECK(lines_of(folder.file()).size() == 6);
        const auto verdict = verify({folder.file()}, head);
        CHECK_MESSAGE(verdict.code == 0, verdict.err);
        CHECK(verdict.out.find("6 records, seq 1 to 6") != std::string::npos);
        CHECK(verdict.out.find("anchored by the given head") != std::string::npos);
    }

    TEST_CASE("the chain goes on in a new file after rotation, and both verify together")
    {
        const AuditFolder folder;
        const auto audit = open_audit(folder.file());
        audit->record(audit_record(AuditEvent::started));
        std::filesystem::rename(folder.file(), folder.path() / "audit.1");
        CHECK_FALSE(audit->reopen().has_value());
        audit->record(audit_record(AuditEvent::stopped));
        const auto lines = lines_of(folder.file());
        REQUIRE(lines.size() == 2);
        CHECK(nlohmann::json::parse(lines[0])["event"] == "settings_changed");
        CHECK(nlohmann::json::parse(lines[0])["seq"] == 2);
        CHECK(verify({folder.path() / "audit.1", folder.file()}, head_text(*audit)).code == 0);
        const auto alone = verify({folder.file()});
        CHECK(alone.code == 0);
        CHECK(alone.out.find("begins at seq 2: earlier files were not given") != std::string::npos);
        std::ofstream{folder.path() / "cut", std::ios::trunc} << lines[1] << '\n';
        const auto cut = verify({folder.path() / "cut"}, head_text(*audit));
        CHECK(cut.code == 1);
        CHECK(cut.err.find("begins neither a chain nor a file after rotation") != std::string::npos);
        const auto reversed = verify({folder.file(), folder.path() / "audit.1"});
        CHECK(reversed.out.find("audit.1 begins a chain of its own") != std::string::npos);
        CHECK(verify({folder.file(), folder.path() / "audit.1"}, head_text(*audit)).out.find("1 records are behind") !=
              std::string::npos);
    }

    TEST_CASE("reopening a file that was not rotated changes nothing; one that holds something is refused")
    {
        const AuditFolder folder;
        const auto audit = open_audit(folder.file());
        audit->record(audit_record(AuditEvent::started));
        CHECK_FALSE(audit->reopen().has_value());
        CHECK(lines_of(folder.file()).size() == 1);
        std::filesystem::rename(folder.file(), folder.path() / "audit.1");
        std::ofstream{folder.file()} << "something\n";
        const auto error = audit->reopen();
        REQUIRE(error.has_value());
        CHECK(error->find("holds something already") != std::string::npos);
        audit->record(audit_record(AuditEvent::stopped));
        CHECK(verify({folder.path() / "audit.1"}, head_text(*audit)).code == 0);
    }

    TEST_CASE("a second writer is refused, and may come when the first has gone")
    {
        const AuditFolder folder;
        auto first = open_audit(folder.file());
        const auto second = try_audit(folder.file());
        REQUIRE(std::holds_alternative<std::string>(second));
        CHECK(std::get<std::string>(second).find("another process writes it") != std::string::npos);
        first.reset();
        open_audit(folder.file())->record(audit_record(AuditEvent::started));
    }

    TEST_CASE("a device takes any number of writers")
    {
        auto first = open_audit("/dev/null");
        auto second = open_audit("/dev/null");
        first->record(audit_record(AuditEvent::started));
        second->record(audit_record(AuditEvent::started));
    }

    TEST_CASE("a torn last line is kept, closed, and said to be torn")
    {
        const AuditFolder folder;
        open_audit(folder.file())->record(audit_record(AuditEvent::started));
        std::ofstream{folder.file(), std::ios::app} << R"({"seq":2,"ti)";
        const auto torn = verify({folder.file()});
        CHECK(torn.code == 1);
        CHECK(torn.err.find("audit.jsonl:2: is torn") != std::string::npos);
        open_audit(folder.file())->record(audit_record(AuditEvent::started));
        const auto lines = lines_of(folder.file());
        REQUIRE(lines.size() == 4);
        CHECK(lines[1] == R"({"seq":2,"ti)");
        const auto restarted = nlohmann::json::parse(lines[2]);
        CHECK(restarted["event"] == "chain_restarted");
        CHECK(restarted["reason"] == "torn_line");
        CHECK(restarted["seq"] == 2);
        CHECK_MESSAGE(verify({folder.file()}).code == 0, verify({folder.file()}).err);
    }

    TEST_CASE("a last line that lacks nothing but its end counts, and is closed")
    {
        const AuditFolder folder;
        open_audit(folder.file())->record(audit_record(AuditEvent::started));
        std::filesystem::resize_file(folder.file(), std::filesystem::file_size(folder.file()) - 1);
        open_audit(folder.file())->record(audit_record(AuditEvent::started));
        const auto lines = lines_of(folder.file());
        REQUIRE(lines.size() == 3);
        CHECK(nlohmann::json::parse(lines[1])["event"] == "chain_restarted");
        CHECK(nlohmann::json::parse(lines[2])["seq"] == 3);
        CHECK_MESSAGE(verify({folder.file()}).code == 0, verify({folder.file()}).err);
    }

    TEST_CASE("a file that cannot be opened, and a full disk, are errors")
    {
        const auto result = try_audit("/nonexistent-directory/audit.jsonl");
        REQUIRE(std::holds_alternative<std::string>(result));
        CHECK(std::get<std::string>(result).find("/nonexistent-directory/audit.jsonl") != std::string::npos);
        const auto full = open_audit("/dev/full");
        full->record(audit_record(AuditEvent::started));
        CHECK(full->must_stop());
        CHECK(full->head().seq == 0);
    }

    TEST_CASE("under stop one lost record is the end, whatever can be written afterwards")
    {
        const AuditFolder folder;
        const auto audit = open_audit(folder.file());
        audit->record(audit_record(AuditEvent::started));
        CHECK_FALSE(audit->must_stop());
        {
            const FullDisk full{std::filesystem::file_size(folder.file())};
            audit->record(audit_record(AuditEvent::key_loaded));
        }
        CHECK(audit->must_stop());
        audit->record(audit_record(AuditEvent::stopped));
        CHECK(audit->must_stop());
        CHECK(audit->failure().find("audit record not written: audit file") != std::string::npos);
        CHECK(events_of(folder.file()) == std::vector<std::string>{"started", "limit_reached", "stopped"});
        const auto lost = nlohmann::json::parse(lines_of(folder.file())[1]);
        CHECK(lost["reason"] == "audit.on-full");
        CHECK(lost["count"] == 1);
        CHECK(verify({folder.file()}, head_text(*audit)).code == 0);
    }

    TEST_CASE("rotation after a failed write: the chain is whole, and the new file tells what was lost")
    {
        const AuditFolder folder;
        const auto old = folder.path() / "audit.1";
        const auto audit = open_audit_that_continues(folder.file());
        audit->record(audit_record(AuditEvent::started));
        {
            const FullDisk full{std::filesystem::file_size(folder.file()) + 20};
            audit->record(audit_record(AuditEvent::key_loaded));
            audit->record(audit_record(AuditEvent::key_destroyed));
        }
        std::filesystem::rename(folder.file(), old);
        CHECK_FALSE(audit->reopen().has_value());
        audit->record(audit_record(AuditEvent::stopped));
        CHECK(events_of(old) == std::vector<std::string>{"started"});
        CHECK(events_of(folder.file()) == std::vector<std::string>{"settings_changed", "limit_reached", "stopped"});
        CHECK(nlohmann::json::parse(lines_of(folder.file()).at(1))["count"] == 2);
        const auto both = verify({old, folder.file()}, head_text(*audit));
        CHECK_MESSAGE(both.code == 0, both.err);
        const auto alone = verify({folder.file()}, head_text(*audit));
        CHECK_MESSAGE(alone.code == 0, alone.err);
    }

    TEST_CASE("rotation onto a full disk: the new file begins with its own record as soon as it can")
    {
        const AuditFolder folder;
        const auto old = folder.path() / "audit.1";
        const auto audit = open_audit_that_continues(folder.file());
        audit->record(audit_record(AuditEvent::started));
        std::filesystem::rename(folder.file(), old);
        for (const unsigned room : {0U, 20U, 500U}) { // the last is enough for the first record alone
            const FullDisk full{room};
            CHECK_FALSE(audit->reopen().has_value());
            for (int lost = 0; lost < 3; ++lost) {
                audit->record(audit_record(AuditEvent::key_loaded, std::string(300, 'x')));
            }
        }
        audit->record(audit_record(AuditEvent::stopped));
        CHECK(events_of(folder.file()) == std::vector<std::string>{"settings_changed", "limit_reached", "stopped"});
        CHECK(nlohmann::json::parse(lines_of(folder.file()).at(1))["count"] == 9);
        const auto both = verify({old, folder.file()}, head_text(*audit));
        CHECK_MESSAGE(both.code == 0, both.err);
        const auto alone = verify({folder.file()}, head_text(*audit));
        CHECK_MESSAGE(alone.code == 0, alone.err);
    }

    TEST_CASE("a piece that a failed write leaves is closed, and the chain goes on behind it, in a new file too")
    {
        const AuditFolder folder;
        const auto old = folder.path() / "audit.1";
        const auto audit = open_audit_that_continues(folder.file());
        audit->record(audit_record(AuditEvent::started));
        const auto tear = [&](const std::filesystem::path& file) {
            {
                const FullDisk full{std::filesystem::exists(file) ? std::filesystem::file_size(file) : 0};
                audit->record(audit_record(AuditEvent::key_loaded));
            }
            std::ofstream{file, std::ios::app} << R"({"seq":2,"ti)"; // as if cutting it off had failed as well
        };
        tear(folder.file());
        std::filesystem::rename(folder.file(), old);
        CHECK_FALSE(audit->reopen().has_value());
        tear(folder.file());
        audit->record(audit_record(AuditEvent::stopped));
        CHECK(lines_of(old).size() == 3);
        const auto both = verify({old, folder.file()}, head_text(*audit));
        CHECK_MESSAGE(both.code == 0, both.err);
    }

    TEST_CASE("records go to the system's log as well, and a log that is away loses none of the file")
    {
        const AuditFolder folder;
        auto socket = std::make_unique<LogSocket>(folder.path() / "log");
        SystemLog log{std::chrono::milliseconds{0}, folder.path() / "log"};
        CHECK_FALSE(log.send(R"({"seq":1})", true).has_value());
        const auto text = socket->next();
        CHECK(text.starts_with("<85>")); // authpriv, notice
        CHECK(text.find(" ntpgate[" + std::to_string(getpid()) + R"(]: {"seq":1})") != std::string::npos);
        CHECK_FALSE(log.send("failed", false).has_value());
        CHECK(socket->next().starts_with("<84>")); // warning
        socket.reset();
        CHECK(log.send("lost", true).has_value());
        std::filesystem::remove(folder.path() / "log");
        socket = std::make_unique<LogSocket>(folder.path() / "log");
        CHECK_FALSE(log.send("back", true).has_value()); // a new socket is found without being told
        CHECK(socket->next().ends_with("]: back"));
    }

    TEST_CASE("a system's log that is behind is not waited for")
    {
        const AuditFolder folder;
        const LogSocket socket{folder.path() / "log"};
        SystemLog log{std::chrono::milliseconds{0}, folder.path() / "log"};
        std::optional<std::string> error;
        for (int sent = 0; sent < 100'000 && !error; ++sent) {
            error = log.send("record", true);
        }
        REQUIRE(error.has_value());
        CHECK(error->find("Resource temporarily unavailable") != std::string::npos);
    }

    TEST_CASE("a system's log that is stuck is waited for once in a while, not by every record")
    {
        const AuditFolder folder;
        const LogSocket socket{folder.path() / "log"};
        SystemLog log{std::chrono::milliseconds{20}, folder.path() / "log"};
        std::optional<std::string> error;
        for (int sent = 0; sent < 100'000 && !error; ++sent) {
            error = log.send("record", true);
        }
        REQUIRE(error.has_value());
        CHECK(log.waits() == 1);
        for (int sent = 0; sent < 20; ++sent) {
            CHECK(log.send("record", true).has_value());
        }
        CHECK(log.waits() == 1);
        CHECK_FALSE(socket.next().empty());
        CHECK_FALSE(log.send("there is room", true).has_value()); // without a wait it is found at once
        CHECK(log.waits() == 1);
    }

    TEST_CASE("a record names the requirement of its tunnel, who began, and the lab")
    {
        const AuditFolder folder;
        AuditSettings settings;
        settings.file = folder.file();
        AuditScope scope{Requirements::v3_0e, true, {{"hq", {Role::server, ChannelKind::dtls}}}};
        auto opened = Audit::open(settings, scope);
        REQUIRE(std::holds_alternative<std::unique_ptr<Audit>>(opened));
        AuditRecord record = audit_record(AuditEvent::certificate_rejected, "certificate_expired");
        record.peer = "192.0.2.1:4461";
        std::get<std::unique_ptr<Audit>>(opened)->record(record);
        const auto line = nlohmann::json::parse(lines_of(folder.file()).at(0));
        CHECK(line["sfr"] == "FTP_ITC.1 FIA_X509_EXT.1/Rev FCS_DTLSS_EXT.1 FCS_DTLSS_EXT.2");
        CHECK(line["initiator"] == "192.0.2.1:4461");
        CHECK(line["target"] == "local");
        CHECK(line["lab"] == true);
    }
}
