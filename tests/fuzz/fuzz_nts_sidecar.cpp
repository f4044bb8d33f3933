// The sidecar's whole packet path: a reply is believed only when its authenticator is the server's, its stock of
// cookies stays within eight, and what it sends a server accepts. The input is a reply, once as it is, once sealed by
// the server.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/nts_client_seal.hpp"
#include "ntp-shim/nts_server_seal.hpp"
#include "tests/fuzz/nts_keys.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::SealBuffer;

ntp_shim::NtsSession session()
{
    ntp_shim::NtsSession made{.keys = fuzz::keys(), .cookies = {}};
    for (std::uint8_t count = 0; count < 6; ++count) {
        made.put(fuzz::ring().seal_cookie(made.keys, fuzz::octets(16, count)));
    }
    return made;
}

bool is_authentic(Bytes reply)
{
    const auto read = ntp_shim::read_fields(reply);
    const auto* fields = std::get_if<ntp_shim::NtsFields>(&read);
    if (fields == nullptr || !fields->authenticator) {
        return false;
    }
    const auto cipher = ntp_shim::Aead::make(fuzz::keys().aead, fuzz::keys().server_to_client.view());
    std::vector<std::byte> plain(fields->authenticator->ciphertext.size() - ntp_shim::kAeadTag);
    return cipher->open({.nonce = fields->authenticator->nonce, .associated = fields->associated},
                        fields->authenticator->ciphertext, plain);
}

/// The input's first half inside, its second before the authenticator; identifier and stamp are the request's.
std::vector<std::byte> sealed(Bytes input, Bytes request)
{
    const auto cut = std::min<std::size_t>(input.size(), 600);
    SealBuffer whole{};
    whole[0] = std::byte{0x24};
    whole[1] = std::byte{2};
    std::ranges::copy(request.subspan(40, 8), whole.begin() + 24);
    std::size_t at = ntp_shim::kHeaderSize;
    const auto put = [&](Bytes octets) {
        std::ranges::copy(octets, whole.begin() + static_cast<std::ptrdiff_t>(at));
        at += octets.size();
    };
    put(request.subspan(ntp_shim::kHeaderSize, 36));
    put(input.subspan(cut / 2, (cut - cut / 2) / 4 * 4));
    ntp_shim::FieldWriter writer(whole, at);
    const auto cipher = ntp_shim::Aead::make(fuzz::keys().aead, fuzz::keys().server_to_client.view());
    writer.seal({.aead = *cipher,
                 .nonce = fuzz::octets(16, 5),
                 .plain = input.first(cut / 2),
                 .least_room = 0,
                 .least_total = 0});
    return {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(writer.size())};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto input = std::as_bytes(std::span{data, std::min<std::size_t>(size, ntp_shim::kMaxSealed)});
    ntp_shim::NtsClientSeal client{fuzz::counting()};
    client.adopt(session());
    SealBuffer buffer{};
    ntp_shim::write_reissued(std::span{buffer}.first<ntp_shim::kHeaderSize>(), client.version(), 0x1122334455667788);
    const auto made = client.seal(buffer);
    const auto* request = std::get_if<ntp_shim::ClientSeal::Sealed>(&made);
    require(request != nullptr, "with cookies there is a request");
    const auto packet = Bytes{buffer}.first(request->length);
    ntp_shim::NtsServerSeal server{std::make_shared<const ntp_shim::KeyRing>(fuzz::ring()),
                                   ntp_shim::PlainRequests::refuse, fuzz::counting()};
    require(std::holds_alternative<ntp_shim::SealMemoryPointer>(server.open(packet, {})), "a server accepts it");
    const auto genuine = sealed(input, packet);
    for (const auto& reply : {Bytes{input}, Bytes{genuine}}) {
        const bool believed = reply.size() >= ntp_shim::kHeaderSize && !client.open(reply, *request->memory);
        require(!believed || (is_authentic(reply) && !fuzz::kPlantedBug), "what is believed is authentic");
        require(client.session()->cookies.size() <= ntp_shim::NtsSession::kCookies, "eight cookies at most");
    }
    return 0;
}
