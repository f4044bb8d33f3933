#include "ntp-shim/keyed_digest.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using ntp_shim::KeyedDigest;
using ntp_shim::Secret;

TEST_SUITE_BEGIN("keyed_digest");

namespace {

std::string digest(DigestKind kind, const Octets& key, const Octets& message)
{
    const auto keyed = KeyedDigest::create(kind, Secret{ntp_shim::Bytes{key}});
    REQUIRE(keyed != nullptr);
    KeyedDigest::Digest out{};
    REQUIRE(keyed->compute(message, out));
    REQUIRE(keyed->compute(message, out)); // a second packet under the same key
    return hex(ntp_shim::Bytes{out}.first(ntp_shim::digest_size(kind)));
}

const Octets kMessage64 = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                              "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");

Octets first(std::size_t count)
{
    return {kMessage64.begin(), kMessage64.begin() + static_cast<std::ptrdiff_t>(count)};
}

} // namespace

TEST_CASE("AES-128-CMAC is RFC 4493's, to which RFC 8573 refers for its vectors")
{
    const auto key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    CHECK(digest(DigestKind::aes128, key, {}) == "bb1d6929e95937287fa37d129b756746");
    CHECK(digest(DigestKind::aes128, key, first(16)) == "070a16b46b4d4144f79bdd9dd04a287c");
    CHECK(digest(DigestKind::aes128, key, first(40)) == "dfa66747de9ae63030ca32611497c827");
    CHECK(digest(DigestKind::aes128, key, first(64)) == "51f0bebf7e3b9d92fc49741779363cfe");
}

TEST_CASE("AES-256-CMAC is NIST SP 800-38B's")
{
    const auto key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    CHECK(digest(DigestKind::aes256, key, {}) == "028962f61b7bf89efc6b551f4667d983");
    CHECK(digest(DigestKind::aes256, key, first(16)) == "28a7023f452e8f82bd4bf28d8c37c35c");
    CHECK(digest(DigestKind::aes256, key, first(40)) == "aaf3d8f1de5640c232f5b169b9c911e6");
    CHECK(digest(DigestKind::aes256, key, first(64)) == "e1992190549f6ed5696a2c056c315410");
}

TEST_CASE("a hash is of the key and then the message, as FIPS 180 and RFC 1321 have it for the two together")
{
    const auto key = text("a");
    const auto rest = text("bc");
    CHECK(digest(DigestKind::md5, key, rest) == "900150983cd24fb0d6963f7d28e17f72");
    CHECK(digest(DigestKind::sha1, key, rest) == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(digest(DigestKind::sha256, key, rest) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest(DigestKind::sha384, key, rest) == "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
                                                   "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    CHECK(digest(DigestKind::sha512, key, rest) == "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                                                   "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    const auto two_blocks = text("bcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
    CHECK(digest(DigestKind::sha1, key, two_blocks) == "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    CHECK(digest(DigestKind::sha256, key, two_blocks) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("a CMAC key has one length")
{
    for (const std::size_t size : {0U, 15U, 17U, 24U, 32U}) {
        CHECK(KeyedDigest::create(DigestKind::aes128, Secret{size}) == nullptr);
    }
    CHECK(KeyedDigest::create(DigestKind::aes128, Secret{16}) != nullptr);
    CHECK(KeyedDigest::create(DigestKind::aes256, Secret{16}) == nullptr);
    CHECK(KeyedDigest::create(DigestKind::aes256, Secret{32}) != nullptr);
}

TEST_CASE("a digest is found by the name it prints as")
{
    for (const auto kind : kEveryDigest) {
        CHECK(ntp_shim::digest_named(name(kind)) == kind);
    }
    CHECK_FALSE(ntp_shim::digest_named("sha1").has_value());
    CHECK_FALSE(ntp_shim::digest_named("").has_value());
}

TEST_CASE("a secret that moves leaves nothing behind")
{
    auto octets = hex("00112233445566778899");
    Secret from{ntp_shim::Bytes{octets}};
    const Secret to{std::move(from)};
    CHECK(hex(to.octets()) == "00112233445566778899");
    CHECK(from.size() == 0); // NOLINT: what is left of it is the question
    CHECK(ntp_shim::equal_in_constant_time(octets, to.octets()));
    octets.back() ^= std::byte{1};
    CHECK_FALSE(ntp_shim::equal_in_constant_time(octets, to.octets()));
    CHECK_FALSE(ntp_shim::equal_in_constant_time(ntp_shim::Bytes{octets}.first(9), to.octets()));
    ntp_shim::wipe(octets);
    CHECK(octets == packets::zeros(10));
}

TEST_SUITE_END();
