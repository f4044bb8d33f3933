// The operator's log: state changes and limits, on stderr; nothing for each packet, and nothing a peer can flood.
#pragma once

#include <memory>
#include <string>

#include "gateway/config.hpp"

namespace spdlog {
class logger;
}

namespace gateway {

class Log {
public:
    Log(LogLevel level, LogFormat format);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    /// Text from a peer goes through printable() first.
    void error(const std::string& text);
    void warn(const std::string& text);
    void info(const std::string& text);
    void debug(const std::string& text);
    [[nodiscard]] bool shows(LogLevel level) const noexcept;

private:
    void write(LogLevel level, const std::string& text);
    LogLevel level_;
    LogFormat format_;
    std::unique_ptr<spdlog::logger> logger_;
};

} // namespace gateway
