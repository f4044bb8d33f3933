#include "transports/tls_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <system_error>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace transports {

namespace {

namespace fs = std::filesystem;

// Generous for the revocation list of a large authority, and an end for a mistaken path.
constexpr std::size_t kMaxFile = 64U << 20U;

FileError error_in(const fs::path& file, const std::string& cause)
{
    return {file.string() + ": " + cause};
}

FileError library_error_in(const fs::path& file, const std::string& what)
{
    const std::string words = take_library_errors().text;
    return error_in(file, words.empty() ? what : what + " (" + words + ")");
}

/// Octets that are wiped when they go.
class Contents {
public:
    Contents() = default;
    ~Contents() { OPENSSL_cleanse(octets_.data(), octets_.size()); }
    Contents(const Contents&) = delete;
    Contents& operator=(const Contents&) = delete;

    [[nodiscard]] std::optional<FileError> read(const fs::path& file);
    [[nodiscard]] Owned<bio_st> view() const
    {
        return Owned<bio_st>{BIO_new_mem_buf(octets_.data(), static_cast<int>(octets_.size()))};
    }

private:
    std::vector<char> octets_;
};

std::optional<FileError> Contents::read(const fs::path& file)
{
    std::error_code failure;
    if (!fs::is_regular_file(file, failure)) {
        return error_in(file, failure ? failure.message() : "not a regular file");
    }
    const std::uintmax_t size = fs::file_size(file, failure);
    if (failure || size > kMaxFile) {
        return error_in(file, failure ? failure.message() : "too large");
    }
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream{std::fopen(file.c_str(), "re"), &std::fclose};
    if (!stream) {
        return error_in(file, std::generic_category().message(errno));
    }
    // Unbuffered: the stream's own buffer would keep a copy of a key that nobody wipes.
    if (std::setvbuf(stream.get(), nullptr, _IONBF, 0) != 0) {
        return error_in(file, "cannot be read unbuffered");
    }
    octets_.resize(size);
    const std::size_t got = std::fread(octets_.data(), 1, octets_.size(), stream.get());
    if (got != octets_.size() || std::ferror(stream.get()) != 0) {
        return error_in(file, "changed while it was read");
    }
    return std::nullopt;
}

struct PemBlock {
    std::string label;
    std::vector<unsigned char> der;
};

std::variant<std::vector<PemBlock>, FileError> read_pem(const fs::path& file)
{
    Contents contents;
    if (auto failure = contents.read(file)) {
        return std::move(*failure);
    }
    const Owned<bio_st> text = contents.view();
    std::vector<PemBlock> blocks;
    for (;;) {
        char* label = nullptr;
        char* header = nullptr;
        unsigned char* der = nullptr;
        long size = 0;
        forget_library_errors();
        if (PEM_read_bio(text.get(), &label, &header, &der, &size) != 1) {
            break;
        }
        const auto end = static_cast<std::size_t>(size);
        blocks.push_back({label, {der, std::next(der, size)}});
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, end);
    }
    const auto last = ERR_peek_last_error();
    if (ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE) {
        forget_library_errors();
        return blocks;
    }
    return library_error_in(file, "broken PEM");
}

/// The directory's regular files by name, or the path itself.
std::variant<std::vector<fs::path>, FileError> files_at(const fs::path& path)
{
    std::error_code failure;
    if (!fs::is_directory(path, failure)) {
        return std::vector{path};
    }
    std::vector<fs::path> files;
    for (fs::directory_iterator it{path, failure}, end; !failure && it != end; it.increment(failure)) {
        std::error_code ignored; // a dangling link is no regular file either
        if (it->is_regular_file(ignored)) {
            files.push_back(it->path());
        }
    }
    if (failure) {
        return error_in(path, failure.message());
    }
    std::ranges::sort(files);
    return files;
}

template <class Object>
using Decode = Owned<Object> (*)(const PemBlock&);

