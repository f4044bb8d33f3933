#include "ntp-shim/nts_fields.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::Authenticator;
using ntp_shim::FieldFault;
using ntp_shim::FieldReader;
using ntp_shim::NtsFields;
using ntp_shim::read_fields;
using namespace nts;

namespace {

std::string fault(const Octets& fields)
{
    const auto packet = packets::request() + fields;
    const auto read = read_fields(packet);
    const auto* found = std::get_if<FieldFault>(&read);
    if (found == nullptr) {
        return "none";
    }
    switch (*found) {
    case FieldFault::malformed:
        return "malformed";
    case FieldFault::repeated:
        return "repeated";
    case FieldFault::uneven:
        return "uneven";
    case FieldFault::short_unique_id:
        return "short_unique_id";
    }
    return "?";
}

const Octets kId = field(0x0104, mixed(32, 1));
const Octets kCookie = field(0x0204, mixed(100, 2));

Octets authenticator(std::size_t nonce, std::size_t ciphertext, std::size_t body)
{
    Octets octets(body);
    ntp_shim::ByteWriter writer(octets);
    writer.u16(static_cast<std::uint16_t>(nonce));
    writer.u16(static_cast<std::uint16_t>(ciphertext));
    return octets;
}

} // namespace

TEST_SUITE_BEGIN("nts_fields");

TEST_CASE("RFC 7822: a field has 16 octets, the last 28, in multiples of four, within the packet")
{
    CHECK(fault(kId) == "none");
    CHECK(fault(field(0x4000, Octets(24))) == "none");
    CHECK(fault(field(0x4000, Octets(20))) == "malformed"); // the last, of 24 octets
    CHECK(fault(field(0x4000, Octets(12)) + kId) == "none");
    CHECK(fault(field(0x4000, Octets(8)) + kId) == "malformed");
    for (const int off : {-4, -1, 1, 2, 4}) {
        CHECK(fault(field(0x4000, mixed(32, 1), off)) == "malformed");
    }
    CHECK(fault(kId + Octets(4)) == "malformed");
    CHECK(fault(kId + Octets(3)) == "malformed");
}

TEST_CASE("RFC 8915 sections 5.3, 5.7: one identifier of at least 32 octets, one cookie")
{
    CHECK(fault(field(0x0104, mixed(28, 1))) == "short_unique_id");
    CHECK(fault(field(0x0104, mixed(64, 1))) == "none");
    CHECK(fault(kId + kId) == "repeated");
    CHECK(fault(kId + kCookie + kCookie) == "repeated");
}

TEST_CASE("section 5.5: placeholders are all of one length")
{
    CHECK(fault(kId + kCookie + field(0x0304, Octets(100)) + field(0x0304, Octets(100))) == "none");
    CHECK(fault(kId + kCookie + field(0x0304, Octets(100)) + field(0x0304, Octets(104))) == "uneven");
}

TEST_CASE("section 5.6: nonce and ciphertext fit into the authenticator, each padded to four octets")
{
    CHECK(Authenticator::parse(authenticator(16, 16, 36)).has_value());
    CHECK_FALSE(Authenticator::parse(authenticator(16, 16, 35)).has_value());
    CHECK_FALSE(Authenticator::parse(authenticator(16, 15, 36)).has_value()); // shorter than a tag
    CHECK_FALSE(Authenticator::parse(authenticator(17, 16, 36)).has_value());
    CHECK(Authenticator::parse(authenticator(13, 17, 40)).has_value());
    CHECK_FALSE(Authenticator::parse(authenticator(13, 17, 39)).has_value());
    CHECK_FALSE(Authenticator::parse(authenticator(0xffff, 16, 36)).has_value());
    CHECK_FALSE(Authenticator::parse(authenticator(16, 0xffff, 36)).has_value());
    for (std::size_t size = 0; size < 4; ++size) {
        CHECK_FALSE(Authenticator::parse(Octets(size)).has_value());
    }
    CHECK(Authenticator::parse(authenticator(12, 16, 36))->nonce_room == 16);
    CHECK(Authenticator::parse(authenticator(12, 16, 32))->nonce_room == 12);
    CHECK(Authenticator::parse(authenticator(13, 16, 44))->nonce_room == 24);
}

