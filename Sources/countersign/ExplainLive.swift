// `countersign explain --live`: how the next real requests of a running process come to their clients.

import ArgumentParser
import Platform
import Policy

extension Explain {
  func runLive() throws {
    let (duration, count) = (self.duration ?? "60s", self.count ?? 5)
    let most = DurationText.milliseconds(duration) ?? 60_000
    var options = AdminOptions()
    options.admin = admin
    options.config = configPath
    var values = [("n", "\(count)"), ("for", "\(most)")]
    for (key, value) in [("peer", peer), ("path", path), ("connection", connection), ("listener", listener)] {
      if let value { values.append((key, value)) }
    }
    let recording = try Recording(options, values)
    let end = Clock.monotonicMilliseconds() + UInt64(most)
    var shown = 0
    while true {
      let read = try recording.read(from: shown)
      for walk in read.walks {
        // At once, for whoever reads a pipe.
        try StandardOutput.write(Array("\(shown > 0 ? "\n" : "")\(walk)\n".utf8))
        shown += 1
      }
      if read.over || Clock.monotonicMilliseconds() >= end { break }
      Clock.sleep(milliseconds: 100)
    }
    try recording.end()
    guard shown < count else { return }
    Console.complain(
      "countersign: \(shown == 0 ? "no request" : "\(shown) of \(count) requests") matched within \(duration)")
    if shown == 0 { throw ExitCode(1) }
  }
}
