#include "transports/dtls_record.hpp"

#include <algorithm>

namespace transports {

namespace {

constexpr std::byte kMajorVersion{0xFE}; // of every DTLS up to 1.2, and on the wire of 1.3's first messages
constexpr std::byte kClientHello{1};
// RFC 6347 section 4.2.2: type, length, message number, fragment offset, fragment length.
constexpr std::size_t kMessageHeader = 12;
constexpr std::size_t kOffsetField = 6;
constexpr std::size_t kVersionField = 2;

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size) noexcept
{
    std::uint64_t value = 0;
    for (const std::byte octet : bytes.subspan(at, size)) {
        value = value << 8U | std::to_integer<std::uint64_t>(octet);
    }
    return value;
}

} // namespace

RecordTail DtlsRecord::tail() const noexcept
{
    RecordTail tail{};
    const auto fragment = bytes.subspan(std::min(kRecordHeader, bytes.size()));
    const auto last = fragment.last(std::min(fragment.size(), tail.size()));
    std::copy_backward(last.begin(), last.end(), tail.end());
    return tail;
}

std::optional<DtlsRecord> take_record(std::span<const std::byte>& datagram) noexcept
{
    if (datagram.size() < kRecordHeader || datagram[1] != kMajorVersion) {
        return std::nullopt;
    }
    const std::size_t size = kRecordHeader + static_cast<std::size_t>(number_at(datagram, 11, 2));
    if (size > datagram.size()) {
        return std::nullopt;
    }
    DtlsRecord record;
    record.type = static_cast<ContentType>(datagram[0]);
    record.epoch = static_cast<std::uint16_t>(number_at(datagram, 3, 2));
    record.number = number_at(datagram, 5, 6);
    record.bytes = datagram.first(size);
    datagram = datagram.subspan(size);
    return record;
}

std::optional<ClientRandom> client_random_of(std::span<const std::byte> datagram) noexcept
{
    const auto record = take_record(datagram);
    if (!record || record->type != ContentType::handshake || record->epoch != 0) {
        return std::nullopt;
    }
    const auto message = record->bytes.subspan(kRecordHeader);
    constexpr std::size_t kRandom = kMessageHeader + kVersionField;
    ClientRandom random{};
    if (message.size() < kRandom + random.size() || message[0] != kClientHello ||
        number_at(message, kOffsetField, 3) != 0) {
        return std::nullopt;
    }
    std::ranges::copy(message.subspan(kRandom, random.size()), random.begin());
    return random;
}

} // namespace transports
