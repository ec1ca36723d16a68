// How many clients of the last day each change would touch, by the access log: who came to the listener, from the peers, that
// the change is about. Lines that are no requests, and members that are not as the access log writes them, do not count.
// Bounded: so many clients are told apart, over all changes; of more it is known that there are at least so many.

import Platform
import Wire

package struct TouchCount {
  package struct Touched: Sendable, Equatable {
    package var requests = 0
    package var clients = 0
    /// There may be more clients.
    package var isAtLeast = false

    package var text: String {
      "touches \(isAtLeast ? "at least " : "")\(clients) client\(clients == 1 ? "" : "s") with \(requests) request"
        + (requests == 1 ? "" : "s")
    }
  }

  private let reaches: [TrustChange.Reach]
  private let fromSeconds: Int64
  private let clientsMax: Int
  private var seen: [Set<IPAddress>]
  private var seenCount = 0
  package private(set) var touched: [Touched]

  /// - Parameters:
  ///   - changes: `touched` has an element for each.
  ///   - lastSeconds: the log's last time; what is more than a day older does not count.
  package init(_ changes: [TrustChange], lastSeconds: Int64, clientsMax: Int = 1_000_000) {
    reaches = changes.map(\.reach)
    fromSeconds = lastSeconds - 86_400
    self.clientsMax = clientsMax
    seen = Array(repeating: [], count: changes.count)
    touched = Array(repeating: Touched(), count: changes.count)
  }

  package mutating func note(line: Span<UInt8>) {
    guard let entry = LogEntry(line), let seconds = entry.seconds(line), seconds >= fromSeconds,
      let listener = entry.text(entry.listener, line)
    else { return }
    let peer = entry.peerAddress(line)
    guard let client = entry.address(entry.client, line) ?? peer else { return }
    let upstream = entry.text(entry.upstream, line)
    for (index, reach) in reaches.enumerated() {
      let isTouched =
        switch reach {
        case .peers(let peers, listener: let name): name == listener && peer.map(peers.contains) ?? false
        case .listeners(let names): names.contains(listener)
        case .clients(let clients): clients.contains(client) || peer.map(clients.contains) ?? false
        case .upstreams(let names): upstream.map(names.contains) ?? false
        case .everybody: true
        case .nobody: false
        }
      guard isTouched else { continue }
      touched[index].requests += 1
      guard !seen[index].contains(client) else { continue }
      if seenCount < clientsMax {
        seen[index].insert(client)
        seenCount += 1
        touched[index].clients += 1
      } else {
        touched[index].isAtLeast = true
      }
    }
  }

  /// The time of a line, if it is one of the access log's.
  package static func seconds(line: Span<UInt8>) -> Int64? { LogEntry(line)?.seconds(line) }
}

/// Where the members of one line are that count here.
private struct LogEntry {
  private(set) var time = 0..<0
  private(set) var listener = 0..<0
  private(set) var client = 0..<0
  private(set) var peer = 0..<0
  private(set) var upstream = 0..<0

  /// Nil where the line is not one flat JSON object.
  init?(_ line: Span<UInt8>) {
    var at = 0
    guard line.count > 1, line[0] == UInt8(ascii: "{") else { return nil }
    repeat {
      at += 1
      guard let name = Self.string(line, &at), at < line.count, line[at] == UInt8(ascii: ":") else { return nil }
      at += 1
      guard at < line.count else { return nil }
      if line[at] == UInt8(ascii: "\"") {
        guard let value = Self.string(line, &at) else { return nil }
        note(line.extracting(name), value)
      } else {
        while at < line.count, line[at] != UInt8(ascii: ","), line[at] != UInt8(ascii: "}") { at += 1 }
      }
      guard at < line.count else { return nil }
    } while line[at] == UInt8(ascii: ",")
    guard line[at] == UInt8(ascii: "}") else { return nil }
  }

  /// The inside of the string that begins at `at`, which is then behind it.
  private static func string(_ line: Span<UInt8>, _ at: inout Int) -> Range<Int>? {
    guard at < line.count, line[at] == UInt8(ascii: "\"") else { return nil }
    let start = at + 1
    at = start
    while at < line.count, line[at] != UInt8(ascii: "\"") { at += line[at] == UInt8(ascii: "\\") ? 2 : 1 }
    guard at < line.count else { return nil }
    at += 1
    return start..<(at - 1)
  }

  private mutating func note(_ name: Span<UInt8>, _ value: Range<Int>) {
    switch name.count {
    case 4 where ByteComparison.isEqual(name, "time".utf8.span): time = value
    case 4 where ByteComparison.isEqual(name, "peer".utf8.span): peer = value
    case 6 where ByteComparison.isEqual(name, "client".utf8.span): client = value
    case 8 where ByteComparison.isEqual(name, "listener".utf8.span): listener = value
    case 8 where ByteComparison.isEqual(name, "upstream".utf8.span): upstream = value
    default: break
    }
  }

  func text(_ range: Range<Int>, _ line: Span<UInt8>) -> String? {
    range.isEmpty ? nil : String(decoding: range.map { line[$0] }, as: UTF8.self)
  }

  func address(_ range: Range<Int>, _ line: Span<UInt8>) -> IPAddress? {
    range.isEmpty ? nil : IPAddress.parse(line.extracting(range))?.unmapped
  }

  /// Without the port: `192.0.2.7:4711`, `[2001:db8::7]:4711`.
  func peerAddress(_ line: Span<UInt8>) -> IPAddress? {
    guard let colon = peer.last(where: { line[$0] == UInt8(ascii: ":") }) else { return nil }
    let isBracketed = line[peer.lowerBound] == UInt8(ascii: "[")
    guard isBracketed else { return address(peer.lowerBound..<colon, line) }
    guard colon > peer.lowerBound + 2 else { return nil }
    return address((peer.lowerBound + 1)..<(colon - 1), line)
  }

  /// Seconds since 1970 of `2026-11-25T07:09:31.850Z`.
  func seconds(_ line: Span<UInt8>) -> Int64? {
    guard time.count >= 20, line[time.upperBound - 1] == UInt8(ascii: "Z") else { return nil }
    func number(_ offset: Int, _ count: Int) -> Int? {
      var value = 0
      for i in offset..<(offset + count) {
        let digit = line[time.lowerBound + i]
        guard (0x30...0x39).contains(digit) else { return nil }
        value = value * 10 + Int(digit - 0x30)
      }
      return value
    }
    guard let year = number(0, 4), let month = number(5, 2), let day = number(8, 2), let hour = number(11, 2),
      let minute = number(14, 2), let second = number(17, 2),
      let days = CivilDate.daysSinceEpoch(year: year, month: month, day: day)
    else { return nil }
    return Int64(days * 86_400 + hour * 3_600 + minute * 60 + second)
  }
}
