#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/unit/gateway/audit_folder.hpp"
#include "transports/tls_digest.hpp"

using namespace gateway;

namespace {

constexpr std::size_t kLines = 12;

/// A file of records, which the test spoils line by line.
struct Spoilt {
    AuditFolder folder;
    std::vector<std::string> lines;
    std::string head;

    Spoilt()
    {
        const auto audit = open_audit(folder.file());
        for (std::size_t at = 0; at < kLines; ++at) {
            audit->record(audit_record(AuditEvent::config_loaded, "reason" + std::to_string(at)));
        }
        head = std::to_string(audit->head().seq) + ":" + audit->head().hash;
        lines = lines_of(folder.file());
        REQUIRE(lines.size() == kLines);
    }
    [[nodiscard]] Verdict check(const std::vector<std::string>& changed, const std::string& known = {}) const
    {
        const auto file = folder.path() / "spoilt.jsonl";
        std::ofstream out{file, std::ios::trunc};
        for (const auto& line : changed) {
            out << line << '\n';
        }
        out.close();
        return verify({file}, known);
    }
};

bool names_line(const Verdict& verdict, std::size_t line)
{
    CAPTURE(verdict.out);
    CAPTURE(verdict.err);
    return verdict.code == 1 && verdict.err.find("spoilt.jsonl:" + std::to_string(line) + ": ") != std::string::npos;
}

} // namespace

