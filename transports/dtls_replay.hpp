// Which record numbers of one epoch came before (RFC 6347 section 4.1.2.6), and whether a number that comes again is
// the same record: only then may its sender be called a replayer, since anybody can write a number.
#pragma once

#include <array>
#include <cstdint>

#include "transports/dtls_record.hpp"

namespace transports {

class ReplayWindow {
public:
    static constexpr std::uint64_t kSize = 64;

    enum class Verdict : std::uint8_t {
        fresh,
        same_record, // the number and the tail of one that came before
        same_number, // but another tail
        too_old,     // below the window: it may have come before or never
    };
    [[nodiscard]] Verdict judge(std::uint64_t number, const RecordTail& tail) const noexcept;
    /// Only for a record that was authenticated: a forged number would otherwise push the window past true ones.
    void mark(std::uint64_t number, const RecordTail& tail) noexcept;

private:
    std::uint64_t end_ = 0;  // one above the highest number marked
    std::uint64_t seen_ = 0; // bit i: number i modulo kSize is marked, for those in [end_ - kSize, end_)
    std::array<RecordTail, kSize> tails_{};
};

} // namespace transports
