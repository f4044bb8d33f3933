#include "transports/dtls_replay.hpp"

namespace transports {

ReplayWindow::Verdict ReplayWindow::judge(std::uint64_t number, const RecordTail& tail) const noexcept
{
    if (number >= end_) {
        return Verdict::fresh;
    }
    if (end_ - number > kSize) {
        return Verdict::too_old;
    }
    const std::uint64_t slot = number % kSize;
    if ((seen_ >> slot & 1U) == 0) {
        return Verdict::fresh;
    }
    return tails_[slot] == tail ? Verdict::same_record : Verdict::same_number;
}

void ReplayWindow::mark(std::uint64_t number, const RecordTail& tail) noexcept
{
    if (number >= end_) {
        const std::uint64_t steps = number - end_;
        if (steps >= kSize) {
            seen_ = 0;
        }
        for (std::uint64_t skipped = 0; skipped < steps && skipped < kSize; ++skipped) {
            seen_ &= ~(std::uint64_t{1} << (end_ + skipped) % kSize);
        }
        end_ = number + 1;
    } else if (end_ - number > kSize) {
        return;
    }
    const std::uint64_t slot = number % kSize;
    seen_ |= std::uint64_t{1} << slot;
    tails_[slot] = tail;
}

} // namespace transports
