// `countersign servers`: what a running process knows of the servers behind it, and what operators let them do.

import ArgumentParser
import FoundationEssentials

struct Servers: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the servers of a running process, and take one out or back.",
    discussion: """
      A drained server gets no more requests; those under way, and tunnels, go on. From a server that is taken down also \
      those go: what waits for its answer is sent elsewhere where that is safe, and ends with 502 where it is not; tunnels \
      end. Both stay over reloads and upgrades, until `up` or a restart.

        countersign servers --admin unix:/run/countersign/admin.sock
        countersign servers drain app/10.0.0.1:80 --why "new kernel" --admin unix:/run/countersign/admin.sock
        countersign servers up app/10.0.0.1:80 --admin unix:/run/countersign/admin.sock

      For changes the admin listener must be a unix socket, and you root or the user that the process runs as.

      Exit codes: 0 done, 1 it could not be done, 2 the command was not understood.
      """,
    subcommands: [List.self, Drain.self, Down.self, Up.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the servers: which of them serve, and why not.")

    @OptionGroup var options: AdminOptions

    func run() throws { try Servers.show(try options.ask("/servers")) }
  }

  struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give a server no more requests.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.run("drain") }
  }

  struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give a server no more requests, and take from it those that wait for its answer.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.run("down") }
  }

  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a server have requests again.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.run("up") }
  }

  struct OrderOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("The server, as the list has it: `UPSTREAM/SERVER`.", valueName: "name"))
    var name: String

    @Option(help: ArgumentHelp("Why: for the log, and for whoever asks later.", valueName: "text"))
    var why: String?

    @OptionGroup var options: AdminOptions

    func run(_ order: String) throws {
      let values = [("name", name)] + (why.map { [("why", $0)] } ?? [])
      try Servers.show(try options.ask("/servers/\(order)", method: "POST", values))
    }
  }

  private struct Entry: Decodable {
    let upstream: String
    let server: String
    let state: String
    let why: String
    let since: String?
    let user: Int?

    var name: String { "\(upstream)/\(server)" }

    var reason: String {
      let when = since.map { " since \($0)" } ?? ""
      let who = user.map { " by user \($0)" } ?? ""
      guard state != "up" else { return why.isEmpty ? "" : "last failure: \(why)" }
      return "\(when)\(who)\(why.isEmpty ? "" : ": \(why)")".trimmingSpace
    }
  }

  private static func show(_ json: String) throws {
    let entries = try JSONDecoder().decode([Entry].self, from: Data(json.utf8))
    let width = entries.map(\.name.count).max() ?? 0
    let stateWidth = entries.map(\.state.count).max() ?? 0
    for entry in entries {
      let line = "\(entry.name.padding(width))  \(entry.state.padding(stateWidth))  \(entry.reason)"
      print(line.trimmingSpaceBehind)
    }
  }
}

extension String {
  fileprivate var trimmingSpace: String { String(drop { $0 == " " }) }

  fileprivate var trimmingSpaceBehind: String {
    var text = self[...]
    while text.last == " " { text.removeLast() }
    return String(text)
  }
}
