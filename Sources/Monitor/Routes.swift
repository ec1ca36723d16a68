// The service: which path and method does what. Every decision by address uses `Exchange.clientAddress`, every decision
// by token `authenticate`; nothing else identifies anybody.

import FlyingFox
import Foundation

/// One path and method.
struct Route: Sendable {
  typealias Handler = @Sendable (Exchange) async throws -> HTTPResponse

  let method: HTTPMethod
  let pattern: [Substring]
  let handler: Handler

  init(_ method: HTTPMethod, _ pattern: String, _ handler: @escaping Handler) {
    self.method = method
    self.pattern = pattern.split(separator: "/")
    self.handler = handler
  }

  /// The values of the `{id}` segments if the path is this route's; nil if not. Nothing is decoded or normalised: no
  /// path of ours needs it. What is not an identifier of ours names nothing, so it is not matched.
  func match(_ path: [Substring]) -> [String: String]? {
    guard path.count == pattern.count else { return nil }
    var parameters: [String: String] = [:]
    for (expected, found) in zip(pattern, path) {
      if expected.hasPrefix("{"), isIdentifier(found) {
        parameters[String(expected.dropFirst().dropLast())] = String(found)
      } else if expected != found {
        return nil
      }
    }
    return parameters
  }
}

/// What the routes do.
struct Service: Sendable {
  let store: Store
  let hub: EventHub
  let settings: Settings
  let requestCount: RequestCount

  var routes: [Route] {
    [
      Route(.GET, "/healthz", health),
      Route(.GET, "/whoami", whoami),
      Route(.POST, "/api/v1/owners", addOwner),
      Route(.GET, "/api/v1/discover", discover),
      Route(.GET, "/api/v1/printers", listPrinters),
      Route(.POST, "/api/v1/printers/announce", announce),
      Route(.GET, "/api/v1/printers/{id}", showPrinter),
      Route(.POST, "/api/v1/printers/{id}/link", link),
      Route(.DELETE, "/api/v1/printers/{id}/link", unlink),
      Route(.PUT, "/api/v1/printers/{id}/status", putStatus),
      Route(.PUT, "/api/v1/printers/{id}/snapshot", putSnapshot),
      Route(.GET, "/api/v1/printers/{id}/snapshot", getSnapshot),
      Route(.GET, "/api/v1/printers/{id}/events", events),
      Route(.POST, "/api/v1/printers/{id}/commands", addCommand),
      Route(.GET, "/api/v1/printers/{id}/commands", listCommands),
    ]
  }

  // MARK: Health

