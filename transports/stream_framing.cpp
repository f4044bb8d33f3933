#include "transports/stream_framing.hpp"

#include <algorithm>

namespace transports {

namespace {

constexpr std::size_t kLengthOctets = 2;

std::uint16_t read_length(std::span<const std::byte> bytes) noexcept
{
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[0]) << 8U | std::to_integer<unsigned>(bytes[1]));
}

} // namespace

StreamDecoder::StreamDecoder(std::uint16_t min_message, std::uint16_t max_message)
    : min_{min_message}, max_{max_message}
{}

std::optional<std::span<const std::byte>> StreamDecoder::next(std::span<const std::byte>& data)
{
    if (delivered_) {
        kept_.clear();
        delivered_ = false;
    }
    const auto keep = [&](std::size_t wanted) {
        const std::size_t count = std::min(wanted - std::min(wanted, kept_.size()), data.size());
        kept_.insert(kept_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(count));
        data = data.subspan(count);
        return kept_.size() >= wanted;
    };
    if (broken_ || (kept_.empty() && data.empty())) {
        return std::nullopt;
    }
    // The usual case: whole messages in one record, given out where they lie.
    if (kept_.empty() && data.size() >= kLengthOctets) {
        const std::uint16_t length = read_length(data);
        if (length < min_ || length > max_) {
            broken_ = true;
            return std::nullopt;
        }
        if (data.size() >= kLengthOctets + length) {
            const auto message = data.subspan(kLengthOctets, length);
            data = data.subspan(kLengthOctets + length);
            return message;
        }
    }
    if (!keep(kLengthOctets)) {
        return std::nullopt;
    }
    const std::uint16_t length = read_length(kept_);
    if (length < min_ || length > max_) {
        broken_ = true;
        return std::nullopt;
    }
    if (!keep(kLengthOctets + length)) {
        return std::nullopt;
    }
    delivered_ = true;
    return std::span<const std::byte>{kept_}.subspan(kLengthOctets);
}

void append_framed(std::vector<std::byte>& stream, std::span<const std::byte> message)
{
    stream.push_back(static_cast<std::byte>(message.size() >> 8U));
    stream.push_back(static_cast<std::byte>(message.size() & 0xffU));
    stream.insert(stream.end(), message.begin(), message.end());
}

} // namespace transports
