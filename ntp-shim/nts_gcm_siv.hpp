// AES-128-GCM-SIV (RFC 8452): nettle has it from 3.9 on. One of two files behind this header is built.
#pragma once

#include <span>

#include "ntp-shim/nts_aead.hpp"

namespace ntp_shim {

[[nodiscard]] bool has_gcm_siv() noexcept;
/// `key` has 16 octets, the nonce 12; sizes as for Aead. False where the library does not have it.
[[nodiscard]] bool gcm_siv_seal(Bytes key, const Aead::Inputs& inputs, Bytes plain, std::span<std::byte> out) noexcept;
[[nodiscard]] bool gcm_siv_open(Bytes key, const Aead::Inputs& inputs, Bytes sealed, std::span<std::byte> out) noexcept;

} // namespace ntp_shim
