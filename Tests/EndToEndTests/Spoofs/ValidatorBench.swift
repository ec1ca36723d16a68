// A validator and the backend that it guards, with a forger who holds its keys. One for all cases of a table, which run one
// after the other: after each it must still serve an honest request, and the backend must not have seen a byte of the
// forged one.

import Foundation
import Testing

final class ValidatorBench: Sendable {
  let workspace: Workspace
  let backend: RecordingBackend
  let validator: Countersign
  let forger: Forger
  let mode: Site.Mode
  let address: Address

  init(
    _ mode: Site.Mode, keys: Keys? = nil, change: (inout Configuration) throws -> Void = { _ in },
    kid: String = Keys.kid
  ) throws {
    self.mode = mode
    workspace = try Workspace()
    backend = try RecordingBackend()
    let keys = try keys ?? Keys.standard
    var configuration = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
    try change(&configuration)
    validator = try Countersign(configuration, name: "validator", in: workspace)
    address = try validator["from-edge"]
    forger = try Forger(validatorKeys: keys.validator, kid: kid)
    try start()
  }

  /// Until the time has passed in which everything is `starting`.
  func start() throws {
    try eventually("the validator has started", everyMilliseconds: 50) {
      let response = try send(SignedRequest("/start", by: forger))
      guard response.status == 200 || response.status == 503 || response.status == 0 else {
        throw Trouble("an honest request was answered \(response.status)\n\(validator.process.tail)")
      }
      return response.status == 200
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

  /// What an edge would send for the request, with its PROXY header where one is due.
  func bytes(_ request: SignedRequest) -> [UInt8] {
    let header = mode == .bound ? SignedProxyHeader(for: request, by: forger).bytes : []
    return header + Array(request.text.utf8)
  }

  func send(_ request: SignedRequest) throws -> HTTPResponse { try send(bytes(request)) }

  /// An honest request passes, and the backend sees the client's address in it.
  func servesHonestly() throws {
    let path = "/honest/\(UUID().uuidString)"
    let response = try send(SignedRequest(path, by: forger))
    #expect(response.status == 200)
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
