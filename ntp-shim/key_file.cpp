#include "ntp-shim/key_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

#include "ntp-shim/key_line.hpp"

namespace ntp_shim {

namespace {

/// What gives a file's format away, and where.
struct Evidence {
    std::size_t ntp_line = 0; // 0 = nowhere
    std::size_t chrony_line = 0;
};

class Reader {
public:
    Reader(std::string_view text, KeyFormat format) : text_(text) { file_.format = format; }

    KeyFile read()
    {
        if (file_.format == KeyFormat::automatic) {
            guess();
        }
        each_line([this](std::string_view line) { take(line); });
        return std::move(file_);
    }

private:
    template <class Work>
    void each_line(Work work)
    {
        line_ = 0;
        for (auto rest = text_; !rest.empty();) {
            const auto end = std::min(rest.find('\n'), rest.size());
            ++line_;
            auto line = rest.substr(0, end);
            if (line.ends_with('\r')) {
                line.remove_suffix(1);
            }
            work(line);
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }

    void guess()
    {
        Evidence evidence;
        each_line([&](std::string_view line) {
            const auto hint = format_of_line(line);
            auto& where = hint == KeyFormat::ntp ? evidence.ntp_line : evidence.chrony_line;
            if (hint != KeyFormat::automatic && where == 0) {
                where = line_;
            }
        });
        if (evidence.ntp_line != 0 && evidence.chrony_line != 0) {
            file_.problems.push_back({std::max(evidence.ntp_line, evidence.chrony_line),
                                      "this line is of the other program's format than line " +
                                          std::to_string(std::min(evidence.ntp_line, evidence.chrony_line)) +
                                          " (expected one format: ntp or chrony)"});
        } else if (evidence.ntp_line != 0) {
            file_.format = KeyFormat::ntp;
        } else if (evidence.chrony_line != 0) {
            file_.format = KeyFormat::chrony;
        }
    }

    void take(std::string_view line)
    {
        auto parsed = parse_key_line(line, file_.format);
        if (std::holds_alternative<std::monostate>(parsed)) {
            return;
        }
        if (auto* wrong = std::get_if<std::string>(&parsed)) {
            problem(std::move(*wrong));
            return;
        }
        auto& entry = std::get<KeyLine>(parsed);
        if (const auto [first, added] = seen_.emplace(entry.id, line_); !added) {
            problem("key " + std::to_string(entry.id) + " is in line " + std::to_string(first->second) +
                    " already (expected each id once)");
            return;
        }
        if (seen_.size() > kMaxKeys) {
            problem("one key too many (expected at most " + std::to_string(kMaxKeys) + ")");
            return;
        }
        add(std::move(entry));
    }

    void add(KeyLine entry)
    {
        auto why = entry.unusable;
        const auto id = entry.id;
        if (why.empty()) {
            why = why_weak(entry);
        }
        if (why.empty()) {
            if (auto digest = KeyedDigest::create(entry.kind, std::move(entry.key))) {
                file_.keys.push_back(std::make_shared<const MacKey>(
                    MacKey::Description{.id = id, .line = line_, .peers = std::move(entry.peers)}, std::move(digest)));
                return;
            }
            why = "libcrypto refuses " + std::string{name(entry.kind)};
        }
        file_.unusable.push_back({id, {line_, std::move(why)}});
    }

    void problem(std::string text)
    {
        if (file_.problems.size() < kMaxKeys) {
            file_.problems.push_back({line_, std::move(text)});
        }
    }

    static std::string why_weak(const KeyLine& entry)
    {
        const auto required = required_key_size(entry.kind);
        const auto size = entry.key.size();
        if (required != 0 && size != required) {
            return std::string{name(entry.kind)} + " needs a key of exactly " + std::to_string(8 * required) +
                   " bits, and this one has " + std::to_string(8 * size);
        }
        if (size < kMinKeySize) {
            return "has " + std::to_string(8 * size) + " bits (expected at least " + std::to_string(8 * kMinKeySize) +
                   ")";
        }
        return {};
    }

    std::string_view text_;
    KeyFile file_;
    std::size_t line_ = 0;
    std::unordered_map<std::uint32_t, std::size_t> seen_; // id -> line; bounded by kMaxKeys
};

} // namespace

std::string_view name(KeyFormat format) noexcept
{
    switch (format) {
    case KeyFormat::automatic:
        return "auto";
    case KeyFormat::ntp:
        return "ntp";
    case KeyFormat::chrony:
        return "chrony";
    }
    return {};
}

KeyFile read_key_file(std::string_view text, KeyFormat format)
{
    return Reader{text, format}.read();
}

} // namespace ntp_shim
