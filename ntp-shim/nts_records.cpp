#include "ntp-shim/nts_records.hpp"

#include <array>
#include <utility>

namespace ntp_shim {

namespace {

constexpr std::uint16_t kCritical = 0x8000;

} // namespace

MessageState MessageScan::follow(Bytes received) noexcept
{
    while (state_ == MessageState::partial && received.size() - next_ >= kRecordHeader) {
        ByteReader reader(received.subspan(next_));
        const auto head = reader.u16();
        const std::size_t size = reader.u16();
        if (static_cast<std::uint16_t>(head & ~kCritical) == static_cast<std::uint16_t>(RecordType::end_of_message)) {
            const bool good = (head & kCritical) != 0 && size == 0 && reader.rest().empty();
            state_ = good ? MessageState::complete : MessageState::broken;
        } else if (size > reader.rest().size()) {
            return state_;
        } else {
            next_ += kRecordHeader + size;
        }
    }
    return state_;
}

std::optional<std::vector<Record>> parse_message(Bytes message)
{
    if (MessageScan{}.follow(message) != MessageState::complete) {
        return std::nullopt;
    }
    std::vector<Record> records;
    ByteReader reader(message.first(message.size() - kRecordHeader));
    while (!reader.rest().empty()) {
        const auto head = reader.u16();
        records.push_back({.critical = (head & kCritical) != 0,
                           .type = static_cast<std::uint16_t>(head & ~kCritical),
                           .body = reader.take(reader.u16())});
    }
    return records;
}

void MessageBuilder::add(bool critical, RecordType type, Bytes body)
{
    if (body.size() > 0xffff) {
        ok_ = false;
        return;
    }
    std::array<std::byte, kRecordHeader> header{};
    ByteWriter writer(header);
    writer.u16(static_cast<std::uint16_t>((critical ? kCritical : 0) | static_cast<std::uint16_t>(type)));
    writer.u16(static_cast<std::uint16_t>(body.size()));
    octets_.insert(octets_.end(), header.begin(), header.end());
    octets_.insert(octets_.end(), body.begin(), body.end());
}

void MessageBuilder::add_u16(bool critical, RecordType type, std::uint16_t value)
{
    add_list(critical, type, {value});
}

void MessageBuilder::add_list(bool critical, RecordType type, const std::vector<std::uint16_t>& values)
{
    std::vector<std::byte> body(values.size() * 2);
    ByteWriter writer(body);
    for (const auto value : values) {
        writer.u16(value);
    }
    add(critical, type, body);
}

std::vector<std::byte> MessageBuilder::finish()
{
    add(true, RecordType::end_of_message, {});
    return std::move(octets_);
}

std::optional<std::vector<std::uint16_t>> numbers_of(Bytes body)
{
    if (body.size() % 2 != 0) {
        return std::nullopt;
    }
    std::vector<std::uint16_t> values;
    for (ByteReader reader(body); !reader.rest().empty();) {
        values.push_back(reader.u16());
    }
    return values;
}

} // namespace ntp_shim
