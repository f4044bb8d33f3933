#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "gateway/config_files.hpp"
#include "gateway/config_tree.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;
namespace fs = std::filesystem;

namespace {

SecretVerdict judge(const ConfigFolder& folder, unsigned mode)
{
    const auto file = folder.write("secret", "x");
    fs::permissions(file, static_cast<fs::perms>(mode));
    return judge_secret({file, {geteuid()}});
}

} // namespace

TEST_SUITE_BEGIN("config_files");

TEST_CASE("a secret is closed to others and written by its owner only")
{
    const ConfigFolder folder;
    for (const unsigned mode : {0600U, 0400U, 0700U}) {
        const auto verdict = judge(folder, mode);
        CHECK_FALSE(verdict.error.has_value());
        CHECK_FALSE(verdict.group_readable);
    }
    for (const unsigned mode : {0604U, 0620U, 0602U, 0644U, 0666U}) {
        CAPTURE(mode);
        CHECK(judge(folder, mode).error.has_value());
    }
    CHECK(judge(folder, 0604).error.value().find("can be read by others") != std::string::npos);
    CHECK(judge(folder, 0620).error.value().find("can be written by group or others") != std::string::npos);
}

TEST_CASE("a secret that its group can read is reported as such")
{
    const ConfigFolder folder;
    const auto verdict = judge(folder, 0640);
    CHECK_FALSE(verdict.error.has_value());
    CHECK(verdict.group_readable);
}

TEST_CASE("a secret of a stranger is refused")
{
    const ConfigFolder folder;
    const auto file = folder.write("secret", "x");
    fs::permissions(file, fs::perms::owner_read);
    if (geteuid() == 0) {
        REQUIRE(chown(file.c_str(), 12345, getegid()) == 0);
        CHECK(judge_secret({file, {12344}}).error.value().find("belongs to user id 12345") != std::string::npos);
        CHECK_FALSE(judge_secret({file, {12344, 12345}}).error.has_value());
    } else {
        CHECK(judge_secret({file, {geteuid() + 1}}).error.value().find("belongs to user id") != std::string::npos);
        CHECK_FALSE(judge_secret({file, {geteuid() + 1, geteuid()}}).error.has_value());
    }
}

TEST_CASE("what is no file is refused, and a pipe does not make the check wait")
{
    const ConfigFolder folder;
    const auto pipe = folder.path() / "pipe";
    REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
    for (const auto& path : {pipe, folder.path(), folder.path() / "absent"}) {
        CHECK(judge_secret({path, {geteuid()}}).error.has_value());
        CHECK(why_unreadable(path, FileKind::file).has_value());
        CHECK(std::holds_alternative<Refused>(read_whole_file(path)));
    }
    CHECK_FALSE(why_unreadable(folder.path(), FileKind::file_or_directory).has_value());
    CHECK(why_unreadable(pipe, FileKind::file_or_directory).has_value());
}

TEST_CASE("a file is read whole up to its limit")
{
    const ConfigFolder folder;
    const std::string most(kMaxFileSize, 'x');
    CHECK(std::get<std::string>(read_whole_file(folder.write("most", most))) == most);
    CHECK(std::holds_alternative<Refused>(read_whole_file(folder.write("more", most + "x"))));
    CHECK(std::get<std::string>(read_whole_file(folder.write("none", ""))).empty());
}

TEST_SUITE_END();
