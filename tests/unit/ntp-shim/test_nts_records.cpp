#include "ntp-shim/nts_records.hpp"

#include "tests/unit/ntp-shim/nts_bits.hpp"

using ntp_shim::MessageBuilder;
using ntp_shim::MessageScan;
using ntp_shim::MessageState;
using ntp_shim::parse_message;
using ntp_shim::RecordType;
using namespace nts;

namespace {

const Octets kMessage = from_hex("80010002000080040004000F00110005000401020304"
                                 "80000000");

MessageState state_of(const Octets& octets)
{
    return MessageScan{}.follow(octets);
}

} // namespace

TEST_SUITE_BEGIN("nts_records");

TEST_CASE("RFC 8915 section 4: a record is a critical bit, a type, the length of the body alone and the body")
{
    const auto records = parse_message(kMessage);
    REQUIRE(records.has_value());
    REQUIRE(records->size() == 3);
    CHECK((*records)[0].critical);
    CHECK((*records)[0].is(RecordType::next_protocol));
    CHECK((*records)[0].body.size() == 2);
    CHECK((*records)[1].body.size() == 4);
    CHECK_FALSE((*records)[2].critical);
    CHECK((*records)[2].is(RecordType::new_cookie));
    CHECK(Octets((*records)[2].body.begin(), (*records)[2].body.end()) == from_hex("01020304"));
}

TEST_CASE("what the builder makes is what the parser reads")
{
    MessageBuilder builder;
    builder.add_u16(true, RecordType::next_protocol, 0);
    builder.add_list(true, RecordType::aead, {15, 17});
    builder.add(false, RecordType::new_cookie, from_hex("01020304"));
    CHECK(builder.finish() == kMessage);
    MessageBuilder large;
    large.add(false, RecordType::new_cookie, Octets(65535));
    CHECK(large.ok());
    large.add(false, RecordType::new_cookie, Octets(65536));
    CHECK_FALSE(large.ok());
}

TEST_CASE("section 4: every prefix of a message is partial, in whatever pieces it comes")
{
    MessageScan scan;
    for (std::size_t size = 0; size < kMessage.size(); ++size) {
        CAPTURE(size);
        CHECK(scan.follow(Bytes{kMessage}.first(size)) == MessageState::partial);
        CHECK(state_of({kMessage.begin(), kMessage.begin() + static_cast<std::ptrdiff_t>(size)}) ==
              MessageState::partial);
    }
    CHECK(scan.follow(kMessage) == MessageState::complete);
    CHECK(state_of(kMessage) == MessageState::complete);
}

TEST_CASE("section 4.1.1: End of Message is empty, critical and last")
{
    CHECK(state_of(from_hex("80000000")) == MessageState::complete);
    CHECK(state_of(from_hex("00000000")) == MessageState::broken);
    CHECK(state_of(from_hex("80000001")) == MessageState::broken);
    CHECK(state_of(from_hex("8000000100")) == MessageState::broken);
    CHECK(state_of(from_hex("8000000080")) == MessageState::broken);
    CHECK(state_of(from_hex("8000000080000000")) == MessageState::broken);
    CHECK_FALSE(parse_message(kMessage + from_hex("00")).has_value());
}

TEST_CASE("a length off by one makes another message, or none")
{
    for (const int off : {-1, 1}) {
        for (const std::size_t at : {3U, 9U, 17U}) {
            auto changed = kMessage;
            changed[at] = static_cast<std::byte>(std::to_integer<int>(changed[at]) + off);
            CHECK(state_of(changed) != MessageState::complete);
        }
    }
}

TEST_CASE("a body of numbers has an even length")
{
    CHECK(ntp_shim::numbers_of(from_hex("000F0011")) == std::vector<std::uint16_t>{15, 17});
    CHECK(ntp_shim::numbers_of({})->empty());
    CHECK_FALSE(ntp_shim::numbers_of(from_hex("000F00")).has_value());
}

TEST_SUITE_END();
