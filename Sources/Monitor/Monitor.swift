// The program put together: the gateway every request goes through, and the server that is started and stopped. The
// command line and the tests are the only ones to use `Monitor`.

import FlyingFox
import FlyingSocks
import Foundation
import Glibc
import Synchronization

/// How many requests came, not counting health checks, and how many are being answered right now.
final class RequestCount: Sendable {
  private let count = Atomic<Int>(0)
  private let open = Atomic<Int>(0)

  var value: Int { count.load(ordering: .relaxed) }
  var isIdle: Bool { open.load(ordering: .acquiring) == 0 }

  func begin(isCounted: Bool) {
    if isCounted { count.add(1, ordering: .relaxed) }
    open.add(1, ordering: .acquiringAndReleasing)
  }

  func end() { open.subtract(1, ordering: .acquiringAndReleasing) }
}

/// A running sample backend.
package final class Monitor: Sendable {
  private let server: HTTPServer
  private let store: Store
  private let hub: EventHub
  private let requestCount: RequestCount
  /// Where it really listens: with the port that was picked.
  package let address: ListenAddress
  private let run: Task<Void, any Error>

  /// Opens the database, migrates it, and serves; returns once connections are accepted.
  package static func start(_ settings: Settings) async throws -> Monitor {
    let store = try Store(path: settings.databasePath)
    let hub = EventHub(followersMax: settings.streamsPerPrinterMax)
    let requestCount = RequestCount()
    let service = Service(store: store, hub: hub, settings: settings, requestCount: requestCount)
    // The gateway has its own deadline for bodies; the server's is only for a handler that hangs. Replay is off, so that
    // a body is read once and `RequestBody` alone decides what is left of it.
    let configuration = HTTPServer.Configuration(
      address: try socketAddress(settings.listen), timeout: settings.bodyTimeoutSeconds + 30,
      sharedRequestReplaySize: 0, logger: .disabled)
    let server = HTTPServer(config: configuration, handler: Gateway(service: service))
    let listening = Task { try await server.waitUntilListening() }
    let run = Task {
      // A bind that fails ends the wait at once.
      defer { listening.cancel() }
      try await server.run()
    }
    do {
      try await listening.value
      let address = try await listenAddress(server, settings.listen)
      return Monitor(
        server: server, store: store, hub: hub, requestCount: requestCount, address: address, run: run)
    } catch let error {
      run.cancel()
      // Why the server ended says more than that it does not listen.
      let reason = await run.result
      try? store.close()
      if case .failure(let cause) = reason, !(cause is CancellationError) { throw cause }
      throw error
    }
  }

  private init(
    server: HTTPServer, store: Store, hub: EventHub, requestCount: RequestCount, address: ListenAddress,
    run: Task<Void, any Error>
  ) {
    self.server = server
    self.store = store
    self.hub = hub
    self.requestCount = requestCount
    self.address = address
    self.run = run
  }

  /// Ends the event streams, lets requests in flight finish for a moment, and closes the database.
  package func stop(graceSeconds: Double = 3) async throws {
    await hub.close()
    let deadline = ContinuousClock.now + .seconds(graceSeconds)
    while !requestCount.isIdle, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
    // FlyingFox does not notice that its listening socket was closed, so this takes the whole time it is given: enough
    // for the last bytes of answers and event streams to be written.
    await server.stop(timeout: 0.2)
    _ = await run.result
    if case .unix(let path) = address { unlink(path) }
    try store.close()
  }

  /// Waits for the server; throws if it ends by itself.
  package func untilStopped() async throws { try await run.value }

  /// How many event streams follow a printer; for tests.
  package func streamCount(ofPrinter id: String) async -> Int { await hub.followerCount(of: id) }

  private static func socketAddress(_ address: ListenAddress) throws -> any SocketAddress {
    switch address {
    case .ip4(let host, let port): return try sockaddr_in.inet(ip4: host, port: port)
    case .ip6(let host, let port): return try sockaddr_in6.inet6(ip6: host, port: port)
    case .unix(let path):
      // A socket file left by an earlier run is replaced; any other file is not touched, and bind fails.
      var status = stat()
      if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
      return sockaddr_un.unix(path: path)
    }
  }

  private static func listenAddress(_ server: HTTPServer, _ asked: ListenAddress) async throws -> ListenAddress {
    switch await server.listeningAddress {
    case .ip4(let host, let port): .ip4(host, port: port)
    case .ip6(let host, let port): .ip6(host, port: port)
    case .unix, nil: asked
    }
  }
}

