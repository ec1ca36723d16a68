import Glibc
import Proxy

exit(Supervisor.run(configPath: CommandLine.arguments[CommandLine.arguments.count - 1]))
