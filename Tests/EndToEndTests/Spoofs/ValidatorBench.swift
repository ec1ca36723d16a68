// A validator and the backend that it guards, with a forger who holds its keys. One for all cases of a table, which run one
// after the other: after each it must still serve an honest request, and the backend must not have seen a byte of the
// forged one.

import Foundation
import TestSupport
import Testing

final class ValidatorBench: Sendable {
  let workspace: Workspace
  let backend: RecordingBackend
  let validator: Countersign
  let forger: Forger
  let mode: Site.Mode
  let speaksHTTP2: Bool
  let address: Address

  init(
    _ mode: Site.Mode, keys: Keys? = nil, speaksHTTP2: Bool = false,
    change: (inout Configuration) throws -> Void = { _ in }, kid: String = Keys.kid
  ) throws {
    self.mode = mode
    self.speaksHTTP2 = speaksHTTP2
    workspace = try Workspace()
    backend = try RecordingBackend()
    let keys = try keys ?? Keys.standard
    var configuration = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
    if speaksHTTP2 { configuration.listeners[0].more = ["protocols: [h2c]"] }
    try change(&configuration)
    validator = try Countersign(configuration, name: "validator", in: workspace)
    address = try validator["from-edge"]
    forger = try Forger(validatorKeys: keys.validator, kid: kid)
    try start()
  }

  /// Until the time has passed in which everything is `starting`.
  func start() throws {
    try eventually("the validator has started", everyMilliseconds: 50) {
      let status = try send(SignedRequest("/start", by: forger)).status
      guard status == 200 || status == 503 || status == 0 else {
        throw Trouble("an honest request was answered \(status)\n\(validator.process.tail)")
      }
      return status == 200
    }
  }

  /// Sends bytes on a connection of their own; the status is 0 when it ended without an answer.
  func send(_ bytes: [UInt8]) throws -> HTTPResponse {
    let connection = try Connection(to: address)
    try connection.send(bytes)
    return try read(connection)
  }

  func read(_ connection: Connection) throws -> HTTPResponse {
    do {
      guard try connection.heldCount > 0 || connection.fill() else { return HTTPResponse(HTTPHead([])) }
      return try connection.readResponse()
    } catch is ConnectionReset {
      return HTTPResponse(HTTPHead([]))
    }
  }

  /// The PROXY header that an edge would send in front of the request, where one is due.
  private func header(_ request: SignedRequest) -> [UInt8] {
    mode == .bound ? SignedProxyHeader(for: request, by: forger).bytes : []
  }

  /// What an edge would send for the request by HTTP/1, with its PROXY header where one is due.
  func bytes(_ request: SignedRequest) -> [UInt8] { header(request) + Array(request.text.utf8) }

  /// Sends what an edge would send for the request.
  func send(_ request: SignedRequest) throws -> (status: Int, text: String) {
    if speaksHTTP2, let message = HTTP2Message(Array(request.text.utf8)) {
      let response = try send(message, behind: header(request)).response
      return (response.status, response.text)
    }
    let response = try send(bytes(request))
    return (response.status, response.text)
  }

  /// By HTTP/2, behind these bytes, on a connection of its own.
  func send(_ message: HTTP2Message, behind front: [UInt8]) throws -> (response: HTTP2Response, client: HTTP2Client) {
    let client = HTTP2Client(over: try Connection(to: address), scheme: "http")
    try client.send(front + HTTP2Client.preface + HTTP2Frame.settings().bytes)
    // Who is refused for the bytes in front takes no more.
    do { try client.send(message) } catch {}
    return (try client.outcome(on: 1), client)
  }

  /// An honest request passes, and the backend sees the client's address in it.
  func servesHonestly() throws {
    let path = "/honest/\(UUID().uuidString)"
    let response = try send(SignedRequest(path, by: forger))
    #expect(response.status == 200, "\(validator.access.entries.suffix(3))")
    #expect(response.text == Peer.client())
    _ = try backend.waitForRequest(to: path)
  }

  /// The bytes are refused by this name and with this status, nothing of them reaches the backend, and honest clients
  /// go on.
  func refuses(
    _ refusal: String, status: Int, stays: Bool = false, isInBody: Bool = false, mark: String, _ bytes: [UInt8],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let start = validator.access.end
    let before = backend.requests.count
    let connection = try Connection(to: address)
    try connection.send(bytes)
    let response = try read(connection)
    #expect(response.status == status, sourceLocation: sourceLocation)
    let entry = try validator.access.wait(from: start, for: refusal) { $0.refusal != nil }
    #expect(entry.refusal == refusal, sourceLocation: sourceLocation)
    #expect(entry.status == status, sourceLocation: sourceLocation)
    #expect(
      !response.head.text.contains(refusal) && !response.text.contains(refusal), "the client is told too much",
      sourceLocation: sourceLocation)
    if stays {
      #expect(response["connection"]?.lowercased() != "close", sourceLocation: sourceLocation)
    } else {
      #expect(try connection.readToEnd() == [], "the connection goes on", sourceLocation: sourceLocation)
    }
    try checkBehind(isInBody: isInBody, mark: mark, before: before, sourceLocation)
  }

  /// The same by HTTP/2: the message is answered with the status or reset for what it is, or, where the status is 0, the
  /// connection ends.
  func refuses(
    _ message: HTTP2Message, behind front: [UInt8] = [], as refusal: String, status: Int, isInBody: Bool = false,
    mark: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let start = validator.access.end
    let before = backend.requests.count
    let (response, client) = try send(message, behind: front)
    if status == 0 {
      try client.waitForEnd()
      #expect(response.status == 0, sourceLocation: sourceLocation)
    } else if response.status == 0 {
      #expect(response.reset == HTTP2Code.protocolError.rawValue, sourceLocation: sourceLocation)
    } else {
      #expect(response.status == status, sourceLocation: sourceLocation)
    }
    #expect(!response.text.contains(refusal), "the client is told too much", sourceLocation: sourceLocation)
    let entry = try validator.access.wait(from: start, for: refusal) { $0.refusal != nil }
    #expect(entry.refusal == refusal, sourceLocation: sourceLocation)
    try checkBehind(isInBody: isInBody, mark: mark, before: before, sourceLocation)
  }

  /// After a refusal: honest clients go on, and nothing of it reached the backend.
  private func checkBehind(isInBody: Bool, mark: String, before: Int, _ sourceLocation: SourceLocation) throws {
    try servesHonestly()
    if isInBody {
      #expect(!backend.completed.contains(mark), "a whole request reached the backend", sourceLocation: sourceLocation)
    } else {
      #expect(!backend.saw(mark), "the backend saw it", sourceLocation: sourceLocation)
      #expect(backend.requests.count == before + 1, sourceLocation: sourceLocation)
    }
    #expect(!backend.saw(Peer.claimed), "the backend saw the claimed address", sourceLocation: sourceLocation)
  }
}
