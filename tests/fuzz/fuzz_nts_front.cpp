// The front's whole packet path: what is accepted is authentic, no answer is longer than what asked for it, and a NAK
// goes only to who sent an identifier. The input is a datagram; once as it is, and once with a genuine authenticator,
// so that what stands behind the authenticity check is reached, too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/filter.hpp"
#include "ntp-shim/nts_server_seal.hpp"
#include "tests/fuzz/nts_keys.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::DropReason;
using ntp_shim::SealBuffer;

/// Whether the request's authenticator is of these keys over what precedes it, found by a second way.
bool is_authentic(Bytes request)
{
    const auto read = ntp_shim::read_fields(request);
    const auto* fields = std::get_if<ntp_shim::NtsFields>(&read);
    if (fields == nullptr || !fields->authenticator || !fields->cookie) {
        return false;
    }
    const auto keys = fuzz::ring().open_cookie(*fields->cookie);
    if (!keys) {
        return false;
    }
    const auto cipher = ntp_shim::Aead::make(keys->aead, keys->client_to_server.view());
    std::vector<std::byte> plain(fields->authenticator->ciphertext.size() - ntp_shim::kAeadTag);
    return cipher->open({.nonce = fields->authenticator->nonce, .associated = fields->associated},
                        fields->authenticator->ciphertext, plain);
}

void check_reply(ntp_shim::NtsServerSeal& server, Bytes request, const ntp_shim::SealMemory& memory)
{
    SealBuffer packet{};
    std::ranges::copy(request.first(ntp_shim::kHeaderSize), packet.begin());
    const auto sealed = server.seal(packet, memory);
    const auto* size = std::get_if<std::size_t>(&sealed);
    if (size == nullptr) {
        require(std::get<DropReason>(sealed) == DropReason::no_cookie, "a reply fails for want of room only");
        return;
    }
    require(*size <= request.size(), "no reply is longer than its request");
    const auto read = ntp_shim::read_fields(Bytes{packet}.first(*size));
    const auto* fields = std::get_if<ntp_shim::NtsFields>(&read);
    require(fields != nullptr && fields->unique_id && fields->authenticator && !fields->cookie &&
                fields->placeholders == 0,
            "a reply has identifier and authenticator, and its cookies inside");
}

void check(ntp_shim::NtsServerSeal& server, Bytes request)
{
    if (ntp_shim::check_sealed_length(request)) {
        return;
    }
    auto opened = server.open(request, {});
    if (const auto* memory = std::get_if<ntp_shim::SealMemoryPointer>(&opened)) {
        require(*memory != nullptr, "nothing plain is served");
        require(is_authentic(request), "what is accepted is authentic");
        check_reply(server, request, **memory);
        return;
    }
    const auto why = std::get<DropReason>(opened);
    SealBuffer answer{};
    const auto size = server.refusal(request, why, answer);
    require(size == 0 || why == DropReason::bad_cookie || why == DropReason::not_authentic,
            "a NAK is for cookies that do not open and requests that are not authentic");
    require(size + (fuzz::kPlantedBug ? request.size() : 0) < request.size() || size == 0,
            "a NAK is shorter than its request");
}

/// The input as a request with our own cookie behind its header, and a genuine authenticator behind it all.
std::vector<std::byte> sealed(Bytes input)
{
    SealBuffer buffer{};
    ntp_shim::FieldWriter fields(buffer, ntp_shim::kHeaderSize);
    buffer[0] = std::byte{0x23};
    const auto cookie = fuzz::ring().seal_cookie(fuzz::keys(), fuzz::octets(16, 3));
    const auto cut = std::min<std::size_t>(input.size(), 700);
    const auto plain = input.first(cut / 2);
    if (!input.empty() && (input[0] & std::byte{1}) == std::byte{0}) {
        fields.add(ntp_shim::FieldType::unique_id, fuzz::octets(32, 4));
        fields.add(ntp_shim::FieldType::cookie, cookie);
    }
    std::vector<std::byte> packet(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(fields.size()));
    const auto before = input.subspan(cut / 2, (cut - cut / 2) / 4 * 4);
    packet.insert(packet.end(), before.begin(), before.end());
    SealBuffer whole{};
    std::ranges::copy(packet, whole.begin());
    ntp_shim::FieldWriter writer(whole, packet.size());
    const auto cipher = ntp_shim::Aead::make(fuzz::keys().aead, fuzz::keys().client_to_server.view());
    writer.seal({.aead = *cipher, .nonce = fuzz::octets(16, 5), .plain = plain, .least_room = 0, .least_total = 0});
    return {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(writer.size())};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto input = std::as_bytes(std::span{data, size});
    ntp_shim::NtsServerSeal server{std::make_shared<const ntp_shim::KeyRing>(fuzz::ring()),
                                   ntp_shim::PlainRequests::refuse, fuzz::counting()};
    check(server, input);
    check(server, sealed(input));
    return 0;
}
