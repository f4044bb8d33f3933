#include "ntp-shim/key_line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "ntp-shim/peer_list.hpp"

namespace ntp_shim {

namespace {

constexpr std::string_view kBlanks = " \t\v\f";
constexpr std::string_view kChronyComments = "!;#%"; // at the beginning of a line only
constexpr std::size_t kMaxAscii = 20;                // ntpd: what is longer is hex
constexpr std::size_t kMaxNtpKey = 32;
constexpr std::size_t kMaxLine = 2047; // chrony's
constexpr std::uint32_t kMaxNtpId = 65535;
constexpr std::string_view kAsciiPrefix = "ASCII:";
constexpr std::string_view kHexPrefix = "HEX:";

enum class Writer : std::uint8_t { both, ntp, chrony };

struct TypeName {
    std::string_view name; // in capitals
    DigestKind kind{};
    Writer writer = Writer::both;
};
// SHA-2 names are common to both. The others are ntpd's (AES128CMAC), NTPsec's (AES, AES-128) and chrony's (AES128).
constexpr auto kTypeNames = std::to_array<TypeName>({
    {"MD5", DigestKind::md5},
    {"M", DigestKind::md5, Writer::ntp},
    {"SHA1", DigestKind::sha1},
    {"SHA", DigestKind::sha1, Writer::ntp},
    {"SHA-1", DigestKind::sha1, Writer::ntp},
    {"SHA256", DigestKind::sha256},
    {"SHA-256", DigestKind::sha256, Writer::ntp},
    {"SHA2-256", DigestKind::sha256, Writer::ntp},
    {"SHA384", DigestKind::sha384},
    {"SHA-384", DigestKind::sha384, Writer::ntp},
    {"SHA2-384", DigestKind::sha384, Writer::ntp},
    {"SHA512", DigestKind::sha512},
    {"SHA-512", DigestKind::sha512, Writer::ntp},
    {"SHA2-512", DigestKind::sha512, Writer::ntp},
    {"AES128", DigestKind::aes128},
    {"AES", DigestKind::aes128, Writer::ntp},
    {"AES-128", DigestKind::aes128, Writer::ntp},
    {"AES128CMAC", DigestKind::aes128, Writer::ntp},
    {"AES-128-CMAC", DigestKind::aes128, Writer::ntp},
    {"AES-128-CBC", DigestKind::aes128, Writer::ntp},
    {"AES256", DigestKind::aes256},
    {"AES-256", DigestKind::aes256, Writer::ntp},
    {"AES256CMAC", DigestKind::aes256, Writer::ntp},
    {"AES-256-CMAC", DigestKind::aes256, Writer::ntp},
    {"AES-256-CBC", DigestKind::aes256, Writer::ntp},
});
// RFC 1305 appendix C and the DES forms of ntpd 3: S and N hold hexadecimal, A text.
constexpr auto kDesNames = std::to_array<std::string_view>({"S", "N", "A", "DES"});

std::string capitals(std::string_view text)
{
    std::string out{text};
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    return out;
}

const TypeName* type_named(std::string_view word)
{
    const auto wanted = capitals(word);
    const auto* const found = std::ranges::find(kTypeNames, std::string_view{wanted}, &TypeName::name);
    return found == kTypeNames.end() ? nullptr : found;
}

bool is_des(std::string_view word)
{
    const auto wanted = capitals(word);
    return std::ranges::find(kDesNames, std::string_view{wanted}) != kDesNames.end();
}

/// The words of a line. To ntpd a `#` begins a comment anywhere, even inside a word.
std::vector<std::string_view> words_of(std::string_view line, KeyFormat format)
{
    if (format == KeyFormat::ntp) {
        line = line.substr(0, line.find('#'));
    }
    std::vector<std::string_view> words;
    for (auto start = line.find_first_not_of(kBlanks); start != std::string_view::npos;
         start = line.find_first_not_of(kBlanks, start)) {
        const auto end = std::min(line.find_first_of(kBlanks, start), line.size());
        words.push_back(line.substr(start, end - start));
        start = end;
    }
    return words;
}

bool is_comment(std::string_view line, KeyFormat format)
{
    const auto start = line.find_first_not_of(kBlanks);
    if (start == std::string_view::npos) {
        return true;
    }
    return format == KeyFormat::ntp ? line[start] == '#' : kChronyComments.find(line[start]) != std::string_view::npos;
}

std::optional<std::uint32_t> number(std::string_view word)
{
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<std::uint8_t> nibble(char c)
{
    static constexpr std::string_view kDigits = "0123456789abcdef";
    const auto lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    const auto at = kDigits.find(lower);
    return at == std::string_view::npos ? std::nullopt : std::optional{static_cast<std::uint8_t>(at)};
}

using Decoded = std::variant<Secret, std::string>;

Decoded from_hex(std::string_view digits)
{
    if (digits.empty() || digits.size() % 2 != 0) {
        return "the key has an odd number of hexadecimal digits (expected pairs)";
    }
    Secret key(digits.size() / 2);
    for (std::size_t at = 0; at < digits.size(); at += 2) {
        const auto high = nibble(digits[at]);
        const auto low = nibble(digits[at + 1]);
        if (!high || !low) {
            return "the key has a character that is no hexadecimal digit"; // which one is part of the key
        }
        key.octets()[at / 2] = static_cast<std::byte>(*high << 4 | *low);
    }
    return key;
}

Decoded from_text(std::string_view text)
{
    return Secret{std::as_bytes(std::span{text.data(), text.size()})};
}

Decoded decode_ntp(std::string_view word)
{
    if (word.size() <= kMaxAscii) {
        return from_text(word);
    }
    if (word.size() > 2 * kMaxNtpKey) {
        return "the key is longer than 64 hexadecimal digits, and ntpd would silently cut it";
    }
    return from_hex(word);
}

Decoded decode_chrony(std::string_view word)
{
    if (word.starts_with(kHexPrefix)) {
        return from_hex(word.substr(kHexPrefix.size()));
    }
    return from_text(word.starts_with(kAsciiPrefix) ? word.substr(kAsciiPrefix.size()) : word);
}

Decoded decode(std::string_view word, KeyFormat format)
{
    switch (format) {
    case KeyFormat::ntp:
        return decode_ntp(word);
    case KeyFormat::chrony:
        return decode_chrony(word);
    case KeyFormat::automatic:
        if (word.size() > kMaxAscii) {
            return "the key has more than 20 characters, which ntpd reads as hexadecimal digits and chrony as text "
                   "(expected format: ntp or chrony beside keys:)";
        }
        return from_text(word);
    }
    return "";
}

struct Words {
    std::string_view id;
    std::string_view type; // empty: chrony's default, MD5
    std::string_view key;
    std::string_view peers; // ntpd only
};

std::variant<Words, std::string> split(std::string_view line, KeyFormat format)
{
    const auto words = words_of(line, format);
    const bool chrony = format == KeyFormat::chrony;
    if (chrony && words.size() == 2) {
        return Words{words[0], {}, words[1], {}};
    }
    if (words.size() == 3 || (!chrony && words.size() == 4)) {
        return Words{words[0], words[1], words[2], words.size() == 4 ? words[3] : std::string_view{}};
    }
    return std::to_string(words.size()) +
           (chrony ? " words (expected ID [TYPE] KEY)" : " words (expected ID TYPE KEY [ADDRESS,...])");
}

std::string why_not_built(std::string_view type)
{
    if (is_des(type)) {
        return "type " + capitals(type) + " is DES, which is broken and not built (expected AES128 or SHA256)";
    }
    return "its type is none that is built (expected SHA256, SHA384, SHA512, AES128, AES256 or SHA1)";
}

} // namespace

std::variant<std::monostate, KeyLine, std::string> parse_key_line(std::string_view line, KeyFormat format)
{
    if (is_comment(line, format)) {
        return std::monostate{};
    }
    if (line.size() > kMaxLine || line.find('\0') != std::string_view::npos) {
        return "is no line of text of at most 2047 characters";
    }
    if (format == KeyFormat::automatic && line.find('#') != std::string_view::npos) {
        return "has a #, which begins a comment for ntpd and not for chrony (expected format: ntp or chrony beside "
               "keys:)";
    }
    auto split_line = split(line, format);
    if (auto* wrong = std::get_if<std::string>(&split_line)) {
        return std::move(*wrong);
    }
    const auto& words = std::get<Words>(split_line);
    const auto id = number(words.id);
    if (!id || *id == 0 || (format != KeyFormat::chrony && *id > kMaxNtpId)) {
        return std::string{"the first word is no key id (expected 1 to "} +
               (format == KeyFormat::chrony ? "4294967295)" : "65535)");
    }
    KeyLine entry;
    entry.id = *id;
    const auto* const type = type_named(words.type.empty() ? "MD5" : words.type);
    if (type == nullptr) {
        entry.unusable = why_not_built(words.type);
        return entry;
    }
    entry.kind = type->kind;
    if (auto wrong = read_peers(words.peers, entry.peers)) {
        return std::move(*wrong);
    }
    auto decoded = decode(words.key, format);
    if (auto* wrong = std::get_if<std::string>(&decoded)) {
        return std::move(*wrong);
    }
    entry.key = std::move(std::get<Secret>(decoded));
    return entry;
}

KeyFormat format_of_line(std::string_view line)
{
    if (is_comment(line, KeyFormat::chrony)) {
        const auto start = line.find_first_not_of(kBlanks);
        return start != std::string_view::npos && line[start] != '#' ? KeyFormat::chrony : KeyFormat::automatic;
    }
    const auto words = words_of(line, KeyFormat::ntp);
    if (words.size() == 2 ||
        (words.size() == 3 && (words[2].starts_with(kHexPrefix) || words[2].starts_with(kAsciiPrefix)))) {
        return KeyFormat::chrony;
    }
    if (words.size() == 4 || (words.size() == 3 && is_des(words[1]))) {
        return KeyFormat::ntp;
    }
    const auto* const type = words.size() == 3 ? type_named(words[1]) : nullptr;
    return type != nullptr && type->writer == Writer::ntp ? KeyFormat::ntp : KeyFormat::automatic;
}

std::string key_line(std::uint32_t id, DigestKind kind, Bytes key, KeyFormat format)
{
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string type{name(kind)};
    if (format == KeyFormat::ntp && required_key_size(kind) != 0) {
        type = kind == DigestKind::aes128 ? "AES-128" : "AES-256"; // NTPsec's spelling
    }
    std::string line = std::to_string(id) + " " + type + " " + (format == KeyFormat::chrony ? "HEX:" : "");
    line.reserve(line.size() + 2 * key.size() + 1); // grown, it would leave copies of the key behind
    for (const auto octet : key) {
        line += kDigits[std::to_integer<std::size_t>(octet >> 4)];
        line += kDigits[std::to_integer<std::size_t>(octet & std::byte{0xf})];
    }
    line += '\n';
    return line;
}

} // namespace ntp_shim
