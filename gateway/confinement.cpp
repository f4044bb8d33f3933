#include "gateway/confinement.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gateway {

namespace {

constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
// A file is replaced by renaming a new one over it.
constexpr std::uint64_t kWrite =
    kRead | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
// Later ABIs know more rights than Debian 12's headers name.
constexpr std::uint64_t kFirstAbi = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1U) - 1;
constexpr std::uint64_t kTruncate = 1ULL << 14U; // ABI 3
constexpr int kReferAbi = 2;
constexpr int kTruncateAbi = 3;

std::string failure(const char* what, int error)
{
    return fmt::format("{}: {}", what, std::strerror(error));
}

/// A descriptor that closes itself.
class Descriptor {
public:
    explicit Descriptor(long number) : number_{static_cast<int>(number)} {}
    ~Descriptor()
    {
        if (number_ >= 0) {
            close(number_);
        }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int number() const noexcept { return number_; }

private:
    int number_;
};

std::optional<std::string> allow_below(const Descriptor& rules, const std::filesystem::path& folder,
                                       std::uint64_t access)
{
    const Descriptor parent{open(folder.c_str(), O_PATH | O_CLOEXEC | O_DIRECTORY)};
    if (parent.number() < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) {
            return std::nullopt; // what cannot be reached needs no leave
        }
        return failure(folder.c_str(), errno);
    }
    landlock_path_beneath_attr rule{};
    rule.allowed_access = access;
    rule.parent_fd = parent.number();
    if (syscall(SYS_landlock_add_rule, rules.number(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        return failure("landlock_add_rule", errno);
    }
    return std::nullopt;
}

std::variant<int, std::string> confine_files(const Reach& reach)
{
    const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0) {
        // Not built in, or not switched on: the unit's own sandbox is what remains.
        return errno == ENOSYS || errno == EOPNOTSUPP
                   ? std::variant<int, std::string>{0}
                   : std::variant<int, std::string>{failure("landlock_create_ruleset", errno)};
    }
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = kFirstAbi;
    attributes.handled_access_fs |= abi >= kReferAbi ? LANDLOCK_ACCESS_FS_REFER : 0;
    attributes.handled_access_fs |= abi >= kTruncateAbi ? kTruncate : 0;
    const Descriptor rules{syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)};
    if (rules.number() < 0) {
        return failure("landlock_create_ruleset", errno);
    }
    const std::uint64_t write = abi >= kTruncateAbi ? kWrite | kTruncate : kWrite;
    for (const auto& folder : reach.read) {
        if (auto error = allow_below(rules, folder, kRead)) {
            return std::move(*error);
        }
    }
    for (const auto& folder : reach.write) {
        if (auto error = allow_below(rules, folder, write)) {
            return std::move(*error);
        }
    }
    if (syscall(SYS_landlock_restrict_self, rules.number(), 0) != 0) {
        return failure("landlock_restrict_self", errno);
    }
    return static_cast<int>(abi);
}

// What serving takes: the loop, sockets, files, time, memory, threads for name look-ups, an orderly end. No program is
// started, no other process looked at, no clock set, no identity changed.
constexpr std::array kCalls = {
    // descriptors and the loop
    "read", "readv", "pread64", "write", "writev", "pwrite64", "close", "close_range", "lseek", "fcntl", "dup", "dup2",
    "dup3", "pipe2", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    "select", "pselect6", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    // sockets; socket() itself by family, below
    "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername", "setsockopt",
    "getsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
    // files
    "open", "openat", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "rename", "renameat", "renameat2", "unlink",
    "unlinkat", "mkdir", "mkdirat", "ftruncate", "fsync", "fdatasync", "flock", "fchmod", "chmod", "fchmodat", "umask",
    // memory
    "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "membarrier",
    // time: adjtimex reads whether the kernel says the clock is right; to set it takes a capability that is gone
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "adjtimex",
    "clock_adjtime",
    // threads and signals
    "futex", "set_robust_list", "rseq", "set_tid_address", "sched_getaffinity", "sched_yield", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
    // who and where we are
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "getrlimit", "uname",
    "sysinfo", "getrusage"};
constexpr std::array kFamilies = {AF_UNIX, AF_INET, AF_INET6};
// A new namespace would bring its maker capabilities, and with them most of the kernel's weak spots.
constexpr scmp_datum_t kNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr std::array<unsigned long, 5> kControls = {FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS};

struct ReleaseFilter {
    void operator()(void* filter) const noexcept { seccomp_release(filter); }
};

struct CallRule {
    std::uint32_t action;
    const char* call;
    std::vector<scmp_arg_cmp> conditions; // all of them
};

