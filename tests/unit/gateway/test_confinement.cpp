#include <doctest/doctest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/confinement.hpp"
#include "tests/unit/gateway/config_folder.hpp"

using namespace gateway;

namespace {

/// What `attempt` returns in a process that was confined to `reach` first; 100 = it could not be confined.
int confined(const Reach& reach, const std::function<int()>& attempt)
{
    const pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        const auto result = confine(reach);
        _exit(std::holds_alternative<int>(result) ? attempt() : 100);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int error_of(long result)
{
    return result < 0 ? errno : 0;
}

int opened(const std::filesystem::path& path, int flags)
{
    const int descriptor = open(path.c_str(), flags | O_CLOEXEC, 0600);
    const int error = error_of(descriptor);
    if (descriptor >= 0) {
        close(descriptor);
    }
    return error;
}

} // namespace

TEST_SUITE("confinement")
{
    TEST_CASE("files are read and written where they may be, and nowhere else")
    {
        const ConfigFolder folder;
        const auto readable = folder.path() / "readable";
        const auto writable = folder.path() / "writable";
        const auto other = folder.path() / "other";
        for (const auto& each : {readable, writable, other}) {
            std::filesystem::create_directory(each);
            std::ofstream{each / "file"} << "text";
        }
        const Reach reach{{readable, folder.path() / "no such folder"}, {writable}};
        CHECK(confined(reach, [&] { return opened(readable / "file", O_RDONLY); }) == 0);
        CHECK(confined(reach, [&] { return opened(readable / "file", O_WRONLY); }) == EACCES);
        CHECK(confined(reach, [&] { return opened(readable / "new", O_WRONLY | O_CREAT); }) == EACCES);
        CHECK(confined(reach, [&] { return opened(other / "file", O_RDONLY); }) == EACCES);
        CHECK(confined(reach, [&] { return opened(writable / "new", O_WRONLY | O_CREAT); }) == 0);
        CHECK(confined(reach,
                       [&] { return error_of(rename((writable / "new").c_str(), (writable / "file").c_str())); }) == 0);
        CHECK(confined(reach, [&] { return opened(writable / "file", O_WRONLY | O_TRUNC); }) == 0);
        CHECK(confined(reach, [&] { return error_of(unlink((other / "file").c_str())); }) == EACCES);
    }

    TEST_CASE("a file renamed over one that was there before can still be read")
    {
        const ConfigFolder folder;
        std::ofstream{folder.path() / "key"} << "old";
        CHECK(confined({{folder.path()}, {folder.path()}}, [&] {
                  std::ofstream{folder.path() / "next"} << "new";
                  std::filesystem::rename(folder.path() / "next", folder.path() / "key");
                  return opened(folder.path() / "key", O_RDONLY);
              }) == 0);
    }

    TEST_CASE("no program is started, no process looked at, no other kind of socket opened, no clock set")
    {
        const auto refused = [](const std::function<long()>& attempt) {
            return confined({}, [&] { return error_of(attempt()); });
        };
        CHECK(refused([] { return execl("/bin/true", "true", nullptr); }) == EPERM);
        CHECK(refused([] { return ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }) == EPERM);
        CHECK(refused([] { return socket(AF_PACKET, SOCK_RAW, 0); }) == EPERM);
        CHECK(refused([] {
                  const timespec now{};
                  return clock_settime(CLOCK_REALTIME, &now);
              }) == EPERM);
        CHECK(refused([] { return setuid(0); }) == EPERM);
        CHECK(refused([] { return unshare(CLONE_NEWUSER); }) == EPERM);
        CHECK(refused([] { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0); }) ==
              EPERM);
        CHECK(refused([] { return syscall(SYS_clone3, nullptr, 0); }) == ENOSYS);
        CHECK(refused([] { return socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }) == EPERM);
        CHECK(refused([] { return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }) == 0);
        CHECK(refused([] { return syscall(SYS_tgkill, getppid(), getppid(), 0); }) == EPERM);
        CHECK(refused([] { return socket(AF_INET6, SOCK_DGRAM, 0); }) == 0);
    }

    TEST_CASE("threads are still started")
    {
        CHECK(confined({}, [] {
                  int result = 1;
                  std::thread{[&result] { result = 0; }}.join();
                  return result;
              }) == 0);
    }

    TEST_CASE("names are still looked up")
    {
        Config config;
        config.file = kCommandLine;
        const Reach reach = reach_of(config);
        CHECK(confined(reach, [] {
                  addrinfo* list = nullptr;
                  return getaddrinfo("localhost", "123", nullptr, &list);
              }) == 0);
    }
}
