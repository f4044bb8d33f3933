// Any datagram taken apart, and its record numbers through a replay window.
//
// Property: the records of a datagram are its beginning, whole and in order, and what is left over is no record; the
// window says of each what a list of everything marked says.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "tests/fuzz/property.hpp"
#include "transports/dtls_record.hpp"
#include "transports/dtls_replay.hpp"

namespace {

using fuzz::require;
using transports::RecordTail;
using transports::ReplayWindow;
using Verdict = ReplayWindow::Verdict;

/// Remembers everything.
class Ledger {
public:
    [[nodiscard]] Verdict judge(std::uint64_t number, const RecordTail& tail) const
    {
        constexpr std::uint64_t kWindow = fuzz::kPlantedBug ? 63 : 64;
        if (!marked_.empty() && number + kWindow <= marked_.rbegin()->first) {
            return Verdict::too_old;
        }
        const auto found = marked_.find(number);
        if (found == marked_.end()) {
            return Verdict::fresh;
        }
        return found->second == tail ? Verdict::same_record : Verdict::same_number;
    }
    void mark(std::uint64_t number, const RecordTail& tail) { marked_[number] = tail; }

private:
    std::map<std::uint64_t, RecordTail> marked_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto datagram = std::as_bytes(std::span{data, size});
    std::span<const std::byte> rest{datagram};
    ReplayWindow window;
    Ledger ledger;
    std::size_t taken = 0;
    while (const auto record = transports::take_record(rest)) {
        require(record->bytes.data() == datagram.data() + taken, "a record elsewhere than it stands");
        require(record->bytes.size() >= transports::kRecordHeader, "a record without a header");
        taken += record->bytes.size();
        require(taken + rest.size() == datagram.size(), "octets lost or made");
        require(record->number < std::uint64_t{1} << 48U, "a number of more than 48 bits");
        const RecordTail tail = record->tail();
        const Verdict verdict = window.judge(record->number, tail);
        require(verdict == ledger.judge(record->number, tail), "the window and the ledger differ");
        // The library's word: here the epoch's lowest bit says whether the record was authentic.
        if (verdict == Verdict::fresh && (record->epoch & 1U) != 0) {
            window.mark(record->number, tail);
            ledger.mark(record->number, tail);
            require(window.judge(record->number, tail) == Verdict::same_record, "marked and forgotten");
        }
    }
    if (const auto random = transports::client_random_of(datagram)) {
        const auto found = std::search(datagram.begin(), datagram.end(), random->begin(), random->end());
        require(found != datagram.end(), "a random that stands nowhere");
        require(datagram.size() >= transports::kRecordHeader + 14 + random->size(), "a ClientHello too short for one");
    }
    return 0;
}
