// What is compressed, for whom, and what becomes of the head.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct CompressionRuleTests {
  private static let gzip = "Accept-Encoding: gzip, deflate"
  private static let html = "HTTP/1.1 200 OK\nContent-Type: text/html; charset=utf-8\nDate: d"

  private func judge(
    _ response: String = html, _ request: [String] = [gzip], method: String = "GET", contentBytes: UInt64? = 2_000,
    setsCookie: Bool = false, asker: CompressionRule.Asker = CompressionRule.Asker(),
    _ change: (inout Config.Compression) -> Void = { _ in }
  ) throws -> CompressionRule.Verdict {
    var configured = Config.Compression()
    change(&configured)
    let bytes = HeadDocument.bytes((["\(method) / HTTP/1.1", "Host: a"] + request).joined(separator: "\n"))
    let head = RequestHead(fieldsMax: 50)
    try #require(head.parse(bytes.span, limits: HeadDocument.limits) == .complete(length: bytes.count))
    let (text, parsed) = try Self.parse(response, requestWasHead: method == "HEAD")
    return CompressionRule(configured).judge(
      bytes.span, head, asker, text.span, parsed, contentBytes: contentBytes, setsCookie: setsCookie)
  }

  private static func parse(_ head: String, requestWasHead: Bool = false) throws -> ([UInt8], ResponseHead) {
    let text = HeadDocument.bytes(head)
    let parsed = ResponseHead(fieldsMax: 50)
    try #require(
      parsed.parse(text.span, limits: HeadDocument.limits, requestWasHead: requestWasHead)
        == .complete(length: text.count))
    return (text, parsed)
  }

  // MARK: The request

  @Test(arguments: ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
  func whateverWasAsked(method: String) throws { #expect(try judge(method: method) == .gzip) }

  @Test(arguments: [
    [], ["Accept-Encoding: br"], ["Accept-Encoding: gzip;q=0"], ["Accept-Encoding: gzip;q=2"], ["Accept-Encoding:"],
    ["Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0"], [gzip, "Range: bytes=0-5"], [gzip, "range: lines=1-2"],
    [gzip, "Cache-Control: no-transform"], [gzip, "Cache-Control: no-cache , No-Transform=1"],
    [gzip, "Cache-Control: no-transform =x"], [gzip, "Cache-Control: no-cache; no-transform"],
    ["Cache-Control: no-cache", gzip, "cache-control: , no-transform ="],
    [gzip, "Cookie: a=b"], [gzip, "COOKIE:"], [gzip, "Authorization: Basic QQ=="], ["authorization: Bearer x", gzip],
    ["Accept-Encodings: gzip"], ["Accept_Encoding: gzip"],
  ])
  func itGoesAsItIsAndVaries(request: [String]) throws { #expect(try judge(Self.html, request) == .identity) }

  @Test func otherClientsDoNotReadIt() throws {
    var asker = CompressionRule.Asker()
    asker.isPlain = false
    #expect(try judge(asker: asker) == .identity)
    asker = CompressionRule.Asker()
    asker.hasCertificate = true
    #expect(try judge(asker: asker) == .identity)
    #expect(try judge(asker: asker) { $0.includesCredentials = true } == .gzip)
  }

  @Test(arguments: ["Cookie: a=b", "Authorization: Basic QQ=="])
  func credentialsAreTakenWhereTheRouteSaysSo(field: String) throws {
    #expect(try judge(Self.html, [Self.gzip, field]) { $0.includesCredentials = true } == .gzip)
  }

  // MARK: The response

  @Test(arguments: [
    "HTTP/1.1 204 No Content\nContent-Type: text/html", "HTTP/1.1 205 Reset Content\nContent-Type: text/html",
    "HTTP/1.1 206 Partial Content\nContent-Type: image/png\nContent-Range: bytes 0-5/10",
    "HTTP/1.1 206 Partial Content\nContent-Type: text/html\nContent-Range: bytes 0-5/10\nContent-Encoding: br",
    "HTTP/1.1 301 Moved\nContent-Type: text/html", "HTTP/1.1 404 Not Found\nContent-Type: text/html",
    "HTTP/1.1 500 Oops\nContent-Type: text/html", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\nContent-Type: image/png",
    "HTTP/1.1 200 OK\nContent-Type: text/event-stream",
    "HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Type: text/html",
    html + "\nContent-Encoding: br", html + "\nContent-Encoding: identity", html + "\nContent-Range: bytes 0-5/10",
    html + "\nCache-Control: max-age=5, No-Transform", html + "\nCache-Control: no-transform=1",
    html + "\nCache-Control: public\nCache-Control: no-transform",
    html + "\nCache-Control: no-transform =x", html + "\nCache-Control: public no-transform",
    html + "\nCache-Control: x=\"a\nCACHE-CONTROL: ,\tno-transform\t= x\"\nCache-Control: public",
    html + "\nSet-Cookie: a=b", html + "\nContent-MD5: x", html + "\nDigest: x", html + "\nContent-Digest: x",
    html + "\nRepr-Digest: x", html + "\nTransfer-Encoding: chunked\nTrailer: X-A, Repr-Digest",
    html + "\nSignature-Input: x", html + "\nSignature: x", html + "\nETag: \"a\"\nETag: \"b\"",
  ])
  func itStaysAsItIs(response: String) throws {
    #expect(try judge(response, contentBytes: nil) == .untouched)
    #expect(try judge(response, [], contentBytes: nil) == .untouched)
  }

  @Test(arguments: [
    "HTTP/1.1 201 Created\nContent-Type: application/json", "HTTP/1.1 299 Fine\nContent-Type: application/problem+json",
    "HTTP/1.0 200 OK\nContent-Type: IMAGE/SVG+XML", html + "\nCache-Control: max-age=5, private=\"x\"",
    html + "\nCache-Control: no-transforms", html + "\nCache-Control: x=no-transform",
    html + "\nCache-Control: no-\nCache-Control: transform",
    html + "\nETag: \"a\"\nVary: Origin\nAccept-Ranges: bytes\nServer: s\nTransfer-Encoding: chunked\nTrailer: X-A",
    "HTTP/1.1 200 OK\nContent-Type: application/wasm\nWant-Repr-Digest: sha-256=1",
  ])
  func itIsCompressed(response: String) throws { #expect(try judge(response, contentBytes: nil) == .gzip) }

  @Test func littleIsNotWorthIt() throws {
    #expect(try judge(contentBytes: 1_023) == .untouched && judge(contentBytes: 1_024) == .gzip)
    #expect(try judge(contentBytes: 1) { $0.minimumBytes = 1 } == .gzip)
    #expect(try judge(contentBytes: 0) { $0.minimumBytes = 1 } == .untouched)
    #expect(try judge(contentBytes: nil) == .gzip)
  }

  @Test func aCookieOfOursIsOne() throws {
    #expect(try judge(setsCookie: true) == .untouched)
    #expect(try judge(setsCookie: true) { $0.includesCredentials = true } == .gzip)
    #expect(try judge(Self.html + "\nSet-Cookie: a=b") { $0.includesCredentials = true } == .gzip)
  }

  @Test func typesAreTheRoutes() throws {
    func only(_ text: String) throws -> MediaTypes { MediaTypes([try #require(MediaTypePattern(text))]) }
    let (css, events) = (try only("text/css"), try only("text/event-stream"))
    #expect(try judge(Self.html) { $0.types = css } == .untouched)
    let response = "HTTP/1.1 200 OK\nContent-Type: text/event-stream"
    #expect(try judge(response, contentBytes: nil) { $0.types = events } == .gzip)
  }

  /// RFC 9110 section 15.3.7. Its own length says nothing of that.
  @Test func aPartVariesAsTheWholeDoes() throws {
    let response = "HTTP/1.1 206 Partial Content\nContent-Type: text/html\nContent-Range: bytes 0-5/9999"
    #expect(try judge(response, [Self.gzip, "Range: bytes=0-5"], contentBytes: 6) == .identity)
    #expect(try judge(response, [Self.gzip], contentBytes: 6) == .identity, "though nobody asked for a part")
    #expect(try judge(response + "\nCache-Control: no-transform", contentBytes: 6) == .untouched)
  }

  /// Its tag has to be the one that the compressed content had, where it is that which the client has: it says so by the tag.
  @Test(arguments: [
    ("W/\"a\"", true), ("\"b\", W/\"a\"", true), ("\"a\", W/\"a\"", true), ("\"x,W/\", W/\"a\" ,\"c\"", true),
    ("\"a\"", false),
    ("W/\"b\"", false), ("*", false), ("", false), ("w/\"a\"", false), ("W/ \"a\"", false), ("\"W/\"a\"", false),
  ])
  func whatIsNotModifiedIsToldAsItWas(asked: String, hasCompressed: Bool) throws {
    let response = "HTTP/1.1 304 Not Modified\nETag: \"a\""
    let request = ["If-None-Match: \(asked)"]
    let expected = hasCompressed ? CompressionRule.Verdict.notModified : .identity
    #expect(try judge(response, request + [Self.gzip], contentBytes: nil) == expected)
    // Whoever shows a cookie now, or takes no gzip any more, has what it has.
    #expect(try judge(response, request + [Self.gzip, "Cookie: a=b"], contentBytes: nil) == expected)
    #expect(try judge(response, request, contentBytes: nil) == expected)
    #expect(try judge("HTTP/1.1 304 Not Modified", request, contentBytes: nil) == .identity)
    #expect(try judge(response, request + [Self.gzip], contentBytes: 20) == .untouched)
  }

  @Test func whatIsNotModifiedAndNeverCompressedIsLeftAlone() throws {
    let response = "HTTP/1.1 304 Not Modified\nETag: \"a\""
    #expect(try judge(response, contentBytes: nil) == .identity)
    #expect(try judge(response + "\nContent-Type: image/png", contentBytes: nil) == .untouched)
    #expect(try judge(response + "\nSet-Cookie: a=b", contentBytes: nil) == .untouched)
  }

  // MARK: The head

  private func head(
    _ response: String, _ verdict: CompressionRule.Verdict, edit: HeadEdit? = nil,
    framing: HeadWriter.ResponseFraming = .chunked
  ) throws -> String {
    let (bytes, parsed) = try Self.parse(response)
    let coding = ResponseCoding(verdict, bytes.span, parsed, edit)
    let out = Buffer(capacity: 4_096)
    HeadWriter.writeResponse(
      bytes.span, head: parsed, length: bytes.count, framing: framing, coding: coding, keepAlive: true,
      clientMinorVersion: 1, isTunnel: false, edit: edit, date: Array("d".utf8).span, into: out)
    return HeadDocument.text(out.copyBytes())
  }

  @Test func aCompressedResponseSaysSo() throws {
    #expect(
      try head(
        Self.html + "\nContent-Length: 2000\nETag: \"a\"\nVary: Origin\nAccept-Ranges: bytes\nX-A: 1", .gzip)
        == Self.html + "\nVary: Origin\nX-A: 1\nTransfer-Encoding: chunked\nContent-Encoding: gzip\n"
        + "Vary: Accept-Encoding\nETag: W/\"a\"\n\n")
  }

  @Test func whatIsNotCompressedOnlyVaries() throws {
    let response = Self.html + "\nETag: \"a\"\nAccept-Ranges: bytes"
    #expect(
      try head(response + "\nContent-Length: 2000", .identity, framing: .length(2_000))
        == response + "\nContent-Length: 2000\nVary: Accept-Encoding\n\n")
    #expect(
      try head(response + "\nContent-Length: 2000", .untouched, framing: .length(2_000))
        == response + "\nContent-Length: 2000\n\n")
    #expect(
      try head("HTTP/1.1 304 Not Modified\nDate: d\nETag: \"a\"", .notModified, framing: .none)
        == "HTTP/1.1 304 Not Modified\nDate: d\nVary: Accept-Encoding\nETag: W/\"a\"\n\n")
  }

  @Test(arguments: [
    "Vary: *", "Vary: accept-encoding", "Vary: Origin, Accept-Encoding", "Vary: A ,ACCEPT-ENCODING,B", "Vary: A, *",
  ])
  func whatVariesAlreadySaysItOnce(line: String) throws {
    #expect(
      try head("\(Self.html)\n\(line)", .gzip)
        == "\(Self.html)\n\(line)\nTransfer-Encoding: chunked\nContent-Encoding: gzip\n\n")
  }

  /// A list whose names no comma parts says nothing of Accept-Encoding.
  @Test(arguments: ["Vary: Origin Accept-Encoding", "Vary: Accept-Encodings", "Vary: x*", "Vary:"])
  func whatDoesNotVarySaysSoNow(line: String) throws {
    #expect(try head("\(Self.html)\n\(line)", .gzip).contains("\nVary: Accept-Encoding\n"))
  }

  /// What caches need is there, once, whatever the route makes of the server's Vary. Here without the lines of the route's own.
  @Test(arguments: [
    ("set: { Vary: Origin }", ["Vary: Accept-Encoding"]),
    ("remove: [vary]", ["Vary: Accept-Encoding"]),
    ("set: { vary: 'origin, accept-encoding' }", []),
    ("set: { Vary: '*' }", []),
    ("add: { Vary: Origin }", ["Vary: Accept-Encoding"]),
  ])
  func whatARouteWritesAboutVaryCounts(changes: String, expected: [String]) throws {
    let read = ConfigReader.read(
      text: """
        listeners: [{ name: web, listen: "127.0.0.1:0" }]
        routes: [{ to: app, response_headers: { \(changes) } }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        """, path: "edge.yaml")
    let config = try #require(read.config, "\(read.diagnostics)")
    let edit = try #require(HeadEdit.response(config.routes[0].changes, config.headers))
    for verdict in [CompressionRule.Verdict.gzip, .identity] {
      let text = try head(Self.html + "\nVary: Accept-Encoding", verdict, edit: edit)
      #expect(text.split(separator: "\n").filter { $0.lowercased().hasPrefix("vary:") }.map(String.init) == expected)
    }
  }

  @Test(arguments: [
    ("W/\"a\"", "W/\"a\""), ("\"\"", "W/\"\""), ("a", nil), ("\"a", nil), ("w/\"a\"", nil), ("", nil),
  ])
  func aTagIsWeakOrNone(given: String, written: String?) throws {
    let text = try head("\(Self.html)\nETag: \(given)", .gzip)
    let tags = text.split(separator: "\n").filter { $0.hasPrefix("ETag:") }
    #expect(tags == (written.map { ["ETag: \($0)"] } ?? []))
  }
}
