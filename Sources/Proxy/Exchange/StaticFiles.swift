// Files of a directory, for a route with `files`: what stands behind the route's prefix in a request's path names the file. Read-only. The
// kernel keeps the name in the directory (FileDirectory); here it is decoded once, strictly, and what begins with a dot is not served.
// A file is sent as it is when it is opened; one that becomes shorter meanwhile is cut, so that the client sees it.

import Platform
import Policy
import Wire

enum StaticFiles {
  /// A larger file is not served.
  static let fileBytesMax: UInt64 = 256 << 20
  private static let index: StaticString = "index.html"
  private static let notFound = Array("404 Not Found\n".utf8)

  static func begin(
    _ x: Exchange, _ route: RoutePlan, _ directory: FileDirectory, prefix: [UInt8], _ worker: Worker
  ) -> Step {
    guard x.method == .get || x.method == .head else {
      return RouteAnswering.begin(x, route, AnswerHead(status: 405, lengthBytes: 0), FieldLines(), worker) {
        $0.write(.allow, "GET, HEAD")
      }
    }
    let name = x.targetText
    name.removeAll()
    let isName = x.headText.withReadable { bytes in
      writeName(bytes.extracting(x.head.path.range), prefix: prefix, into: name)
    }
    guard isName, !name.overflowed else { return missing(x, route, worker) }
    switch name.withReadable({ directory.open($0) }) {
    case .missing: return missing(x, route, worker)
    case .failed(let code):
      x.detail = .named("", Array(SystemError.text(code).utf8), "")
      return .refuse(.fileUnreadable)
    case .file(let file):
      guard file.bytes <= fileBytesMax else {
        file.close()
        x.detail = .text("the file is larger than 256 MiB")
        return .refuse(.fileUnreadable)
      }
      return serve(x, route, file, type: name.withReadable { ContentType.of($0) }, worker)
    }
  }

  private static func missing(_ x: Exchange, _ route: RoutePlan, _ worker: Worker) -> Step {
    x.targetText.removeAll()
    let page = AnswerParts.page(status: 404, x, worker)
    let body = page?.bytes ?? notFound
    if x.method != .head { x.answerBody = AnswerBody(body) }
    let head = AnswerHead(status: 404, lengthBytes: UInt64(body.count))
    return RouteAnswering.begin(x, route, head, FieldLines(), worker) { fields in
      fields.write(.contentType, page?.contentType ?? "text/plain")
      if page?.varies == true { fields.write(.vary, "Accept") }
    }
  }

  private static func serve(
    _ x: Exchange, _ route: RoutePlan, _ file: OpenFile, type: StaticString, _ worker: Worker
  ) -> Step {
    x.targetText.removeAll()
    var modified = DateField()
    modified.update(fileSeconds: file.modifiedSeconds)
    // The tag stands in the scratch text, so that it can be compared and written.
    let tag = x.targetText
    tag.append(0x22)
    tag.append(hex: UInt64(bitPattern: file.modifiedSeconds))
    tag.append(0x2d)
    tag.append(hex: file.modifiedNanoseconds)
    tag.append(0x2d)
    tag.append(hex: file.bytes)
    tag.append(0x22)
    let isKnown = tag.withReadable { tag in
      x.headText.withReadable { isUnchanged($0, x.head, tag: tag, modified: modified.imf.span) }
    }
    var head = AnswerHead(status: 200, lengthBytes: file.bytes)
    if isKnown {
      file.close()
      head = AnswerHead(status: 304, lengthBytes: nil)
    } else if x.method == .head || file.bytes == 0 {
      file.close()
    } else {
      x.answerBody = AnswerBody(file)
    }
    let last = modified
    return RouteAnswering.begin(x, route, head, FieldLines(), worker) { fields in
      if !isKnown {
        fields.write(.contentType, type)
        fields.write(.contentTypeOptions, "nosniff")
      }
      fields.write(.lastModified, last.imf.span)
      fields.write(.entityTag) { out in tag.withReadable { out.append($0) } }
    }
  }

  // MARK: Names

  /// Appends the name of the file that a path means, without a slash at its beginning. False where it can mean none.
  private static func writeName(_ path: Span<UInt8>, prefix: [UInt8], into out: Buffer) -> Bool {
    guard path.count >= prefix.count, ByteComparison.isEqual(path.extracting(first: prefix.count), prefix.span) else {
      return false
    }
    var at = prefix.count
    if prefix.last != 0x2f {
      guard at < path.count, path[at] == 0x2f else { return false }
      at += 1
    }
    var isSegmentStart = true
    while at < path.count {
      var byte = path[at]
      at += 1
      if byte == 0x2f {
        // An empty segment.
        guard !isSegmentStart else { return false }
        isSegmentStart = true
        out.append(byte)
        continue
      }
      if byte == 0x25 {
        guard at + 1 < path.count, let value = PathText.escaped(path[at], path[at + 1]) else { return false }
        at += 2
        byte = value
      }
      // No segment is `.` or `..`, or hidden; no encoding makes a slash or a control.
      guard byte >= 0x20, byte != 0x7f, byte != 0x2f, byte != 0x5c, !(isSegmentStart && byte == 0x2e) else {
        return false
      }
      isSegmentStart = false
      out.append(byte)
    }
    if isSegmentStart { out.append(index) }
    return true
  }

  // MARK: Conditions

  /// Whether the client says that it has this file (RFC 9110 section 13.2.2). A date counts only where it is the very one that it was told.
  private static func isUnchanged(
    _ bytes: Span<UInt8>, _ head: RequestHead, tag: Span<UInt8>, modified: Span<UInt8>
  ) -> Bool {
    var hasTags = false
    var isKnown = false
    var isSameDate = false
    for i in 0..<head.fieldCount {
      let line = head.field(i)
      let name = bytes.extracting(line.name.range)
      let value = bytes.extracting(line.value.range)
      if name.equalsIgnoringCase("if-none-match") {
        hasTags = true
        isKnown = isKnown || lists(value, tag)
      } else if name.equalsIgnoringCase("if-modified-since") {
        isSameDate = ByteComparison.isEqual(value, modified)
      }
    }
    return hasTags ? isKnown : isSameDate
  }

  /// Whether a list of entity tags has this one, weak or not, or is `*`.
  private static func lists(_ list: Span<UInt8>, _ tag: Span<UInt8>) -> Bool {
    if list.count == 1, list[0] == 0x2a { return true }
    let forms = EntityTags(of: tag, in: list)
    return forms.hasStrong || forms.hasWeak
  }
}
