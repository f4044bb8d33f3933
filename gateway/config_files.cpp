#include "gateway/config_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "gateway/config_tree.hpp"
#include "gateway/config_values.hpp"

namespace gateway {

namespace {

// A descriptor that closes itself.
class OpenFile {
public:
    // Without O_NONBLOCK the open of a FIFO waits for its writer, and a check would hang.
    explicit OpenFile(const std::filesystem::path& path)
        : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)), error_(errno)
    {}
    ~OpenFile()
    {
        if (is_open()) {
            ::close(descriptor_);
        }
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] int error() const noexcept { return error_; }

private:
    int descriptor_;
    int error_;
};

struct Opened {
    std::optional<std::string> why_not;
    struct stat status {};
};

Opened look_at(const OpenFile& file, const std::filesystem::path& path)
{
    Opened opened;
    const auto name = shown(path.string());
    if (!file.is_open()) {
        opened.why_not = file.error() == ENOENT
                             ? fmt::format("no such file: {} (expected the path of an existing file)", name)
                             : fmt::format("cannot read {}: {} (expected a readable file)", name,
                                           std::generic_category().message(file.error()));
    } else if (::fstat(file.descriptor(), &opened.status) != 0) {
        opened.why_not = fmt::format("cannot look at {}: {}", name, std::generic_category().message(errno));
    }
    return opened;
}

std::optional<std::string> why_not_regular(const Opened& opened, const std::filesystem::path& path)
{
    if (opened.why_not) {
        return opened.why_not;
    }
    if (!S_ISREG(opened.status.st_mode)) {
        return fmt::format("{} is not a regular file (expected a file)", shown(path.string()));
    }
    return std::nullopt;
}

} // namespace

std::optional<std::string> why_unreadable(const std::filesystem::path& path, FileKind kind)
{
    const OpenFile file{path};
    const auto opened = look_at(file, path);
    if (!opened.why_not && kind == FileKind::file_or_directory && S_ISDIR(opened.status.st_mode)) {
        return std::nullopt;
    }
    return why_not_regular(opened, path);
}

SecretVerdict judge_secret(const SecretFile& secret)
{
    const OpenFile file{secret.path};
    const auto opened = look_at(file, secret.path);
    SecretVerdict verdict{why_not_regular(opened, secret.path), false};
    if (verdict.error) {
        return verdict;
    }
    const auto name = shown(secret.path.string());
    const auto mode = opened.status.st_mode;
    const auto owner = opened.status.st_uid;
    const bool trusted =
        owner == 0 || std::find(secret.owners.begin(), secret.owners.end(), owner) != secret.owners.end();
    if ((mode & S_IROTH) != 0) {
        verdict.error = fmt::format("{} can be read by others (expected mode 0600)", name);
    } else if ((mode & (S_IWGRP | S_IWOTH)) != 0) {
        verdict.error = fmt::format("{} can be written by group or others (expected mode 0600)", name);
    } else if (!trusted) {
        verdict.error =
            fmt::format("{} belongs to user id {} (expected root or the user who runs ntpgate)", name, owner);
    }
    verdict.group_readable = (mode & S_IRGRP) != 0;
    return verdict;
}

std::variant<std::string, Refused> read_whole_file(const std::filesystem::path& path)
{
    const OpenFile file{path};
    const auto opened = look_at(file, path);
    if (auto why = why_not_regular(opened, path)) {
        return Refused{std::move(*why)};
    }
    std::string text;
    std::array<char, 16384> block{};
    while (text.size() <= kMaxFileSize) {
        const auto count = ::read(file.descriptor(), block.data(), block.size());
        if (count == 0) {
            return text;
        }
        if (count < 0 && errno != EINTR) {
            return Refused{fmt::format("cannot read it: {}", std::generic_category().message(errno))};
        }
        if (count > 0) {
            text.append(block.data(), static_cast<std::size_t>(count));
        }
    }
    return Refused{"is too large (expected at most 1 MiB)"};
}

std::optional<std::string> why_untrustworthy(const std::filesystem::path& path, const std::vector<uid_t>& owners)
{
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
        return fmt::format("{}: {}", shown(path.string()), std::strerror(errno));
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return fmt::format("{} can be written by others (expected mode 0644 or less)", shown(path.string()));
    }
    if (status.st_uid != 0 && std::find(owners.begin(), owners.end(), status.st_uid) == owners.end()) {
        return fmt::format("{} belongs to another user (expected root, or the one ntpgate runs as)",
                           shown(path.string()));
    }
    return std::nullopt;
}

} // namespace gateway