/// What every request goes through: find the route, settle the client, answer problems, mind the body, write the log.
private struct Gateway: HTTPHandler {
  private let service: Service
  private let routes: [Route]

  init(service: Service) {
    self.service = service
    routes = service.routes
  }

  func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
    let began = ContinuousClock.now
    let path = request.target.path()
    service.requestCount.begin(isCounted: path != "/healthz")
    defer { service.requestCount.end() }
    let client = ClientClaim(
      forwardedFor: request.headers.values(for: .xForwardedFor), peer: request.remoteAddress?.host)
    let body = RequestBody(request.bodySequence, timeoutSeconds: service.settings.bodyTimeoutSeconds)

    var response = await answer(request, path: path, client: client, body: body)
    response.headers[.date] = httpDate()
    if request.method == .HEAD { response = response.withoutBody }
    response = await body.settle(response)
    if service.settings.writesAccessLog { log(request, client, response.statusCode.code, ContinuousClock.now - began) }
    return response
  }

  private func answer(
    _ request: HTTPRequest, path: String, client: ClientClaim, body: RequestBody
  ) async -> HTTPResponse {
    do {
      guard path.hasPrefix("/") else { throw Problem.notFound }
      // An empty segment is a different path, not the same one.
      let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
      let candidates = routes.compactMap { route in route.match(segments).map { (route, $0) } }
      guard !candidates.isEmpty else { throw Problem.notFound }
      let wanted: HTTPMethod = request.method == .HEAD ? .GET : request.method
      guard let (route, parameters) = candidates.first(where: { $0.0.method == wanted }) else {
        var response = HTTPResponse.problem(.methodNotAllowed)
        response.headers[HTTPHeader("Allow")] = candidates.map(\.0.method.rawValue).joined(separator: ", ")
        return response
      }
      return try await route.handler(
        Exchange(request: request, parameters: parameters, client: client, body: body))
    } catch let problem as Problem {
      return .problem(problem)
    } catch {
      writeError("fault \(request.method.rawValue) \(path.debugDescription): \(error)\n")
      return .problem(.fault)
    }
  }

  private func log(_ request: HTTPRequest, _ client: ClientClaim, _ status: Int, _ took: Duration) {
    struct Line: Encodable {
      let time: Instant
      let client: String?
      let clientFrom: String
      let peer: String?
      let method: String
      let target: String
      let status: Int
      let durationMs: Double
    }
    let line = Line(
      time: .now, client: client.address?.description, clientFrom: client.source.rawValue,
      peer: request.remoteAddress?.text, method: request.method.rawValue, target: request.target.rawValue,
      status: status, durationMs: (took / .microseconds(1)).rounded() / 1000)
    // A reader that has gone away costs its lines, not the program.
    if let data = try? JSONCoding.encode(line) {
      try? FileHandle.standardOutput.write(contentsOf: data + Data("\n".utf8))
    }
  }
}

extension HTTPResponse {
  /// The same response as HEAD gets it: every field, no content.
  fileprivate var withoutBody: HTTPResponse {
    guard case .httpBody(let sequence) = payload else { return self }
    var head = self
    if head.headers[.contentLength] == nil { head.headers[.contentLength] = String(sequence.count ?? 0) }
    head.payload = .httpBody(HTTPBodySequence(data: Data()))
    return head
  }
}

/// Writes to standard error, unbuffered.
package func writeError(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

/// The time now as RFC 9110, 5.6.7 wants it.
private func httpDate() -> String {
  var now = time(nil)
  var parts = tm()
  gmtime_r(&now, &parts)
  let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
  let date = "\(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900)"
  return "\(days[Int(parts.tm_wday)]), \(date) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
}
