#include "ntp-shim/nts_ratchet.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "ntp-shim/nts_text.hpp"

namespace ntp_shim {

namespace {

constexpr std::string_view kTitle = "ntpgate-nts-ratchet 1";
constexpr std::string_view kInfo = "ntpgate nts cookie key";
constexpr std::chrono::seconds kLeastPeriod{60};
constexpr std::chrono::seconds kMostPeriod{366 * 24 * 3600};
constexpr std::size_t kMaxBootId = 64;

std::array<std::byte, 4> salt_of(std::uint64_t epoch) noexcept
{
    std::array<std::byte, 4> salt{};
    ByteWriter(salt).u32(static_cast<std::uint32_t>(epoch));
    return salt;
}

AeadSecret next_key(const AeadSecret& key, std::uint64_t epoch)
{
    AeadSecret next;
    if (!hkdf_sha256(key.view(), salt_of(epoch), kInfo, next.resize(key_size(AeadId::siv_cmac_256)))) {
        return {};
    }
    return next;
}

std::string fault(std::size_t line, std::string_view expected)
{
    return "line " + std::to_string(line) + ": expected " + std::string{expected};
}

} // namespace

bool hkdf_sha256(Bytes key, Bytes salt, std::string_view info, std::span<std::byte> out)
{
    struct Free {
        void operator()(EVP_KDF* kdf) const noexcept { EVP_KDF_free(kdf); }
        void operator()(EVP_KDF_CTX* context) const noexcept { EVP_KDF_CTX_free(context); }
    };
    const std::unique_ptr<EVP_KDF, Free> kdf{EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr)};
    const std::unique_ptr<EVP_KDF_CTX, Free> context{kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr};
    if (!context) {
        return false;
    }
    // OpenSSL's parameters point to what is not const though it is only read.
    std::string digest{"SHA256"};
    std::vector<std::byte> input(key.begin(), key.end());
    std::vector<std::byte> extract(salt.begin(), salt.end());
    std::string expand{info};
    const std::array parameters = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, input.data(), input.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, extract.data(), extract.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, expand.data(), expand.size()),
        OSSL_PARAM_construct_end(),
    };
    const bool derived =
        EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(out.data()), out.size(), parameters.data()) == 1;
    wipe(input);
    return derived;
}

std::variant<Ratchet, std::string> Ratchet::parse(std::string_view text)
{
    Ratchet ratchet;
    if (take_line(text) != kTitle) {
        return fault(1, "\"" + std::string{kTitle} + "\"");
    }
    const auto period = words_of(take_line(text));
    const auto seconds =
        period.size() == 2 && period[0] == "period" ? number_of<std::int64_t>(period[1]) : std::nullopt;
    if (!seconds || *seconds < kLeastPeriod.count() || *seconds > kMostPeriod.count()) {
        return fault(2, "\"period SECONDS\", from 60 to 366 days");
    }
    ratchet.period_ = std::chrono::seconds{*seconds};
    const auto epoch = words_of(take_line(text));
    const bool has_epoch = epoch.size() == 3 && epoch[0] == "epoch";
    const auto number = has_epoch ? number_of<std::uint64_t>(epoch[1]) : std::nullopt;
    const auto key = has_epoch ? secret_of(epoch[2]) : std::nullopt;
    if (!number || !key || key->view().size() != key_size(AeadId::siv_cmac_256)) {
        return fault(3, "\"epoch NUMBER KEY\" with a key of 64 hex digits");
    }
    ratchet.epoch_ = *number;
    ratchet.key_ = *key;
    if (!text.empty()) {
        const auto reached = words_of(take_line(text));
        const bool good = reached.size() == 4 && reached[0] == "reached" && reached[2].size() <= kMaxBootId;
        const auto current = good ? number_of<std::uint64_t>(reached[1]) : std::nullopt;
        const auto at = good ? number_of<std::int64_t>(reached[3]) : std::nullopt;
        if (!current || !at || *at < 0 || *current - *number > 1 || !text.empty()) {
            return fault(4, "\"reached EPOCH BOOT-ID SECONDS\" and no more");
        }
        ratchet.boot_id_ = reached[2];
        ratchet.reached_ = std::chrono::seconds{*at};
        if (*current != *number) {
            ratchet.step();
        }
    }
    return ratchet;
}

Ratchet Ratchet::create(std::chrono::seconds period, const AeadSecret& key, std::chrono::seconds wall)
{
    Ratchet ratchet;
    ratchet.period_ = period;
    ratchet.epoch_ = static_cast<std::uint64_t>(std::max<std::int64_t>(0, wall / period));
    ratchet.key_ = key;
    return ratchet;
}

std::string Ratchet::write() const
{
    const auto& oldest = former_ ? *former_ : key_;
    const auto epoch = former_ ? epoch_ - 1 : epoch_;
    std::string text{kTitle};
    text += "\nperiod " + std::to_string(period_.count()) + "\nepoch " + std::to_string(epoch) + " " +
            hex_text(oldest.view()) + "\n";
    if (!boot_id_.empty()) {
        text += "reached " + std::to_string(epoch_) + " " + boot_id_ + " " + std::to_string(reached_.count()) + "\n";
    }
    return text;
}

void Ratchet::step()
{
    const auto next = next_key(key_, epoch_);
    former_ = std::exchange(key_, next);
    ++epoch_;
}

bool Ratchet::may_advance(std::uint64_t jump, const Now& now) const
{
    if (now.synchronised) {
        return jump <= kMaxJump;
    }
    const bool same_boot = boot_id_ == now.boot_id && now.boot >= reached_;
    return same_boot && jump <= static_cast<std::uint64_t>((now.boot - reached_) / period_);
}

Ratchet::Standing Ratchet::advance(const Now& now)
{
    const auto wanted = static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.wall / period_));
    if (wanted > epoch_) {
        if (!may_advance(wanted - epoch_, now)) {
            return Standing::unsure;
        }
        while (epoch_ < wanted) {
            step();
        }
        boot_id_ = now.boot_id;
        reached_ = now.boot;
        changed_ = true;
    }
    if (wanted + 1 < epoch_ || (wanted < epoch_ && !former_)) {
        return Standing::unsure; // the clock went back
    }
    const bool half_over = wanted == epoch_ && now.wall % period_ >= period_ / 2;
    if (half_over && former_) {
        former_.reset();
        changed_ = true;
    }
    return key_.empty() ? Standing::unsure : Standing::sure;
}

KeyRing Ratchet::ring() const
{
    std::vector<CookieKey> keys;
    const auto add = [&](std::uint64_t epoch, const AeadSecret& key) {
        if (auto made = CookieKey::make(static_cast<std::uint32_t>(epoch), AeadId::siv_cmac_256, key.view())) {
            keys.push_back(std::move(*made));
        }
    };
    if (former_) {
        add(epoch_ - 1, *former_);
    }
    add(epoch_, key_);
    add(epoch_ + 1, next_key(key_, epoch_));
    const std::size_t current = former_ ? 1 : 0;
    return KeyRing::of(std::move(keys), current, CookieLayout::own);
}

} // namespace ntp_shim
