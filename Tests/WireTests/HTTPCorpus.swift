// Every message that the tests of heads and bodies read, and its mutations, from one place: what holds of all of them is
// checked of all of them.

import TestSupport
import Wire

enum HTTPCorpus {
  static let requests =
    HTTPRequestHeadTests.documents + HTTPRequestLineTests.documents + HTTPSmugglingTests.documents
    + HTTPFieldNamesTests.documents
  static let responses = HTTPResponseHeadTests.documents
  static let chunked = HTTPBodyTests.chunked
  static let sections = HTTPBodyTests.sections

  /// A request to each host, and with each name that is protected or an alias of one, nominated and announced as well.
  static var generatedRequests: [[UInt8]] {
    let hosts = (HTTPRequestHeadTests.goodHosts + HTTPRequestHeadTests.badHosts).map { "Host: \($0)\r\n" }
    let known = HTTPFieldNamesTests.signed + HTTPFieldNamesTests.foreign + HTTPFieldNamesTests.hop
    let names = (known.map(\.0) + HTTPFieldNamesTests.claims + HTTPFieldNamesTests.ordinary).flatMap {
      HTTPFieldNamesTests.spellings($0) + HTTPFieldNamesTests.aliases($0)
    }
    let fields = names.flatMap {
      ["Host: a\r\n\($0): 1\r\n", "\($0): 1\r\nHost: a\r\nConnection: close, \($0)\r\nTrailer: \($0)\r\n"]
    }
    return (hosts + fields).map { Array("GET / HTTP/1.1\r\n\($0)\r\n".utf8) }
  }

  // MARK: Mutations: the same in every run

  static func mutatedRequests(_ seed: Int) -> [[UInt8]] { mutations(of: requests, UInt64(seed), count: 4000) }

  static func mutatedResponses(_ seed: Int) -> [[UInt8]] { mutations(of: responses, UInt64(seed) << 32, count: 3000) }

  static func mutatedBodies(_ seed: Int) -> [[UInt8]] { mutations(of: chunked, UInt64(seed) << 48, count: 3000) }

  static func mutatedSections(_ seed: Int) -> [[UInt8]] { mutations(of: sections, UInt64(seed) << 16, count: 2000) }

  private static func mutations(of documents: [Document], _ seed: UInt64, count: Int) -> [[UInt8]] {
    var dice = Seeded(seed)
    let seeds = documents.seeds
    return (0..<count).map { _ in mutate(seeds.randomElement(using: &dice) ?? [], &dice) }
  }

  private static let fragments: [[UInt8]] = [
    "\r\n", "\n", "\r", " ", "\t", ":", ",", "\0", "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n",
    "Host: a\r\n", "X-Forwarded-For: 192.0.2.7\r\n", "x_forwarded_for", "Connection: close, x\r\n", "\r\n\r\n", "\r\n ",
    "HTTP/1.1", "HTTP/1.0", "%", "%41", "?", "\\", "*", "http://a/", "chunked", "0\r\n\r\n", "5\r\nhello\r\n", ";",
    "ffffffffffffffff",
    "Signature: a\r\n", "Trailer: x, signature\r\n",
  ].map { Array($0.utf8) }

  private static func mutate(_ seed: [UInt8], _ dice: inout Seeded) -> [UInt8] {
    var bytes = seed
    for _ in 0..<Int.random(in: 1...3, using: &dice) {
      let at = Int.random(in: 0...bytes.count, using: &dice)
      switch Int.random(in: 0..<6, using: &dice) {
      case 0: if at < bytes.count { bytes[at] = UInt8.random(in: 0...255, using: &dice) }
      case 1: if at < bytes.count { bytes.remove(at: at) }
      case 2: bytes.insert(UInt8.random(in: 0...127, using: &dice), at: at)
      case 3: bytes.insert(contentsOf: fragments.randomElement(using: &dice) ?? [], at: at)
      case 4:
        let end = min(bytes.count, at + Int.random(in: 0...40, using: &dice))
        bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &dice))
      default: if at < bytes.count { bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &dice) }
      }
    }
    return bytes
  }
}

extension [Document] {
  /// What to mutate: every document, and the good ones again, since most changes make a bad message.
  fileprivate var seeds: [[UInt8]] {
    let good = filter { if case .complete = $0.expected { true } else { false } }
    return (self + good + good).map(\.bytes)
  }
}
