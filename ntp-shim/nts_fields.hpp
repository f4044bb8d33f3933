// NTP extension fields (RFC 7822) and those of NTS (RFC 8915 sections 5.3 to 5.6).
//
//   0: type (16)   2: length of the whole field (16)   4..: body
//   authenticator body:  0: nonce length   2: ciphertext length   4..: nonce, ciphertext (each padded to 4), padding
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "ntp-shim/bytes.hpp"
#include "ntp-shim/nts_aead.hpp"

namespace ntp_shim {

inline constexpr std::size_t kFieldHeader = 4;
inline constexpr std::size_t kMinField = 16;       // RFC 7822 section 7.5
inline constexpr std::size_t kMinLastField = 28;   // where no MAC follows
inline constexpr std::size_t kMinUniqueId = 32;    // RFC 8915 section 5.3
inline constexpr std::size_t kMaxPlaceholders = 7; // section 5.7

enum class FieldType : std::uint16_t {
    unique_id = 0x0104,
    cookie = 0x0204,
    placeholder = 0x0304,
    authenticator = 0x0404,
};

struct Field {
    std::uint16_t type{};
    Bytes body;
    std::size_t begin{}; // of the field, in what it was read from
    [[nodiscard]] bool is(FieldType which) const noexcept { return type == static_cast<std::uint16_t>(which); }
};

/// Reads one field after the other. Stops at the first that breaks a rule of its place; `ok` says so.
class FieldReader {
public:
    enum class Place : std::uint8_t {
        packet,    // at least 16 octets, the last at least 28
        encrypted, // section 5.6: at least its own header
    };
    FieldReader(Bytes octets, std::size_t at, Place place) noexcept : octets_(octets), at_(at), place_(place) {}
    [[nodiscard]] std::optional<Field> next() noexcept;
    [[nodiscard]] bool ok() const noexcept { return ok_; }

private:
    Bytes octets_;
    std::size_t at_;
    Place place_;
    bool ok_ = true;
};

/// The parts of an authenticator's body; nothing when they do not fit into it, or the ciphertext is shorter than a tag.
struct Authenticator {
    Bytes nonce;
    Bytes ciphertext;
    std::size_t nonce_room{}; // padded nonce and additional padding: what a server's nonce may take up (section 5.6)
    [[nodiscard]] static std::optional<Authenticator> parse(Bytes body) noexcept;
};

/// What a packet holds up to and with its authenticator; views of the packet.
struct NtsFields {
    std::optional<Bytes> unique_id;
    std::optional<Bytes> cookie;
    std::optional<Authenticator> authenticator;
    Bytes associated;                 // what the authenticator vouches for
    std::size_t placeholders = 0;     // those before the authenticator
    std::size_t placeholder_size = 0; // of their bodies; meaningless without
};

enum class FieldFault : std::uint8_t {
    malformed, // a length, an authenticator that does not hold together
    repeated,  // a field that may be there once
    uneven,    // placeholders of different lengths
    short_unique_id,
};

/// Reads the fields behind the header of an NTPv4 packet. Fields after the authenticator must be well formed and are
/// otherwise not looked at, since nobody vouches for them (section 5.7).
[[nodiscard]] std::variant<NtsFields, FieldFault> read_fields(Bytes packet) noexcept;

/// Appends fields to a packet in a buffer of the caller's.
class FieldWriter {
public:
    /// `written` octets are there already.
    FieldWriter(std::span<std::byte> buffer, std::size_t written) noexcept : buffer_(buffer), size_(written) {}
    /// The body is filled up with zeros to a multiple of four.
    void add(FieldType type, Bytes body) noexcept;
    void add_zeros(FieldType type, std::size_t size) noexcept;

    struct Protection {
        const Aead& aead;
        Bytes nonce;
        Bytes plain;                 // encrypted fields, or nothing
        std::size_t least_room = 0;  // padded nonce and additional padding together
        std::size_t least_total = 0; // the packet is filled up to this size by additional padding
    };
    /// The authenticator of everything written so far.
    void seal(const Protection& protection) noexcept;

    [[nodiscard]] Bytes written() const noexcept { return ok_ ? Bytes{buffer_.first(size_)} : Bytes{}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool ok() const noexcept { return ok_; }

private:
    [[nodiscard]] std::span<std::byte> begin_field(FieldType type, std::size_t body) noexcept;
    std::span<std::byte> buffer_;
    std::size_t size_;
    bool ok_ = true;
};

[[nodiscard]] constexpr std::size_t padded(std::size_t size) noexcept
{
    return (size + 3) / 4 * 4;
}

} // namespace ntp_shim
