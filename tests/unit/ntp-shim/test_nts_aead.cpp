#include "ntp-shim/nts_aead.hpp"
#include "ntp-shim/nts_known_answer.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::Aead;
using ntp_shim::AeadId;
using namespace nts;

namespace {

struct Vector {
    AeadId aead;
    std::size_t nonce;
    std::size_t associated;
    std::size_t plain;
    std::string_view first; // 16 octets of the result
    std::string_view last;
};

// By an implementation of RFC 5297 on AES-CMAC and AES-CTR alone, which reproduces the RFC's vector A.1.
const std::array kVectors = {
    Vector{AeadId::siv_cmac_256, 16, 0, 0, "ed5fb07286b98d5fd8847eb4b827b426", "ed5fb07286b98d5fd8847eb4b827b426"},
    Vector{AeadId::siv_cmac_256, 16, 188, 0, "edfafe4687ee3eea8f3a230dd8e83112", "edfafe4687ee3eea8f3a230dd8e83112"},
    Vector{AeadId::siv_cmac_256, 16, 48, 104, "4363b78b87224409e82977c75d8f317f", "ad590f88a381ed9629124a3488d1de77"},
    Vector{AeadId::siv_cmac_256, 12, 17, 15, "1a2da429835f9fd4b2398f6b79d15b91", "9172d8a55c515dbac58f0886cdbb5b9d"},
    Vector{AeadId::siv_cmac_256, 16, 0, 16, "71dc821805c25451a6f152690459b6c7", "8512a0ca3838fe6b7e9e69a006ba0a87"},
    Vector{AeadId::siv_cmac_256, 1, 33, 31, "60336d50699f2c1cb1e83c2dccd4838b", "14c25c458dfa8d68616f6282198bbdbc"},
    Vector{AeadId::siv_cmac_256, 32, 188, 833, "059ea9e2427e89d2b246ed15eb96060c", "15868590bd89e3db518a74ff1c9e263e"},
    Vector{AeadId::siv_cmac_512, 16, 0, 0, "17f7bebad875a22bd98a79885990a797", "17f7bebad875a22bd98a79885990a797"},
    Vector{AeadId::siv_cmac_512, 16, 188, 0, "03c3111c8eec6e68bd36c9eed500205c", "03c3111c8eec6e68bd36c9eed500205c"},
    Vector{AeadId::siv_cmac_512, 16, 48, 104, "b6c9e4abd7fb8afd12922e9d1c6d894e", "e9f06689bc46f4e9edba6ef6b9701302"},
    Vector{AeadId::siv_cmac_512, 12, 17, 15, "0d5e39f14f7e10c4a255d2f3a5362791", "91e9c97f9007faf273358e161887b9e0"},
    Vector{AeadId::siv_cmac_512, 16, 0, 16, "b1f5d6c81beb2ebe0fb42aab358b9dfd", "0c5a962ad68e546d1bce2c84bc89787e"},
    Vector{AeadId::siv_cmac_512, 1, 33, 31, "bbc8726a9db7ecef59632ba23e864f22", "b55b8219ca9414c4963ebf05f50597ea"},
    Vector{AeadId::siv_cmac_512, 32, 188, 833, "aa4f1ce576a52fdca6dafbe9999e246d", "c9ee0b9398ed3224bb5787c79e060df1"},
};

Aead ready(AeadId id)
{
    auto aead = Aead::make(id, mixed(key_size(id), 1));
    REQUIRE(aead.has_value());
    return std::move(*aead);
}

Octets sealed_of(const Vector& vector)
{
    Octets out(vector.plain + ntp_shim::kAeadTag);
    REQUIRE(ready(vector.aead)
                .seal({.nonce = mixed(vector.nonce, 2), .associated = mixed(vector.associated, 3)},
                      mixed(vector.plain, 4), out));
    return out;
}

} // namespace

TEST_SUITE_BEGIN("nts_aead");

TEST_CASE("RFC 5297: sealing gives what another implementation gives, empty and unaligned inputs included")
{
    for (const auto& vector : kVectors) {
        CAPTURE(vector.plain);
        CAPTURE(vector.associated);
        const auto out = sealed_of(vector);
        CHECK(Octets(out.begin(), out.begin() + 16) == from_hex(vector.first));
        CHECK(Octets(out.end() - 16, out.end()) == from_hex(vector.last));
    }
}

TEST_CASE("what was sealed opens, and with any single bit changed it does not")
{
    for (const auto& vector : kVectors) {
        const auto aead = ready(vector.aead);
        const auto nonce = mixed(vector.nonce, 2);
        const auto associated = mixed(vector.associated, 3);
        auto octets = sealed_of(vector);
        Octets plain(vector.plain);
        CHECK(aead.open({.nonce = nonce, .associated = associated}, octets, plain));
        CHECK(plain == mixed(vector.plain, 4));
        for (std::size_t at = 0; at < octets.size(); at += 1 + octets.size() / 40) {
            octets[at] ^= std::byte{0x10};
            CHECK_FALSE(aead.open({.nonce = nonce, .associated = associated}, octets, plain));
            CHECK(plain == Octets(vector.plain));
            octets[at] ^= std::byte{0x10};
        }
        CHECK_FALSE(aead.open({.nonce = mixed(vector.nonce, 5), .associated = associated}, octets, plain));
        CHECK_FALSE(aead.open({.nonce = nonce, .associated = mixed(vector.associated + 1, 3)}, octets, plain));
    }
}

TEST_CASE("a key of another size, a nonce of none and a buffer that does not fit are refused")
{
    CHECK_FALSE(Aead::make(AeadId::siv_cmac_256, mixed(31, 1)).has_value());
    CHECK_FALSE(Aead::make(AeadId::siv_cmac_256, mixed(64, 1)).has_value());
    CHECK_FALSE(Aead::make(AeadId::siv_cmac_512, mixed(32, 1)).has_value());
    const auto aead = ready(AeadId::siv_cmac_256);
    Octets out(16);
    CHECK_FALSE(aead.seal({.nonce = {}, .associated = {}}, {}, out));
    CHECK_FALSE(aead.seal({.nonce = mixed(16, 2), .associated = {}}, mixed(1, 3), out));
    CHECK_FALSE(aead.open({.nonce = mixed(16, 2), .associated = {}}, mixed(15, 3), out));
}

TEST_CASE("RFC 8915 section 5.1: the mandatory algorithm is there, and identifiers that are not are not found")
{
    CHECK(ntp_shim::find_aead(15) == AeadId::siv_cmac_256);
    CHECK(ntp_shim::find_aead(17) == AeadId::siv_cmac_512);
    for (const auto absent : std::to_array<std::uint16_t>({0, 1, 14, 16, 18, 31, 65535})) {
        CHECK_FALSE(ntp_shim::find_aead(absent).has_value());
    }
    CHECK(ntp_shim::key_size(AeadId::siv_cmac_256) == 32);
    CHECK(ntp_shim::key_size(AeadId::siv_cmac_512) == 64);
    CHECK(ntp_shim::required_nonce_room(AeadId::siv_cmac_256) == 16);
    CHECK(ntp_shim::required_nonce_room(AeadId::gcm_siv_128) == 12);
}

TEST_CASE("every algorithm of this build gives the known answer that is asked for at start")
{
    for (const auto id : ntp_shim::built_in_aeads()) {
        CAPTURE(name(id));
        CHECK(ntp_shim::gives_known_answer(id));
    }
}

TEST_SUITE_END();
