// The command line (design 9): from arguments to an exit code.
#pragma once

namespace gateway {

[[nodiscard]] int run_command_line(int argc, const char* const* argv);

} // namespace gateway
