#include "ntp-shim/nts_key_ring.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "ntp-shim/nts_text.hpp"

namespace ntp_shim {

namespace {

constexpr std::string_view kOwnTitle = "ntpgate-nts-keys 1";
constexpr std::size_t kMaxKeys = 64; // of a file; more is no ring
constexpr std::uint32_t kChronyIndex = 3;

std::string id_text(std::uint32_t id)
{
    std::array<std::byte, 4> octets{};
    ByteWriter(octets).u32(id);
    return hex_text(octets);
}

std::string fault(std::size_t line, std::string_view what)
{
    return "line " + std::to_string(line) + ": " + std::string{what};
}

/// "SECONDS.TENTHS", as chrony writes an age, without its fraction.
std::optional<std::chrono::seconds> whole_seconds(std::string_view text)
{
    const auto point = text.find('.');
    const auto whole = number_of<std::int32_t>(text.substr(0, point));
    const bool has_fraction = point != std::string_view::npos;
    const bool good = !has_fraction || number_of<std::uint32_t>(text.substr(point + 1));
    return whole && good ? std::optional{std::chrono::seconds{*whole}} : std::nullopt;
}

struct KeyText {
    std::string_view id;
    std::string_view aead;
    std::string_view key;
};

/// The key of one line, or what is wrong with it.
std::variant<CookieKey, std::string_view> read_key(const KeyText& text)
{
    const auto id = number_of<std::uint32_t>(text.id, 16);
    const auto number = number_of<std::uint16_t>(text.aead);
    const auto octets = secret_of(text.key);
    if (!id || text.id.size() > 8) {
        return "not a key identifier of up to 8 hex digits";
    }
    const auto aead = number ? find_aead(*number) : std::nullopt;
    if (!aead) {
        return "an AEAD that this build does not have";
    }
    auto key = octets ? CookieKey::make(*id, *aead, octets->view()) : std::nullopt;
    if (!key) {
        return "not a key of the AEAD's size in hex digits";
    }
    return std::move(*key);
}

bool has_repetition(const std::vector<CookieKey>& keys)
{
    return std::ranges::any_of(keys, [&](const CookieKey& key) {
        return std::ranges::count(keys, key.id(), [](const CookieKey& other) { return other.id(); }) > 1;
    });
}

} // namespace

KeyRing KeyRing::of(std::vector<CookieKey> keys, std::size_t current, CookieLayout layout)
{
    KeyRing ring;
    ring.layout_ = layout;
    ring.keys_ = std::move(keys);
    ring.current_ = current;
    return ring;
}

KeyRing::Parsed KeyRing::parse_own(std::string_view text)
{
    KeyRing ring;
    if (take_line(text) != kOwnTitle) {
        return fault(1, "not an ntpgate NTS key file (expected \"" + std::string{kOwnTitle} + "\")");
    }
    const auto dated = words_of(take_line(text));
    const auto since = dated.size() == 2 && dated[0] == "rotated" ? number_of<std::int64_t>(dated[1]) : std::nullopt;
    if (!since || *since < 0) {
        return fault(2, "expected \"rotated SECONDS\"");
    }
    ring.stamp_ = std::chrono::seconds{*since};
    // As written: the next key first, then the current one, then ever older ones.
    for (std::size_t line = 3; !text.empty(); ++line) {
        const auto words = words_of(take_line(text));
        const auto place = ring.keys_.size();
        const std::string_view word = place == 0 ? "next" : place == 1 ? "current" : "former";
        if (words.size() != 4 || words[0] != word) {
            return fault(line, "expected \"" + std::string{word} + " ID AEAD KEY\"");
        }
        auto key = read_key({.id = words[1], .aead = words[2], .key = words[3]});
        if (const auto* what = std::get_if<std::string_view>(&key)) {
            return fault(line, *what);
        }
        ring.keys_.push_back(std::move(std::get<CookieKey>(key)));
        if (ring.keys_.size() > kMaxKeys) {
            return fault(line, "too many keys");
        }
    }
    if (ring.keys_.size() < 2) {
        return std::string{"it ends before its current key"};
    }
    if (has_repetition(ring.keys_)) {
        return std::string{"two keys have one identifier"};
    }
    std::ranges::reverse(ring.keys_);
    ring.current_ = ring.keys_.size() - 2;
    return ring;
}

KeyRing::Parsed KeyRing::parse_chrony(std::string_view text)
{
    KeyRing ring;
    ring.layout_ = CookieLayout::chrony;
    const auto title = take_line(text);
    const bool old = title == "NKS0";
    if (!old && title != "NKS1") {
        return fault(1, "not chrony's ntskeys (expected NKS0 or NKS1)");
    }
    const auto dated = words_of(take_line(text));
    const auto age = dated.size() == (old ? 2U : 1U) ? whole_seconds(dated.back()) : std::nullopt;
    if (!age) {
        return fault(2, "expected the newest key's age");
    }
    ring.stamp_ = std::max(*age, std::chrono::seconds{0});
    for (std::size_t at = 0; at < kChronyKeys; ++at) {
        const auto line = at + 3;
        const auto words = words_of(take_line(text));
        if (words.size() != (old ? 2U : 3U)) {
            return fault(line, old ? "expected \"ID KEY\"" : "expected \"ID KEY AEAD\"");
        }
        auto key = read_key({.id = words[0], .aead = old ? dated[0] : words[2], .key = words[1]});
        if (const auto* what = std::get_if<std::string_view>(&key)) {
            return fault(line, *what);
        }
        ring.keys_.push_back(std::move(std::get<CookieKey>(key)));
        // chrony finds a key by the last two bits of its identifier.
        if (at > 0 && ((ring.keys_[at].id() - ring.keys_[at - 1].id()) & kChronyIndex) != 1) {
            return fault(line, "identifiers do not follow each other in their last two bits");
        }
    }
    ring.current_ = kChronyKeys - 2;
    return ring;
}

KeyRing KeyRing::create(CookieLayout layout, const std::vector<FreshKey>& keys)
{
    KeyRing ring;
    ring.layout_ = layout;
    for (const auto& fresh : keys) {
        ring.rotate(fresh);
    }
    ring.current_ = ring.keys_.size() - 2;
    return ring;
}

void KeyRing::rotate(const FreshKey& fresh)
{
    auto id = fresh.id;
    if (layout_ == CookieLayout::chrony) {
        const auto index = keys_.empty() ? 0 : keys_.back().id() + 1;
        id = (id & ~kChronyIndex) | (index & kChronyIndex);
    }
    while (std::ranges::any_of(keys_, [&](const CookieKey& key) { return key.id() == id; })) {
        id += kChronyIndex + 1;
    }
    if (auto key = CookieKey::make(id, AeadId::siv_cmac_256, fresh.key.view())) {
        keys_.push_back(std::move(*key));
    }
    const auto most = layout_ == CookieLayout::chrony ? kChronyKeys : kFormer + 2;
    if (keys_.size() > most) {
        keys_.erase(keys_.begin());
    }
    current_ = keys_.size() < 2 ? 0 : keys_.size() - 2;
}

std::string KeyRing::write_own(std::chrono::seconds rotated) const
{
    std::string text{kOwnTitle};
    text += "\nrotated " + std::to_string(rotated.count()) + "\n";
    for (auto at = keys_.size(); at > 0; --at) {
        const auto& key = keys_[at - 1];
        text += at == current_ + 2 ? "next " : at == current_ + 1 ? "current " : "former ";
        text += id_text(key.id()) + " " + std::to_string(static_cast<unsigned>(key.aead())) + " " +
                hex_text(key.key()) + "\n";
    }
    return text;
}

std::string KeyRing::write_chrony(std::chrono::seconds age) const
{
    // The older form where it can say everything, since chrony before 4.6 reads no other.
    const bool old =
        std::ranges::all_of(keys_, [](const CookieKey& key) { return key.aead() == AeadId::siv_cmac_256; });
    std::string text = old ? "NKS0\n15 " : "NKS1\n";
    text += std::to_string(age.count()) + ".0\n";
    for (const auto& key : keys_) {
        text += id_text(key.id()) + " " + hex_text(key.key());
        text += old ? "\n" : " " + std::to_string(static_cast<unsigned>(key.aead())) + "\n";
    }
    return text;
}

std::vector<std::byte> KeyRing::seal_cookie(const SessionKeys& keys, Bytes nonce) const
{
    return current().seal(keys, layout_, nonce);
}

std::optional<SessionKeys> KeyRing::open_cookie(Bytes cookie) const
{
    const auto id = key_id_of(cookie);
    for (const auto& key : keys_) {
        if (id && key.id() == *id) {
            return key.open(cookie, layout_);
        }
    }
    return std::nullopt;
}

} // namespace ntp_shim
