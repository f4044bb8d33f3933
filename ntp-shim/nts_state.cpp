#include "ntp-shim/nts_state.hpp"

#include <utility>

#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_text.hpp"

namespace ntp_shim {

namespace {

constexpr std::string_view kTitle = "ntpgate-nts-state 2";
constexpr std::string_view kFormerTitle = "ntpgate-nts-state 1";
constexpr std::int64_t kLastSecond = // of what nanoseconds since 1970 can say
    std::chrono::duration_cast<std::chrono::seconds>(std::chrono::nanoseconds::max()).count();
constexpr std::size_t kDigest = 32; // octets

class StateReader {
public:
    explicit StateReader(std::string_view text) : text_(text) {}

    std::variant<NtsClientState, std::string> read()
    {
        read_head();
        if (fault_.empty() && !text_.empty() && !former_) {
            read_session();
        }
        if (!fault_.empty()) {
            return std::move(fault_);
        }
        return std::move(state_);
    }

private:
    void fail(std::string_view expected)
    {
        if (fault_.empty()) {
            fault_ = "line " + std::to_string(line_) + ": expected " + std::string{expected};
        }
    }

    /// The words behind `word` on the next line, of which there must be `count`; otherwise so many empty ones.
    std::vector<std::string_view> take(std::string_view word, std::size_t count)
    {
        ++line_;
        auto words = words_of(take_line(text_));
        if (words.size() != count + 1 || words[0] != word) {
            fail("\"" + std::string{word} + "\" and its values");
            return std::vector<std::string_view>(count);
        }
        words.erase(words.begin());
        return words;
    }

    template <class Number>
    Number number(std::string_view text)
    {
        const auto value = number_of<Number>(text);
        if (!value) {
            fail("a number");
        }
        return value.value_or(Number{});
    }

    void read_head()
    {
        ++line_;
        const auto title = take_line(text_);
        former_ = title == kFormerTitle;
        if (!former_ && title != kTitle) {
            fail("\"" + std::string{kTitle} + "\"");
            return;
        }
        state_.target = take("target", 1)[0];
        const auto attempts = take("attempts", 2);
        state_.attempts = number<std::uint32_t>(attempts[0]);
        state_.not_before = std::chrono::seconds{number<std::uint32_t>(attempts[1])};
    }

    void read_session()
    {
        const auto server = take("server", 3);
        state_.address = server[0];
        state_.port = number<std::uint16_t>(server[1]);
        state_.ke_address = server[2];
        state_.established = std::chrono::seconds{number<std::uint32_t>(take("established", 1)[0])};
        state_.valid_until = std::chrono::seconds{number<std::int64_t>(take("valid-until", 1)[0])};
        if (state_.valid_until.count() < 0 || state_.valid_until.count() > kLastSecond) {
            fail("a time that can be told");
        }
        state_.trust = take("trust", 1)[0];
        if (const auto digest = octets_of(state_.trust); !digest || digest->size() != kDigest) {
            fail("a digest");
        }
        const auto aead = find_aead(number<std::uint16_t>(take("aead", 1)[0]));
        if (!aead) {
            fail("an AEAD that this build has");
            return;
        }
        NtsSession session{.keys = {.aead = *aead,
                                    .client_to_server = read_key("c2s", *aead),
                                    .server_to_client = read_key("s2c", *aead)},
                           .cookies = {}};
        while (fault_.empty() && !text_.empty()) {
            auto cookie = octets_of(take("cookie", 1)[0]);
            if (!cookie || cookie->size() < 12 || cookie->size() > kMaxCookie || cookie->size() % 4 != 0) {
                fail("a cookie in hex digits");
                return;
            }
            session.put(std::move(*cookie));
        }
        state_.session = std::move(session);
    }

    AeadSecret read_key(std::string_view word, AeadId aead)
    {
        const auto key = secret_of(take(word, 1)[0]);
        if (!key || key->view().size() != key_size(aead)) {
            fail("a key of the AEAD's size");
            return {};
        }
        return *key;
    }

    std::string_view text_;
    bool former_ = false; // version 1
    std::size_t line_ = 0;
    std::string fault_;
    NtsClientState state_;
};

} // namespace

std::string write_state(const NtsClientState& state)
{
    std::string text{kTitle};
    text += "\ntarget " + state.target + "\nattempts " + std::to_string(state.attempts) + " " +
            std::to_string(state.not_before.count()) + "\n";
    if (!state.session || state.session->cookies.empty()) {
        return text;
    }
    const auto& keys = state.session->keys;
    text += "server " + state.address + " " + std::to_string(state.port) + " " + state.ke_address + "\nestablished " +
            std::to_string(state.established.count()) + "\nvalid-until " + std::to_string(state.valid_until.count()) +
            "\ntrust " + state.trust + "\naead " + std::to_string(static_cast<unsigned>(keys.aead)) + "\nc2s " +
            hex_text(keys.client_to_server.view()) + "\ns2c " + hex_text(keys.server_to_client.view()) + "\n";
    for (const auto& cookie : state.session->cookies) {
        text += "cookie " + hex_text(cookie) + "\n";
    }
    return text;
}

std::variant<NtsClientState, std::string> parse_state(std::string_view text)
{
    return StateReader{text}.read();
}

} // namespace ntp_shim
