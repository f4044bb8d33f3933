#include "gateway/keygen_mac.hpp"

#include <cerrno>
#include <ostream>
#include <span>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include "ntp-shim/key_file.hpp"
#include "ntp-shim/keyed_digest.hpp"
#include "ntp-shim/secret.hpp"

namespace gateway {

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsageError = 2;
constexpr std::size_t kKeySize = 32; // what ntpd and NTPsec take at most; CMAC keys have their own size
constexpr std::uint32_t kMaxNtpId = 65535;

std::string why(int error)
{
    return std::generic_category().message(error);
}

/// The error text.
std::string write_file(const std::filesystem::path& path, std::string_view text)
{
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return fmt::format("cannot make {}: {}", path.string(), why(errno));
    }
    const auto written = ::write(descriptor, text.data(), text.size());
    const int error = errno;
    const bool closed = ::close(descriptor) == 0;
    if (std::cmp_not_equal(written, text.size()) || !closed) {
        return fmt::format("cannot write {}: {}", path.string(), why(error));
    }
    return {};
}

} // namespace

int write_mac_key(const MacKeyRequest& request, std::ostream& out, std::ostream& errors)
{
    const auto kind = ntp_shim::digest_named(request.digest);
    const bool is_ntp = request.format == "ntp";
    if (!kind || *kind == ntp_shim::DigestKind::md5) {
        errors << "ntpgate: --digest: expected AES128, AES256, SHA256, SHA384, SHA512 or SHA1\n";
        return kUsageError;
    }
    if (!is_ntp && request.format != "chrony") {
        errors << "ntpgate: --format: expected ntp or chrony\n";
        return kUsageError;
    }
    if (request.id == 0 || (is_ntp && request.id > kMaxNtpId)) {
        errors << fmt::format("ntpgate: --id: expected 1 to {}\n", is_ntp ? "65535" : "4294967295");
        return kUsageError;
    }
    const auto required = ntp_shim::required_key_size(*kind);
    ntp_shim::Secret key{required == 0 ? kKeySize : required};
    if (std::cmp_not_equal(::getrandom(key.octets().data(), key.size(), 0), key.size())) {
        errors << "ntpgate: the kernel gives no random octets\n";
        return kFailed;
    }
    std::error_code failed;
    std::filesystem::create_directories(request.directory, failed);
    const auto path = request.directory / "ntp.keys";
    auto line = ntp_shim::key_line(request.id, *kind, std::as_const(key).octets(),
                                   is_ntp ? ntp_shim::KeyFormat::ntp : ntp_shim::KeyFormat::chrony);
    const auto error = write_file(path, line);
    ntp_shim::wipe(std::as_writable_bytes(std::span{line}));
    if (!error.empty()) {
        errors << "ntpgate: " << error << '\n';
        return kFailed;
    }
    const ntp_shim::MacKey made{{.id = request.id, .line = 1, .peers = {}},
                                ntp_shim::KeyedDigest::create(*kind, std::move(key))};
    out << fmt::format("key {} ({}) in {}, check value {}\n", request.id, request.digest, path.string(),
                       made.check_value());
    return kDone;
}

} // namespace gateway
