#include "transports/kernel_stamp.hpp"

#include <cstring>

namespace transports {

namespace {

template <class Value>
Value control_value(const cmsghdr* header) noexcept
{
    Value value{};
    std::memcpy(&value, CMSG_DATA(header), sizeof value); // control data is not aligned for every type
    return value;
}

} // namespace

ControlMessages read_control(msghdr& message) noexcept
{
    ControlMessages out;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_TIMESTAMPNS) {
            const auto value = control_value<timespec>(header);
            out.stamp = std::chrono::seconds{value.tv_sec} + Nanoseconds{value.tv_nsec};
        } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            out.local = mapped(control_value<in_pktinfo>(header).ipi_addr);
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            out.local = mapped(control_value<in6_pktinfo>(header).ipi6_addr);
        }
    }
    return out;
}

void set_source_address(msghdr& message, std::span<std::byte> control, const MappedAddress& local, bool ipv6) noexcept
{
    message.msg_control = control.data();
    message.msg_controllen = ipv6 ? CMSG_SPACE(sizeof(in6_pktinfo)) : CMSG_SPACE(sizeof(in_pktinfo));
    std::memset(control.data(), 0, message.msg_controllen);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (header == nullptr) {
        return; // too little memory for any control message: the kernel chooses the source
    }
    if (ipv6) {
        in6_pktinfo info{};
        std::memcpy(&info.ipi6_addr, local.data(), sizeof info.ipi6_addr);
        header->cmsg_level = IPPROTO_IPV6;
        header->cmsg_type = IPV6_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        std::memcpy(CMSG_DATA(header), &info, sizeof info);
    } else {
        in_pktinfo info{};
        std::memcpy(&info.ipi_spec_dst, &local[12], sizeof info.ipi_spec_dst); // the last four of ::ffff:a.b.c.d
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        std::memcpy(CMSG_DATA(header), &info, sizeof info);
    }
}

void enable_stamps(int descriptor) noexcept
{
    const int on = 1;
    // A kernel that cannot leaves us with the read instant, which is what a missing stamp means anyway.
    (void)setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
}

} // namespace transports
