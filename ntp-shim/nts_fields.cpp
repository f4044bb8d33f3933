#include "ntp-shim/nts_fields.hpp"

#include <algorithm>

#include "ntp-shim/packet.hpp"

namespace ntp_shim {

std::optional<Field> FieldReader::next() noexcept
{
    const auto rest = octets_.subspan(std::min(at_, octets_.size()));
    if (!ok_ || rest.empty()) {
        return std::nullopt;
    }
    ByteReader reader(rest);
    const auto type = reader.u16();
    const std::size_t size = reader.u16();
    const std::size_t least = place_ == Place::encrypted ? kFieldHeader
                              : size == rest.size()      ? kMinLastField
                                                         : kMinField;
    if (!reader.ok() || size < least || size % 4 != 0 || size > rest.size()) {
        ok_ = false;
        return std::nullopt;
    }
    const Field field{.type = type, .body = reader.take(size - kFieldHeader), .begin = at_};
    at_ += size;
    return field;
}

std::optional<Authenticator> Authenticator::parse(Bytes body) noexcept
{
    ByteReader reader(body);
    const std::size_t nonce_size = reader.u16();
    const std::size_t ciphertext_size = reader.u16();
    Authenticator parts;
    parts.nonce = reader.take(padded(nonce_size)).first(reader.ok() ? nonce_size : 0);
    parts.ciphertext = reader.take(padded(ciphertext_size)).first(reader.ok() ? ciphertext_size : 0);
    if (!reader.ok() || ciphertext_size < kAeadTag) {
        return std::nullopt;
    }
    parts.nonce_room = padded(nonce_size) + reader.rest().size();
    return parts;
}

namespace {

/// Takes one field into `fields`; a fault when it may not be there.
std::optional<FieldFault> take(NtsFields& fields, const Field& field, Bytes packet) noexcept
{
    if (field.is(FieldType::unique_id)) {
        if (fields.unique_id) {
            return FieldFault::repeated;
        }
        fields.unique_id = field.body;
        return field.body.size() < kMinUniqueId ? std::optional{FieldFault::short_unique_id} : std::nullopt;
    }
    if (field.is(FieldType::cookie)) {
        if (fields.cookie) {
            return FieldFault::repeated;
        }
        fields.cookie = field.body;
        return std::nullopt;
    }
    if (field.is(FieldType::placeholder)) {
        if (fields.placeholders++ == 0) {
            fields.placeholder_size = field.body.size();
        }
        return field.body.size() != fields.placeholder_size ? std::optional{FieldFault::uneven} : std::nullopt;
    }
    if (field.is(FieldType::authenticator)) {
        fields.authenticator = Authenticator::parse(field.body);
        fields.associated = packet.first(field.begin);
        return fields.authenticator ? std::nullopt : std::optional{FieldFault::malformed};
    }
    return std::nullopt;
}

} // namespace

std::variant<NtsFields, FieldFault> read_fields(Bytes packet) noexcept
{
    NtsFields fields;
    FieldReader reader(packet, kHeaderSize, FieldReader::Place::packet);
    while (const auto field = reader.next()) {
        if (fields.authenticator) {
            if (field->is(FieldType::authenticator)) {
                return FieldFault::repeated;
            }
            continue;
        }
        if (const auto fault = take(fields, *field, packet)) {
            return *fault;
        }
    }
    if (!reader.ok()) {
        return FieldFault::malformed;
    }
    return fields;
}

std::span<std::byte> FieldWriter::begin_field(FieldType type, std::size_t body) noexcept
{
    const auto total = kFieldHeader + body;
    if (!ok_ || total > 0xffff || total > buffer_.size() - size_) {
        ok_ = false;
        return {};
    }
    ByteWriter writer(buffer_.subspan(size_, kFieldHeader));
    writer.u16(static_cast<std::uint16_t>(type));
    writer.u16(static_cast<std::uint16_t>(total));
    const auto place = buffer_.subspan(size_ + kFieldHeader, body);
    std::ranges::fill(place, std::byte{0});
    size_ += total;
    return place;
}

void FieldWriter::add(FieldType type, Bytes body) noexcept
{
    const auto place = begin_field(type, padded(body.size()));
    if (ok_) {
        std::ranges::copy(body, place.begin());
    }
}

void FieldWriter::add_zeros(FieldType type, std::size_t size) noexcept
{
    (void)begin_field(type, padded(size));
}

void FieldWriter::seal(const Protection& protection) noexcept
{
    const auto before = size_;
    const auto sealed_size = protection.plain.size() + kAeadTag;
    const auto nonce_room = std::max(padded(protection.nonce.size()), padded(protection.least_room));
    auto body = kFieldHeader + nonce_room + padded(sealed_size);
    body = std::max(body, kMinLastField - kFieldHeader);
    if (protection.least_total > before + kFieldHeader) {
        body = std::max(body, padded(protection.least_total - before - kFieldHeader));
    }
    const auto place = begin_field(FieldType::authenticator, body);
    if (!ok_) {
        return;
    }
    ByteWriter writer(place);
    writer.u16(static_cast<std::uint16_t>(protection.nonce.size()));
    writer.u16(static_cast<std::uint16_t>(sealed_size));
    writer.put(protection.nonce);
    const auto ciphertext = place.subspan(kFieldHeader + padded(protection.nonce.size()), sealed_size);
    const Aead::Inputs inputs{.nonce = protection.nonce, .associated = Bytes{buffer_}.first(before)};
    ok_ = writer.ok() && protection.aead.seal(inputs, protection.plain, ciphertext);
}

} // namespace ntp_shim
