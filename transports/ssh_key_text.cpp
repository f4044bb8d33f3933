#include "transports/ssh_key_text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace transports {

namespace {

struct Curve {
    std::string_view type;
    std::string_view name;
    std::size_t point; // octets of an uncompressed one
    unsigned bits;
};
constexpr std::array kCurves = {
    Curve{"ecdsa-sha2-nistp256", "nistp256", 65, 256},
    Curve{"ecdsa-sha2-nistp384", "nistp384", 97, 384},
    Curve{"ecdsa-sha2-nistp521", "nistp521", 133, 521},
};
constexpr std::string_view kEd25519 = "ssh-ed25519";
constexpr std::string_view kRsa = "ssh-rsa";
constexpr std::size_t kEd25519Key = 32;
constexpr unsigned kMaxRsaBits = 16384;

int value_of(char c) noexcept
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/// Takes "string" fields of RFC 4251 section 5 off a blob.
class Fields {
public:
    explicit Fields(std::string_view blob) noexcept : rest_{blob} {}
    std::optional<std::string_view> next() noexcept
    {
        if (rest_.size() < 4) {
            return std::nullopt;
        }
        std::size_t length = 0;
        for (const char c : rest_.substr(0, 4)) {
            length = length << 8U | static_cast<unsigned char>(c);
        }
        if (length > rest_.size() - 4) {
            return std::nullopt;
        }
        const auto field = rest_.substr(4, length);
        rest_.remove_prefix(4 + length);
        return field;
    }
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

private:
    std::string_view rest_;
};

/// Bits of a positive "mpint"; 0 when it is none.
unsigned bits_of(std::string_view number) noexcept
{
    if (!number.empty() && number.front() == '\0') {
        number.remove_prefix(1);
        if (number.empty() || static_cast<unsigned char>(number.front()) < 0x80) {
            return 0; // a leading zero that nothing asks for
        }
    } else if (!number.empty() && static_cast<unsigned char>(number.front()) >= 0x80) {
        return 0; // negative
    }
    if (number.empty() || number.size() > kMaxRsaBits / 8) {
        return 0;
    }
    const auto first = static_cast<unsigned char>(number.front());
    return static_cast<unsigned>((number.size() - 1) * 8) + static_cast<unsigned>(std::bit_width(first));
}

/// Why the fields after the type are no such key; empty when they are, and `bits` is set.
std::string check_fields(std::string_view type, Fields fields, unsigned& bits)
{
    if (type == kEd25519) {
        const auto key = fields.next();
        bits = 256;
        return key && key->size() == kEd25519Key && fields.at_end() ? "" : "is no Ed25519 key";
    }
    if (type == kRsa) {
        const auto exponent = fields.next();
        const auto modulus = fields.next();
        if (!exponent || !modulus || !fields.at_end() || bits_of(*exponent) == 0) {
            return "is no RSA key";
        }
        bits = bits_of(*modulus);
        return bits == 0 ? "is no RSA key" : "";
    }
    const auto* curve =
        std::find_if(kCurves.begin(), kCurves.end(), [&](const Curve& known) { return known.type == type; });
    if (curve == kCurves.end()) {
        return "is of a type that is not known here";
    }
    const auto name = fields.next();
    const auto point = fields.next();
    bits = curve->bits;
    const bool fits = name == curve->name && point && point->size() == curve->point && point->front() == '\x04';
    return fits && fields.at_end() ? "" : "is no ECDSA key of this curve";
}

} // namespace

std::optional<std::string> decode_base64(std::string_view text)
{
    if (text.empty() || text.size() % 4 != 0) {
        return std::nullopt;
    }
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    std::string out;
    out.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool pad = i >= text.size() - padding;
        const int value = pad ? 0 : value_of(text[i]);
        if (value < 0) {
            return std::nullopt;
        }
        group = group << 6U | static_cast<std::uint32_t>(value);
        if (i % 4 == 3) {
            for (const unsigned shift : {16U, 8U, 0U}) {
                out += static_cast<char>(group >> shift & 0xffU);
            }
            group = 0;
        }
    }
    const auto tail = std::string_view{out}.substr(out.size() - padding);
    if (std::any_of(tail.begin(), tail.end(), [](char c) { return c != '\0'; })) {
        return std::nullopt; // bits that the padding hides: two texts for one key
    }
    out.resize(out.size() - padding);
    return out;
}

bool is_ssh_key_type(std::string_view type) noexcept
{
    return type == kEd25519 || type == kRsa ||
           std::any_of(kCurves.begin(), kCurves.end(), [&](const Curve& curve) { return curve.type == type; });
}

std::variant<SshPublicKey, std::string> read_ssh_key_blob(std::string blob)
{
    Fields fields{blob};
    const auto type = fields.next();
    if (!type) {
        return std::string{"is no key"};
    }
    SshPublicKey key{std::string{*type}, {}, 0};
    if (auto why = check_fields(*type, fields, key.bits); !why.empty()) {
        return why;
    }
    key.blob = std::move(blob);
    return key;
}

std::variant<SshPublicKey, std::string> read_ssh_key(std::string_view type, std::string_view base64)
{
    auto blob = decode_base64(base64);
    if (!blob) {
        return std::string{"is not base64"};
    }
    auto read = read_ssh_key_blob(std::move(*blob));
    if (const auto* key = std::get_if<SshPublicKey>(&read); key != nullptr && key->type != type) {
        return "is of another type than the word before it says";
    }
    return read;
}

std::string_view key_type_of(std::string_view algorithm) noexcept
{
    return algorithm == "rsa-sha2-512" || algorithm == "rsa-sha2-256" ? kRsa : algorithm;
}

std::vector<SshWord> split_words(std::string_view line, std::size_t most)
{
    constexpr std::string_view kBlank = " \t";
    std::vector<SshWord> words;
    std::size_t at = line.find_first_not_of(kBlank);
    while (at != std::string_view::npos && words.size() < most) {
        std::size_t end = std::min(line.find_first_of(kBlank, at), line.size());
        if (words.size() + 1 == most) {
            end = line.find_last_not_of(kBlank) + 1;
        }
        words.push_back({line.substr(at, end - at), at + 1});
        at = line.find_first_not_of(kBlank, end);
    }
    return words;
}

std::vector<std::string_view> split_lines(std::string_view text)
{
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        auto line = text.substr(0, end);
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        lines.push_back(line);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

} // namespace transports
