#include "transports/dtls_wire.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include <openssl/bio.h>
#include <sys/time.h>

#include "transports/dtls_record.hpp"

namespace transports {

namespace {

// Far from every reading of the wall clock, and from overflow when one is subtracted.
constexpr time_t kNever = std::numeric_limits<time_t>::max() / 2;
constexpr time_t kLongAgo = std::numeric_limits<time_t>::min() / 2;

constexpr long kUdpOverIpv4 = 28;
constexpr long kUdpOverIpv6 = 48;

/// How many octets of `datagram` are whole records that fit `room`: its first record at least, all of it when that is
/// none.
std::size_t whole_records(std::span<const std::byte> datagram, std::size_t room) noexcept
{
    std::size_t fit = 0;
    for (auto rest = datagram; take_record(rest);) {
        const std::size_t end = datagram.size() - rest.size();
        if (end > room && fit != 0) {
            break;
        }
        fit = end;
    }
    return fit == 0 ? datagram.size() : fit;
}

} // namespace

std::optional<std::span<const std::byte>> DatagramWire::next_output()
{
    if (out_.empty()) {
        taken_ = {};
        return std::nullopt;
    }
    taken_ = std::move(out_.front());
    out_.pop_front();
    return taken_;
}

std::size_t DatagramWire::read(std::span<std::byte> into) noexcept
{
    const auto from = in_.first(std::min(into.size(), in_.size()));
    std::ranges::copy(from, into.begin());
    in_ = {}; // what did not fit is lost, as a socket loses it
    return from.size();
}

void DatagramWire::write(std::span<const std::byte> datagram)
{
    // OpenSSL 3.0 leaves the nonce and the tag of AEAD suites out of account when it puts a Finished behind what a
    // datagram holds already, which then is up to 24 octets too long.
    while (datagram.size() > setting_.payload) {
        const auto front = datagram.first(whole_records(datagram, setting_.payload));
        out_.emplace_back(front.begin(), front.end());
        datagram = datagram.subspan(front.size());
    }
    if (!datagram.empty()) {
        out_.emplace_back(datagram.begin(), datagram.end());
    }
}

void DatagramWire::set_timeout(timeval& next) noexcept
{
    if (next.tv_sec == 0 && next.tv_usec == 0) {
        timeout_ = nullptr;
        deadline_.reset();
        interval_ = kFirstRetransmission;
        return;
    }
    timeout_ = &next;
    next = {kNever, 0};
    deadline_ = now_ + interval_;
}

void DatagramWire::expire() noexcept
{
    if (timeout_ != nullptr) {
        *timeout_ = {kLongAgo, 0};
        interval_ = std::min(interval_ * 2, std::max(setting_.longest_wait, kFirstRetransmission));
    }
}

namespace {

DatagramWire& wire_of(BIO* bio)
{
    return *static_cast<DatagramWire*>(BIO_get_data(bio));
}

int on_read(BIO* bio, char* into, std::size_t size, std::size_t* got)
{
    BIO_clear_retry_flags(bio);
    *got = wire_of(bio).read(std::as_writable_bytes(std::span{into, size}));
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    return 1;
}

int on_write(BIO* bio, const char* from, std::size_t size, std::size_t* put)
{
    BIO_clear_retry_flags(bio);
    wire_of(bio).write(std::as_bytes(std::span{from, size}));
    *put = size;
    return 1;
}

long on_control(BIO* bio, int command, long /*number*/, void* pointer)
{
    DatagramWire& wire = wire_of(bio);
    switch (command) { // int codes of the library
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT:
        wire.set_timeout(*static_cast<timeval*>(pointer));
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return static_cast<long>(wire.setting().payload);
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
        return wire.setting().ipv6 ? kUdpOverIpv6 : kUdpOverIpv4;
    default:
        return 0; // nothing else means anything here, and the library takes no for an answer
    }
}

struct FreeMethod {
    void operator()(BIO_METHOD* method) const noexcept { BIO_meth_free(method); }
};

std::unique_ptr<BIO_METHOD, FreeMethod> make_method()
{
    std::unique_ptr<BIO_METHOD, FreeMethod> method{
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ntpgate datagrams")};
    const bool complete = method && BIO_meth_set_read_ex(method.get(), on_read) == 1 &&
                          BIO_meth_set_write_ex(method.get(), on_write) == 1 &&
                          BIO_meth_set_ctrl(method.get(), on_control) == 1;
    return complete ? std::move(method) : nullptr;
}

} // namespace

Owned<bio_st> DatagramWire::make_bio()
{
    static const auto kMethod = make_method();
    Owned<bio_st> bio{kMethod ? BIO_new(kMethod.get()) : nullptr};
    if (bio) {
        BIO_set_data(bio.get(), this);
        BIO_set_init(bio.get(), 1);
    }
    return bio;
}

} // namespace transports
