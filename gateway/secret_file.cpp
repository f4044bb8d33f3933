#include "gateway/secret_file.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace gateway {

namespace {

constexpr std::size_t kMaxSize = 1 << 20;

std::string cause(int error)
{
    return std::generic_category().message(error);
}

class Descriptor {
public:
    explicit Descriptor(int number) noexcept : number_{number} {}
    ~Descriptor()
    {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return number_; }

private:
    int number_;
};

bool write_all(int descriptor, std::string_view text)
{
    while (!text.empty()) {
        const auto count = ::write(descriptor, text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            return false;
        }
        text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
    return true;
}

} // namespace

std::variant<ntp_shim::Secret, std::string> read_secret(const std::filesystem::path& path)
{
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (file.get() < 0) {
        return fmt::format("cannot read it: {}", cause(errno));
    }
    ntp_shim::Secret text{kMaxSize + 1};
    std::size_t size = 0;
    ssize_t count = 0;
    do {
        count = ::read(file.get(), &text.octets()[size], text.size() - size);
        size += count > 0 ? static_cast<std::size_t>(count) : 0;
    } while ((count > 0 && size < text.size()) || (count < 0 && errno == EINTR));
    if (count < 0) {
        return fmt::format("cannot read it: {}", cause(errno));
    }
    if (size > kMaxSize) {
        return std::string{"is too large (expected at most 1 MiB)"};
    }
    return ntp_shim::Secret{std::as_const(text).octets().first(size)};
}

std::string_view text_of(const ntp_shim::Secret& secret) noexcept
{
    return {reinterpret_cast<const char*>(secret.octets().data()), secret.size()};
}

std::optional<std::string> replace_secret(const std::filesystem::path& path, std::string_view text)
{
    const std::filesystem::path fresh = path.string() + ".new";
    (void)::unlink(fresh.c_str()); // of a process that ended in the middle
    {
        const Descriptor file{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (file.get() < 0 || !write_all(file.get(), text) || ::fsync(file.get()) != 0) {
            return fmt::format("cannot write {}: {}", fresh.string(), cause(errno));
        }
    }
    if (::rename(fresh.c_str(), path.c_str()) != 0) {
        return fmt::format("cannot replace {}: {}", path.string(), cause(errno));
    }
    const auto folder = path.parent_path();
    const Descriptor directory{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (directory.get() >= 0) {
        (void)::fsync(directory.get()); // without it a crash may bring back the old file, which is as good
    }
    return std::nullopt;
}

} // namespace gateway
