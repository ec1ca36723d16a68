// Pages in place of the one line that an answer of our own has: by status, in HTML and JSON. Read, and filled in for each status, when a
// configuration is loaded, so that an answer only copies. Used by `Exchange.answer`.

import Platform
import Policy
import Wire

/// One page for one status.
package struct AnswerPage: Sendable {
  let contentType: StaticString
  let bytes: [UInt8]
  /// Another client would have got another one.
  let varies: Bool
}

package struct AnswerPages: Sendable {
  /// A page goes out in one piece with its head.
  package static let bytesMax = 32 * 1024

  private struct Pair: Sendable {
    var html: [UInt8]?
    var json: [UInt8]?
  }

  private var pages: [Int: Pair] = [:]

  package init() {}

  package var isEmpty: Bool { pages.isEmpty }

  /// The page for a status; nil where there is none.
  func page(status: Int, prefersJSON: @autoclosure () -> Bool) -> AnswerPage? {
    guard let pair = pages[status] else { return nil }
    let varies = pair.html != nil && pair.json != nil
    let isJSON = pair.html == nil || varies && prefersJSON()
    guard let bytes = isJSON ? pair.json : pair.html else { return nil }
    return AnswerPage(
      contentType: isJSON ? "application/json" : "text/html; charset=utf-8", bytes: bytes, varies: varies)
  }

  // MARK: Loading

  /// Reads the pages; of two for one status the first counts.
  /// - Parameter path: where they stand in the configuration.
  package static func load(_ config: [Config.ErrorPage], at path: String, _ fail: (String, String) -> Void)
    -> AnswerPages
  {
    var all = AnswerPages()
    for (index, page) in config.enumerated() {
      let html = page.html.flatMap { read($0, "\(path)[\(index)].html", fail) }
      let json = page.json.flatMap { read($0, "\(path)[\(index)].json", fail) }
      for status in Refusal.statuses where page.statuses.contains(where: { $0.contains(status) }) {
        guard all.pages[status] == nil else { continue }
        all.pages[status] = Pair(html: html.map { fill($0, status) }, json: json.map { fill($0, status) })
      }
    }
    return all
  }

  private static func read(_ file: String, _ place: String, _ fail: (String, String) -> Void) -> [UInt8]? {
    if let reason = TextFile.readFailure(path: file, refusesPipes: true) {
      fail(place, "\(file): \(reason)")
      return nil
    }
    do {
      let bytes = try TextFile.read(path: file, bytesMax: bytesMax + 1)
      guard bytes.count <= bytesMax else {
        fail(place, "\(file): a page has at most \(bytesMax >> 10) KiB")
        return nil
      }
      return bytes
    } catch {
      fail(place, "\(file): \(error.reason)")
      return nil
    }
  }

  /// `{{status}}` and `{{reason}}` are replaced.
  private static func fill(_ page: [UInt8], _ status: Int) -> [UInt8] {
    var filled = page
    for (name, value) in [("{{status}}", "\(status)"), ("{{reason}}", "\(HeadWriter.reason(status))")] {
      filled.replace(Array(name.utf8), with: Array(value.utf8))
    }
    return filled
  }
}
