#include "ntp-shim/secret.hpp"

#include <algorithm>
#include <utility>

#include <openssl/crypto.h>

namespace ntp_shim {

void wipe(std::span<std::byte> octets) noexcept
{
    if (!octets.empty()) {
        OPENSSL_cleanse(octets.data(), octets.size());
    }
}

Secret::Secret(std::size_t size) : octets_(std::make_unique<std::byte[]>(size)), size_(size)
{}

Secret::Secret(Bytes octets) : Secret(octets.size())
{
    std::ranges::copy(octets, octets_.get());
}

Secret::Secret(Secret&& other) noexcept : octets_(std::move(other.octets_)), size_(std::exchange(other.size_, 0))
{}

Secret& Secret::operator=(Secret&& other) noexcept
{
    if (this != &other) {
        wipe(octets());
        octets_ = std::move(other.octets_);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

bool equal_in_constant_time(Bytes one, Bytes other) noexcept
{
    return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

} // namespace ntp_shim
