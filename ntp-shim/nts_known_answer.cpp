#include "ntp-shim/nts_known_answer.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "ntp-shim/nts_text.hpp"

namespace ntp_shim {

namespace {

struct Known {
    std::string_view key;
    std::string_view nonce;
    std::string_view associated;
    std::string_view plain;
    std::string_view sealed;
};

constexpr std::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                                  "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
constexpr std::string_view kNonce = "202122232425262728292a2b2c2d2e2f";
constexpr std::string_view kAssociated = "6173736f636961746564";                // "associated"
constexpr std::string_view kPlain = "6e747067617465206b6e6f776e20616e73776572"; // "ntpgate known answer"

Known known_of(AeadId id)
{
    switch (id) {
    case AeadId::siv_cmac_256: // this and the next by OpenSSL, whose code is another
        return {kKey.substr(0, 64), kNonce, kAssociated, kPlain,
                "57c910c9d05f97c7f5c8f0fba3f5a19a1772a8ab19fa452884134f294d687a023563a180"};
    case AeadId::siv_cmac_512:
        return {kKey, kNonce, kAssociated, kPlain,
                "483d7dcefd53a9763964b8e63bea419e8de7b9b828c741d5bdf6bfc7c11893cbb504a3ab"};
    case AeadId::gcm_siv_128: // RFC 8452 appendix C.1
        return {"01000000000000000000000000000000", "030000000000000000000000", "", "0100000000000000",
                "b5d839330ac7b786578782fff6013b815b287c22493a364c"};
    }
    return {};
}

} // namespace

bool gives_known_answer(AeadId id)
{
    const Known known = known_of(id);
    const auto key = octets_of(known.key).value_or(std::vector<std::byte>{});
    const auto nonce = octets_of(known.nonce).value_or(std::vector<std::byte>{});
    const auto associated = octets_of(known.associated).value_or(std::vector<std::byte>{});
    const auto plain = octets_of(known.plain).value_or(std::vector<std::byte>{});
    const auto expected = octets_of(known.sealed).value_or(std::vector<std::byte>{});
    const auto aead = Aead::make(id, key);
    if (!aead || expected.size() != plain.size() + kAeadTag) {
        return false;
    }
    const Aead::Inputs inputs{nonce, associated};
    std::vector<std::byte> sealed(expected.size());
    std::vector<std::byte> opened(plain.size());
    if (!aead->seal(inputs, plain, sealed) || sealed != expected || !aead->open(inputs, sealed, opened) ||
        opened != plain) {
        return false;
    }
    sealed.back() ^= std::byte{1};
    return !aead->open(inputs, sealed, opened);
}

} // namespace ntp_shim
