// A recording of how a running process's next requests come to their clients, over its admin listener (WalkRecorder in Proxy).
// Used by `explain --live` and `doctor`.

import FoundationEssentials
import Policy

struct Recording {
  private struct Begun: Decodable { let recording: Int }

  struct Walks: Decodable {
    /// No more will come.
    let over: Bool
    let walks: [String]
  }

  private let options: AdminOptions
  private let endpoint: Config.Endpoint
  private let number: Int

  /// - Parameter values: which requests, and how many: the query of `/walks/begin`.
  init(_ options: AdminOptions, _ values: [(String, String)]) throws {
    self.options = options
    endpoint = try options.endpoint()
    let text = try options.ask("/walks/begin", method: "POST", values, at: endpoint)
    number = try JSONDecoder().decode(Begun.self, from: Data(text.utf8)).recording
  }

  /// The walks behind the first `count`.
  func read(from count: Int = 0) throws -> Walks {
    let text = try ask("read", [("recording", "\(number)"), ("from", "\(count)")])
    return try JSONDecoder().decode(Walks.self, from: Data(text.utf8))
  }

  func end() throws { _ = try ask("end", [("recording", "\(number)")]) }

  private func ask(_ what: String, _ values: [(String, String)]) throws -> String {
    try options.ask("/walks/\(what)", method: "POST", values, at: endpoint)
  }
}
