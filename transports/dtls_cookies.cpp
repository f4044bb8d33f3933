#include "transports/dtls_cookies.hpp"

#include <algorithm>
#include <cstdlib>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

namespace transports {

namespace {

template <class Key>
void draw(Key& key)
{
    // At most 256 octets come whole or not at all, and never not at all once the kernel's pool is seeded.
    if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
        std::abort(); // a cookie that can be guessed is worse than no service
    }
}

template <class Key>
DtlsCookie cookie_of(const Key& key, const MappedAddress& address, std::uint16_t port)
{
    std::array<unsigned char, sizeof(MappedAddress) + 2> subject{};
    std::ranges::transform(address, subject.begin(), [](std::byte octet) { return static_cast<unsigned char>(octet); });
    subject[address.size()] = static_cast<unsigned char>(port >> 8U);
    subject[address.size() + 1] = static_cast<unsigned char>(port & 0xFFU);
    DtlsCookie cookie{};
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), subject.data(), subject.size(), cookie.data(),
             nullptr) == nullptr) {
        std::abort(); // only for lack of memory
    }
    return cookie;
}

} // namespace

CookieJar::CookieJar(Nanoseconds boot_now) : rotated_{boot_now}
{
    draw(current_);
    draw(previous_);
}

CookieJar::~CookieJar()
{
    OPENSSL_cleanse(current_.data(), current_.size());
    OPENSSL_cleanse(previous_.data(), previous_.size());
}

void CookieJar::rotate(Nanoseconds boot_now)
{
    const Nanoseconds age = boot_now - rotated_;
    if (age < kRotation) {
        return;
    }
    previous_ = current_;
    draw(current_);
    if (age >= 2 * kRotation) {
        draw(previous_); // nobody asked for so long that the last key is old, too
    }
    rotated_ = boot_now;
}

DtlsCookies CookieJar::cookies_for(const MappedAddress& address, std::uint16_t port, Nanoseconds boot_now)
{
    rotate(boot_now);
    return {cookie_of(current_, address, port), cookie_of(previous_, address, port)};
}

} // namespace transports
