// What a codec that is given field by field writes for a head's text, and what goes on of it: the same as of a head of HTTP/1.

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
    var refusals = [text.withReadable { head.begin($0, pseudoFields, limits: HeadDocument.limits) }]
    let fields = [
      ("x-forwarded-for", "192.0.2.66"), ("accept", "*/*"), ("host", "APP.test"), ("cookie", "a=1"),
      ("x_real_ip", "192.0.2.66"), ("empty", ""), ("te", "trailers"),
    ]
    for (name, value) in fields {
      let line = line(name, value, text)
      refusals.append(text.withReadable { head.add($0, name: line.name, value: line.value) })
    }
    text.append("\r\n")
    #expect(refusals == [Refusal?](repeating: nil, count: refusals.count))
    #expect(text.withReadable { head.finish($0) } == .complete(length: text.count))

    let out = Buffer(capacity: 4_096)
    text.withReadable {
      HeadWriter.writeRequest(
        $0, head: head, framing: head.framing, webSocket: false, expectsContinue: false, into: out)
    }
    #expect(
      HeadDocument.text(out.copyBytes())
        == "GET /a?b HTTP/1.1\nHost: APP.test\naccept: */*\ncookie: a=1\nempty: \n")
  }

  @Test func aResponse() {
    let text = Buffer(capacity: 4_096)
    let head = ResponseHead(fieldsMax: 20)
    let status = line(":status", "200", text).value
    #expect(text.withReadable { head.begin($0, status: status, limits: HeadDocument.limits) } == nil)
    for (name, value) in [("server", "x"), ("content-length", "03"), ("etag", "\"y\"")] {
      let line = line(name, value, text)
      #expect(text.withReadable { head.add($0, name: line.name, value: line.value) } == nil)
    }
    text.append("\r\n")
    #expect(text.withReadable { head.finish($0, requestWasHead: false) } == .complete(length: text.count))

    let out = Buffer(capacity: 4_096)
    let date = Array(HeadDocument.date.utf8)
    text.withReadable {
      HeadWriter.writeResponse(
        $0, head: head, length: text.count, framing: .length(3), keepAlive: true, clientMinorVersion: 1,
        isTunnel: false, date: date.span, into: out)
    }
    #expect(
      HeadDocument.text(out.copyBytes())
        == "HTTP/1.1 200 \nserver: x\netag: \"y\"\nDate: \(HeadDocument.date)\nContent-Length: 3\n\n")
  }

  @Test func trailers() {
    let text = Buffer(capacity: 4_096)
    let section = TrailerSection(fieldsMax: 20)
    section.begin(limits: HeadDocument.limits)
    for (name, value) in [("x-sum", "1"), ("x-real-ip", "192.0.2.66"), ("grpc-status", "0")] {
      let line = line(name, value, text)
      #expect(text.withReadable { section.add($0, name: line.name, value: line.value) } == nil)
    }
    text.append("\r\n")
    #expect(text.withReadable { section.finish($0) } == .complete(length: text.count))
    let out = Buffer(capacity: 4_096)
    text.withReadable { TrailerWriter.write($0, section, into: out) }
    #expect(HeadDocument.text(out.copyBytes()) == "0\nx-sum: 1\ngrpc-status: 0\n\n")
  }
}
