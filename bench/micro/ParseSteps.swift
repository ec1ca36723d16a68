// Reading: heads, the rules about names, and bodies.

import Platform
import Wire

enum ParseSteps {
  static var all: [Step] {
    [
      request("of a browser", { Samples.browser }),
      request("of a page's script", { Samples.many }),
      request("signed by an edge", { try Samples.signed(by: Samples.signer(Samples.keys(.hmac))) }),
      fields, response,
      names(
        "ordinary",
        [
          "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Cookie", "DNT", "Origin",
          "X-Request-ID",
        ], areIdentity: false),
      names(
        "that claim an address",
        [
          "X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "X-Forwarded-Proto", "CF-Connecting-IP",
          "X-Client-IP", "X-Cluster-Client-IP", "X-Forwarded-Port",
        ], areIdentity: true),
      names(
        "of those, misspelled",
        [
          "X_Forwarded_For", "X_Real_IP", "X.Forwarded.Host", "True_Client_IP", "X_Forwarded_Proto",
          "CF_Connecting_IP", "X_Client_IP", "X_Cluster_Client_IP", "X_Forwarded_Port",
        ], areIdentity: true),
      body(chunkBytes: 16_384), body(chunkBytes: 1_024), body(chunkBytes: 64),
    ]
  }

  private static func request(_ whose: String, _ bytes: @escaping () throws -> [UInt8]) -> Step {
    Step("parse: request head \(whose)") {
      let bytes = try bytes()
      let limits = Samples.limits
      let head = RequestHead(fieldsMax: limits.fields)
      return Operation { _ in
        guard case .complete(let length) = head.parse(bytes.span, limits: limits) else { return false }
        return length == bytes.count
      }
    }
  }

  /// As a codec of HTTP/2 would, from names and values that it has decoded: writing the text is part of it.
  private static var fields: Step {
    Step("parse: request head of a browser, field by field") {
      let bytes = Samples.browser
      let limits = Samples.limits
      let read = try Samples.parsed(bytes)
      // With names as HTTP/2 has them.
      let lines = (0..<read.fieldCount).map { read.field($0) }.filter { $0.kind != .host && $0.kind != .connection }
        .map { (name: bytes[$0.name.range].map { $0 | 0x20 }, value: Array(bytes[$0.value.range])) }
      let scheme = Array("https".utf8)
      let text = Buffer(capacity: 4_096)
      let head = RequestHead(fieldsMax: limits.fields)

      func appended(_ part: Span<UInt8>) -> ByteRange {
        let start = text.count
        text.append(part)
        return ByteRange(start, part.count)
      }
      return Operation { _ in
        text.removeAll()
        let pseudoFields = RequestPseudoFields(
          method: appended(bytes.span.extracting(read.methodRange.range)), scheme: appended(scheme.span),
          authority: appended(bytes.span.extracting(read.authority.range)),
          path: appended(bytes.span.extracting(read.target.range)))
        let linesStart = text.count
        for line in lines {
          let (name, value) = (line.name.span, line.value.span)
          guard FieldBytes.refusal(ofName: name) == nil, FieldBytes.refusal(ofValue: value) == nil else { return false }
          text.append(name)
          text.append(": ")
          text.append(value)
          text.append("\r\n")
        }
        text.append("\r\n")
        return text.withReadable { head.parse($0, pseudoFields, linesStart: linesStart, limits: limits) }
          == .complete(length: text.count)
          && head.fieldCount == lines.count
      }
    }
  }

  private static var response: Step {
    Step("parse: response head") {
      let bytes = Samples.response
      let limits = Samples.limits
      let head = ResponseHead(fieldsMax: 256)
      return Operation { _ in
        guard case .complete(let length) = head.parse(bytes.span, limits: limits, requestWasHead: false) else {
          return false
        }
        return length == bytes.count && head.status == 200
      }
    }
  }

  /// What a name is to us is decided inside the scan of a section. A trailer section is that scan and nothing more, and
  /// with empty values little of it is left but the names.
  private static func names(_ which: String, _ names: [String], areIdentity: Bool) -> Step {
    Step("parse: \(names.count) names and their kinds, \(which)") {
      let bytes = Samples.head(names.map { "\($0):" })
      let limits = Samples.limits
      let section = TrailerSection(fieldsMax: limits.fields)
      return Operation { _ in
        guard case .complete(let length) = section.parse(bytes.span, limits: limits) else { return false }
        return length == bytes.count && section.fieldCount == names.count && section.hasIdentity == areIdentity
      }
    }
  }

  private static func body(chunkBytes: Int) -> Step {
    let bodyBytes = 16_384
    return Step("parse: 16 KiB of body in chunks of \(chunkBytes) B") {
      let chunk =
        Array("\(String(chunkBytes, radix: 16))\r\n".utf8) + [UInt8](repeating: 0x61, count: chunkBytes)
        + Array("\r\n".utf8)
      let bytes = Array(repeatElement(chunk, count: bodyBytes / chunkBytes).joined()) + Array("0\r\n\r\n".utf8)
      return Operation { _ in
        var decoder = BodyDecoder(.chunked)
        let body = bytes.span
        var at = 0
        var payload = 0
        while true {
          switch decoder.step(body.extracting(at..<body.count)) {
          case .data(let skip, let count):
            decoder.consumed(count)
            at += skip + count
            payload += count
          case .end(let skip): return payload == bodyBytes && at + skip == body.count
          case .trailers, .incomplete, .refused: return false
          }
        }
      }
    }
  }
}
