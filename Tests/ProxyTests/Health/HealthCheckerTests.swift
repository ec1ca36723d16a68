// The checker against real sockets: what each kind of server comes to, and what its troubles do to the checks of others.

import Foundation
import Platform
import Policy
import Proxy
import Synchronization
import Testing
import Wire

@Suite struct HealthCheckerTests {
  /// What the checker has said of one server.
  final class Observer: HealthObserver {
    struct Said: Equatable, Sendable {
      let passes: Bool
      let why: String
    }
    private let state = Mutex<(said: [Said], hasEnded: Bool)>(([], false))

    func noteHealth(passes: Bool, why: String, now: Clock.Reading) {
      state.withLock { $0.said.append(Said(passes: passes, why: why)) }
    }
    func endHealth() { state.withLock { $0.hasEnded = true } }

    var said: [Said] { state.withLock { $0.said } }
    var hasEnded: Bool { state.withLock { $0.hasEnded } }
  }

  /// A checker that ends with the test.
  private final class Bench {
    let checker: HealthChecker

    init() throws {
      checker = try HealthChecker()
      let lanes = try SenderLanes.make(workers: 1, nowMilliseconds: Clock.wallMilliseconds())[0]
      try checker.start(lanes: lanes) { _, _ in }
    }

    deinit { checker.stop() }

    func count(_ server: String, _ result: HealthCounts.Result) -> Int {
      Int(checker.metrics[HealthTarget.Key(upstream: "app", server: server)]?.value(result) ?? 0)
    }
  }

  /// Asks until it is so. The time is for a machine that has much else to do.
  private func eventually(_ what: String, _ isSo: () -> Bool) throws {
    let end = Clock.monotonicMilliseconds() + 60_000
    while !isSo() {
      try #require(Clock.monotonicMilliseconds() < end, "waited in vain: \(what)")
      Clock.sleep(milliseconds: 5)
    }
  }

  private func target(
    _ server: String, _ address: SocketAddress, _ observer: any HealthObserver,
    kind: HealthTarget.Kind = .http(target: "/healthz?x=1", host: "app.test:80", statuses: [200...399]),
    tls: TLSClientContext? = nil, interval: Int = 20, timeout: Int = 60_000, rise: Int = 2, fall: Int = 3
  ) -> HealthTarget {
    HealthTarget(
      key: HealthTarget.Key(upstream: "app", server: server), address: address, kind: kind, tls: tls, signing: nil,
      intervalMilliseconds: interval, timeoutMilliseconds: timeout, rise: rise, fall: fall, observer: observer)
  }

  private static let good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  private static let bad = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

  /// What the first check of a server says.
  private func firstWord(
    of address: SocketAddress, kind: HealthTarget.Kind? = nil, tls: TLSClientContext? = nil, timeout: Int = 60_000
  ) throws -> Observer.Said {
    let bench = try Bench()
    let observer = Observer()
    let target =
      kind.map { self.target("s", address, observer, kind: $0, tls: tls, timeout: timeout) }
      ?? self.target("s", address, observer, tls: tls, timeout: timeout)
    bench.checker.check([target])
    try eventually("a verdict") { !observer.said.isEmpty }
    return observer.said[0]
  }

  // MARK: One server