TEST_CASE("section 5.7: what follows the authenticator is not looked at, but there is only one of it")
{
    const auto packet = seal(packets::request() + kId + kCookie);
    const auto behind = packet + field(0x0204, mixed(100, 9)) + field(0x0104, mixed(16, 9)) + kId;
    const auto read = read_fields(behind);
    REQUIRE(std::holds_alternative<NtsFields>(read));
    const auto& fields = std::get<NtsFields>(read);
    CHECK(Octets(fields.cookie->begin(), fields.cookie->end()) == mixed(100, 2));
    CHECK(fields.associated.size() == 48 + kId.size() + kCookie.size());
    const auto twice = read_fields(seal(packet));
    REQUIRE(std::holds_alternative<FieldFault>(twice));
    CHECK(std::get<FieldFault>(twice) == FieldFault::repeated);
    const auto cut = read_fields(packet + Octets(2));
    CHECK(std::holds_alternative<FieldFault>(cut));
}

TEST_CASE("section 5.6: encrypted fields may be short, yet are multiples of four")
{
    const auto reads = [](const Octets& octets) {
        FieldReader reader(octets, 0, FieldReader::Place::encrypted);
        int count = 0;
        while (reader.next()) {
            ++count;
        }
        return reader.ok() ? count : -1;
    };
    CHECK(reads({}) == 0);
    CHECK(reads(field(0x0204, {})) == 1);
    CHECK(reads(field(0x0204, Octets(8)) + field(0x0204, Octets(4))) == 2);
    CHECK(reads(field(0x0204, Octets(6))) == -1);
    CHECK(reads(field(0x0204, Octets(8), 4)) == -1);
    CHECK(reads(field(0x0204, Octets(8), -12)) == -1);
    CHECK(reads(Octets(3)) == -1);
}

TEST_CASE("what the writer makes, the reader takes apart")
{
    std::array<std::byte, 512> buffer{};
    const auto cipher = ntp_shim::Aead::make(ntp_shim::AeadId::siv_cmac_256, mixed(32, 1));
    ntp_shim::FieldWriter writer(buffer, 48);
    writer.add(ntp_shim::FieldType::unique_id, mixed(32, 3));
    writer.add_zeros(ntp_shim::FieldType::placeholder, 100);
    writer.seal({.aead = *cipher, .nonce = mixed(12, 4), .plain = mixed(6, 5), .least_room = 16, .least_total = 300});
    REQUIRE(writer.ok());
    CHECK(writer.size() == 300);
    const auto read = read_fields(writer.written());
    REQUIRE(std::holds_alternative<NtsFields>(read));
    const auto& fields = std::get<NtsFields>(read);
    CHECK(fields.placeholders == 1);
    CHECK(fields.authenticator->nonce.size() == 12);
    CHECK(fields.authenticator->ciphertext.size() == 22);
    Octets plain(6);
    CHECK(cipher->open({.nonce = fields.authenticator->nonce, .associated = fields.associated},
                       fields.authenticator->ciphertext, plain));
    CHECK(plain == mixed(6, 5));
}

TEST_CASE("a writer whose buffer is full writes nothing more")
{
    std::array<std::byte, 100> buffer{};
    ntp_shim::FieldWriter writer(buffer, 48);
    writer.add(ntp_shim::FieldType::unique_id, mixed(48, 3));
    CHECK(writer.ok());
    CHECK(writer.size() == 100);
    writer.add_zeros(ntp_shim::FieldType::placeholder, 12);
    CHECK_FALSE(writer.ok());
    CHECK(writer.written().empty());
}

TEST_SUITE_END();
