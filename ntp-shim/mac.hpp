// The MAC behind an NTP packet (RFC 5905 section 7.3, RFC 7822 section 7.5): where it is, and whether it is a key's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/keyed_digest.hpp"
#include "ntp-shim/seal.hpp"

namespace ntp_shim {

inline constexpr std::size_t kKeyIdSize = 4;
/// A longer digest is cut to this under version 4, by chrony, NTPsec and ntpd alike: a MAC of more than 24 octets could
/// not be told from an extension field.
inline constexpr std::size_t kCutDigest = 20;

/// What follows the header of a packet of at least 48 octets.
struct Trailer {
    enum class Kind : std::uint8_t {
        none,       // nothing, or extension fields only
        crypto_nak, // a key id of zero and no digest
        mac,
        malformed,
    };
    Kind kind = Kind::none;
    Bytes covered; // header and extension fields: what the digest is of
    std::uint32_t key_id{};
    Bytes digest;
};

/// Version 3 and lower: everything after the header is the MAC. Version 4: extension fields of at least 16 octets, then
/// a MAC of 20 or 24 octets, or of a whole SHA-2 digest (which some clients send); without one the last field has at
/// least 28.
[[nodiscard]] Trailer find_trailer(Bytes packet) noexcept;

/// Addresses that a key may be used with; IPv4 as ::ffff:a.b.c.d, `prefix` of the 128-bit form.
struct KeyPeers {
    SealPeer address{};
    std::uint8_t prefix = 128;
    [[nodiscard]] bool contains(const SealPeer& peer) const noexcept;
    bool operator==(const KeyPeers&) const = default;
};

class MacKey final : public SealMemory {
public:
    struct Description {
        std::uint32_t id{};
        std::size_t line{};          // of its file
        std::vector<KeyPeers> peers; // empty = any
    };
    MacKey(Description description, std::unique_ptr<KeyedDigest> digest);

    [[nodiscard]] std::uint32_t id() const noexcept { return description_.id; }
    [[nodiscard]] std::size_t line() const noexcept { return description_.line; }
    [[nodiscard]] DigestKind kind() const noexcept { return digest_->kind(); }
    [[nodiscard]] bool has_peers() const noexcept { return !description_.peers.empty(); }
    [[nodiscard]] bool may_serve(const SealPeer& peer) const noexcept;
    /// The same digest with the same key octets, compared in constant time.
    [[nodiscard]] bool has_secret_of(const MacKey& other) const noexcept { return digest_->is_same(*other.digest_); }
    /// Nothing but the line may differ: id, digest, key octets and address list are the same.
    [[nodiscard]] bool is_same(const MacKey& other) const noexcept;

    /// Octets of digest that this key puts on the wire under `version`.
    [[nodiscard]] std::size_t wire_size(std::uint8_t version) const noexcept;
    /// Whole or cut to 20 octets: the two forms there are.
    [[nodiscard]] bool has_form(std::size_t size) const noexcept;

    /// Appends key id and `size` octets of digest to the first `length` octets; the new length.
    [[nodiscard]] std::optional<std::size_t> append(std::span<std::byte> packet, std::size_t length,
                                                    std::size_t size) const noexcept;
    /// `digest`, in one of the key's forms, is of `covered`. Constant time.
    [[nodiscard]] bool verifies(Bytes covered, Bytes digest) const noexcept;

    /// The same id and octets under another digest; nothing when that one can not have such a key.
    [[nodiscard]] std::shared_ptr<const MacKey> with_digest(DigestKind kind) const;

    /// Lets two sides compare keys without showing them: 8 hex digits, the first 4 octets of the digest over 16 zero
    /// octets, which no NTP packet begins with.
    [[nodiscard]] std::string check_value() const;

private:
    Description description_;
    std::unique_ptr<KeyedDigest> digest_; // computing changes the library's context, not the key
};

/// Keys by id, as one tunnel may use them; immutable, so that a reload replaces it whole.
class MacKeyRing {
public:
    /// Ids differ; in the order of preference.
    explicit MacKeyRing(std::vector<std::shared_ptr<const MacKey>> keys);
    /// Whoever sends packets may ask: logarithmic in the number of keys.
    [[nodiscard]] std::shared_ptr<const MacKey> find(std::uint32_t id) const noexcept;
    [[nodiscard]] const std::vector<std::shared_ptr<const MacKey>>& keys() const noexcept { return keys_; }

private:
    struct Place {
        std::uint32_t id{};
        std::size_t at{}; // in keys_
    };
    std::vector<std::shared_ptr<const MacKey>> keys_;
    std::vector<Place> by_id_; // ascending
};

} // namespace ntp_shim
