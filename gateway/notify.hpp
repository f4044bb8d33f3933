// Tells the service manager how far we are (sd_notify(3)): one datagram, nothing when nobody asked.
#pragma once

#include <string_view>

namespace gateway {

/// `state` such as "READY=1". Silent where NOTIFY_SOCKET is not set or does not answer: it must not stop the service.
void notify_service_manager(std::string_view state) noexcept;

} // namespace gateway
