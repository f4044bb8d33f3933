// The outside of DTLS 1.2 records (RFC 6347 section 4.1), which anybody can read: pure, and trusted for nothing.
//
//   0: content type | 1..2: version | 3..4: epoch | 5..10: sequence number | 11..12: length | 13..: fragment
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace transports {

inline constexpr std::size_t kRecordHeader = 13;

/// RFC 5246 section 6.2.1. Other values may stand in a record, and are for the library to refuse.
enum class ContentType : std::uint8_t { change_cipher_spec = 20, alert = 21, handshake = 22, application_data = 23 };

/// The last octets of a record: of its authentication tag, where the suite has one.
using RecordTail = std::array<std::byte, 8>;

struct DtlsRecord {
    ContentType type{};
    std::uint16_t epoch{};
    std::uint64_t number{};           // 48 bits, within the epoch
    std::span<const std::byte> bytes; // header and fragment, inside the datagram
    /// Zeros stand before a record that is shorter than a tail.
    [[nodiscard]] RecordTail tail() const noexcept;
};

/// Takes the next record off the front of `datagram`. Nothing, and nothing taken, when what is left is cut short or is
/// no DTLS record.
[[nodiscard]] std::optional<DtlsRecord> take_record(std::span<const std::byte>& datagram) noexcept;

/// What tells two ClientHellos apart, also when one of them carries a cookie and the other does not.
using ClientRandom = std::array<std::byte, 32>;

/// The random of the ClientHello that `datagram` begins with; nothing when it begins with anything else, or with a
/// later fragment of one.
[[nodiscard]] std::optional<ClientRandom> client_random_of(std::span<const std::byte> datagram) noexcept;

} // namespace transports
