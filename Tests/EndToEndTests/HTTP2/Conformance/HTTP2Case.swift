// One rule of RFC 9113 or RFC 7541 that a server keeps towards a client: what is sent, and what must come back. The cases are
// those of h2spec, which names them by the sections of RFC 7540; its section 8.1.2 is section 8.2 and 8.3 of RFC 9113 now.

import TestSupport
import Testing

struct HTTP2Case: Sendable, CustomTestStringConvertible {
  enum Expectation: Sendable {
    /// GOAWAY with one of these codes, and the connection's end (RFC 9113 section 5.4.1).
    case connectionError([HTTP2Code])
    /// RST_STREAM with one of these codes on stream 1, after which the connection serves on; or a connection error with it,
    /// which section 5.4.2 allows in its place.
    case streamError([HTTP2Code])
    /// A stream error of a message that no client may send: nothing but an answer of 4xx came before it (section 8.1.1).
    case malformed
    /// The connection's end, with or without GOAWAY.
    case end
    /// A response to stream 1, and the connection serves on.
    case response
    /// The connection goes on: PING comes back, and another request is served.
    case goesOn
    /// The same, or it ends.
    case goesOnOrEnds
    /// `send` says by itself what it expects.
    case asChecked
  }

  var section: String
  var title: String
  var expectation: Expectation
  /// Whether preface and SETTINGS were exchanged before.
  var hasBegun = true
  var send: @Sendable (HTTP2Client) throws -> Void

  init(
    _ section: String, _ title: String, _ expectation: Expectation, hasBegun: Bool = true,
    _ send: @escaping @Sendable (HTTP2Client) throws -> Void
  ) {
    self.section = section
    self.title = title
    self.expectation = expectation
    self.hasBegun = hasBegun
    self.send = send
  }

  var testDescription: String { "\(section) \(title)" }

  /// On a connection of its own.
  func run(on client: HTTP2Client) throws {
    if hasBegun { try client.begin() }
    // A server that ends the connection need not take all that is sent; what it says is looked at below.
    var sendError: (any Error)?
    do { try send(client) } catch { sendError = error }
    if case .asChecked = expectation {
      if let sendError { throw sendError }
      return
    }
    do {
      try check(client)
    } catch {
      throw sendError.map { Trouble("\(error)\nand before: \($0)") } ?? error
    }
  }

  private func check(_ client: HTTP2Client) throws {
    switch expectation {
    case .connectionError(let codes):
      try client.waitForEnd()
      expect(client.goAway?.code, codes, client)
    case .streamError(let codes): try checkStreamError(codes, client)
    case .malformed:
      try checkStreamError([.protocolError], client)
      let status = client.streams[1]?.blocks.first?.status
      #expect(status == nil || (400..<500).contains(status ?? 0), "it was answered \(status ?? 0)")
    case .end: try client.waitForEnd()
    case .response:
      #expect(try client.response(on: 1).status == 200, "\(client.summary)")
      try checkGoesOn(client)
    case .goesOn: try checkGoesOn(client)
    case .goesOnOrEnds:
      do { try checkGoesOn(client) } catch { #expect(client.hasEnded, "\(error)") }
    case .asChecked: break
    }
  }

  private func checkStreamError(_ codes: [HTTP2Code], _ client: HTTP2Client) throws {
    while client.streams[1]?.reset == nil, client.goAway == nil, try client.nextFrame() != nil {}
    if let reset = client.streams[1]?.reset {
      expect(reset, codes, client)
      if client.goAway == nil { try checkGoesOn(client) }
    } else {
      expect(client.goAway?.code, codes, client)
      try client.waitForEnd()
    }
  }

  private func checkGoesOn(_ client: HTTP2Client) throws {
    try client.settle()
    #expect(try client.get("/after").status == 200)
  }

  private func expect(_ code: UInt32?, _ codes: [HTTP2Code], _ client: HTTP2Client) {
    #expect(codes.contains { $0.rawValue == code }, "not \(codes); \(client.summary)")
  }
}

extension HTTP2Client {
  /// HEADERS of a request, and other fields behind its own.
  func headers(
    _ stream: UInt32 = 1, method: String = "GET", ends: Bool = true, isWhole: Bool = true,
    with more: (String, String)...
  ) -> HTTP2Frame {
    .headers(stream, block("/case", method: method, more), ends: ends, isWhole: isWhole)
  }

  /// A field of some thousand bytes.
  static func large(_ index: Int = 0) -> [UInt8] {
    HPACKBlock([HPACKField("x-large\(index)", String(repeating: "x", count: 4000))]).bytes
  }
}
