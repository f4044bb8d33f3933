#include "transports/ssh_keygen.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <libssh/libssh.h>
#include <unistd.h>

#include "transports/ssh_library.hpp"

namespace transports {

namespace {

namespace fs = std::filesystem;

constexpr int kRsaBits = 3072;
constexpr std::array<std::string_view, 8> kFiles = {
    "host_ed25519", "host_ed25519.pub", "host_rsa",    "host_rsa.pub",
    "id_ed25519",   "id_ed25519.pub",   "known_hosts", "authorized_keys",
};

class Writer {
public:
    explicit Writer(fs::path directory) : directory_{std::move(directory)} {}
    ~Writer()
    {
        std::error_code ignored; // what cannot be removed either is named by the error that led here
        for (const auto& path : made_) {
            fs::remove(path, ignored);
        }
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    void keep() noexcept { made_.clear(); }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

    [[nodiscard]] bool prepare()
    {
        std::error_code failed;
        if (fs::create_directories(directory_, failed)) {
            fs::permissions(directory_, fs::perms::owner_all, failed);
        }
        if (failed) {
            return fail(directory_, failed.message());
        }
        for (const auto name : kFiles) {
            const auto path = directory_ / name;
            if (fs::exists(fs::symlink_status(path, failed))) {
                return fail(path, "exists already; nothing was written");
            }
        }
        return true;
    }

    bool text(std::string_view name, const std::string& content)
    {
        const int descriptor = create(name, 0644);
        if (descriptor < 0) {
            return false;
        }
        const bool written =
            ::write(descriptor, content.data(), content.size()) == static_cast<ssize_t>(content.size());
        const bool closed = ::close(descriptor) == 0;
        return (written && closed) || fail(directory_ / name, "can not be written");
    }

    /// The library writes into a file that exists by now, and that nobody else may read.
    bool private_key(std::string_view name, ssh_key_struct* key)
    {
        const int descriptor = create(name, 0600);
        if (descriptor < 0) {
            return false;
        }
        (void)::close(descriptor); // nothing was written through it
        const auto path = directory_ / name;
        return ssh_pki_export_privkey_file(key, nullptr, nullptr, nullptr, path.c_str()) == SSH_OK ||
               fail(path, "can not be written");
    }

    bool fail(const fs::path& path, const std::string& why)
    {
        error_ = path.string() + ": " + why;
        return false;
    }

private:
    [[nodiscard]] int create(std::string_view name, mode_t mode)
    {
        const auto path = directory_ / name;
        const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (descriptor < 0) {
            (void)fail(path, std::strerror(errno));
        } else {
            made_.push_back(path);
        }
        return descriptor;
    }

    fs::path directory_;
    std::vector<fs::path> made_;
    std::string error_;
};

/// A key and its public half as one line without a comment.
struct NewKey {
    OwnedKey key;
    std::string line;
};

std::optional<NewKey> generate(ssh_keytypes_e type, int bits)
{
    ssh_key raw = nullptr;
    char* base64 = nullptr;
    if (ssh_pki_generate(type, bits, &raw) != SSH_OK) {
        return std::nullopt;
    }
    NewKey made{OwnedKey{raw}, {}};
    if (ssh_pki_export_pubkey_base64(raw, &base64) != SSH_OK) {
        return std::nullopt;
    }
    made.line = std::string{ssh_key_type_to_char(ssh_key_type(raw))} + " " + base64;
    ssh_string_free_char(base64);
    return made;
}

/// "localhost,[localhost]:*": the host at the usual port and at any other.
std::string names_in_file(const std::vector<std::string>& names)
{
    std::string out;
    for (const auto& name : names) {
        out += (out.empty() ? "" : ",") + name + ",[" + name + "]:*";
    }
    return out;
}

bool write_key(Writer& writer, const std::string& name, const NewKey& key, const std::string& comment)
{
    return writer.private_key(name, key.key.get()) && writer.text(name + ".pub", key.line + " " + comment + "\n");
}

} // namespace

std::optional<std::string> write_trial_ssh_keys(const TrialSshKeys& request)
{
    Writer writer{request.directory};
    if (!writer.prepare()) {
        return writer.error();
    }
    const auto host = generate(SSH_KEYTYPE_ED25519, 0);
    const auto host_rsa = generate(SSH_KEYTYPE_RSA, kRsaBits);
    const auto client = generate(SSH_KEYTYPE_ED25519, 0);
    if (!host || !host_rsa || !client) {
        return "the SSH library can not make keys";
    }
    const std::string names = names_in_file(request.server_names);
    const bool written =
        write_key(writer, "host_ed25519", *host, "ntpgate-host") &&
        write_key(writer, "host_rsa", *host_rsa, "ntpgate-host") &&
        write_key(writer, "id_ed25519", *client, request.client_name) &&
        writer.text("known_hosts", names + " " + host->line + "\n" + names + " " + host_rsa->line + "\n") &&
        writer.text("authorized_keys", "restrict " + client->line + " " + request.client_name + "\n");
    if (!written) {
        return writer.error();
    }
    writer.keep();
    return std::nullopt;
}

} // namespace transports
