#include "ntp-shim/nts_gcm_siv.hpp"

namespace ntp_shim {

bool has_gcm_siv() noexcept
{
    return false;
}

bool gcm_siv_seal(Bytes /*key*/, const Aead::Inputs& /*inputs*/, Bytes /*plain*/, std::span<std::byte> /*out*/) noexcept
{
    return false;
}

bool gcm_siv_open(Bytes /*key*/, const Aead::Inputs& /*inputs*/, Bytes /*sealed*/,
                  std::span<std::byte> /*out*/) noexcept
{
    return false;
}

} // namespace ntp_shim
