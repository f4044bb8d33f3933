#include "gateway/version.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <uv.h>

#include "transports/ssh_context.hpp"
#include "transports/tls_digest.hpp"

namespace gateway {

std::string version_text()
{
    return fmt::format("ntpgate {}\n"
                       "build     {}\n"
                       "openssl   {}\n"
                       "ssh       {}\n"
                       "libuv     {}\n"
                       "json      {}.{}.{}\n"
                       "fmt       {}\n"
                       "channels  tls (framing v1, raw), dtls, ssh, mac, nts\n"
                       "upstreams daemon, mirror, clock\n",
                       kVersion, NTPGATE_BUILD, transports::tls_library_version(), transports::ssh_library_version(),
                       uv_version_string(), NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                       NLOHMANN_JSON_VERSION_PATCH, FMT_VERSION);
}

} // namespace gateway
