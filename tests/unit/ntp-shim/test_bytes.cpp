#include "ntp-shim/bytes.hpp"

#include <array>

#include "tests/unit/ntp-shim/packets.hpp"

using ntp_shim::ByteReader;
using ntp_shim::ByteWriter;

TEST_SUITE_BEGIN("bytes");

TEST_CASE("integers are read big-endian, in order")
{
    const auto octets =
        std::to_array<std::byte>({std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}, std::byte{6},
                                  std::byte{7}, std::byte{8}, std::byte{9}, std::byte{10}, std::byte{11}, std::byte{12},
                                  std::byte{13}, std::byte{14}, std::byte{15}, std::byte{16}});
    ByteReader reader(octets);
    CHECK(reader.u8() == 0x01);
    CHECK(reader.u16() == 0x0203);
    CHECK(reader.u32() == 0x04050607);
    CHECK(reader.u64() == 0x08090a0b0c0d0e0f);
    CHECK(reader.rest().size() == 1);
    CHECK(reader.rest().front() == std::byte{16});
    CHECK(reader.ok());
}

TEST_CASE("the last octet can be read and the one after it cannot")
{
    const std::array<std::byte, 4> octets{std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff}};
    ByteReader exact(octets);
    CHECK(exact.u32() == 0xffffffff);
    CHECK(exact.ok());
    CHECK(exact.rest().empty());
    ByteReader beyond(octets);
    CHECK(beyond.u64() == 0);
    CHECK_FALSE(beyond.ok());
}

TEST_CASE("a failed read stays failed, though octets are left")
{
    const std::array<std::byte, 4> octets{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    ByteReader reader(octets);
    CHECK(reader.take(5).empty());
    CHECK(reader.u8() == 0);
    CHECK(reader.rest().empty());
    CHECK_FALSE(reader.ok());
}

TEST_CASE("what is written is read back")
{
    std::array<std::byte, 17> buffer{};
    ByteWriter writer(buffer);
    writer.u8(0xfe);
    writer.u16(0xfedc);
    writer.u32(0xfedcba98);
    writer.u64(0xfedcba9876543210);
    writer.put(packets::noise(2));
    REQUIRE(writer.ok());
    REQUIRE(writer.written().size() == buffer.size());
    ByteReader reader(writer.written());
    CHECK(reader.u8() == 0xfe);
    CHECK(reader.u16() == 0xfedc);
    CHECK(reader.u32() == 0xfedcba98);
    CHECK(reader.u64() == 0xfedcba9876543210);
    CHECK(std::ranges::equal(reader.rest(), packets::noise(2)));
}

TEST_CASE("a write that does not fit writes nothing and spoils the whole")
{
    std::array<std::byte, 3> buffer{};
    ByteWriter integers(buffer);
    integers.u16(0xffff);
    integers.u16(0xffff);
    CHECK_FALSE(integers.ok());
    CHECK(integers.written().empty());
    CHECK(buffer[2] == std::byte{0});
    ByteWriter octets(buffer);
    octets.put(packets::noise(4));
    CHECK_FALSE(octets.ok());
    octets.u8(1);
    CHECK(octets.written().empty());
    CHECK(buffer[0] == std::byte{0xff});
}

TEST_SUITE_END();
