// `countersign upgrade`: has a running process replaced by a new one, and waits for what becomes of it.

import ArgumentParser
import FoundationEssentials
import Platform
import Policy
import Proxy

struct UpgradeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade",
    abstract: "Replace a running process by a new one, without a gap.",
    discussion: """
      The running process starts the program that is now at the path by which it was started itself, with the same \
      arguments, and hands over its listening sockets, replay windows, ticket keys, counters and closed routes. When the new \
      one accepts, the old one drains beside it and ends. If the new one does not get ready, or its configuration weakens \
      trust without `accept_weaker`, the old one goes on as before. SIGUSR2 does the same, and says in the log what became \
      of it.

        countersign upgrade --admin unix:/run/countersign/admin.sock

      The admin listener must be a unix socket, and you root or the user that the process runs as.

      Exit codes: 0 the new process serves, 1 there was no upgrade, and the old one goes on unless it was told to end, 2 the \
      command was not understood.
      """)

  @OptionGroup var options: AdminOptions

  private struct Progress: Decodable {
    let attempt: String
    let state: String
    let why: String?
    let pid: Int32?
  }

  /// How long nobody may answer at the admin listener, which passes from one process to the other meanwhile.
  private static let silenceMilliseconds: UInt64 = 10_000

  func run() throws {
    let endpoint = try options.endpoint()
    let text = try options.ask("/upgrade", method: "POST", at: endpoint)
    let begun = try JSONDecoder().decode(Progress.self, from: Data(text.utf8))
    var answered = Clock.monotonicMilliseconds()
    while true {
      do {
        let response = try AdminClient.ask(endpoint, path: "/upgrade")
        guard response.status == 200,
          let now = try? JSONDecoder().decode(Progress.self, from: Data(response.body.utf8))
        else { return try fail("the admin listener does not say what became of it; the log does") }
        guard now.attempt == begun.attempt else { return try fail("another upgrade has begun meanwhile") }
        switch now.state {
        case "done": return print("process \(now.pid ?? 0) serves")
        case "refused": return try fail("upgrade refused, the old process goes on: \(now.why ?? "")")
        default: answered = Clock.monotonicMilliseconds()
        }
      } catch let failure as ConnectionFailure {
        guard Clock.monotonicMilliseconds() < answered + UpgradeCommand.silenceMilliseconds else {
          return try fail("\(failure) If it was told to end, there was no upgrade; the log says what became of it")
        }
      }
      Clock.sleep(milliseconds: 50)
    }
  }

  private func fail(_ why: String) throws {
    Console.complain("countersign: \(why)")
    throw ExitCode(1)
  }
}