std::vector<CallRule> call_rules()
{
    const auto argument = [](unsigned number, std::uint64_t value) {
        return scmp_arg_cmp{number, SCMP_CMP_EQ, value, 0};
    };
    std::vector<CallRule> rules;
    for (const char* const call : kCalls) {
        rules.push_back({SCMP_ACT_ALLOW, call, {}});
    }
    for (const int family : kFamilies) {
        rules.push_back({SCMP_ACT_ALLOW, "socket", {argument(0, static_cast<scmp_datum_t>(family))}});
    }
    rules.push_back({SCMP_ACT_ALLOW, "socket", {argument(0, AF_NETLINK), argument(2, NETLINK_ROUTE)}});
    for (const unsigned long control : kControls) {
        rules.push_back({SCMP_ACT_ALLOW, "ioctl", {argument(1, control)}});
    }
    rules.push_back({SCMP_ACT_ALLOW, "prctl", {argument(0, PR_SET_NAME)}});
    rules.push_back({SCMP_ACT_ALLOW, "prlimit64", {argument(2, 0)}}); // no new limit
    rules.push_back({SCMP_ACT_ALLOW, "tgkill", {argument(0, static_cast<scmp_datum_t>(getpid()))}});
    // The flags of clone3 are out of a filter's sight; without it threads are started by clone.
    rules.push_back({SCMP_ACT_ALLOW, "clone", {{0, SCMP_CMP_MASKED_EQ, kNamespaces, 0}}});
    rules.push_back({SCMP_ACT_ERRNO(ENOSYS), "clone3", {}});
    return rules;
}

std::optional<std::string> confine_calls()
{
    const std::unique_ptr<void, ReleaseFilter> filter{seccomp_init(SCMP_ACT_ERRNO(EPERM))};
    if (!filter) {
        return "seccomp_init failed";
    }
    for (const CallRule& rule : call_rules()) {
        const int number = seccomp_syscall_resolve_name(rule.call);
        if (number == __NR_SCMP_ERROR) {
            continue; // a call that this processor does not have needs no leave
        }
        const auto count = static_cast<unsigned>(rule.conditions.size());
        if (const int error = seccomp_rule_add_array(filter.get(), rule.action, number, count, rule.conditions.data());
            error != 0) {
            return failure(rule.call, -error);
        }
    }
    if (const int error = seccomp_load(filter.get()); error != 0) {
        return failure("seccomp_load", -error);
    }
    return std::nullopt;
}

} // namespace

Reach reach_of(const Config& config)
{
    Reach reach;
    // Names are looked up by what /etc says, through modules and with data below /usr; a resolver of its own keeps
    // resolv.conf below /run. The system's trust store lies below /etc and /usr.
    for (const char* const folder : {"/etc", "/usr", "/lib", "/lib64", "/run", "/dev"}) {
        reach.read.emplace_back(folder);
    }
    const auto read = [&](const std::filesystem::path& path) {
        const auto full = std::filesystem::absolute(path);
        reach.read.push_back(full); // when it is a folder
        reach.read.push_back(full.parent_path());
        std::error_code none; // a link may have lost its target since the file was checked: then there is none to read
        reach.read.push_back(std::filesystem::weakly_canonical(full, none).parent_path());
    };
    if (config.file != kCommandLine) {
        read(config.file);
    }
    for (const Tunnel& tunnel : config.tunnels) {
        // All of these are read again when they change.
        for (const auto& path : {tunnel.tls.ca, tunnel.tls.certificate, tunnel.tls.key}) {
            if (path) {
                read(*path);
            }
        }
        for (const auto& path : tunnel.tls.crl) {
            read(path);
        }
        for (const auto& path : {tunnel.ssh.key, tunnel.ssh.known_hosts, tunnel.ssh.authorized_keys}) {
            if (path) {
                read(*path);
            }
        }
        for (const auto& path : tunnel.ssh.host_keys) {
            read(path);
        }
        if (tunnel.mac) {
            read(tunnel.mac->keys);
        }
    }
    for (const Tunnel& tunnel : config.tunnels) {
        if (tunnel.last_good_time) {
            reach.write.push_back(std::filesystem::absolute(*tunnel.last_good_time).parent_path());
        }
        if (tunnel.nts && tunnel.nts->state) {
            reach.write.push_back(std::filesystem::absolute(*tunnel.nts->state));
        }
        if (tunnel.nts && !tunnel.nts->keys.empty()) {
            const bool writes = tunnel.nts->rotate.count() != 0 || tunnel.nts->source == NtsKeySource::ratchet;
            read(tunnel.nts->keys);
            if (writes) {
                reach.write.push_back(std::filesystem::absolute(tunnel.nts->keys).parent_path());
            }
        }
    }
    if (config.audit.file) {
        reach.write.push_back(std::filesystem::absolute(*config.audit.file).parent_path());
    }
    return reach;
}

std::variant<int, std::string> confine(const Reach& reach)
{
    auto abi = confine_files(reach);
    if (std::holds_alternative<std::string>(abi)) {
        return abi;
    }
    if (auto error = confine_calls()) {
        return std::move(*error);
    }
    return abi;
}

} // namespace gateway
