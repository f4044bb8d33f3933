#include "transports/tls_pki.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/pem.h>

#include "transports/tls_issue.hpp"

namespace transports {

namespace {

namespace fs = std::filesystem;

constexpr mode_t kPrivate = 0600;
constexpr mode_t kPublic = 0644;
constexpr mode_t kDirectory = 0700;

std::string describe_errno(const fs::path& path)
{
    return path.string() + ": " + std::generic_category().message(errno);
}

/// Removes what it was told of, unless everything went well.
class Undo {
public:
    Undo() = default;
    ~Undo()
    {
        std::error_code ignored; // there is nothing better to do about what cannot be removed
        for (auto it = made_.rbegin(); it != made_.rend(); ++it) {
            fs::remove(*it, ignored);
        }
    }
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;

    void remember(const fs::path& path) { made_.push_back(path); }
    void keep() noexcept { made_.clear(); }

private:
    std::vector<fs::path> made_;
};

std::optional<std::string> make_directory(const fs::path& directory, Undo& undo)
{
    fs::path so_far;
    for (const fs::path& part : directory) {
        so_far /= part;
        if (mkdir(so_far.c_str(), kDirectory) == 0) {
            undo.remember(so_far);
            continue;
        }
        // A directory above may refuse mkdir for reasons other than being there.
        const int cause = errno;
        std::error_code failure;
        if (!fs::is_directory(so_far, failure)) {
            errno = cause;
            return describe_errno(so_far);
        }
    }
    return std::nullopt;
}

bool write_all(int descriptor, std::span<const char> text)
{
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        text = text.subspan(static_cast<std::size_t>(written));
    }
    return true;
}

struct NewFile {
    fs::path path;
    mode_t mode{};
    Owned<bio_st> content; // in memory that wipes itself
};

std::optional<std::string> write_new(const NewFile& file, Undo& undo)
{
    const int descriptor = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file.mode);
    if (descriptor < 0) {
        return describe_errno(file.path);
    }
    undo.remember(file.path);
    char* data = nullptr;
    const long size = BIO_get_mem_data(file.content.get(), &data);
    bool done = fchmod(descriptor, file.mode) == 0 && // whatever the umask says
                write_all(descriptor, {data, static_cast<std::size_t>(size)});
    const int cause = errno;
    done = ::close(descriptor) == 0 && done;
    if (!done) {
        errno = cause;
        return describe_errno(file.path);
    }
    return std::nullopt;
}

Owned<bio_st> certificate_text(const Issued& issued)
{
    Owned<bio_st> text{BIO_new(BIO_s_mem())};
    return text && PEM_write_bio_X509(text.get(), issued.certificate.get()) == 1 ? std::move(text) : nullptr;
}

Owned<bio_st> key_text(const Issued& issued)
{
    Owned<bio_st> text{BIO_new(BIO_s_secmem())};
    const bool written =
        text && PEM_write_bio_PKCS8PrivateKey(text.get(), issued.key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
    return written ? std::move(text) : nullptr;
}

using Names = std::pair<std::string_view, std::string_view>; // certificate, key
constexpr std::array<Names, 3> kFiles{
    {{"ca.pem", "ca.key"}, {"server.pem", "server.key"}, {"client.pem", "client.key"}}};

std::optional<std::string> write_pair(const fs::path& directory, const Names& names, const Issued& issued, Undo& undo)
{
    std::array<NewFile, 2> files{NewFile{directory / names.first, kPublic, certificate_text(issued)},
                                 NewFile{directory / names.second, kPrivate, key_text(issued)}};
    for (const NewFile& file : files) {
        if (!file.content) {
            return file.path.string() + ": " + take_library_errors().text;
        }
        if (auto error = write_new(file, undo)) {
            return error;
        }
    }
    return std::nullopt;
}

std::optional<std::string> find_existing(const fs::path& directory)
{
    for (const auto& [certificate, key] : kFiles) {
        for (const std::string_view name : {certificate, key}) {
            std::error_code failure;
            if (fs::exists(fs::symlink_status(directory / name, failure))) {
                return (directory / name).string() + ": exists already, and is not overwritten";
            }
        }
    }
    return std::nullopt;
}

std::variant<std::array<Issued, 3>, IssueError> issue_all(const TrialPki& request)
{
    auto authority = issue({IssuedKind::authority, "ntpgate trial authority", {}, request.lifetime}, nullptr);
    if (auto* const error = std::get_if<IssueError>(&authority)) {
        return std::move(*error);
    }
    Issued& ca = std::get<Issued>(authority);
    auto server = issue({IssuedKind::server, "ntpgate trial server", request.server_names, request.lifetime}, &ca);
    if (auto* const error = std::get_if<IssueError>(&server)) {
        return IssueError{"server certificate: " + error->text};
    }
    auto client = issue({IssuedKind::client, "ntpgate trial client", {request.client_name}, request.lifetime}, &ca);
    if (auto* const error = std::get_if<IssueError>(&client)) {
        return IssueError{"client certificate: " + error->text};
    }
    return std::array{std::move(ca), std::move(std::get<Issued>(server)), std::move(std::get<Issued>(client))};
}

} // namespace

std::optional<std::string> write_trial_pki(const TrialPki& request)
{
    if (request.directory.empty()) {
        return "no directory is given";
    }
    if (auto error = find_existing(request.directory)) {
        return error;
    }
    auto issued = issue_all(request);
    if (auto* const error = std::get_if<IssueError>(&issued)) {
        return std::move(error->text);
    }
    Undo undo;
    if (auto error = make_directory(request.directory, undo)) {
        return error;
    }
    const auto& pairs = std::get<std::array<Issued, 3>>(issued);
    for (std::size_t i = 0; i < kFiles.size(); ++i) {
        if (auto error = write_pair(request.directory, kFiles.at(i), pairs.at(i), undo)) {
            return error;
        }
    }
    undo.keep();
    return std::nullopt;
}

} // namespace transports
