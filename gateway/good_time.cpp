#include "gateway/good_time.hpp"

#include <charconv>
#include <system_error>

#include "gateway/build_date.hpp"
#include "gateway/config_files.hpp"

namespace gateway {

namespace {

constexpr std::string_view kFirstLine = "ntpgate-time 1\n";
constexpr std::size_t kMaxDigits = 11; // until the year 5138

} // namespace

std::chrono::seconds build_time() noexcept
{
    return std::chrono::seconds{kBuildDate};
}

std::variant<std::chrono::seconds, std::string> parse_good_time(std::string_view text)
{
    if (!text.starts_with(kFirstLine)) {
        return "line 1: expected ntpgate-time 1";
    }
    text.remove_prefix(kFirstLine.size());
    const auto digits = text.substr(0, text.find('\n'));
    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size() && digits.size() <= kMaxDigits;
    if (!whole || text.size() != digits.size() + 1) {
        return "line 2: expected seconds since 1970, and nothing behind that line";
    }
    return std::chrono::seconds{static_cast<std::int64_t>(count)};
}

std::string write_good_time(std::chrono::seconds time)
{
    return std::string{kFirstLine} + std::to_string(time.count()) + "\n";
}

std::variant<std::chrono::seconds, std::string> read_good_time(const std::filesystem::path& file)
{
    std::error_code none;
    if (!std::filesystem::exists(file, none)) {
        return std::chrono::seconds{0};
    }
    auto text = read_whole_file(file);
    if (const auto* refused = std::get_if<Refused>(&text)) {
        return refused->why;
    }
    return parse_good_time(std::get<std::string>(text));
}

} // namespace gateway
