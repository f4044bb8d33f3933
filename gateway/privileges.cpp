#include "gateway/privileges.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gateway {

namespace {

std::string failure(const char* what)
{
    return fmt::format("{}: {}", what, std::strerror(errno));
}

std::optional<std::string> become(const std::string& user)
{
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(std::size_t{16} * 1024);
    if (getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
        return fmt::format("user {} does not exist", user);
    }
    if (setgroups(0, nullptr) != 0) {
        return failure("setgroups");
    }
    if (setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid) != 0) {
        return failure("setresgid");
    }
    if (setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid) != 0) {
        return failure("setresuid");
    }
    return std::nullopt;
}

std::optional<std::string> drop_capabilities()
{
    __user_cap_header_struct header{};
    header.version = _LINUX_CAPABILITY_VERSION_3;
    const std::array<__user_cap_data_struct, 2> none{};
    if (syscall(SYS_capset, &header, none.data()) != 0) {
        return failure("capset");
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        return failure("PR_CAP_AMBIENT_CLEAR_ALL");
    }
    return std::nullopt;
}

} // namespace

std::optional<std::string> allow_descriptors(std::uint64_t needed)
{
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return failure("getrlimit");
    }
    if (limit.rlim_cur >= needed) {
        return std::nullopt;
    }
    if (limit.rlim_max < needed) {
        return fmt::format(
            "the configured limits need {} descriptors, and this process may have {}: lower limits.channels "
            "and limits.half-open, or raise RLIMIT_NOFILE (LimitNOFILE=)",
            needed, limit.rlim_max);
    }
    limit.rlim_cur = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return failure("setrlimit");
    }
    return std::nullopt;
}

void forbid_core_dumps() noexcept
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // cannot fail with these arguments
    const rlimit none{0, 0};
    (void)setrlimit(RLIMIT_CORE, &none); // lowering is always allowed
}

std::optional<std::string> drop_privileges(const std::string& user)
{
    if (!user.empty() && geteuid() == 0) {
        if (auto error = become(user)) {
            return error;
        }
    }
    if (auto error = drop_capabilities()) {
        return error;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return failure("PR_SET_NO_NEW_PRIVS");
    }
    forbid_core_dumps(); // a change of user switches dumping back on
    return std::nullopt;
}

} // namespace gateway
