#include "transports/tls_wire.hpp"

#include <algorithm>
#include <memory>

#include <openssl/bio.h>

namespace transports {

void RecordCounter::follow(std::span<const std::byte> data) noexcept
{
    while (!data.empty()) {
        if (body_ > 0) {
            const std::size_t step = std::min<std::size_t>(body_, data.size());
            body_ -= static_cast<std::uint32_t>(step);
            data = data.subspan(step);
            continue;
        }
        length_ = static_cast<std::uint16_t>(length_ << 8U | std::to_integer<std::uint16_t>(data.front()));
        data = data.subspan(1);
        if (++header_ == kHeader) {
            header_ = 0;
            body_ = length_;
        }
    }
}

void Wire::feed(std::span<const std::byte> data)
{
    counter_.follow(data);
    in_.insert(in_.end(), data.begin(), data.end());
}

void Wire::drop_input() noexcept
{
    release_input();
    counter_ = {};
}

void Wire::release_input() noexcept
{
    std::vector<std::byte>{}.swap(in_);
    read_ = 0;
}

std::span<const std::byte> Wire::output() const noexcept
{
    return std::span{out_}.subspan(sent_);
}

void Wire::consume_output(std::size_t count) noexcept
{
    sent_ += std::min(count, out_.size() - sent_);
    if (sent_ == out_.size()) {
        std::vector<std::byte>{}.swap(out_);
        sent_ = 0;
    }
}

std::size_t Wire::read(std::span<std::byte> into) noexcept
{
    const auto from = std::span{in_}.subspan(read_).first(std::min(into.size(), unread()));
    std::ranges::copy(from, into.begin());
    read_ += from.size();
    if (unread() == 0) {
        release_input();
    }
    return from.size();
}

void Wire::write(std::span<const std::byte> from)
{
    out_.insert(out_.end(), from.begin(), from.end());
}

namespace {

Wire& wire_of(BIO* bio)
{
    return *static_cast<Wire*>(BIO_get_data(bio));
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

long on_control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/)
{
    // Nothing is held back, so a flush is always done; no other command means anything here.
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

struct FreeMethod {
    void operator()(BIO_METHOD* method) const noexcept { BIO_meth_free(method); }
};

std::unique_ptr<BIO_METHOD, FreeMethod> make_method()
{
    std::unique_ptr<BIO_METHOD, FreeMethod> method{
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ntpgate wire")};
    const bool complete = method && BIO_meth_set_read_ex(method.get(), on_read) == 1 &&
                          BIO_meth_set_write_ex(method.get(), on_write) == 1 &&
                          BIO_meth_set_ctrl(method.get(), on_control) == 1;
    return complete ? std::move(method) : nullptr;
}

} // namespace

Owned<bio_st> Wire::make_bio()
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