  @Test func aServerThatAnswersIsUpAndSeesAWholeRequest() throws {
    let heads = Mutex<[String]>([])
    let server = try ScriptedServer { connection in
      guard let head = connection.readHead() else { return }
      heads.withLock { $0.append(head) }
      connection.send(Self.good)
      connection.waitForEnd()
    }
    #expect(try firstWord(of: server.address) == Observer.Said(passes: true, why: "checks pass"))
    #expect(
      heads.withLock { $0[0] }
        == "GET /healthz?x=1 HTTP/1.1\r\nHost: app.test:80\r\nUser-Agent: countersign-health\r\nAccept: */*\r\n"
        + "Connection: close\r\n\r\n")
  }

  @Test(arguments: [
    ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503"),
    ("HTTP/1.1 404 Not Found\r\n\r\nnothing here", "status 404"),
    ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "status 500"),
    ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "status 101"),
    ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "what the server sent is no HTTP/1 response"),
    ("", "the connection ended before a response"),
    ("HTTP/1.1 200 OK\r\nServer: x", "the connection ended before a whole response"),
    (
      String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 9) + Self.good, "more than 8 responses of 1xx"
    ),
    (
      "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 30_000) + "\r\n\r\n",
      "the response's head is larger than the limit"
    ),
  ])
  func aWrongAnswerIsNamed(_ answer: String, _ why: String) throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send(answer)
    }
    #expect(try firstWord(of: server.address) == Observer.Said(passes: false, why: why))
  }

  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 301 Moved\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 204 None\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ncut",
  ])
  func theStatusOfAnAnswerDecides(_ answer: String) throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send(answer)
    }
    #expect(try firstWord(of: server.address).passes)
  }

  /// A body that does not end costs the check its time and no more.
  @Test func aBodyThatNeverEndsIsNotWaitedForBeyondTheTimeout() throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send("HTTP/1.1 200 OK\r\n\r\nevents")
      connection.waitForEnd()
    }
    #expect(try firstWord(of: server.address, timeout: 2_000).passes)
  }

  @Test func otherStatusesMayBeGood() throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send(Self.bad)
    }
    let kind = HealthTarget.Kind.http(target: "/", host: "h", statuses: [200...299, 503...503])
    #expect(try firstWord(of: server.address, kind: kind).passes)
  }

  @Test func aPortWhereNobodyListensIsRefused() throws {
    // Bound and not listened on: nobody else gets the port.
    let fd = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
    let address = Sockets.local(fd)
    shutdown(fd, Int32(SHUT_RDWR))
    defer { Sockets.closeDescriptor(fd) }
    for kind in [HealthTarget.Kind.tcp, .http(target: "/", host: "h", statuses: [200...200])] {
      #expect(try firstWord(of: address, kind: kind) == Observer.Said(passes: false, why: "connection refused"))
    }
    #expect(
      try firstWord(of: .unix(path: "/nonexistent/app.sock")) == Observer.Said(passes: false, why: "no such file"))
  }

  @Test func aServerThatHangsHasATimeout() throws {
    let server = try ScriptedServer { $0.waitForEnd() }
    #expect(
      try firstWord(of: server.address, timeout: 1_000) == Observer.Said(passes: false, why: "no response in 1s"))
    let half = try ScriptedServer { connection in
      connection.send("HTTP/1.1 200 OK\r\nServer: h")
      connection.waitForEnd()
    }
    #expect(
      try firstWord(of: half.address, timeout: 500) == Observer.Said(passes: false, why: "no whole response in 500ms"))
  }

  /// Bytes that keep coming do not move the deadline.
  @Test func aServerThatAnswersByteByByteHasTheSameTimeout() throws {
    let server = try ScriptedServer { connection in
      connection.trickle(
        "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 10_000) + "\r\n\r\n", milliseconds: 20)
    }
    let begin = Clock.monotonicMilliseconds()
    #expect(
      try firstWord(of: server.address, timeout: 1_000) == Observer.Said(passes: false, why: "no whole response in 1s"))
    #expect(Clock.monotonicMilliseconds() - begin < 100_000, "the whole answer takes 200 s")
  }

  @Test func aConnectionIsEnoughForACheckOfTCP() throws {
    let server = try ScriptedServer { $0.waitForEnd() }
    #expect(try firstWord(of: server.address, kind: .tcp).passes)
  }

  // MARK: TLS

  /// Files of one authority and one server, `app.test`.
  private struct Certificates {
    let directory: String
    let ca: String
    let context: TLSServerContext

    init() throws {
      directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
      try PrivateFile.makeDirectory(directory)
      let authority = try CertificateAuthority(commonName: "test", days: 30)
      let pair = try authority.issue(.server(names: ["app.test"], addresses: []), commonName: "app.test")
      ca = "\(directory)/ca.pem"
      try PrivateFile.write(authority.issued.certificate, to: ca, existing: .refuse)
      let files = CertificateFiles(certificate: "\(directory)/app.pem", key: "\(directory)/app.key")
      try PrivateFile.write(pair.certificate, to: files.certificate, existing: .refuse)
      try PrivateFile.write(pair.key, to: files.key, existing: .refuse)
      context = try TLSServerContext(
        certificates: [files], clientAuthorities: nil, requireClientCertificate: false, minimumTLS13: false,
        sessionContext: [1, 2, 3, 4, 5, 6, 7, 8], tickets: TicketKeys())
    }
  }

  @Test func tlsIsVerifiedAndNamed() throws {
    let files = try Certificates()
    defer { try? FileManager.default.removeItem(atPath: files.directory) }
    let server = try ScriptedServer(tls: files.context) { connection in
      guard connection.shakeHands(), connection.readHead() != nil else { return }
      connection.send(Self.good)
      connection.waitForEnd()
    }
    let right = try TLSClientContext(authorities: files.ca, name: "app.test", certificate: nil)
    let wrong = try TLSClientContext(authorities: files.ca, name: "other.test", certificate: nil)
    #expect(try firstWord(of: server.address, tls: right).passes)
    #expect(try firstWord(of: server.address, kind: .tcp, tls: right).passes)
    for kind in [HealthTarget.Kind.tcp, .http(target: "/", host: "h", statuses: [200...200])] {
      #expect(
        try firstWord(of: server.address, kind: kind, tls: wrong)
          == Observer.Said(passes: false, why: "TLS: certificate: hostname mismatch"))
    }
    let plain = try ScriptedServer { connection in
      connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")
      connection.waitForEnd()
    }
    let said = try firstWord(of: plain.address, kind: .tcp, tls: right)
    #expect(!said.passes && said.why.hasPrefix("TLS: "), "\(said)")
    let silent = try ScriptedServer { $0.waitForEnd() }
    #expect(
      try firstWord(of: silent.address, kind: .tcp, tls: right, timeout: 1_000)
        == Observer.Said(passes: false, why: "TLS: no handshake in 1s"))
  }

  // MARK: Over time

  /// `fall` failures take a server down, `rise` passes bring it back; each is told once.
  @Test func aServerGoesDownAndComesBack() throws {
    let isWell = Atomic<Bool>(true)
    let checks = Atomic<Int>(0)
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      checks.add(1, ordering: .relaxed)
      connection.send(isWell.load(ordering: .relaxed) ? Self.good : Self.bad)
    }
    let bench = try Bench()
    let observer = Observer()
    bench.checker.check([target("s", server.address, observer)])
    try eventually("it passes") { bench.count("s", .passed) >= 3 }
    #expect(observer.said == [Observer.Said(passes: true, why: "checks pass")])
    isWell.store(false, ordering: .relaxed)
    try eventually("it is down") { observer.said.count >= 2 }
    #expect(observer.said[1] == Observer.Said(passes: false, why: "status 503"))
    #expect(bench.count("s", .failed) >= 2, "the third failure is counted once it is told")
    isWell.store(true, ordering: .relaxed)
    try eventually("it is back") { observer.said.last?.passes == true }
    // Said again with each failure in between, and never that it is up.
    #expect(observer.said.dropFirst().dropLast().allSatisfy { !$0.passes })
    let page = bench.checker.metrics.text
    #expect(
      page.contains("countersign_health_checks_total{upstream=\"app\",server=\"s\",result=\"failed\"} "), "\(page)")
  }

  /// A hundred servers that hang, and have time to: the others are checked as if they were not there.
  @Test func serversThatHangDelayNobody() throws {
    let hung = try ScriptedServer { $0.waitForEnd() }
    let well = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send(Self.good)
    }
    let bench = try Bench()
    let observer = Observer()
    let waiting = Observer()
    var targets = (0..<100).map { target("hung \($0)", hung.address, waiting, timeout: 600_000) }
    targets.append(target("well", well.address, observer))
    bench.checker.check(targets)
    try eventually("it is checked") { bench.count("well", .passed) >= 20 }
    try eventually("all of the others are under way") { hung.connectionCount == 100 }
    #expect(waiting.said.isEmpty)
  }

  /// More at the same time would take descriptors from requests: what is over the limit waits for its turn.
  @Test func noMoreThan256ChecksAreUnderWay() throws {
    let isReleased = Atomic<Bool>(false)
    let hung = try ScriptedServer { _ in
      while !isReleased.load(ordering: .relaxed) { Clock.sleep(milliseconds: 50) }
    }
    let bench = try Bench()
    let observers = (0..<300).map { _ in Observer() }
    bench.checker.check(
      observers.enumerated().map { index, observer in
        target("\(index)", hung.address, observer, interval: 600_000, timeout: 600_000)
      })
    try eventually("the first are under way") { hung.connectionCount >= 256 }
    #expect(observers.allSatisfy { $0.said.isEmpty } && hung.connectionCount == 256)
    isReleased.store(true, ordering: .relaxed)
    // The first of them may be checked again before the last has had its turn.
    try eventually("the others had their turn") { observers.allSatisfy { !$0.said.isEmpty } }
    #expect(hung.connectionCount >= observers.count)
  }

  @Test func aServerThatStaysKeepsItsStateAndOneThatGoesIsForgotten() throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send(Self.bad)
    }
    let bench = try Bench()
    let (first, second, other) = (Observer(), Observer(), Observer())
    let idle = 600_000
    bench.checker.check([
      target("stays", server.address, first, interval: idle, fall: 1), target("goes", server.address, other),
    ])
    try eventually("both are down") { first.said.first?.passes == false && other.said.first?.passes == false }
    bench.checker.check([target("stays", server.address, second, interval: idle, rise: 100)])
    try eventually("the other is forgotten") { other.hasEnded }
    // Whoever watches it from now on learns at once what is known.
    try eventually("it is still down") { !second.said.isEmpty }
    #expect(second.said[0] == Observer.Said(passes: false, why: "status 503"))
    #expect(!first.hasEnded && bench.count("stays", .failed) >= 1)
    #expect(!bench.checker.metrics.text.contains("server=\"goes\""))
    // It comes back as one that is new.
    let again = Observer()
    bench.checker.check([target("goes", server.address, again)])
    try eventually("it is checked anew") { again.said.first?.passes == false }
  }
}
