#include "gateway/audit_chain.hpp"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "transports/tls_digest.hpp"

namespace gateway {

namespace {

constexpr std::size_t kHashDigits = 64;

bool is_hash(std::string_view text) noexcept
{
    return text.size() == kHashDigits && std::all_of(text.begin(), text.end(), [](char digit) {
               return (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
           });
}

std::optional<std::string> hash_in(const nlohmann::json& object, const char* key)
{
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string() || !is_hash(found->get_ref<const std::string&>())) {
        return std::nullopt;
    }
    return found->get<std::string>();
}

std::optional<std::uint64_t> number_in(const nlohmann::json& object, const char* key)
{
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned()) {
        return std::nullopt;
    }
    return found->get<std::uint64_t>();
}

std::optional<ChainHead> head_in(const nlohmann::json& record, const char* key)
{
    const auto found = record.find(key);
    if (found == record.end() || !found->is_object()) {
        return std::nullopt;
    }
    const auto seq = number_in(*found, "seq");
    auto hash = hash_in(*found, "hash");
    if (!seq || !hash) {
        return std::nullopt;
    }
    return ChainHead{*seq, std::move(*hash)};
}

std::vector<std::string_view> lines_of(std::string_view text)
{
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const auto end = text.find('\n');
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return lines;
}

} // namespace

const std::string& chain_start()
{
    static const std::string start(kHashDigits, '0');
    return start;
}

std::optional<ChainHead> parse_chain_head(std::string_view text)
{
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || colon == 0 || !is_hash(text.substr(colon + 1))) {
        return std::nullopt;
    }
    ChainHead head;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + colon, head.seq);
    if (failed != std::errc{} || end != text.data() + colon || head.seq == 0) {
        return std::nullopt;
    }
    head.hash = text.substr(colon + 1);
    return head;
}

std::optional<ChainLine> parse_chain_line(std::string_view line)
{
    if (!line.starts_with("{\"seq\":")) {
        return std::nullopt; // spares the parser what is certainly no record
    }
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object()) {
        return std::nullopt;
    }
    const auto seq = number_in(record, "seq");
    auto prev = hash_in(record, "prev");
    const auto event = record.find("event");
    if (!seq || *seq == 0 || !prev || event == record.end() || !event->is_string()) {
        return std::nullopt;
    }
    return ChainLine{
        {*seq, transports::sha256_hex(line)}, std::move(*prev), *event == "chain_restarted", head_in(record, "after")};
}

ChainEnd find_chain_end(std::string_view tail)
{
    ChainEnd end;
    end.open_line = !tail.empty() && tail.back() != '\n';
    const auto lines = lines_of(tail);
    for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
        if (auto record = parse_chain_line(*line)) {
            end.last = std::move(record->head);
            const auto behind = static_cast<std::size_t>(line->data() + line->size() - tail.data());
            tail.remove_prefix(std::min(behind + 1, tail.size()));
            break;
        }
    }
    if (tail.ends_with('\n')) {
        tail.remove_suffix(1);
    }
    if (!tail.empty()) {
        end.unreadable = transports::sha256_hex(tail);
    }
    return end;
}

void ChainVerifier::begin_file(std::string name)
{
    file_ = std::move(name);
    line_ = 0;
}

std::optional<std::string> ChainVerifier::why_wrong(const ChainLine& line) const
{
    if (!last_) {
        if (line.head.seq == 1 && line.prev != chain_start()) {
            return "seq 1 names a line before it";
        }
        // A later seq begins a file only where rotation began it, and that record says what it follows.
        if (line.head.seq != 1 && line.after != ChainHead{line.head.seq - 1, line.prev}) {
            return fmt::format("seq {} begins neither a chain nor a file after rotation: lines before it are missing",
                               line.head.seq);
        }
        return std::nullopt;
    }
    // A process that finds no file begins a chain of its own; so does nobody within a file.
    if (line_ == 1 && line.head.seq == 1 && line.prev == chain_start()) {
        return std::nullopt;
    }
    if (line.head.seq != last_->seq + 1) {
        return fmt::format("seq {} follows seq {}: lines are missing, moved or added here", line.head.seq, last_->seq);
    }
    if (line.prev != last_->hash) {
        return fmt::format("does not name the hash of the line before it: one of the two (seq {} and {}) was changed",
                           last_->seq, line.head.seq);
    }
    return std::nullopt;
}

std::optional<std::string> ChainVerifier::why_wrong_after_unreadable(const ChainLine& line) const
{
    if (!line.restarts) {
        return "is no audit record, and no chain_restarted follows it";
    }
    const std::uint64_t expected = last_ ? last_->seq + 1 : 1;
    if (line.prev != transports::sha256_hex(unreadable_)) {
        return "is no audit record, and not what the chain_restarted behind it names";
    }
    if (line.after != last_ || line.head.seq != expected) {
        return "is no audit record, and the chain_restarted behind it does not follow the record before it";
    }
    return std::nullopt;
}

std::optional<ChainVerifier::Fault> ChainVerifier::add(std::string_view line, bool whole)
{
    ++line_;
    if (!whole) {
        return fault("is torn: it has no end (an ntpgate that starts on this file closes it)");
    }
    const auto record = parse_chain_line(line);
    if (!record) {
        if (!unreadable_at_) {
            unreadable_at_ = fault("is no audit record, and no chain_restarted follows it");
        } else {
            unreadable_ += '\n';
        }
        unreadable_ += line;
        return unreadable_.size() > kMaxAuditLine ? unreadable_at_ : std::nullopt;
    }
    if (unreadable_at_) {
        if (auto why = why_wrong_after_unreadable(*record)) {
            return Fault{unreadable_at_->file, unreadable_at_->line, std::move(*why)};
        }
        unreadable_at_.reset();
        unreadable_.clear();
    } else if (auto why = why_wrong(*record)) {
        return fault(std::move(*why));
    }
    if (known_ && record->head.seq == known_->seq) {
        if (record->head.hash != known_->hash) {
            return fault(fmt::format("seq {} is not the record that the given head names", known_->seq));
        }
        anchored_ = true;
        behind_ = 0;
    } else {
        ++behind_;
    }
    if (last_ && record->head.seq == 1) {
        begun_anew_.push_back(file_);
    }
    ++records_;
    first_ = first_.value_or(record->head.seq);
    last_ = record->head;
    return std::nullopt;
}

std::optional<ChainVerifier::Fault> ChainVerifier::finish()
{
    if (unreadable_at_) {
        return unreadable_at_;
    }
    if (known_ && !anchored_) {
        return fault(last_ ? fmt::format("is the end, at seq {}: the record of the given head, seq {}, is cut off",
                                         last_->seq, known_->seq)
                           : fmt::format("is the end: the record of the given head, seq {}, is cut off", known_->seq));
    }
    return std::nullopt;
}

} // namespace gateway
