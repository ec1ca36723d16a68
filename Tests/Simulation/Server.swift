// A simulated server's end of one of the proxy's connections, whichever way it speaks. It checks what it is told of the client.

import TestSupport

/// What a server is told of the client, by the port that it listens on.
enum Told: UInt16, CaseIterable {
  case plain = 80
  case attest = 81
  case bound = 82
  case nothing = 83

  /// Where servers that speak HTTP/2 listen.
  private static let http2Offset: UInt16 = 8_000
  func port(isHTTP2: Bool) -> UInt16 { isHTTP2 ? rawValue + Told.http2Offset : rawValue }

  static func of(port: UInt16) -> (told: Told, isHTTP2: Bool)? {
    let isHTTP2 = port > http2Offset
    return Told(rawValue: isHTTP2 ? port - http2Offset : port).map { ($0, isHTTP2) }
  }
}

class Server {
  unowned let world: World
  let stream: Stream
  let told: Told
  /// The client that the PROXY header on this connection names.
  final private(set) var announced: Endpoint?
  final private(set) var isOver = false
  final var pause = 0

  init(world: World, stream: Stream, told: Told) {
    self.world = world
    self.stream = stream
    self.told = told
  }

  /// Requests that have come over it whose response is not whole.
  var openRequests: Int { 0 }

  /// Does one thing that a server may do now.
  func act() {}

  /// Once nothing more is to go wrong: what stalled goes on.
  func recover() {}

  func leave(reset: Bool) {
    world.trace { "server \(stream.remote) \(reset ? "resets" : "closes") its connection" }
    isOver = true
    stream.close(reset: reset)
  }

  // MARK: Requests

  /// The PROXY v2 header in front (docs/IDENTITY.md section 3), as `peek` shows the first bytes. How many it has, once it is whole.
  final func takePreamble(_ peek: (Int) -> ArraySlice<UInt8>?) -> Int? {
    guard let fixed = peek(16).map(Array.init) else { return nil }
    guard fixed[..<12] == [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a], fixed[12] == 0x21,
      fixed[13] == 0x11
    else {
      world.violate("a connection that speaks for one client has no PROXY header in front")
      return nil
    }
    let length = 16 + Int(fixed[14]) << 8 + Int(fixed[15])
    guard let header = peek(length).map(Array.init) else { return nil }
    announced = Endpoint(
      address: header[16..<20].reduce(0) { $0 << 8 | UInt32($1) },
      port: header[24..<26].reduce(0) { $0 << 8 | UInt16($1) })
    return length
  }

  /// A request's head has come: a try of a request that a client sent.
  final func begin(_ head: Head) -> Attempt? {
    guard head.path.hasPrefix("/r/"), let id = Int(head.path.dropFirst(3)), let request = world.requests[id] else {
      world.violate("a server got a request that nobody sent: \(head.startLine)")
      return nil
    }
    world.trace { "server \(stream.remote) gets \(head.startLine)" }
    check(head, request)
    let attempt = Attempt(request)
    checkResend(request)
    world.checkRoute(request)
    request.attempts.append(attempt)
    world.plan(attempt, told, expects: !head.values("expect").isEmpty)
    return attempt
  }

  final func checkBody(_ attempt: Attempt, at: Int, _ bytes: ArraySlice<UInt8>) {
    if BodyText.bytes(of: attempt.request.id, from: at, count: bytes.count)[...] != bytes {
      world.violate("the body of /r/\(attempt.request.id) has other bytes at \(at) than its client sent")
    }
  }

  /// The request's body is over.
  final func checkWhole(_ attempt: Attempt, _ trailers: [(name: String, value: String)]) {
    // A client that sends more than it stated sends what is too much later, perhaps; until then the message is whole.
    if let stated = attempt.request.statedBytes, stated < attempt.request.bodyBytes, attempt.received == stated {
      return
    }
    if attempt.received != attempt.request.bodyBytes {
      world.violate(
        "a server took a body of \(attempt.received) bytes for all of /r/\(attempt.request.id), "
          + "which has \(attempt.request.bodyBytes)")
    }
    if let flaw = attempt.request.flaw { world.violate("a body with a flaw (\(flaw)) came out whole") }
    if trailers.contains(where: { $0.value.contains(Request.spoof) }) {
      world.violate("a client's claim passed in a trailer of /r/\(attempt.request.id)")
    }
  }

  /// Nothing is sent twice that may not be. What a starting validator refused did nothing, nor did a server that says so.
  private func checkResend(_ request: Request) {
    let used = request.attempts.filter { !$0.saysStarting && !$0.isUnprocessed }
    if !request.isIdempotent, !used.isEmpty {
      world.violate("\(request.method) /r/\(request.id) reached a server twice")
    }
    if used.count > 6 { world.violate("/r/\(request.id) was tried \(used.count + 1) times") }
  }

  // MARK: Identity

  private func check(_ head: Head, _ request: Request) {
    let truth = request.truth.addressText
    func wrong(_ what: String) {
      world.violate("/r/\(request.id), sent by \(request.truth) (\(request.client.sender)): \(what); \(head.fields)")
    }
    if let flaw = request.flaw, !flaw.isLate { wrong("it has a flaw (\(flaw)) and reached a server") }
    if head.fields.contains(where: { $0.value.contains(Request.spoof) }) {
      wrong("the client's own claim went through")
    }
    if request.client.sender == .switching, request.client.announced == nil, !request.client.mayComeBare {
      wrong("a PROXY header was demanded and none was sent")
    }
    let attests = head.values("client-attest")
    let plain = head.values("x-forwarded-for")
    switch told {
    case .plain:
      if plain != [truth] || head.values("x-real-ip") != [truth] { wrong("X-Forwarded-For says \(plain)") }
      if head.values("forwarded").count != 1 || head.values("forwarded").first?.hasPrefix("for=\(truth);") != true {
        wrong("Forwarded says \(head.values("forwarded"))")
      }
      if !attests.isEmpty { wrong("a signed field went to a server that gets plain ones") }
    case .attest, .bound:
      if attests.count != 1 || !attests[0].hasPrefix("ip=\"\(truth)\", port=\(request.truth.port), ") {
        wrong("client-attest says \(attests)")
      }
      if head.values("signature-input").count != 1 || head.values("signature").count != 1 { wrong("it is not signed") }
      if !plain.isEmpty { wrong("X-Forwarded-For went along with the signed fields") }
      if told == .bound, announced != request.truth { wrong("the PROXY header names \(announced as Any)") }
    case .nothing:
      if !attests.isEmpty || !plain.isEmpty || !head.values("x-real-ip").isEmpty || !head.values("forwarded").isEmpty {
        wrong("identity went where none is to go")
      }
    }
  }
}
