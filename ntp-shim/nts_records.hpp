// NTS-KE records (RFC 8915 section 4): the critical bit and a 15-bit type, a length of the body alone, the body.
//
//   0: C | type (15 bits)     2: body length     4..: body
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "ntp-shim/bytes.hpp"

namespace ntp_shim {

inline constexpr std::size_t kRecordHeader = 4;
inline constexpr std::uint16_t kProtocolNtpv4 = 0;

/// RFC 8915 sections 4.1.1 to 4.1.8; 1024 is chrony's (AEAD 30 is exported under its own identifier).
enum class RecordType : std::uint16_t {
    end_of_message = 0,
    next_protocol = 1,
    error = 2,
    warning = 3,
    aead = 4,
    new_cookie = 5,
    ntp_server = 6,
    ntp_port = 7,
    compliant_gcm_siv_export = 1024,
};

enum class KeError : std::uint16_t { unrecognised_critical_record = 0, bad_request = 1, internal_error = 2 };

struct Record {
    bool critical{};
    std::uint16_t type{}; // any of 15 bits; compare with RecordType
    Bytes body;           // of the message it was read from
    [[nodiscard]] bool is(RecordType which) const noexcept { return type == static_cast<std::uint16_t>(which); }
};

/// How much of a message is there.
enum class MessageState : std::uint8_t {
    partial,  // a prefix of a message
    complete, // ends with End of Message and has nothing behind it
    broken,   // End of Message with a body or without its critical bit, or octets after it
};

/// Follows a message while it arrives, in whatever pieces: each octet is looked at once, so that a peer that drips
/// costs no more than one that does not.
class MessageScan {
public:
    /// `received`: everything so far, beginning with the message's first octet.
    [[nodiscard]] MessageState follow(Bytes received) noexcept;

private:
    std::size_t next_ = 0; // where the next record begins
    MessageState state_ = MessageState::partial;
};

/// The records up to and without End of Message; nothing unless `message` is complete.
[[nodiscard]] std::optional<std::vector<Record>> parse_message(Bytes message);

/// Appends records to one message; a body above 65535 octets is left out and `ok` turns false.
class MessageBuilder {
public:
    void add(bool critical, RecordType type, Bytes body);
    void add_u16(bool critical, RecordType type, std::uint16_t value);
    void add_list(bool critical, RecordType type, const std::vector<std::uint16_t>& values);
    /// The whole message, End of Message at its end.
    [[nodiscard]] std::vector<std::byte> finish();
    [[nodiscard]] bool ok() const noexcept { return ok_; }

private:
    std::vector<std::byte> octets_;
    bool ok_ = true;
};

/// The 16-bit numbers of a body; nothing when its length is odd.
[[nodiscard]] std::optional<std::vector<std::uint16_t>> numbers_of(Bytes body);

} // namespace ntp_shim