Certificate decode_certificate(const PemBlock& block)
{
    const unsigned char* at = block.der.data();
    Certificate certificate{d2i_X509(nullptr, &at, static_cast<long>(block.der.size()))};
    const bool whole = at == block.der.data() + block.der.size();
    return whole ? std::move(certificate) : nullptr;
}

RevocationList decode_list(const PemBlock& block)
{
    const unsigned char* at = block.der.data();
    RevocationList list{d2i_X509_CRL(nullptr, &at, static_cast<long>(block.der.size()))};
    const bool whole = at == block.der.data() + block.der.size();
    return whole ? std::move(list) : nullptr;
}

template <class Object>
struct Format {
    std::array<std::string_view, 2> labels; // RFC 7468, and what older tools wrote
    std::string_view what;
    Decode<Object> decode;
};

template <class Object>
struct OnFile {
    fs::path file;
    Owned<Object> object;
};

template <class Object>
std::variant<std::vector<OnFile<Object>>, FileError> load_all(const fs::path& path, const Format<Object>& format)
{
    auto listed = files_at(path);
    if (auto* const failure = std::get_if<FileError>(&listed)) {
        return std::move(*failure);
    }
    std::vector<OnFile<Object>> loaded;
    for (const fs::path& file : std::get<std::vector<fs::path>>(listed)) {
        auto read = read_pem(file);
        if (auto* const failure = std::get_if<FileError>(&read)) {
            return std::move(*failure);
        }
        for (const PemBlock& block : std::get<std::vector<PemBlock>>(read)) {
            if (std::ranges::find(format.labels, block.label) == format.labels.end()) {
                continue;
            }
            Owned<Object> object = format.decode(block);
            if (!object) {
                return library_error_in(file, "broken " + std::string{format.what});
            }
            loaded.push_back({file, std::move(object)});
        }
    }
    if (loaded.empty()) {
        return error_in(path, "holds no PEM " + std::string{format.what});
    }
    return loaded;
}

} // namespace

std::variant<std::vector<CertificateOnFile>, FileError> load_certificates(const fs::path& path)
{
    auto loaded = load_all<x509_st>(path, {{"CERTIFICATE", "X509 CERTIFICATE"}, "certificate", decode_certificate});
    if (auto* const failure = std::get_if<FileError>(&loaded)) {
        return std::move(*failure);
    }
    std::vector<CertificateOnFile> certificates;
    for (auto& [file, object] : std::get<0>(loaded)) {
        certificates.push_back({std::move(file), std::move(object)});
    }
    return certificates;
}

std::variant<std::vector<RevocationList>, FileError> load_revocation_lists(const fs::path& path)
{
    auto loaded = load_all<X509_crl_st>(path, {{"X509 CRL", "X509 CRL"}, "revocation list", decode_list});
    if (auto* const failure = std::get_if<FileError>(&loaded)) {
        return std::move(*failure);
    }
    std::vector<RevocationList> lists;
    for (auto& [file, object] : std::get<0>(loaded)) {
        lists.push_back(std::move(object));
    }
    return lists;
}

std::variant<PrivateKey, FileError> load_private_key(const fs::path& file)
{
    Contents contents;
    if (auto failure = contents.read(file)) {
        return std::move(*failure);
    }
    const Owned<bio_st> text = contents.view();
    bool asked = false;
    const auto refuse = [](char* /*password*/, int /*size*/, int /*writing*/, void* was_asked) {
        *static_cast<bool*>(was_asked) = true;
        return -1;
    };
    forget_library_errors();
    PrivateKey key{PEM_read_bio_PrivateKey(text.get(), nullptr, refuse, &asked)};
    if (key) {
        return key;
    }
    if (asked) {
        forget_library_errors();
        return error_in(file, "the key is encrypted; a daemon cannot be asked for its password, store it decrypted");
    }
    return library_error_in(file, "holds no usable PEM private key");
}

fs::path system_trust_directory()
{
    const char* const chosen = secure_getenv(X509_get_default_cert_dir_env());
    return chosen != nullptr ? chosen : X509_get_default_cert_dir();
}

} // namespace transports
