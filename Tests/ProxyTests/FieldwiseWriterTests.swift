// What a codec that is given fields writes for a head's text, and what goes on of it: the same as of a head of HTTP/1.

import Platform
import Proxy
import Testing
import Wire

@Suite struct FieldwiseWriterTests {
  /// Appends one line, and says where name and value lie.
  private func line(_ name: String, _ value: String, _ text: Buffer) -> (name: ByteRange, value: ByteRange) {
    let nameRange = ByteRange(text.count, name.utf8.count)
    text.append(text: "\(name): \(value)\r\n")
    return (nameRange, ByteRange(nameRange.upper + 2, value.utf8.count))
  }

  @Test func aRequestGoesOnWithoutItsPseudoFields() {
    let text = Buffer(capacity: 4_096)
    let head = RequestHead(fieldsMax: 20)
    var pseudoFields = RequestPseudoFields()
    pseudoFields.method = line(":method", "GET", text).value
    pseudoFields.scheme = line(":scheme", "https", text).value
    pseudoFields.authority = line(":authority", "app.test", text).value
    pseudoFields.path = line(":path", "/a?b", text).value
    let linesStart = text.count
    let fields = [
      ("x-forwarded-for", "192.0.2.66"), ("accept", "*/*"), ("host", "APP.test"), ("cookie", "a=1"),
      ("x_real_ip", "192.0.2.66"), ("empty", ""), ("te", "trailers"),
    ]
    for (name, value) in fields { _ = line(name, value, text) }
    text.append("\r\n")
    let outcome = text.withReadable {
      head.parse($0, pseudoFields, linesStart: linesStart, limits: HeadDocument.limits)
    }
    #expect(outcome == .complete(length: text.count))

    let out = Buffer(capacity: 4_096)
    text.withReadable {
      HeadDocument.writeRequest($0, head, framing: head.framing, into: out)
    }
    #expect(
      HeadDocument.text(out.copyBytes())
        == "GET /a?b HTTP/1.1\nHost: APP.test\naccept: */*\ncookie: a=1\nempty: \n")
  }
}
