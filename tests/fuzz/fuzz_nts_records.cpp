// NTS-KE messages: in pieces or whole the same verdict; what a client or server takes is what RFC 8915 section 4
// allows; what one of them writes the other reads.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "ntp-shim/nts_ke_client.hpp"
#include "ntp-shim/nts_ke_server.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using fuzz::require;
using ntp_shim::Bytes;
using ntp_shim::MessageState;

void check_pieces(Bytes message)
{
    const auto whole = ntp_shim::MessageScan{}.follow(message);
    ntp_shim::MessageScan scan;
    auto last = MessageState::partial;
    // Where a message ends in pieces the rest is not there yet; from then on the verdict stays.
    for (std::size_t size = 0; size <= message.size(); ++size) {
        const auto now = scan.follow(message.first(size));
        require(last == MessageState::partial || now == last, "a verdict is final");
        last = now;
    }
    require(last == whole || (last == MessageState::complete && whole == MessageState::broken),
            "pieces give the verdict of the whole");
    const auto records = ntp_shim::parse_message(message);
    require(records.has_value() == (whole == MessageState::complete), "only a complete message has records");
    std::size_t sum = ntp_shim::kRecordHeader;
    for (const auto& record : records.value_or(std::vector<ntp_shim::Record>{})) {
        sum += ntp_shim::kRecordHeader + record.body.size();
        require(!record.is(ntp_shim::RecordType::end_of_message), "the end is no record of its own");
    }
    require(!records || sum == message.size(), "records cover the message");
    (void)ntp_shim::describe_message(message);
}

void check_server(Bytes message)
{
    const ntp_shim::KeServerPolicy policy{.aeads = ntp_shim::built_in_aeads(),
                                          .servers = {{.host = "192.0.2.1", .port = 1123}}};
    const auto verdict = ntp_shim::judge_request(message, policy);
    if (const auto* error = std::get_if<ntp_shim::KeError>(&verdict)) {
        const auto told = ntp_shim::make_error(*error);
        require(ntp_shim::MessageScan{}.follow(told) == MessageState::complete, "an error is a message");
        return;
    }
    const auto& agreement = std::get<ntp_shim::KeAgreement>(verdict);
    require(agreement.ntpv4 || !agreement.aead, "no algorithm without the protocol");
    const auto response = ntp_shim::make_response(agreement, policy.servers.data(), {std::vector<std::byte>(104)});
    ntp_shim::KeOffer offer;
    const auto read = ntp_shim::judge_response(response, offer);
    const auto* result = std::get_if<ntp_shim::KeResult>(&read);
    require((result != nullptr) == agreement.aead.has_value(), "the client takes what the server agreed to");
    require(result == nullptr || (result->aead == *agreement.aead && result->port == 1123), "and reads it right");
}

void check_client(Bytes message)
{
    ntp_shim::KeOffer offer;
    offer.aeads = {ntp_shim::AeadId::siv_cmac_512};
    const auto judged = ntp_shim::judge_response(message, offer);
    const auto* result = std::get_if<ntp_shim::KeResult>(&judged);
    if (result == nullptr) {
        return;
    }
    const auto taken = fuzz::kPlantedBug ? ntp_shim::AeadId::siv_cmac_256 : result->aead;
    require(taken == ntp_shim::AeadId::siv_cmac_512, "only an algorithm that was offered is taken");
    require(!result->cookies.empty() && result->cookies.size() <= 8, "one to eight cookies");
    require(result->port != 0, "a port");
    for (const auto& cookie : result->cookies) {
        require(cookie.size() % 4 == 0 && cookie.size() <= ntp_shim::kMaxCookie, "cookies that a request can carry");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto input = std::as_bytes(std::span{data, std::min<std::size_t>(size, 4096)});
    check_pieces(input);
    check_server(input);
    check_client(input);
    return 0;
}
