// Frame v1 on a byte stream: a 16-bit length before each message, counting what follows (design 5). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace transports {

/// Cuts a stream into messages. Bounded by one message of `max_message` octets.
class StreamDecoder {
public:
    /// A length below `min_message` or above `max_message` breaks the stream for good.
    StreamDecoder(std::uint16_t min_message, std::uint16_t max_message);
    /// Gives the next message out of `data` (advancing it) together with what is kept from before; nothing when more
    /// is needed or the stream is broken. The view lives until the next call, and no longer than the data it came from.
    [[nodiscard]] std::optional<std::span<const std::byte>> next(std::span<const std::byte>& data);
    [[nodiscard]] bool broken() const noexcept { return broken_; }
    [[nodiscard]] std::size_t kept() const noexcept { return kept_.size(); }

private:
    std::uint16_t min_;
    std::uint16_t max_;
    bool broken_ = false;
    bool delivered_ = false; // kept_ holds a message that was given out and is forgotten at the next call
    std::vector<std::byte> kept_;
};

/// Appends the length and the message. The caller keeps to 1..65535 octets.
void append_framed(std::vector<std::byte>& stream, std::span<const std::byte> message);

} // namespace transports
