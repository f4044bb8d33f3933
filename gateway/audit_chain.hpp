// The chain that audit records form: each names the SHA-256 of the line before it. Pure: lines in, verdicts out.
//
// A line that is no record (torn by a crash) is kept, and the `chain_restarted` behind it names its hash, and in
// `after` the last record before it: nothing of a file can be changed without a trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gateway {

inline constexpr std::size_t kMaxAuditLine = std::size_t{1024} * 1024;

/// A record's number and the hash of its line.
struct ChainHead {
    std::uint64_t seq{};
    std::string hash; // 64 lower-case digits
    bool operator==(const ChainHead&) const = default;
};
[[nodiscard]] const std::string& chain_start();                                 // what the first record names: 64 zeros
[[nodiscard]] std::optional<ChainHead> parse_chain_head(std::string_view text); // "SEQ:HASH"

/// What the chain needs to know of a line.
struct ChainLine {
    ChainHead head; // of this line
    std::string prev;
    bool restarts = false; // it is a chain_restarted
    std::optional<ChainHead> after;
};
/// Nothing when the line is no audit record.
[[nodiscard]] std::optional<ChainLine> parse_chain_line(std::string_view line);

/// Where a chain goes on at the end of a file that may have been cut.
struct ChainEnd {
    std::optional<ChainHead> last;         // record; absent in a file without one
    std::optional<std::string> unreadable; // hash of all that stands behind it, when there is something
    bool open_line = false;                // the file does not end with a newline
};
[[nodiscard]] ChainEnd find_chain_end(std::string_view tail);

/// Reads the lines of one file, or of several that rotation made, oldest first.
class ChainVerifier {
public:
    struct Fault {
        std::string file;
        std::size_t line{};
        std::string text;
    };
    /// `head` is a record that is known from elsewhere to have been written.
    explicit ChainVerifier(std::optional<ChainHead> head) : known_(std::move(head)) {}

    void begin_file(std::string name);
    /// The next line, without its newline; `whole` = there was one. After a fault nothing more needs to be added.
    [[nodiscard]] std::optional<Fault> add(std::string_view line, bool whole);
    [[nodiscard]] std::optional<Fault> finish();

    [[nodiscard]] std::uint64_t records() const noexcept { return records_; }
    [[nodiscard]] std::optional<std::uint64_t> first() const noexcept { return first_; }
    [[nodiscard]] const std::optional<ChainHead>& last() const noexcept { return last_; }
    /// Files in which a chain begins anew: what was before them is not joined to what is in them.
    [[nodiscard]] const std::vector<std::string>& begun_anew() const noexcept { return begun_anew_; }
    /// Records behind the known head: nothing vouches for them. All of them without one.
    [[nodiscard]] std::uint64_t not_anchored() const noexcept { return behind_; }

private:
    [[nodiscard]] Fault fault(std::string text) const { return {file_, line_, std::move(text)}; }
    [[nodiscard]] std::optional<std::string> why_wrong(const ChainLine& line) const;
    [[nodiscard]] std::optional<std::string> why_wrong_after_unreadable(const ChainLine& line) const;

    std::optional<ChainHead> known_;
    std::string file_;
    std::size_t line_ = 0;
    std::uint64_t records_ = 0;
    std::uint64_t behind_ = 0;
    bool anchored_ = false;
    std::optional<std::uint64_t> first_;
    std::optional<ChainHead> last_;
    std::vector<std::string> begun_anew_;
    std::string unreadable_; // lines without a record, joined
    std::optional<Fault> unreadable_at_;
};

} // namespace gateway
