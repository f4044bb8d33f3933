#include "ntp-shim/nts_aead.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include <nettle/siv-cmac.h>

#include "ntp-shim/nts_gcm_siv.hpp"

namespace ntp_shim {

namespace {

struct Traits {
    AeadId id;
    std::string_view name;
    std::size_t key_size;
    std::size_t nonce_size;
    std::size_t nonce_room;
};

// N_MAX of SIV has no bound, so that its room is 16; GCM-SIV's is 12 (RFC 8452 section 6).
constexpr std::array kTraits = {
    Traits{AeadId::siv_cmac_256, "AES-SIV-CMAC-256", SIV_CMAC_AES128_KEY_SIZE, 16, 16},
    Traits{AeadId::siv_cmac_512, "AES-SIV-CMAC-512", SIV_CMAC_AES256_KEY_SIZE, 16, 16},
    Traits{AeadId::gcm_siv_128, "AES-128-GCM-SIV", 16, 12, 12},
};

const Traits& traits(AeadId id) noexcept
{
    const auto* const found = std::ranges::find(kTraits, id, &Traits::id);
    return found == kTraits.end() ? kTraits.front() : *found;
}

const std::uint8_t* octets(Bytes bytes) noexcept
{
    return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

} // namespace

struct Aead::Context {
    std::variant<siv_cmac_aes128_ctx, siv_cmac_aes256_ctx, AeadSecret> key;

    Context() = default;
    ~Context() { wipe(std::as_writable_bytes(std::span{this, 1})); }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
};

std::optional<AeadId> find_aead(std::uint16_t id) noexcept
{
    for (const AeadId known : built_in_aeads()) {
        if (static_cast<std::uint16_t>(known) == id) {
            return known;
        }
    }
    return std::nullopt;
}

const std::vector<AeadId>& built_in_aeads()
{
    static const std::vector<AeadId> kBuiltIn = [] {
        std::vector<AeadId> ids{AeadId::siv_cmac_256, AeadId::siv_cmac_512};
        if (has_gcm_siv()) {
            ids.push_back(AeadId::gcm_siv_128);
        }
        return ids;
    }();
    return kBuiltIn;
}

std::string_view name(AeadId id) noexcept
{
    return traits(id).name;
}

std::size_t key_size(AeadId id) noexcept
{
    return traits(id).key_size;
}

std::size_t nonce_size(AeadId id) noexcept
{
    return traits(id).nonce_size;
}

std::size_t required_nonce_room(AeadId id) noexcept
{
    return traits(id).nonce_room;
}

bool accepts_nonce(AeadId id, std::size_t size) noexcept
{
    return id == AeadId::gcm_siv_128 ? size == traits(id).nonce_size : size >= SIV_MIN_NONCE_SIZE;
}

Aead::Aead(AeadId id, std::unique_ptr<Context> context) noexcept : id_(id), context_(std::move(context))
{}
Aead::~Aead() = default;
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;

std::optional<Aead> Aead::make(AeadId id, Bytes key)
{
    if (key.size() != key_size(id) || !find_aead(static_cast<std::uint16_t>(id))) {
        return std::nullopt;
    }
    auto context = std::make_unique<Context>();
    switch (id) {
    case AeadId::siv_cmac_256:
        siv_cmac_aes128_set_key(&context->key.emplace<siv_cmac_aes128_ctx>(), octets(key));
        break;
    case AeadId::siv_cmac_512:
        siv_cmac_aes256_set_key(&context->key.emplace<siv_cmac_aes256_ctx>(), octets(key));
        break;
    case AeadId::gcm_siv_128:
        context->key.emplace<AeadSecret>(key);
        break;
    }
    return Aead{id, std::move(context)};
}

bool Aead::seal(const Inputs& inputs, Bytes plain, std::span<std::byte> out) const noexcept
{
    if (!accepts_nonce(id_, inputs.nonce.size()) || out.size() != plain.size() + kAeadTag) {
        return false;
    }
    auto* const to = reinterpret_cast<std::uint8_t*>(out.data());
    if (const auto* const siv = std::get_if<siv_cmac_aes128_ctx>(&context_->key)) {
        siv_cmac_aes128_encrypt_message(siv, inputs.nonce.size(), octets(inputs.nonce), inputs.associated.size(),
                                        octets(inputs.associated), out.size(), to, octets(plain));
        return true;
    }
    if (const auto* const siv = std::get_if<siv_cmac_aes256_ctx>(&context_->key)) {
        siv_cmac_aes256_encrypt_message(siv, inputs.nonce.size(), octets(inputs.nonce), inputs.associated.size(),
                                        octets(inputs.associated), out.size(), to, octets(plain));
        return true;
    }
    return gcm_siv_seal(std::get<AeadSecret>(context_->key).view(), inputs, plain, out);
}

bool Aead::open(const Inputs& inputs, Bytes sealed, std::span<std::byte> out) const noexcept
{
    bool good = false;
    if (accepts_nonce(id_, inputs.nonce.size()) && sealed.size() == out.size() + kAeadTag) {
        auto* const to = reinterpret_cast<std::uint8_t*>(out.data());
        if (const auto* const siv = std::get_if<siv_cmac_aes128_ctx>(&context_->key)) {
            good = siv_cmac_aes128_decrypt_message(siv, inputs.nonce.size(), octets(inputs.nonce),
                                                   inputs.associated.size(), octets(inputs.associated), out.size(), to,
                                                   octets(sealed)) == 1;
        } else if (const auto* const wide = std::get_if<siv_cmac_aes256_ctx>(&context_->key)) {
            good = siv_cmac_aes256_decrypt_message(wide, inputs.nonce.size(), octets(inputs.nonce),
                                                   inputs.associated.size(), octets(inputs.associated), out.size(), to,
                                                   octets(sealed)) == 1;
        } else {
            good = gcm_siv_open(std::get<AeadSecret>(context_->key).view(), inputs, sealed, out);
        }
    }
    if (!good) {
        std::ranges::fill(out, std::byte{0});
    }
    return good;
}

} // namespace ntp_shim
