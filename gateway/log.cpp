#include "gateway/log.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "gateway/utc_time.hpp"

namespace gateway {

namespace {

spdlog::level::level_enum library_level(LogLevel level) noexcept
{
    switch (level) {
    case LogLevel::error:
        return spdlog::level::err;
    case LogLevel::warn:
        return spdlog::level::warn;
    case LogLevel::info:
        return spdlog::level::info;
    case LogLevel::debug:
        return spdlog::level::debug;
    }
    return spdlog::level::info;
}

const char* level_name(LogLevel level) noexcept
{
    switch (level) {
    case LogLevel::error:
        return "error";
    case LogLevel::warn:
        return "warn";
    case LogLevel::info:
        return "info";
    case LogLevel::debug:
        return "debug";
    }
    return "info";
}

} // namespace

Log::Log(LogLevel level, LogFormat format)
    : level_{level}, format_{format}, logger_{std::make_unique<spdlog::logger>(
                                          "ntpgate", std::make_shared<spdlog::sinks::stderr_sink_st>())}
{
    logger_->set_level(library_level(level));
    logger_->set_pattern("%v");
    logger_->flush_on(spdlog::level::trace);
}

Log::~Log() = default;

bool Log::shows(LogLevel level) const noexcept
{
    return level <= level_;
}

void Log::write(LogLevel level, const std::string& text)
{
    if (!shows(level)) {
        return;
    }
    if (format_ == LogFormat::json) {
        nlohmann::ordered_json line;
        line["ts"] = utc_time_now();
        line["level"] = level_name(level);
        line["msg"] = text;
        logger_->log(library_level(level), line.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
        return;
    }
    logger_->log(library_level(level), utc_time_now() + " " + level_name(level) + " " + text);
}

void Log::error(const std::string& text)
{
    write(LogLevel::error, text);
}
void Log::warn(const std::string& text)
{
    write(LogLevel::warn, text);
}
void Log::info(const std::string& text)
{
    write(LogLevel::info, text);
}
void Log::debug(const std::string& text)
{
    write(LogLevel::debug, text);
}

} // namespace gateway
