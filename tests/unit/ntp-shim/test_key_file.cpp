#include "ntp-shim/key_file.hpp"

#include "tests/unit/ntp-shim/keys.hpp"

using namespace keys;
using ntp_shim::KeyFile;
using ntp_shim::KeyFormat;
using ntp_shim::read_key_file;

TEST_SUITE_BEGIN("key_file");

namespace {

constexpr std::string_view kHex128 = "000102030405060708090a0b0c0d0e0f";
constexpr std::string_view kHex256 = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string line(std::string_view words)
{
    return std::string{words} + "\n";
}

/// The check value of the only key: which octets the text stood for.
std::string value(const std::string& text, KeyFormat format)
{
    const auto file = read_key_file(text, format);
    REQUIRE(file.problems.empty());
    REQUIRE(file.unusable.empty());
    REQUIRE(file.keys.size() == 1);
    return file.keys.front()->check_value();
}

std::string value_of(DigestKind kind, const Octets& octets)
{
    return ntp_shim::MacKey{{.id = 1, .line = 1, .peers = {}},
                            ntp_shim::KeyedDigest::create(kind, ntp_shim::Secret{ntp_shim::Bytes{octets}})}
        .check_value();
}

std::string problem(std::string_view text, KeyFormat format)
{
    const auto file = read_key_file(line(text), format);
    REQUIRE(file.problems.size() == 1);
    CHECK(file.problems.front().line == 1);
    CHECK(file.keys.empty());
    return file.problems.front().text;
}

std::string why_unusable(std::string_view text, KeyFormat format)
{
    const auto file = read_key_file(line(text), format);
    CHECK(file.problems.empty());
    REQUIRE(file.unusable.size() == 1);
    CHECK(file.keys.empty());
    return file.unusable.front().why.text;
}

bool has(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("ntpd: up to 20 characters are text, more are hexadecimal digits")
{
    CHECK(value(line("1 SHA1 12345678901234567890"), KeyFormat::ntp) ==
          value_of(DigestKind::sha1, text("12345678901234567890")));
    CHECK(value(line("1 SHA1 123456789012345678901234"), KeyFormat::ntp) ==
          value_of(DigestKind::sha1, hex("123456789012345678901234")));
    CHECK(has(problem("1 SHA1 123456789012345678901", KeyFormat::ntp), "odd number"));
    CHECK(has(problem("1 SHA1 12345678901234567890zz", KeyFormat::ntp), "no hexadecimal digit"));
    CHECK(has(problem("1 SHA1 " + std::string(66, 'a'), KeyFormat::ntp), "silently cut"));
}

TEST_CASE("chrony: text, unless HEX: says otherwise")
{
    const std::string digits{"123456789012345678901234"};
    CHECK(value(line("1 SHA1 " + digits), KeyFormat::chrony) == value_of(DigestKind::sha1, text(digits)));
    CHECK(value(line("1 SHA1 ASCII:" + digits), KeyFormat::chrony) == value_of(DigestKind::sha1, text(digits)));
    CHECK(value(line("1 SHA1 HEX:" + digits), KeyFormat::chrony) == value_of(DigestKind::sha1, hex(digits)));
    CHECK(has(problem("1 SHA1 HEX:123", KeyFormat::chrony), "odd number"));
    CHECK(has(problem("1 SHA1 HEX:", KeyFormat::chrony), "odd number"));
    CHECK(value(line("1 abcdefghijkl"), KeyFormat::chrony) == value_of(DigestKind::md5, text("abcdefghijkl")));
}

TEST_CASE("comments: a # anywhere to ntpd, one of four characters at the beginning to chrony")
{
    CHECK(value("# ids\n\n  # more\n1 SHA1 abcdefghijkl # the old one\n", KeyFormat::ntp) ==
          value_of(DigestKind::sha1, text("abcdefghijkl")));
    CHECK(value(line("1 SHA1 abcdefghijkl#mno"), KeyFormat::ntp) == value_of(DigestKind::sha1, text("abcdefghijkl")));
    CHECK(value("! a\n; b\n# c\n % d\n1 SHA1 abcdefghijkl#mno\n", KeyFormat::chrony) ==
          value_of(DigestKind::sha1, text("abcdefghijkl#mno")));
    CHECK(has(problem("1 SHA1 abcdefghijkl # old", KeyFormat::chrony), "5 words"));
}

TEST_CASE("every program's names of a digest, in any case")
{
    for (const auto* const name : {"SHA256", "sha256", "SHA-256"}) {
        CHECK(value(line(std::string{"1 "} + name + " abcdefghijkl"), KeyFormat::ntp) ==
              value_of(DigestKind::sha256, text("abcdefghijkl")));
    }
    for (const auto* const name : {"AES128CMAC", "AES-128", "aes", "AES-128-CBC", "AES128"}) {
        CHECK(value(line(std::string{"1 "} + name + " " + std::string{kHex128}), KeyFormat::ntp) ==
              value_of(DigestKind::aes128, hex(kHex128)));
    }
    CHECK(value(line("1 AES256 HEX:" + std::string{kHex256}), KeyFormat::chrony) ==
          value_of(DigestKind::aes256, hex(kHex256)));
    CHECK(value(line("1 M abcdefghijkl"), KeyFormat::ntp) == value_of(DigestKind::md5, text("abcdefghijkl")));
}

TEST_CASE("DES and what is not built are refused by name, without a word of the key")
{
    for (const auto* const type : {"S", "N", "A", "DES", "n"}) {
        const auto why = why_unusable(std::string{"1 "} + type + " d5a2b1c4d5a2b1c4", KeyFormat::ntp);
        CHECK(has(why, "DES"));
        CHECK_FALSE(has(why, "d5a2"));
    }
    CHECK(has(why_unusable("1 TIGER HEX:0011223344556677", KeyFormat::chrony), "none that is built"));
    CHECK(has(why_unusable("1 RIPEMD160 abcdefghijkl", KeyFormat::ntp), "none that is built"));
    // The words in the wrong order: what stands for the type may be the key.
    CHECK_FALSE(has(why_unusable("1 secretsecretsecret SHA1", KeyFormat::ntp), "secret"));
}

TEST_CASE("weak keys are refused with a reason")
{
    CHECK(has(why_unusable("1 SHA256 123456789", KeyFormat::ntp), "72 bits (expected at least 80)"));
    CHECK(value(line("1 SHA256 1234567890"), KeyFormat::ntp) == value_of(DigestKind::sha256, text("1234567890")));
    CHECK(has(why_unusable("1 AES128 short", KeyFormat::ntp), "exactly 128 bits, and this one has 40"));
    CHECK(has(why_unusable("1 AES256 HEX:" + std::string{kHex128}, KeyFormat::chrony), "exactly 256 bits"));
}

TEST_CASE("ids have a range, and are there once")
{
    CHECK(has(problem("0 SHA1 abcdefghijkl", KeyFormat::ntp), "1 to 65535"));
    CHECK(has(problem("65536 SHA1 abcdefghijkl", KeyFormat::ntp), "1 to 65535"));
    CHECK(has(problem("4294967296 SHA1 abcdefghijkl", KeyFormat::chrony), "1 to 4294967295"));
    CHECK(has(problem("-1 SHA1 abcdefghijkl", KeyFormat::chrony), "no key id"));
    CHECK(has(problem("1x SHA1 abcdefghijkl", KeyFormat::chrony), "no key id"));
    CHECK(read_key_file("65535 SHA1 abcdefghijkl\n", KeyFormat::ntp).keys.size() == 1);
    CHECK(read_key_file("4294967295 SHA1 abcdefghijkl\n", KeyFormat::chrony).keys.front()->id() == 4294967295);
    const auto twice = read_key_file("7 SHA1 abcdefghijkl\n\n7 SHA1 abcdefghijkm\n", KeyFormat::ntp);
    REQUIRE(twice.problems.size() == 1);
    CHECK(twice.problems.front().line == 3);
    CHECK(has(twice.problems.front().text, "line 1 already"));
}

TEST_CASE("an address list says with whom a key may be used")
{
    const auto file = read_key_file(
        "7 SHA1 abcdefghijkl 192.0.2.1,198.51.100.0/24,2001:db8::/32\n8 SHA1 abcdefghijkm\n", KeyFormat::ntp);
    REQUIRE(file.problems.empty());
    REQUIRE(file.keys.size() == 2);
    const auto& listed = *file.keys[0];
    CHECK(listed.has_peers());
    CHECK(listed.may_serve(packets::ipv4(192, 0, 2, 1)));
    CHECK_FALSE(listed.may_serve(packets::ipv4(192, 0, 2, 2)));
    CHECK(listed.may_serve(packets::ipv4(198, 51, 100, 255)));
    CHECK_FALSE(listed.may_serve(packets::ipv4(198, 51, 101, 0)));
    CHECK(listed.may_serve(packets::ipv6(0x20010db8'00000000, 1)));
    CHECK_FALSE(listed.may_serve(packets::ipv6(0x20010db9'00000000, 1)));
    CHECK_FALSE(file.keys[1]->has_peers());
    CHECK(file.keys[1]->may_serve(packets::ipv4(203, 0, 113, 9)));
    for (const auto* const bad : {"192.0.2", "192.0.2.1/33", "192.0.2.1,", "2001:db8::/129", "host", "1.2.3.4/x"}) {
        CHECK(has(problem(std::string{"7 SHA1 abcdefghijkl "} + bad, KeyFormat::ntp), "list of addresses"));
    }
    CHECK(has(problem("7 SHA1 abcdefghijkl 192.0.2.1", KeyFormat::chrony), "4 words"));
}

TEST_CASE("auto: a file that says which program's it is is read as that, from its first line on")
{
    const auto chrony =
        read_key_file("1 SHA1 abcdefghijklmnopqrstuvwxyz\n2 SHA1 HEX:0011223344556677889900\n", KeyFormat::automatic);
    CHECK(chrony.format == KeyFormat::chrony);
    CHECK(chrony.keys.size() == 2);
    const auto ntp = read_key_file("1 SHA1 0011223344556677889900aa\n2 AES-128 " + std::string{kHex128} + "\n",
                                   KeyFormat::automatic);
    CHECK(ntp.format == KeyFormat::ntp);
    REQUIRE(ntp.keys.size() == 2);
    CHECK(ntp.keys[0]->check_value() == value_of(DigestKind::sha1, hex("0011223344556677889900aa")));
}

TEST_CASE("auto: what both programs read alike needs no word; what they do not needs one")
{
    const auto alike = read_key_file("# keys\n1 SHA256 abcdefghijkl\n", KeyFormat::automatic);
    CHECK(alike.format == KeyFormat::automatic);
    CHECK(alike.keys.size() == 1);
    CHECK(has(problem("1 SHA256 001122334455667788990011", KeyFormat::automatic), "format: ntp or chrony"));
    CHECK(has(problem("1 SHA256 abcdefghijkl#mn", KeyFormat::automatic), "comment for ntpd"));
    const auto mixed =
        read_key_file("1 SHA1 HEX:00112233445566778899\n2 AES-128 abcdefghijklmnop\n", KeyFormat::automatic);
    REQUIRE_FALSE(mixed.problems.empty());
    CHECK(mixed.problems.front().line == 2);
    CHECK(has(mixed.problems.front().text, "line 1"));
}

TEST_CASE("every problem is reported, with its line")
{
    const auto file = read_key_file("x\n1 SHA1 abcdefghijkl\nzero SHA1 abcdefghijkl\n\n3 SHA1\n", KeyFormat::ntp);
    REQUIRE(file.problems.size() == 3);
    CHECK(file.problems[0].line == 1);
    CHECK(file.problems[1].line == 3);
    CHECK(file.problems[2].line == 5);
    CHECK(file.keys.size() == 1);
    CHECK(file.keys.front()->line() == 2);
}

TEST_CASE("line ends of any kind, the last one missing, and what is no text")
{
    CHECK(read_key_file("1 SHA1 abcdefghijkl\r\n2 SHA1 abcdefghijkm", KeyFormat::ntp).keys.size() == 2);
    CHECK(read_key_file("", KeyFormat::automatic).keys.empty());
    using namespace std::string_literals;
    CHECK(has(problem("1 SHA1 abc\0defghijkl"s, KeyFormat::chrony), "no line of text"));
    CHECK(has(problem("1 SHA1 " + std::string(2050, 'a'), KeyFormat::chrony), "2047"));
}

TEST_CASE("a generated line is read back as the same key by its own format, and by auto")
{
    for (const auto kind : kEveryDigest) {
        const auto required = ntp_shim::required_key_size(kind);
        const auto octets = packets::noise(required == 0 ? 32 : required);
        for (const auto format : {KeyFormat::ntp, KeyFormat::chrony}) {
            const auto written = ntp_shim::key_line(1, kind, octets, format);
            CHECK(value(written, format) == value_of(kind, octets));
        }
        CHECK(value(ntp_shim::key_line(1, kind, octets, KeyFormat::chrony), KeyFormat::automatic) ==
              value_of(kind, octets));
    }
}

TEST_SUITE_END();
