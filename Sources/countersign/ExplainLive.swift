// `countersign explain --live`: how the next real requests of a running process come to their clients.

import ArgumentParser
import FoundationEssentials
import Platform
import Policy

extension Explain {
  private struct Begun: Decodable { let recording: Int }

  private struct Walks: Decodable {
    let over: Bool
    let walks: [String]
  }

  func runLive() throws {
    guard let most = DurationText.milliseconds(duration), (1...600_000).contains(most) else {
      throw ValidationError("--for takes a duration from 1ms to 10m with its unit, such as 60s")
    }
    var options = AdminOptions()
    options.admin = admin
    options.config = configPath
    var values = [("n", "\(count)"), ("for", "\(most)")]
    for (key, value) in [("peer", peer), ("path", path), ("connection", connection), ("listener", listener)] {
      if let value { values.append((key, value)) }
    }
    let begun = try JSONDecoder().decode(
      Begun.self, from: Data(try options.ask("/walks/begin", method: "POST", values).utf8))
    let end = Clock.monotonicMilliseconds() + UInt64(most)
    var shown = 0
    while true {
      let text = try options.ask(
        "/walks/read", method: "POST", [("recording", "\(begun.recording)"), ("from", "\(shown)")])
      let read = try JSONDecoder().decode(Walks.self, from: Data(text.utf8))
      for walk in read.walks {
        // At once, for whoever reads a pipe.
        try StandardOutput.write(Array("\(shown > 0 ? "\n" : "")\(walk)\n".utf8))
        shown += 1
      }
      if read.over || Clock.monotonicMilliseconds() >= end { break }
      Clock.sleep(milliseconds: 100)
    }
    _ = try options.ask("/walks/end", method: "POST", [("recording", "\(begun.recording)")])
    guard shown < count else { return }
    Console.complain(
      "countersign: \(shown == 0 ? "no request" : "\(shown) of \(count) requests") matched within \(duration)")
    if shown == 0 { throw ExitCode(1) }
  }
}
