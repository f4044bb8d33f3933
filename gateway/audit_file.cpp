#include "gateway/audit_file.hpp"

#include <cerrno>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transports/clock.hpp"

namespace gateway {

namespace {

constexpr int kAuthPriv = 10 << 3; // RFC 3164 section 4.1.1
constexpr int kWarning = 4;
constexpr int kNotice = 5;

std::string failure(const std::filesystem::path& path, int error)
{
    return fmt::format("audit file {}: {}", path.string(), std::strerror(error));
}

bool same_file(const struct stat& one, const struct stat& other) noexcept
{
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// "Jan  2 03:04:05", local time, as RFC 3164 has it.
std::string local_stamp()
{
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    char text[32] = "";
    if (localtime_r(&now, &parts) != nullptr) {
        (void)std::strftime(text, sizeof text, "%b %e %H:%M:%S", &parts);
    }
    return text;
}

} // namespace

AuditFile::Opened AuditFile::open(const std::filesystem::path& path)
{
    // Between opening and locking the file may be rotated away: then the lock is on what nobody reads.
    constexpr int kAttempts = 3;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const int descriptor = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (descriptor < 0) {
            return failure(path, errno);
        }
        std::unique_ptr<AuditFile> file{new AuditFile{descriptor, path}};
        // A device has no chain that a second writer could break: any number may write to /dev/null.
        if (file->is_regular() && flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK) {
                return fmt::format("audit file {}: another process writes it (expected one writer for each file)",
                                   path.string());
            }
            return failure(path, errno);
        }
        if (!file->moved()) {
            return file;
        }
    }
    return fmt::format("audit file {}: it is replaced faster than it can be opened", path.string());
}

AuditFile::~AuditFile()
{
    close(descriptor_);
}

ChainEnd AuditFile::end() const
{
    constexpr auto kTail = static_cast<off_t>(2 * kMaxAuditLine);
    struct stat status {};
    if (fstat(descriptor_, &status) != 0 || status.st_size == 0) {
        return {};
    }
    const off_t from = status.st_size > kTail ? status.st_size - kTail : 0;
    std::string tail(static_cast<std::size_t>(status.st_size - from), '\0');
    const ssize_t count = pread(descriptor_, tail.data(), tail.size(), from);
    tail.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return find_chain_end(tail);
}

std::optional<std::string> AuditFile::append(std::string_view text) const
{
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(descriptor_, text.data() + written, text.size() - written);
        if (count > 0) {
            written += static_cast<std::size_t>(count);
        } else if (count == 0 || errno != EINTR) {
            const int error = count == 0 ? EIO : errno;
            struct stat status {};
            if (written != 0 && (fstat(descriptor_, &status) != 0 ||
                                 ftruncate(descriptor_, status.st_size - static_cast<off_t>(written)) != 0)) {
                return failure(path_, error) + "; a torn line stays in it";
            }
            return failure(path_, error);
        }
    }
    return std::nullopt;
}

bool AuditFile::is_regular() const noexcept
{
    struct stat status {};
    return fstat(descriptor_, &status) != 0 || S_ISREG(status.st_mode);
}

bool AuditFile::moved() const noexcept
{
    struct stat own {};
    struct stat there {};
    return fstat(descriptor_, &own) != 0 || stat(path_.c_str(), &there) != 0 || !same_file(own, there);
}

SystemLog::~SystemLog()
{
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

std::optional<std::string> SystemLog::connect()
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = path_.string();
    if (path.size() >= sizeof address.sun_path) {
        return fmt::format("system log {}: the path is too long", path);
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) {
        return fmt::format("system log {}: {}", path, std::strerror(errno));
    }
    if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        close(descriptor);
        return fmt::format("system log {}: {}", path, std::strerror(error));
    }
    descriptor_ = descriptor;
    return std::nullopt;
}

int SystemLog::send_once(std::string_view message)
{
    if (::send(descriptor_, message.data(), message.size(), MSG_NOSIGNAL) >= 0) {
        return 0;
    }
    if (errno != EAGAIN || patience_ == std::chrono::milliseconds::zero()) {
        return errno;
    }
    if (no_wait_before_ && transports::read_boot() < *no_wait_before_) {
        return EAGAIN;
    }
    ++waits_;
    pollfd room{descriptor_, POLLOUT, 0};
    (void)poll(&room, 1, static_cast<int>(patience_.count())); // the second attempt tells
    if (::send(descriptor_, message.data(), message.size(), MSG_NOSIGNAL) >= 0) {
        return 0;
    }
    const int error = errno;
    no_wait_before_ = transports::read_boot() + kPause;
    return error;
}

std::optional<std::string> SystemLog::send(std::string_view record, bool success)
{
    const std::string message = fmt::format("<{}>{} ntpgate[{}]: {}", kAuthPriv | (success ? kNotice : kWarning),
                                            local_stamp(), getpid(), record);
    int error = ENOTCONN;
    // The log's own restart takes its socket away: once more, from the beginning.
    for (int attempt = 0; attempt < 2 && error != 0 && error != EAGAIN && error != EMSGSIZE; ++attempt) {
        if (descriptor_ < 0) {
            if (auto refused = connect()) {
                return refused;
            }
        }
        error = send_once(message);
        if (error != 0 && error != EAGAIN && error != EMSGSIZE) {
            close(descriptor_);
            descriptor_ = -1;
        }
    }
    if (error == 0) {
        return std::nullopt;
    }
    return fmt::format("system log {}: {}", path_.string(), std::strerror(error));
}

} // namespace gateway
