#include "ntp-shim/keyed_digest.hpp"

#include <algorithm>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

namespace ntp_shim {

namespace {

struct Row {
    std::string_view name;
    const char* primitive; // what libcrypto calls the hash, or the cipher under CMAC
    std::size_t size;
    std::size_t key_size;
};

constexpr std::array<Row, kDigestKinds> kRows{{{"MD5", "MD5", 16, 0},
                                               {"SHA1", "SHA1", 20, 0},
                                               {"SHA256", "SHA256", 32, 0},
                                               {"SHA384", "SHA384", 48, 0},
                                               {"SHA512", "SHA512", 64, 0},
                                               {"AES128", "AES-128-CBC", 16, 16},
                                               {"AES256", "AES-256-CBC", 16, 32}}};

const Row& row(DigestKind kind) noexcept
{
    return kRows[static_cast<std::size_t>(kind)];
}

const unsigned char* octets_of(Bytes bytes) noexcept
{
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

template <auto function>
struct Free {
    template <class Object>
    void operator()(Object* object) const noexcept
    {
        function(object);
    }
};

} // namespace

std::string_view name(DigestKind kind) noexcept
{
    return row(kind).name;
}

std::optional<DigestKind> digest_named(std::string_view name) noexcept
{
    const auto found = std::ranges::find(kRows, name, &Row::name);
    if (found == kRows.end()) {
        return std::nullopt;
    }
    return static_cast<DigestKind>(found - kRows.begin());
}

std::size_t digest_size(DigestKind kind) noexcept
{
    return row(kind).size;
}

std::size_t required_key_size(DigestKind kind) noexcept
{
    return row(kind).key_size;
}

/// Fetched and keyed once: an implicit fetch, or a new context, for each packet would cost more than the digest.
struct KeyedDigest::Primitive {
    std::unique_ptr<EVP_MD, Free<EVP_MD_free>> hash;
    std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>> hash_context;
    std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>> cmac_context;

    bool set_hash(const char* name)
    {
        hash.reset(EVP_MD_fetch(nullptr, name, nullptr));
        hash_context.reset(EVP_MD_CTX_new());
        return hash != nullptr && hash_context != nullptr;
    }
    bool set_cmac(const char* cipher, Bytes key)
    {
        const std::unique_ptr<EVP_MAC, Free<EVP_MAC_free>> cmac{EVP_MAC_fetch(nullptr, "CMAC", nullptr)};
        cmac_context.reset(cmac == nullptr ? nullptr : EVP_MAC_CTX_new(cmac.get()));
        std::array<char, 16> name{};
        std::ranges::copy(std::string_view{cipher}, name.begin()); // the parameter is not const
        const std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, name.data(), 0),
                                    OSSL_PARAM_construct_end()};
        return cmac_context != nullptr &&
               EVP_MAC_init(cmac_context.get(), octets_of(key), key.size(), parameters.data()) == 1;
    }
};

KeyedDigest::KeyedDigest(DigestKind kind, Secret key, std::unique_ptr<Primitive> primitive)
    : kind_(kind), key_(std::move(key)), primitive_(std::move(primitive))
{}

KeyedDigest::~KeyedDigest() = default;

std::unique_ptr<KeyedDigest> KeyedDigest::create(DigestKind kind, Secret key)
{
    auto primitive = std::make_unique<Primitive>();
    const auto& wanted = row(kind);
    const auto octets = std::as_const(key).octets();
    const bool ready = wanted.key_size == 0
                           ? primitive->set_hash(wanted.primitive)
                           : octets.size() == wanted.key_size && primitive->set_cmac(wanted.primitive, octets);
    if (!ready) {
        return nullptr;
    }
    return std::unique_ptr<KeyedDigest>{new KeyedDigest{kind, std::move(key), std::move(primitive)}};
}

bool KeyedDigest::is_same(const KeyedDigest& other) const noexcept
{
    return kind_ == other.kind_ && equal_in_constant_time(key_.octets(), other.key_.octets());
}

bool KeyedDigest::compute(Bytes message, Digest& out) noexcept
{
    auto* const result = reinterpret_cast<unsigned char*>(out.data());
    if (auto* const cmac = primitive_->cmac_context.get()) {
        std::size_t length = 0;
        return EVP_MAC_init(cmac, nullptr, 0, nullptr) == 1 && // the key stays
               EVP_MAC_update(cmac, octets_of(message), message.size()) == 1 &&
               EVP_MAC_final(cmac, result, &length, out.size()) == 1;
    }
    auto* const hash = primitive_->hash_context.get();
    const auto key = std::as_const(key_).octets();
    return EVP_DigestInit_ex2(hash, primitive_->hash.get(), nullptr) == 1 &&
           EVP_DigestUpdate(hash, key.data(), key.size()) == 1 &&
           EVP_DigestUpdate(hash, message.data(), message.size()) == 1 &&
           EVP_DigestFinal_ex(hash, result, nullptr) == 1;
}

} // namespace ntp_shim
