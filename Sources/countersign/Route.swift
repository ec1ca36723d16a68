// `countersign route` and `countersign status`: what operators ask of a running process, over its admin listener.

import ArgumentParser
import FoundationEssentials
import Policy
import Proxy

/// Where the running process listens for operators.
struct AdminOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Its admin listener, such as `unix:/run/countersign/admin.sock`.", valueName: "endpoint"))
  var admin: String?

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("Or the configuration that it runs with, which names it.", valueName: "file"),
    completion: .file())
  var config: String?

  func validate() throws {
    guard (admin == nil) != (config == nil) else {
      throw ValidationError("give either --admin, such as --admin unix:/run/countersign/admin.sock, or -c FILE")
    }
    try Self.check(admin, "--admin")
  }

  /// While arguments are looked at: then the usage that is shown is the command's own.
  static func check(_ endpoint: String?, _ name: String) throws {
    guard let endpoint, ConfigReader.endpoint(endpoint) == nil else { return }
    throw ValidationError("\(name) takes `ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`, not `\(endpoint)`")
  }

  func endpoint() throws -> Config.Endpoint {
    if let admin, let endpoint = ConfigReader.endpoint(admin) { return endpoint }
    let read = try Check.read(config ?? "", code: 2)
    guard let admin = read.admin else {
      Console.complain(
        "countersign: \(config ?? "") has no `admin.listen`, by which a running process is asked; or give --admin")
      throw ExitCode(2)
    }
    return admin.control ?? admin.address
  }

  /// The answer's body; what went wrong ends the command.
  /// - Parameter known: what `endpoint()` has said, where it is asked more than once: reading a configuration says what is wrong with it.
  func ask(
    _ path: String, method: String = "GET", _ values: [(String, String)] = [], at known: Config.Endpoint? = nil
  ) throws -> String {
    let endpoint = try known ?? endpoint()
    do {
      let response = try AdminClient.ask(endpoint, method: method, path: path, values)
      guard response.status == 200 else {
        Console.complain("countersign: \(response.body.trimmingPrefix { $0.isWhitespace })".trimmed)
        throw ExitCode(1)
      }
      return response.body
    } catch let failure as ConnectionFailure {
      Console.complain("countersign: \(failure)")
      throw ExitCode(1)
    }
  }
}

extension String {
  /// Without line ends behind it.
  fileprivate var trimmed: String {
    var text = self[...]
    while text.last?.isNewline == true { text.removeLast() }
    return String(text)
  }
}

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a running process does, as JSON.",
    discussion: "Exit codes: 0 it answered, 1 it did not, 2 the command was not understood.")

  @OptionGroup var options: AdminOptions

  func run() throws { print(try options.ask("/status"), terminator: "") }
}

struct Route: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Close and open routes of a running process, at once.",
    discussion: """
      A closed route answers 503 with Retry-After, its tunnels end, and requests that are under way come to their end. It \
      stays closed over reloads until it is opened or its time is over; a restart opens it, for which there is \
      `enabled: false` in the configuration.

        countersign route close discovery --for 2h --why "strangers see each other" --admin unix:/run/countersign/admin.sock
        countersign route open discovery --admin unix:/run/countersign/admin.sock

      The admin listener must be a unix socket, and you root or the user that the process runs as.

      Exit codes: 0 done, 1 it could not be done, 2 the command was not understood.
      """,
    subcommands: [List.self, Close.self, Open.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the routes that have a name.")

    @OptionGroup var options: AdminOptions

    func run() throws { try Route.show(try options.ask("/routes")) }
  }

  struct Close: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Close a route.")

    @Argument(help: "Its `name`.")
    var name: String

    @Option(
      name: .customLong("for"),
      help: ArgumentHelp("For how long, such as 30m or 2h; until it is opened without.", valueName: "duration"))
    var duration: String?

    @Option(help: ArgumentHelp("Why: for the log, and for whoever asks later.", valueName: "text"))
    var why: String?

    @OptionGroup var options: AdminOptions

    private var milliseconds: Int? { duration.flatMap(DurationText.milliseconds) }

    func validate() throws {
      if let duration, milliseconds ?? 0 <= 0 {
        throw ValidationError("--for takes a duration with its unit, such as 30m or 2h, not `\(duration)`")
      }
    }

    func run() throws {
      var values = [("name", name)]
      if let milliseconds { values.append(("for", "\(milliseconds)")) }
      if let why { values.append(("why", why)) }
      let endpoint = try options.endpoint()
      try Route.show(try options.ask("/routes/close", method: "POST", values, at: endpoint))
      try showOlder(try options.ask("/status", at: endpoint))
    }

    private struct Figures: Decodable {
      struct Older: Decodable {
        let told: Bool
        let tunnels: Int?
      }
      let older_processes: Older?
    }

    /// What processes hold that drain behind an upgrade.
    private func showOlder(_ json: String) throws {
      guard let older = try JSONDecoder().decode(Figures.self, from: Data(json.utf8)).older_processes else { return }
      let tunnels = older.tunnels.map { "\($0)" } ?? "an unknown number of"
      guard older.told else {
        Console.complain(
          "countersign: warning: an older process that drains has not heard of it: \(tunnels) tunnels go on there, at the longest until its drain ends"
        )
        return
      }
      print("older processes that drain end theirs too; before that they had \(tunnels) tunnels, of all routes")
    }
  }

  struct Open: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Open a route that was closed.")

    @Argument(help: "Its `name`.")
    var name: String

    @OptionGroup var options: AdminOptions

    func run() throws { try Route.show(try options.ask("/routes/open", method: "POST", [("name", name)])) }
  }

  private struct Entry: Decodable {
    let name: String
    let to: String?
    let enabled: Bool?
    let closed: Closure?

    struct Closure: Decodable {
      let since: String
      let until: String?
      let user: Int
      let why: String
    }

    var state: String {
      if let closed {
        let end = closed.until.map { "until \($0)" } ?? "until it is opened"
        return
          "closed \(end), since \(closed.since) by user \(closed.user)\(closed.why.isEmpty ? "" : ": \(closed.why)")"
      }
      if to == nil { return "not in the configuration" }
      return enabled == false ? "closed: enabled: false" : "open"
    }
  }

  private static func show(_ json: String) throws {
    let entries = try JSONDecoder().decode([Entry].self, from: Data(json.utf8))
    guard !entries.isEmpty else {
      print("no route has a name")
      return
    }
    let width = entries.map(\.name.count).max() ?? 0
    let toWidth = entries.map { ($0.to ?? "–").count }.max() ?? 0
    for entry in entries {
      let name = entry.name.padding(width)
      print("\(name)  → \((entry.to ?? "–").padding(toWidth))  \(entry.state)")
    }
  }
}

extension String {
  func padding(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