  private func health(_: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let status: String
      let requests: Int
    }
    do { try await store.ping() } catch { throw Problem.unavailable }
    return try .json(.ok, Body(status: "ok", requests: requestCount.value))
  }

  // MARK: Owners and printers finding each other

  private func addOwner(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let owner: Owner
      let token: String
    }
    let input = try await exchange.json(OwnerInput.self, bytesMax: settings.jsonBytesMax)
    try input.validate()
    let token = Token.make(prefix: "owner")
    let owner = try await store.addOwner(name: input.name, token: token)
    return try .json(.created, Body(owner: owner, token: token.text))
  }

  /// A printer says that it is there: the first time it gets its token, later it comes with it.
  private func announce(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let printer: Printer
      let token: String?
    }
    let principal = try await exchange.bearerToken() == nil ? nil : authenticate(exchange)
    let address = try exchange.clientAddress()
    let input = try await exchange.json(PrinterInput.self, bytesMax: settings.jsonBytesMax)
    try input.validate()
    switch principal {
    case nil:
      let token = Token.make(prefix: "printer")
      let printer = try await store.addPrinter(
        name: input.name, model: input.model, token: token, address: address)
      var response = try HTTPResponse.json(.created, Body(printer: printer, token: token.text))
      response.headers[.location] = "/api/v1/printers/\(printer.id)"
      return response
    case .printer(let id):
      let printer = try await store.announce(id: id, name: input.name, model: input.model, address: address)
      await hub.publish(.state(printer), of: id)
      return try .json(.ok, Body(printer: printer, token: nil))
    case .owner:
      throw Problem.forbidden
    }
  }

  private func discover(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let publicAddress: String
      let printers: [Printer]
    }
    _ = try await authenticateOwner(exchange)
    let address = try exchange.clientAddress()
    let printers = try await store.discoverable(from: address, since: discoverableSince)
    return try .json(.ok, Body(publicAddress: address.description, printers: printers))
  }

  private func link(_ exchange: Exchange) async throws -> HTTPResponse {
    let owner = try await authenticateOwner(exchange)
    let address = try exchange.clientAddress()
    let id = try exchange.id()
    switch try await store.link(printer: id, to: owner, from: address, since: discoverableSince) {
    case .linked(let printer):
      await hub.publish(.linked, of: id)
      return try .json(.ok, printer)
    case .alreadyYours(let printer):
      return try .json(.ok, printer)
    case .notFound:
      throw Problem.notFound
    }
  }

  private func unlink(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable { let unlinked: Bool }
    let owner = try await authenticateOwner(exchange)
    let id = try exchange.id()
    guard try await store.unlink(printer: id, from: owner) else { throw Problem.notFound }
    await hub.publish(.unlinked, of: id)
    await hub.dismiss(.owner(id: owner), from: id)
    return try .json(.ok, Body(unlinked: true))
  }

  private func listPrinters(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable { let printers: [Printer] }
    let owner = try await authenticateOwner(exchange)
    return try .json(.ok, Body(printers: try await store.printers(of: owner)))
  }

  private func showPrinter(_ exchange: Exchange) async throws -> HTTPResponse {
    try .json(.ok, try await visiblePrinter(exchange).printer)
  }

  // MARK: What a printer reports

  private func putStatus(_ exchange: Exchange) async throws -> HTTPResponse {
    let id = try await authenticatePrinter(exchange)
    let status = try await exchange.json(PrinterStatus.self, bytesMax: settings.jsonBytesMax)
    try status.validate()
    let printer = try await store.setStatus(status, of: id)
    await hub.publish(.state(printer), of: id)
    return try .json(.ok, printer)
  }

  private func putSnapshot(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let bytes: Int
      let entityTag: String
      let takenAt: Instant
    }
    let id = try await authenticatePrinter(exchange)
    guard let type = exchange.mediaType, ["image/jpeg", "image/png", "image/webp"].contains(type) else {
      throw Problem.mediaType
    }
    let bytes = try await exchange.body.read(bytesMax: settings.snapshotBytesMax)
    guard !bytes.isEmpty else { throw Problem.invalid("a snapshot is not empty") }
    let snapshot = try await store.setSnapshot(bytes, contentType: type, of: id)
    await hub.publish(.snapshot(entityTag: snapshot.entityTag, takenAt: snapshot.takenAt), of: id)
    return try .json(.ok, Body(bytes: bytes.count, entityTag: snapshot.entityTag, takenAt: snapshot.takenAt))
  }

  private func getSnapshot(_ exchange: Exchange) async throws -> HTTPResponse {
    let id = try await visiblePrinter(exchange).printer.id
    guard let snapshot = try await store.snapshot(of: id) else { throw Problem.notFound }
    var headers: HTTPHeaders = [.contentType: snapshot.contentType, .cacheControl: "private, no-cache"]
    headers[.eTag] = snapshot.entityTag
    headers[HTTPHeader("X-Content-Type-Options")] = "nosniff"
    let known = exchange.request.headers[.ifNoneMatch]?.split(separator: ",").map { $0.trimmingSpaces } ?? []
    if known.contains("*") || known.contains(snapshot.entityTag) || known.contains("W/" + snapshot.entityTag) {
      // RFC 9110, 8.6: the length, if given, is that of the 200 this stands for.
      headers[.contentLength] = String(snapshot.bytes.count)
      return HTTPResponse(statusCode: .notModified, headers: headers)
    }
    return HTTPResponse(statusCode: .ok, headers: headers, body: snapshot.bytes)
  }

  private func events(_ exchange: Exchange) async throws -> HTTPResponse {
    let (principal, seen) = try await visiblePrinter(exchange)
    guard exchange.request.headers[.upgrade]?.lowercased() == "websocket" else { throw Problem.upgradeRequired }
    guard let news = await hub.follow(seen.id, as: principal) else { throw Problem.tooManyStreams }
    // Looked up again now that the stream is open, so that no change falls in between.
    guard let printer = try await store.printer(id: seen.id, visibleTo: principal) else { throw Problem.notFound }
    let feed = EventFeed(
      current: .state(printer), events: news, pingIntervalSeconds: settings.pingIntervalSeconds)
    return try await WebSocketHTTPHandler(handler: feed).handleRequest(exchange.request)
  }

  // MARK: What an owner asks for

  private func addCommand(_ exchange: Exchange) async throws -> HTTPResponse {
    let owner = try await authenticateOwner(exchange)
    let printer = try await visiblePrinter(exchange).printer
    let input = try await exchange.json(CommandInput.self, bytesMax: settings.jsonBytesMax)
    try input.validate()
    guard input.kind.isPossible(in: printer.status?.state) else { throw Problem.conflict }
    guard let command = try await store.addCommand(input.kind, file: input.file, to: printer.id, by: owner) else {
      throw Problem.notFound
    }
    await hub.publish(.command(command), of: printer.id)
    return try .json(.accepted, command)
  }

  private func listCommands(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable { let commands: [Command] }
    let id = try await visiblePrinter(exchange).printer.id
    return try .json(.ok, Body(commands: try await store.commands(of: id)))
  }

  // MARK: Who may

  private var discoverableSince: Instant { Instant.now.earlier(bySeconds: settings.discoveryWindowSeconds) }

  private func authenticate(_ exchange: Exchange) async throws -> Principal {
    guard let token = try exchange.bearerToken(), let principal = try await store.principal(of: token) else {
      throw Problem.unauthorized
    }
    return principal
  }

  private func authenticateOwner(_ exchange: Exchange) async throws -> String {
    guard case .owner(let id) = try await authenticate(exchange) else { throw Problem.forbidden }
    return id
  }

  /// The printer of the path, if it is the one speaking.
  private func authenticatePrinter(_ exchange: Exchange) async throws -> String {
    guard case .printer(let id) = try await authenticate(exchange) else { throw Problem.forbidden }
    guard try exchange.id() == id else { throw Problem.notFound }
    return id
  }

  /// The printer of the path, if it or its owner is speaking. For everyone else it does not exist.
  private func visiblePrinter(_ exchange: Exchange) async throws -> (principal: Principal, printer: Printer) {
    let principal = try await authenticate(exchange)
    guard let printer = try await store.printer(id: exchange.id(), visibleTo: principal) else {
      throw Problem.notFound
    }
    return (principal, printer)
  }
}

extension Command.Kind {
  /// Whether a printer in this state can do it; one that has not said its state yet is asked anyway.
  func isPossible(in state: PrinterStatus.State?) -> Bool {
    guard let state else { return true }
    return switch self {
    case .start: state == .idle
    case .pause: state == .printing
    case .resume: state == .paused
    case .cancel: state == .printing || state == .paused
    }
  }
}
