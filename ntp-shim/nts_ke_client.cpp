#include "ntp-shim/nts_ke_client.hpp"

#include <algorithm>
#include <span>

#include "ntp-shim/nts_host.hpp"
#include "ntp-shim/nts_text.hpp"

namespace ntp_shim {

namespace {

constexpr std::size_t kCookiesKept = 8;
constexpr std::size_t kLines = 64; // of a description; a message may hold sixteen thousand records

class ResponseReader {
public:
    explicit ResponseReader(const KeOffer& offer) : offer_(offer) {}

    std::optional<KeRefusal> take(const Record& record)
    {
        switch (static_cast<RecordType>(record.type)) {
        case RecordType::next_protocol:
            return take_protocols(record);
        case RecordType::error:
            return take_code(record, KeFault::error_record);
        case RecordType::warning: // section 4.1.4: none is defined, and an unknown one is an error
            return take_code(record, KeFault::warning_record);
        case RecordType::aead:
            return take_aead(record);
        case RecordType::new_cookie:
            take_cookie(record.body);
            return std::nullopt;
        case RecordType::ntp_server:
            return take_server(record);
        case RecordType::ntp_port:
            return take_port(record);
        case RecordType::compliant_gcm_siv_export:
            result_.compliant_export = true;
            return record.body.empty() ? std::nullopt : std::optional{KeRefusal{KeFault::malformed}};
        case RecordType::end_of_message:
            return KeRefusal{KeFault::malformed};
        }
        return record.critical ? std::optional{KeRefusal{KeFault::critical_unknown, record.type}} : std::nullopt;
    }

    std::variant<KeResult, KeRefusal> finish()
    {
        if (protocols_ != 1 || aeads_ > 1) {
            return KeRefusal{KeFault::malformed};
        }
        if (!ntpv4_) {
            return KeRefusal{KeFault::no_common_protocol};
        }
        if (aeads_ == 0) {
            return KeRefusal{KeFault::malformed}; // section 4.1.5: must be there with NTPv4
        }
        if (!chosen_) {
            return KeRefusal{KeFault::no_common_aead};
        }
        const auto known = find_aead(*chosen_);
        if (!known || std::ranges::count(offer_.aeads, *known) == 0) {
            return KeRefusal{KeFault::aead_not_offered, *chosen_}; // NTPsec answers so
        }
        result_.aead = *known;
        if (result_.cookies.empty()) {
            return KeRefusal{KeFault::no_cookie};
        }
        return std::move(result_);
    }

private:
    std::optional<KeRefusal> take_protocols(const Record& record)
    {
        const auto ids = numbers_of(record.body);
        // Section 4.1.2: a subset of what was asked, which was NTPv4 alone.
        const bool subset = ids && std::ranges::all_of(*ids, [](std::uint16_t id) { return id == kProtocolNtpv4; });
        if (!record.critical || ++protocols_ > 1 || !subset || ids->size() > 1) {
            return KeRefusal{KeFault::malformed};
        }
        ntpv4_ = !ids->empty();
        return std::nullopt;
    }

    static std::optional<KeRefusal> take_code(const Record& record, KeFault fault)
    {
        const auto codes = numbers_of(record.body);
        if (!codes || codes->size() != 1) {
            return KeRefusal{KeFault::malformed};
        }
        return KeRefusal{fault, codes->front()};
    }

    std::optional<KeRefusal> take_aead(const Record& record)
    {
        const auto ids = numbers_of(record.body);
        if (++aeads_ > 1 || !ids || ids->size() > 1) {
            return KeRefusal{KeFault::malformed};
        }
        if (!ids->empty()) {
            chosen_ = ids->front();
        }
        return std::nullopt;
    }

    void take_cookie(Bytes cookie)
    {
        // An extension field's length is a multiple of four, and its least body 12 octets: others cannot be sent back.
        const bool usable = cookie.size() % 4 == 0 && cookie.size() >= 12 && cookie.size() <= kMaxCookie;
        if (usable && result_.cookies.size() < kCookiesKept) {
            result_.cookies.emplace_back(cookie.begin(), cookie.end());
        }
    }

    std::optional<KeRefusal> take_server(const Record& record)
    {
        if (result_.host) {
            return KeRefusal{KeFault::malformed};
        }
        result_.host = host_of(record.body);
        return result_.host ? std::nullopt : std::optional{KeRefusal{KeFault::bad_server}};
    }

    std::optional<KeRefusal> take_port(const Record& record)
    {
        const auto ports = numbers_of(record.body);
        if (++ports_ > 1 || !ports || ports->size() != 1) {
            return KeRefusal{KeFault::malformed};
        }
        result_.port = ports->front();
        return result_.port != 0 ? std::nullopt : std::optional{KeRefusal{KeFault::bad_server}};
    }

