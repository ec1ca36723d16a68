// One process of the proxy: its worker, with what the threads of a process share, on the simulated kernel.

import Platform
import Policy
import Proxy

final class Process {
  let shared: ProcessShared
  let worker: Worker
  private let sources: [ListenerSource]
  private let operational: LogQueue
  /// Lines about exchanges in its access log.
  private(set) var recorded: UInt64 = 0
  private(set) var isOver = false
  private let compressedBytesMax: Int
  /// The most that it compressed in one turn.
  private var compressedBytes: UInt64 = 0

  /// - Parameter compressedBytesMax: what it may compress in one turn; often so little that responses wait for each other.
  init(_ snapshot: Snapshot, listeners: [(name: String, at: Endpoint)], compressedBytesMax: Int = 64 << 10) throws {
    self.compressedBytesMax = compressedBytesMax
    operational = try LogQueue(bytesMax: 1 << 20)
    shared = try ProcessShared(workers: 1, replayWindowBits: 1 << 10, log: OperationalLog(queue: operational))
    sources = listeners.enumerated().map { index, listener in
      ListenerSource(
        name: listener.name, socket: index + 1, descriptor: kernel.makeListener(listener.at), isShared: false)
    }
    shared.routes.take(snapshot.config)
    shared.servers.take(snapshot, isFirst: true, nowMilliseconds: Clock.monotonicMilliseconds())
    worker = try Worker(
      index: 0, shared: shared, snapshot: snapshot, sources: sources, compressedBytesMax: compressedBytesMax)
  }

  func turn() {
    guard !isOver else { return }
    let before = count(.compressedBytesIn)
    worker.turn()
    compressedBytes = max(compressedBytes, count(.compressedBytesIn) - before)
    if worker.isStopped { end() }
  }

  /// A reload takes effect at once, between two events.
  func reload(_ snapshot: Snapshot) {
    guard !isOver else { return }
    shared.routes.take(snapshot.config)
    shared.servers.take(snapshot, isFirst: false, nowMilliseconds: Clock.monotonicMilliseconds())
    shared.mailboxes[0].post(.reload(snapshot, sources))
    worker.turn()
  }

  /// The upstream's servers are others now. At once, as for a reload.
  func change(servers: [String], in snapshot: Snapshot) {
    guard !isOver else { return }
    let servers = servers.compactMap { text -> Snapshot.Server? in
      guard case .address(let address, let port)? = ConfigReader.endpoint(text) else { return nil }
      let config =
        snapshot.config.upstreams[0].servers.first { $0.endpoint == .address(address, port: port) }
        ?? Config.Server(.address(address, port: port))
      return Snapshot.Server(address: .ip(address, port: port), text: text, config: config)
    }
    shared.servers.upstream("app").take(
      servers.map(\.text), startsSlowly: false, nowMilliseconds: Clock.monotonicMilliseconds())
    shared.mailboxes[0].post(.servers(generation: snapshot.generation, upstream: "app", servers))
    worker.turn()
  }

  /// An operator closes the route, or opens it again. It holds when this returns, though the worker has not taken the message.
  func setRoute(closed: Bool) {
    guard !isOver else { return }
    if closed {
      _ = shared.routes.close("all", forMilliseconds: nil, why: "simulated", user: 0, now: Clock.read())
    } else {
      _ = shared.routes.open("all")
    }
    shared.tellOfRoutes()
  }

  /// `beside`: another process serves, which accepts from other sockets than these. `refusesHeads`: by other rules.
  func drain(_ schedule: DrainSchedule, beside: Bool, refusesHeads: Bool) {
    shared.mailboxes[0].post(
      .drain(schedule, handedOver: beside ? [sources.count + 1] : [], refusesHeads: refusesHeads))
  }

  func end() {
    guard !isOver else { return }
    isOver = true
    worker.end()
  }

  func count(_ counter: Counter) -> UInt64 { shared.counters[0].value(counter) }

  /// What checks, or an operator, say of a server; acted on at once.
  func judge(_ change: (ProcessShared, UpstreamStatus, ServerStatus) -> Void, at number: Int) {
    guard !isOver else { return }
    let servers = shared.servers.all.flatMap { upstream in upstream.all.map { (upstream, $0) } }
    guard !servers.isEmpty else { return }
    let (upstream, server) = servers[number % servers.count]
    change(shared, upstream, server)
    worker.turn()
  }

  /// What is left of requests that waited or had places, and what was more than may be.
  var leftBehind: String? {
    if compressedBytes > compressedBytesMax { return "\(compressedBytes) bytes compressed in one turn" }
    for upstream in shared.servers.all {
      if upstream.waiting.count != 0 { return "\(upstream.waiting.count) waiting requests" }
      for server in upstream.all where server.placesTaken != 0 {
        return "\(server.placesTaken) places taken at \(server.name)"
      }
    }
    return nil
  }

  func readLog(_ take: (String) -> Void) {
    for lines in shared.accessLog.takeLines(most: 1 << 20) {
      for line in String(decoding: lines, as: UTF8.self).split(separator: "\n") {
        // A connection that was refused before any request has none of these.
        let hasNothing = line.contains(",\"bytes_in\":0,\"bytes_out\":0,\"duration_ms\"")
        if line.contains("\"bytes_in\":"), !hasNothing || line.contains("\"refusal\":\"client-reset\"") {
          recorded += 1
        }
        take(String(line))
      }
    }
    _ = operational.takeLines(most: 1 << 20)
  }
}

extension String {
  /// The text of a member in a line of the log.
  func text(of member: String) -> String? {
    guard let range = firstRange(of: "\"\(member)\":\"") else { return nil }
    return String(self[range.upperBound...].prefix { $0 != "\"" })
  }

  /// The number behind a piece of text.
  func number(of piece: String) -> Int? {
    guard let range = firstRange(of: piece) else { return nil }
    return Int(self[range.upperBound...].prefix { $0.isNumber })
  }
}
