#include "ntp-shim/faulty_seal.hpp"

#include <algorithm>
#include <utility>

namespace ntp_shim {

namespace {

constexpr std::uint64_t kFlip = 0xa5a5a5a5'a5a5a5a5; // no stamp of a client comes back from it
constexpr std::uint64_t kHour = 3600ULL << 32;

/// So that every request is sealed, whatever the genuine seal remembers of it.
class Remembered final : public SealMemory {
public:
    explicit Remembered(SealMemoryPointer genuine) noexcept : genuine_{std::move(genuine)} {}
    [[nodiscard]] const SealMemory* genuine() const noexcept { return genuine_.get(); }

private:
    SealMemoryPointer genuine_;
};

void move_stamp(SealBuffer& packet, StampField field, std::uint64_t stamp, std::uint64_t by)
{
    write_stamp(packet, field, stamp + by);
}

} // namespace

std::variant<SealMemoryPointer, DropReason> FaultySeal::open(Bytes request, const SealPeer& from)
{
    if (genuine_ == nullptr) {
        return std::make_shared<const Remembered>(nullptr);
    }
    auto opened = genuine_->open(request, from);
    if (const auto* reason = std::get_if<DropReason>(&opened)) {
        return *reason;
    }
    return std::make_shared<const Remembered>(std::move(std::get<SealMemoryPointer>(opened)));
}

std::variant<std::size_t, DropReason> FaultySeal::seal(SealBuffer& packet, const SealMemory& memory)
{
    const auto* const inner = static_cast<const Remembered&>(memory).genuine(); // made by this file (seal.hpp)
    const auto close = [&](SealBuffer& one) -> std::variant<std::size_t, DropReason> {
        return genuine_ != nullptr && inner != nullptr ? genuine_->seal(one, *inner) : kHeaderSize;
    };
    const auto header = Packet::parse(Bytes{packet}.first(kHeaderSize));
    extra_length_ = 0;
    if (header && faults_.unsolicited) {
        std::ranges::copy(Bytes{packet}.first(kHeaderSize), extra_.begin());
        write_stamp(extra_, StampField::origin, ~header->origin);
        move_stamp(extra_, StampField::receive, header->receive, kHour);
        move_stamp(extra_, StampField::transmit, header->transmit, kHour);
        const auto length = close(extra_);
        extra_length_ = std::holds_alternative<std::size_t>(length) ? std::get<std::size_t>(length) : 0;
    }
    if (header && faults_.wrong_origin) {
        write_stamp(packet, StampField::origin, header->origin ^ kFlip);
    }
    return close(packet);
}

std::size_t FaultySeal::refusal(Bytes request, DropReason why, SealBuffer& answer)
{
    return genuine_ == nullptr ? 0 : genuine_->refusal(request, why, answer);
}

} // namespace ntp_shim