    const KeOffer& offer_;
    KeResult result_;
    std::optional<std::uint16_t> chosen_;
    bool ntpv4_ = false;
    int protocols_ = 0;
    int aeads_ = 0;
    int ports_ = 0;
};

std::string type_text(const Record& record)
{
    switch (static_cast<RecordType>(record.type)) {
    case RecordType::end_of_message:
        return "end of message";
    case RecordType::next_protocol:
        return "next protocol";
    case RecordType::error:
        return "error";
    case RecordType::warning:
        return "warning";
    case RecordType::aead:
        return "AEAD";
    case RecordType::new_cookie:
        return "new cookie";
    case RecordType::ntp_server:
        return "NTP server";
    case RecordType::ntp_port:
        return "NTP port";
    case RecordType::compliant_gcm_siv_export:
        return "compliant GCM-SIV export";
    }
    return "type " + std::to_string(record.type);
}

/// Cookies, and whatever is in records that we do not know (other documents put keys there), stay masked.
bool is_masked(const Record& record) noexcept
{
    return record.type > static_cast<std::uint16_t>(RecordType::ntp_port)
               ? !record.is(RecordType::compliant_gcm_siv_export)
               : record.is(RecordType::new_cookie);
}

std::string octets_text(Bytes whole, const Record& record)
{
    constexpr std::size_t kShown = 64;
    const auto shown = is_masked(record) ? whole.first(kRecordHeader) : whole.first(std::min(whole.size(), kShown));
    return " [" + hex_text(shown) + (shown.size() < whole.size() ? "..." : "") + "]";
}

std::string body_text(const Record& record)
{
    std::string size = std::to_string(record.body.size()) + " octets";
    if (record.is(RecordType::ntp_server)) {
        return host_of(record.body).value_or(size);
    }
    const bool numeric = record.type <= static_cast<std::uint16_t>(RecordType::aead) || record.is(RecordType::ntp_port);
    const auto values = numbers_of(record.body);
    if (!numeric || !values || values->size() > 16) {
        return size;
    }
    std::string text;
    for (const auto value : *values) {
        text += (text.empty() ? "" : " ") + std::to_string(value);
    }
    return text.empty() ? "empty" : text;
}

} // namespace

std::vector<std::byte> make_request(const KeOffer& offer)
{
    MessageBuilder message;
    message.add_u16(true, RecordType::next_protocol, kProtocolNtpv4);
    std::vector<std::uint16_t> ids;
    for (const auto aead : offer.aeads) {
        ids.push_back(static_cast<std::uint16_t>(aead));
    }
    message.add_list(true, RecordType::aead, ids);
    if (std::ranges::count(offer.aeads, AeadId::gcm_siv_128) > 0) {
        message.add(false, RecordType::compliant_gcm_siv_export, {});
    }
    if (offer.host_wish) {
        message.add(false, RecordType::ntp_server, std::as_bytes(std::span{*offer.host_wish}));
        if (offer.port_wish) {
            message.add_u16(false, RecordType::ntp_port, *offer.port_wish);
        }
    }
    return message.finish();
}

std::variant<KeResult, KeRefusal> judge_response(Bytes message, const KeOffer& offer)
{
    MessageScan scan;
    switch (scan.follow(message)) {
    case MessageState::partial:
        return KeRefusal{KeFault::incomplete};
    case MessageState::broken:
        return KeRefusal{KeFault::malformed};
    case MessageState::complete:
        break;
    }
    ResponseReader reader(offer);
    const auto records = parse_message(message);
    // Section 4.1.3: an Error record settles the matter wherever it stands.
    for (const auto& record : *records) {
        if (record.is(RecordType::error)) {
            return reader.take(record).value_or(KeRefusal{KeFault::malformed});
        }
    }
    for (const auto& record : *records) {
        if (const auto refusal = reader.take(record)) {
            return *refusal;
        }
    }
    return reader.finish();
}

std::string_view name(KeFault fault) noexcept
{
    switch (fault) {
    case KeFault::incomplete:
        return "incomplete";
    case KeFault::malformed:
        return "malformed";
    case KeFault::critical_unknown:
        return "critical_unknown";
    case KeFault::error_record:
        return "error_record";
    case KeFault::warning_record:
        return "warning_record";
    case KeFault::no_common_protocol:
        return "no_common_protocol";
    case KeFault::no_common_aead:
        return "no_common_aead";
    case KeFault::aead_not_offered:
        return "aead_not_offered";
    case KeFault::no_cookie:
        return "no_cookie";
    case KeFault::bad_server:
        return "bad_server";
    }
    return "unknown";
}

std::vector<std::string> describe_message(Bytes message)
{
    std::vector<std::string> lines;
    ByteReader reader(message);
    while (reader.rest().size() >= kRecordHeader && lines.size() < kLines) {
        const auto begin = reader.rest();
        const auto head = reader.u16();
        const std::size_t size = reader.u16();
        if (size > reader.rest().size()) {
            lines.push_back("cut short: a record of " + std::to_string(size) + " octets, " +
                            std::to_string(reader.rest().size()) + " there");
            return lines;
        }
        const Record record{.critical = (head & 0x8000) != 0,
                            .type = static_cast<std::uint16_t>(head & 0x7fff),
                            .body = reader.take(size)};
        lines.push_back(type_text(record) + (record.critical ? " (critical)" : "") + ": " + body_text(record) +
                        octets_text(begin.first(kRecordHeader + size), record));
    }
    if (!reader.rest().empty()) {
        lines.push_back("and " + std::to_string(reader.rest().size()) + " octets more");
    }
    return lines;
}

} // namespace ntp_shim
