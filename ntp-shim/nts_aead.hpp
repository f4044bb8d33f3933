// The AEAD algorithms of NTS (RFC 8915 section 5.1, RFC 5297), by nettle: OpenSSL 3.0 cannot seal an empty plaintext
// with AES-SIV, and every NTS request is one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/nts_secret.hpp"

namespace ntp_shim {

/// IANA's numeric identifiers.
enum class AeadId : std::uint16_t {
    siv_cmac_256 = 15, // AES-128 twice; every server must have it
    siv_cmac_512 = 17, // AES-256 twice
    gcm_siv_128 = 30,  // where the library has it
};

inline constexpr std::size_t kAeadTag = 16; // of all of them
inline constexpr std::size_t kMaxAeadKey = 64;
using AeadSecret = FixedSecret<kMaxAeadKey>;

/// The algorithm with this identifier; nothing when this build does not have it.
[[nodiscard]] std::optional<AeadId> find_aead(std::uint16_t id) noexcept;
/// What this build has, strongest habit first: the order in which a client offers them by default.
[[nodiscard]] const std::vector<AeadId>& built_in_aeads();
[[nodiscard]] std::string_view name(AeadId id) noexcept; // "AES-SIV-CMAC-256"
[[nodiscard]] std::size_t key_size(AeadId id) noexcept;
/// The nonce we choose: 16 octets for SIV, 12 for GCM-SIV.
[[nodiscard]] std::size_t nonce_size(AeadId id) noexcept;
/// RFC 8915 section 5.6: min(16, N_MAX) rounded up to 4, what nonce and additional padding of a request must fill.
[[nodiscard]] std::size_t required_nonce_room(AeadId id) noexcept;
[[nodiscard]] bool accepts_nonce(AeadId id, std::size_t size) noexcept;

/// A key made ready. Sealing and opening change nothing in it.
class Aead {
public:
    /// Nothing when the key has not the algorithm's size.
    [[nodiscard]] static std::optional<Aead> make(AeadId id, Bytes key);
    ~Aead();
    Aead(Aead&&) noexcept;
    Aead& operator=(Aead&&) noexcept;
    Aead(const Aead&) = delete;
    Aead& operator=(const Aead&) = delete;

    [[nodiscard]] AeadId id() const noexcept { return id_; }

    struct Inputs {
        Bytes nonce;
        Bytes associated;
    };
    /// `out` holds exactly plain.size() + kAeadTag octets and does not overlap the inputs; false for a nonce of a size
    /// that the algorithm does not take.
    [[nodiscard]] bool seal(const Inputs& inputs, Bytes plain, std::span<std::byte> out) const noexcept;
    /// `out` holds exactly sealed.size() - kAeadTag octets; on false it holds zeros.
    [[nodiscard]] bool open(const Inputs& inputs, Bytes sealed, std::span<std::byte> out) const noexcept;

    struct Context;

private:
    Aead(AeadId id, std::unique_ptr<Context> context) noexcept;
    AeadId id_;
    std::unique_ptr<Context> context_;
};

} // namespace ntp_shim
