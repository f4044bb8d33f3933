#include "ntp-shim/raw_splitter.hpp"

#include <algorithm>

#include "ntp-shim/packet.hpp"

namespace ntp_shim {

namespace {

constexpr Nanoseconds kPatience = std::chrono::milliseconds{50}; // design 5
constexpr unsigned kMinVersion = 1;
constexpr unsigned kMaxVersion = 4;

bool may_begin(std::byte first, RawSplitter::Direction direction) noexcept
{
    const auto octet = std::to_integer<unsigned>(first);
    const auto version = octet >> 3 & 0x7;
    const auto mode = direction == RawSplitter::Direction::requests ? kModeClient : kModeServer;
    return version >= kMinVersion && version <= kMaxVersion && (octet & 0x7) == mode;
}

} // namespace

RawSplitter::RawSplitter(Direction direction) : direction_(direction)
{}

std::span<const std::span<const std::byte>> RawSplitter::split(std::span<const std::byte> record, Instant now)
{
    packets_.clear();
    if (!deadline_) {
        kept_.clear(); // what the last call put together
    }
    if (kept_.size() + record.size() < kHeaderSize) {
        kept_.insert(kept_.end(), record.begin(), record.end());
        if (!deadline_ && !kept_.empty()) {
            deadline_ = now.boot + kPatience;
        }
        return packets_;
    }
    deadline_.reset();
    const bool in_blocks = is_blocks(record);
    if (!kept_.empty()) {
        // What came earlier is completed here; whole blocks behind it stay where they are. One octet above the largest
        // packet is enough for the filter to see that it is too long.
        const auto missing = in_blocks ? kHeaderSize - kept_.size() : kMaxPacket + 1 - kept_.size();
        const auto rest = record.first(std::min(missing, record.size()));
        kept_.insert(kept_.end(), rest.begin(), rest.end());
        packets_.emplace_back(kept_);
        record = record.subspan(rest.size());
    } else if (!in_blocks) {
        packets_.push_back(record);
    }
    for (; in_blocks && !record.empty(); record = record.subspan(kHeaderSize)) {
        packets_.push_back(record.first(kHeaderSize));
    }
    return packets_;
}

/// Whether the kept octets and `record` together are n headers, each of which begins as a packet may.
bool RawSplitter::is_blocks(std::span<const std::byte> record) const noexcept
{
    if ((kept_.size() + record.size()) % kHeaderSize != 0) {
        return false;
    }
    if (!kept_.empty()) {
        if (!may_begin(kept_.front(), direction_)) {
            return false;
        }
        record = record.subspan(kHeaderSize - kept_.size());
    }
    for (; !record.empty(); record = record.subspan(kHeaderSize)) {
        if (!may_begin(record.front(), direction_)) {
            return false;
        }
    }
    return true;
}

bool RawSplitter::expire(Instant now)
{
    if (!deadline_ || now.boot < *deadline_) {
        return false;
    }
    deadline_.reset();
    kept_.clear();
    return true;
}

std::optional<Nanoseconds> RawSplitter::next_deadline() const
{
    return deadline_;
}

bool RawSplitter::partial() const noexcept
{
    return deadline_.has_value();
}

} // namespace ntp_shim