TEST_SUITE("audit_chain")
{
    TEST_CASE("a file as it was written is whole, and a head anchors it")
    {
        const Spoilt spoilt;
        CHECK(spoilt.check(spoilt.lines).code == 0);
        CHECK(spoilt.check(spoilt.lines).out.find("tail not anchored: without --head") != std::string::npos);
        CHECK(spoilt.check(spoilt.lines, spoilt.head).out.find("anchored by the given head") != std::string::npos);
        const auto earlier = "5:" + transports::sha256_hex(spoilt.lines[4]);
        CHECK(spoilt.check(spoilt.lines, earlier).out.find("7 records are behind the given head") != std::string::npos);
    }

    TEST_CASE("an edited line is found, and the next one is named")
    {
        const Spoilt spoilt;
        for (std::size_t at = 0; at < kLines; ++at) {
            auto changed = spoilt.lines;
            const auto digit = changed[at].find("reason\":\"reason") + 15;
            changed[at][digit] = changed[at][digit] == '7' ? '8' : '7';
            CHECK(names_line(spoilt.check(changed, spoilt.head), std::min(at + 2, kLines)));
        }
    }

    TEST_CASE("a deleted line is found")
    {
        const Spoilt spoilt;
        for (std::size_t at = 0; at < kLines; ++at) {
            auto changed = spoilt.lines;
            changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(at));
            const auto verdict = spoilt.check(changed, spoilt.head);
            CHECK(names_line(verdict, std::min(at + 1, kLines - 1)));
        }
    }

    TEST_CASE("an inserted line is found, a copy as well as a made one")
    {
        const Spoilt spoilt;
        for (std::size_t at = 1; at <= kLines; ++at) {
            auto copied = spoilt.lines;
            copied.insert(copied.begin() + static_cast<std::ptrdiff_t>(at), spoilt.lines[at - 1]);
            CHECK(names_line(spoilt.check(copied, spoilt.head), at + 1));
            auto made = nlohmann::ordered_json::parse(spoilt.lines[at - 1]);
            made["seq"] = at + 1;
            made["prev"] = transports::sha256_hex(spoilt.lines[at - 1]);
            auto changed = spoilt.lines;
            changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), made.dump());
            if (at < kLines) {
                // The one before the last takes the place of the head itself.
                CHECK(names_line(spoilt.check(changed, spoilt.head), at + 1 < kLines ? at + 2 : at + 1));
            } else { // behind the head nobody can tell: and that is what is said
                CHECK(spoilt.check(changed, spoilt.head).out.find("1 records are behind") != std::string::npos);
            }
        }
    }

    TEST_CASE("two lines that changed places are found")
    {
        const Spoilt spoilt;
        for (std::size_t at = 0; at + 1 < kLines; ++at) {
            auto changed = spoilt.lines;
            std::swap(changed[at], changed[at + 1]);
            CHECK(names_line(spoilt.check(changed, spoilt.head), at + 1));
        }
    }

    TEST_CASE("lines cut off the end are found by the head, and only by it")
    {
        const Spoilt spoilt;
        for (std::size_t keep = 1; keep < kLines; ++keep) {
            const std::vector<std::string> changed(spoilt.lines.begin(),
                                                   spoilt.lines.begin() + static_cast<std::ptrdiff_t>(keep));
            CHECK(names_line(spoilt.check(changed, spoilt.head), keep));
            CHECK(spoilt.check(changed).code == 0);
        }
    }

    TEST_CASE("a line that is cut itself is found")
    {
        const Spoilt spoilt;
        for (std::size_t at = 0; at < kLines; ++at) {
            auto changed = spoilt.lines;
            changed[at].resize(changed[at].size() / 2);
            CHECK(names_line(spoilt.check(changed), at + 1));
        }
    }

    TEST_CASE("a torn line and what closed it cannot be changed, moved or used to hide what was before")
    {
        Spoilt spoilt;
        std::ofstream{spoilt.folder.file(), std::ios::app} << R"({"seq":13,"time":"2026)";
        open_audit(spoilt.folder.file())->record(audit_record(AuditEvent::started));
        spoilt.lines = lines_of(spoilt.folder.file());
        REQUIRE(spoilt.lines.size() == kLines + 3);
        CHECK(spoilt.check(spoilt.lines).code == 0);

        auto edited = spoilt.lines;
        edited[kLines] += "7";
        CHECK(names_line(spoilt.check(edited), kLines + 1));
        auto removed = spoilt.lines;
        removed.erase(removed.begin() + static_cast<std::ptrdiff_t>(kLines));
        CHECK(names_line(spoilt.check(removed), kLines + 1));
        auto shortened = spoilt.lines; // the last whole record taken out before the torn one
        shortened.erase(shortened.begin() + static_cast<std::ptrdiff_t>(kLines - 1));
        CHECK(names_line(spoilt.check(shortened), kLines));
        auto doubled = spoilt.lines;
        doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(kLines), "garbage");
        CHECK(names_line(spoilt.check(doubled), kLines + 1));
        auto early = spoilt.lines;
        early.insert(early.begin() + 3, "garbage");
        CHECK(names_line(spoilt.check(early), 4));
    }

    TEST_CASE("a chain that begins anew within a file is a fault, at the beginning of a next file it is none")
    {
        const Spoilt one;
        const Spoilt other;
        auto joined = one.lines;
        joined.insert(joined.end(), other.lines.begin(), other.lines.end());
        CHECK(names_line(one.check(joined), kLines + 1));
        CHECK(verify({one.folder.file(), other.folder.file()}).code == 0);
    }

    TEST_CASE("what is no head is a usage error, what is no file an error with its name")
    {
        const Spoilt spoilt;
        for (const char* wrong : {"x", "12", "12:", "0:", ":ab", "12:zz", "-1:ab"}) {
            CHECK(spoilt.check(spoilt.lines, wrong).code == 2);
        }
        CHECK(spoilt.check(spoilt.lines, spoilt.head + "0").code == 2);
        const auto missing = verify({spoilt.folder.path() / "missing"});
        CHECK(missing.code == 1);
        CHECK(missing.err.find("missing: No such file") != std::string::npos);
        CHECK(verify({spoilt.folder.path()}).err.find("is a directory") != std::string::npos);
    }

    TEST_CASE("an empty file has no records, and a line without end is longer than any")
    {
        const Spoilt spoilt;
        CHECK(spoilt.check({}).out == "no records\n");
        CHECK(spoilt.check({}, spoilt.head).code == 1);
        CHECK(spoilt.check({std::string(kMaxAuditLine + 10, 'x')}).err.find("longer than any record") !=
              std::string::npos);
        CHECK(names_line(spoilt.check({""}), 1));
    }
}
