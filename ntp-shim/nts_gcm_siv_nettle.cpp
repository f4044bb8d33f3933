#include <nettle/aes.h>
#include <nettle/siv-gcm.h>

#include "ntp-shim/nts_gcm_siv.hpp"

namespace ntp_shim {

namespace {

const std::uint8_t* octets(Bytes bytes) noexcept
{
    return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

struct Keyed {
    explicit Keyed(Bytes key) noexcept { aes128_set_encrypt_key(&context, octets(key)); }
    ~Keyed() { wipe(std::as_writable_bytes(std::span{&context, 1})); }
    Keyed(const Keyed&) = delete;
    Keyed& operator=(const Keyed&) = delete;
    aes128_ctx context{};
};

} // namespace

bool has_gcm_siv() noexcept
{
    return true;
}

bool gcm_siv_seal(Bytes key, const Aead::Inputs& inputs, Bytes plain, std::span<std::byte> out) noexcept
{
    const Keyed keyed{key};
    siv_gcm_aes128_encrypt_message(&keyed.context, inputs.nonce.size(), octets(inputs.nonce), inputs.associated.size(),
                                   octets(inputs.associated), out.size(), reinterpret_cast<std::uint8_t*>(out.data()),
                                   octets(plain));
    return true;
}

bool gcm_siv_open(Bytes key, const Aead::Inputs& inputs, Bytes sealed, std::span<std::byte> out) noexcept
{
    const Keyed keyed{key};
    return siv_gcm_aes128_decrypt_message(&keyed.context, inputs.nonce.size(), octets(inputs.nonce),
                                          inputs.associated.size(), octets(inputs.associated), out.size(),
                                          reinterpret_cast<std::uint8_t*>(out.data()), octets(sealed)) == 1;
}

} // namespace ntp_shim
