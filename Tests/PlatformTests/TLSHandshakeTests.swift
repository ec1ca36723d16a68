// Who is let in over TLS, with which certificate, and who is not.

import COpenSSL
import Foundation
import Platform
import Synchronization
import Testing
import Wire

@Suite struct TLSHandshakeTests {
  let made: Certificates

  init() throws { made = try Certificates() }

  private func text(_ span: Span<UInt8>) -> String {
    var bytes: [UInt8] = []
    for i in span.indices { bytes.append(span[i]) }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func whatWasAgreedCanBeAsked() throws {
    let link = try TLSLink(
      made.context([made.server(["app.test"])]),
      TLSClientContext(authorities: made.ca, name: "app.test", certificate: nil))
    #expect(link.server.withServerName { text($0) } == "")
    #expect(link.shake() == (.done, .done))
    #expect(link.server.isTLS13 && link.client.isTLS13)
    #expect(link.server.withVersionName { text($0) } == "TLSv1.3")
    #expect(link.server.withCipherName { text($0) } == "TLS_AES_128_GCM_SHA256")
    #expect(link.server.withServerName { text($0) } == "app.test")
    #expect(link.server.withApplicationProtocol { text($0) } == "http/1.1")
    #expect(link.server.peerCertificateDigest == nil)
    #expect(link.server.failure == nil)
  }

  @Test func whatIsLentOfASessionOutlivesItsEnd() throws {
    let link = try TLSLink(
      made.context([made.server(["app.test"])]),
      TLSClientContext(authorities: made.ca, name: "app.test", certificate: nil))
    #expect(link.shake() == (.done, .done))
    let (name, agreed) = link.server.withServerName { name in
      link.server.withApplicationProtocol { agreed in
        link.server.close()
        return (text(name), text(agreed))
      }
    }
    #expect(name == "app.test" && agreed == "http/1.1")
    #expect(!link.server.isTLS)
  }

  // MARK: The upstream's certificate

  @Test(arguments: [
    ("app.test", true), ("APP.test", true), ("x.wild.test", true), ("wild.test", false), ("x.y.wild.test", false),
    ("other.test", false), ("127.0.0.7", true), ("127.0.0.8", false), ("::1", true), ("::2", false),
  ])
  func aServerMustCarryTheNameAskedFor(name: String, isRight: Bool) throws {
    let files = try made.server(
      ["app.test", "*.wild.test"], addresses: [try #require(IPAddress("127.0.0.7")), try #require(IPAddress("::1"))])
    let link = try TLSLink(
      made.context([files]), TLSClientContext(authorities: made.ca, name: name, certificate: nil))
    let result = link.shake()
    #expect(result.client == (isRight ? .done : .failed))
    #expect(result.server == (isRight ? .done : .failed))
    if !isRight {
      let why = try #require(link.client.failure)
      #expect(why.hasPrefix("certificate: ") && why.contains("mismatch"))
    }
  }

  @Test func aStrangersAuthorityIsNotBelieved() throws {
    let stranger = try Certificates()
    let link = try TLSLink(
      made.context([made.server(["app.test"])]),
      TLSClientContext(authorities: stranger.ca, name: "app.test", certificate: nil))
    #expect(link.shake() == (.failed, .failed))
    #expect(link.client.failure?.hasPrefix("certificate: ") == true)
  }

  @Test func aClientsCertificateIsNoServers() throws {
    let link = try TLSLink(
      made.context([made.client()]), TLSClientContext(authorities: made.ca, name: "app.test", certificate: nil))
    #expect(link.shake().client == .failed)
  }

  // MARK: Which certificate

  @Test(arguments: [
    (nil, 0), ("first.test", 0), ("second.test", 1), ("SECOND.Test", 1), ("x.second.test", 1), ("X.second.test", 1),
    ("x.y.second.test", 0), ("third.test", 2), ("exact.second.test", 2), ("unknown.test", 0), ("test", 0),
    ("twice.test", 1),
  ])
  func theNameChoosesTheCertificate(name: String?, index: Int) throws {
    let files = [
      try made.server(["first.test"]), try made.server(["second.test", "*.second.test", "twice.test"]),
      try made.server(["third.test", "exact.second.test", "twice.test"]),
    ]
    let context = try made.context(files)
    let client = try RawClient(context, name: name)
    #expect(client.shake())
    #expect(client.certificateDigest == (try Certificates.digest(files[index].certificate)))
  }

  @Test func wildcardsStandForOneLabel() {
    var table = NameTable()
    table.add("*.a.test", 1)
    table.add("b.a.test", 2)
    table.add("*.b.a.test", 3)
    table.add("b.a.test", 4)
    table.add("*.a.test", 5)
    #expect(table.find("x.a.test") == 1)
    #expect(table.find("b.a.test") == 2)
    #expect(table.find("y.b.a.test") == 3)
    for name in ["a.test", ".a.test", "y.x.a.test", "xa.test", "", ".", "test"] {
      #expect(table.find(name) == nil, "\(name)")
    }
  }

  // MARK: The client's certificate

  enum Shown: Sendable { case nothing, ours, strangers }

  @Test(arguments: [
    (true, Shown.ours, true), (true, .nothing, false), (true, .strangers, false), (false, .ours, true),
    (false, .nothing, true), (false, .strangers, false),
  ])
  func clientsShowWhatIsAsked(require: Bool, shown: Shown, isLetIn: Bool) throws {
    let stranger = try Certificates()
    let files: CertificateFiles? =
      switch shown {
      case .nothing: nil
      case .ours: try made.client()
      case .strangers: try stranger.client()
      }
    let context = try made.context([made.server(["app.test"])], clients: made.ca, require: require)
    let link = try TLSLink(context, TLSClientContext(authorities: made.ca, name: "app.test", certificate: files))
    #expect(link.shake().server == (isLetIn ? .done : .failed))
    if isLetIn, let files, shown == .ours {
      #expect(link.server.peerCertificateDigest == (try Certificates.digest(files.certificate)))
    } else {
      #expect(link.server.peerCertificateDigest == nil)
    }
    if !isLetIn {
      #expect(link.server.failure != nil)
      // The client finds out when it reads: in TLS 1.3 its own side of the handshake was over.
      #expect(link.client.read(into: Buffer(capacity: 64)) == .failed)
    }
  }

  @Test func aServersCertificateIsNoClients() throws {
    let context = try made.context([made.server(["app.test"])], clients: made.ca, require: true)
    let link = try TLSLink(
      context, TLSClientContext(authorities: made.ca, name: "app.test", certificate: made.server(["me.test"])))
    #expect(link.shake().server == .failed)
  }

  // MARK: Versions and protocols

  @Test(arguments: [
    (false, TLS1_1_VERSION, false), (false, TLS1_2_VERSION, true), (false, TLS1_3_VERSION, true),
    (true, TLS1_2_VERSION, false), (true, TLS1_3_VERSION, true),
  ])
  func oldVersionsAreRefused(minimumTLS13: Bool, newest: Int32, isLetIn: Bool) throws {
    let context = try made.context([made.server(["app.test"])], minimumTLS13: minimumTLS13)
    let client = try RawClient(context, versions: TLS1_VERSION...newest)
    #expect(client.shake() == isLetIn)
    if isLetIn {
      #expect(client.server.isTLS13 == (newest == TLS1_3_VERSION))
    } else {
      #expect(client.server.failure != nil)
    }
  }

  @Test(arguments: [
    ([], true, ""), (["http/1.1"], true, "http/1.1"), (["h2", "http/1.1"], true, "http/1.1"), (["h2"], false, ""),
    (["http/1.0"], false, ""), (["http/1.10", "ttp/1.1"], false, ""), (["HTTP/1.1"], false, ""),
  ])
  func onlyOurProtocolIsAgreedOn(offered: [String], isLetIn: Bool, agreed: String) throws {
    let client = try RawClient(made.context([made.server(["app.test"])]), protocols: offered)
    #expect(client.shake() == isLetIn)
    if isLetIn { #expect(client.server.withApplicationProtocol { text($0) } == agreed) }
  }

  // MARK: Sessions

  @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func aSessionOutlivesAReloadAndStaysAtItsListener(version: Int32) throws {
    let files = try made.server(["app.test"])
    let tickets = try TicketKeys()
    let first = try RawClient(made.context([files], session: [1], tickets: tickets), versions: version...version)
    #expect(first.shake() && !first.isReused)
    #expect(first.server.write("x") == .bytes(1))
    #expect(first.read() == [0x78])
    let session = try #require(first.takeSession())
    defer { SSL_SESSION_free(session) }
    for (context, isSame) in [
      (try made.context([files], session: [1], tickets: tickets), true),
      (try made.context([files], session: [2], tickets: tickets), false),
      (try made.context([files], session: [1], tickets: TicketKeys()), false),
    ] {
      let again = try RawClient(context, versions: version...version, resuming: session)
      #expect(again.shake() && again.isReused == isSame)
    }
  }

  /// Time goes on while a client keeps its ticket: the key that sealed it retires, still opens, and is gone in the end.
  @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func aTicketsKeyIsReplacedEachHourAndForgottenAfterItsLastTicket(version: Int32) throws {
    let files = try made.server(["app.test"])
    let rotation = TicketKeys.rotationMilliseconds
    let life = UInt64(TicketKeys.ticketLifetimeSeconds) * 1_000
    for (time, isTaken) in [
      (0, true), (rotation - 1, true), (rotation, true), (2 * rotation + 5, true), (rotation + life - 1, true),
      (rotation + life, false),
    ] {
      let clock = Moment()
      let context = try made.context([files], tickets: TicketKeys { clock.milliseconds })
      // libssl forgets the session of a connection that ends without a goodbye.
      var clients: [RawClient] = []
      func connect(_ session: OpaquePointer?, at time: UInt64) throws -> (isReused: Bool, session: OpaquePointer) {
        clock.milliseconds = time
        let client = try RawClient(context, versions: version...version, resuming: session)
        clients.append(client)
        try #require(client.shake())
        #expect(client.server.write("x") == .bytes(1))
        #expect(client.read() == [0x78])
        return (client.isReused, try #require(client.takeSession()))
      }
      let (wasReused, first) = try connect(nil, at: 0)
      defer { SSL_SESSION_free(first) }
      #expect(!wasReused)
      let (isReused, next) = try connect(first, at: time)
      defer { SSL_SESSION_free(next) }
      #expect(isReused == isTaken, "at \(time)")
      // A ticket of TLS 1.3 is used once; that of TLS 1.2 serves until its key retires.
      let isNew = ticket(next) != ticket(first)
      #expect(isNew == (version == TLS1_3_VERSION || time >= rotation), "at \(time)")
      // What was given for it is of the key that sealed then, and outlives the first.
      let last = try connect(next, at: rotation + life)
      SSL_SESSION_free(last.session)
      #expect(last.isReused == (time >= rotation), "given at \(time)")
    }
  }

  private func ticket(_ session: OpaquePointer) -> [UInt8] {
    var bytes: UnsafePointer<UInt8>?
    var count = 0
    SSL_SESSION_get0_ticket(session, &bytes, &count)
    return Array(UnsafeBufferPointer(start: bytes, count: count))
  }

  /// A clock that a test sets.
  private final class Moment: Sendable {
    private let value = Mutex(UInt64(0))
    var milliseconds: UInt64 {
      get { value.withLock { $0 } }
      set { value.withLock { $0 = newValue } }
    }
  }

  /// A reload may take the listener away while a client is still in its handshake.
  @Test func aHandshakeOutlivesItsListener() throws {
    let connecting = try TLSClientContext(authorities: made.ca, name: "second.test", certificate: nil)
    var accepting: TLSServerContext? = try made.context([made.server(["first.test"]), made.server(["second.test"])])
    let link = try TLSLink(try #require(accepting), connecting)
    weak let seen = accepting
    accepting = nil
    #expect(seen != nil)
    #expect(link.shake() == (.done, .done))
    link.server.close()
    #expect(seen == nil)
  }

  // MARK: Nonsense

  @Test func nonsenseFailsAndLeavesNothingBehind() throws {
    let context = try made.context([made.server(["app.test"])])
    for nonsense in ["GET / HTTP/1.1\r\n\r\n", String(repeating: "\u{16}\u{3}\u{1}", count: 40), "\u{0}"] {
      let (one, two) = try SocketPair.unix()
      let server = Transport()
      server.open(one)
      try SocketPair.send(two, nonsense.utf8)
      try #require(server.startTLS(accepting: context))
      var result = server.shakeHands()
      SocketPair.end(two)
      if result == .blocked {
        server.noteReadable()
        result = server.shakeHands()
      }
      #expect(result == .failed && server.failure?.isEmpty == false)
      // The thread's error queue is clean for the connection that comes next.
      let client = try RawClient(context)
      #expect(client.shake())
    }
  }

  // MARK: Files

  private func reason(_ body: () throws -> some Any) -> String {
    do {
      _ = try body()
      return ""
    } catch { return "\(error)" }
  }

  @Test func filesAtFaultAreNamed() throws {
    let one = try made.server(["one.test"])
    let two = try made.server(["two.test"])
    let crossed = CertificateFiles(certificate: one.certificate, key: two.key)
    #expect(
      reason { try made.context([one, crossed]) }.hasPrefix("\(two.key): is not the private key of \(one.certificate)"))
    let missing = CertificateFiles(certificate: "\(made.directory)/none.pem", key: one.key)
    #expect(reason { try made.context([missing]) } == "\(missing.certificate): no such file")
    let swapped = CertificateFiles(certificate: one.certificate, key: one.certificate)
    #expect(reason { try made.context([swapped]) }.hasPrefix("\(one.certificate): cannot be read as a private key"))
    #expect(
      reason { try made.context([one], clients: one.key) }.hasPrefix("\(one.key): cannot be read as certificates"))
    #expect(
      reason { try TLSClientContext(authorities: missing.certificate, name: "a", certificate: nil) }
        == "\(missing.certificate): no such file")
    #expect(
      reason { try TLSClientContext(authorities: made.ca, name: "a", certificate: crossed) }
        .hasPrefix("\(two.key): is not the private key"))
  }

  @Test func aChainStandsInOrder() throws {
    let one = try made.server(["one.test"])
    let leaf = try String(contentsOfFile: one.certificate, encoding: .utf8)
    let ca = try String(contentsOfFile: made.ca, encoding: .utf8)
    let strangers = try Certificates()
    let stranger = try String(contentsOfFile: strangers.ca, encoding: .utf8)
    func context(_ text: String) throws -> TLSServerContext {
      let path = "\(made.directory)/chain.pem"
      try PrivateFile.write(Array(text.utf8), to: path, existing: .replace)
      return try made.context([CertificateFiles(certificate: path, key: one.key)])
    }
    #expect(throws: Never.self) { try context(leaf + ca) }
    #expect(reason { try context(ca + leaf) }.contains("is not the private key"))
    #expect(reason { try context(leaf + stranger) }.contains("certificate 2 in the file did not issue"))
  }
}
