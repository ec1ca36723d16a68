// Clients that would have the server work, or hold memory, for nothing. Each is ended by its budget, under its name in the log and
// in the metrics, and an honest connection beside it is served.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct HTTP2Attack {
    private static let site = Result {
      try HTTP2Site(keepsBytes: false) { exchange in
        try exchange.finishBody()
        try exchange.reply(exchange.clientAddress)
      }
    }

    static let attacker = Peer.client(66)
    /// An attacker's address of its own for each case: of one peer not every refusal has a line.
    private static let attackers = Guarded(100)

    private func nextAttacker() -> String {
      Self.attackers.with {
        $0 += 1
        return Peer.client($0)
      }
    }

    /// What a client sends over and over.
    struct Flood: Sendable, CustomTestStringConvertible {
      var title: String
      var refusal = "http2-flood"
      /// What is sent once, before.
      var front: @Sendable (HTTP2Client) -> [HTTP2Frame] = { _ in [] }
      /// The server's frames are read meanwhile.
      var reads = true
      /// The server's answer is waited for now and then, so that no more streams are open than may be.
      var isPaced = false
      /// The nth piece.
      var piece: @Sendable (HTTP2Client, Int) -> [HTTP2Frame]
      var testDescription: String { title }
    }

    private static func stream(_ index: Int) -> UInt32 { UInt32(index) * 2 + 1 }

    static let floods: [Flood] = [
      Flood(title: "PING") { _, _ in [.ping()] },
      Flood(title: "PING, nothing read", reads: false) { _, _ in [.ping()] },
      Flood(title: "SETTINGS") { _, _ in [.settings()] },
      Flood(title: "SETTINGS, nothing read", reads: false) { _, _ in [.settings()] },
      Flood(title: "SETTINGS that change the window") { _, index in
        [.settings([(.initialWindowSize, UInt32(index % 2)), (.headerTableSize, UInt32(index % 2) * 4096)])]
      },
      Flood(title: "empty DATA", front: { [$0.headers(method: "POST", ends: false)] }) { _, _ in [.data(1, [])] },
      Flood(title: "DATA of nothing but padding", front: { [$0.headers(method: "POST", ends: false)] }) { _, _ in
        [HTTP2Frame(.data, stream: 1).padded(by: 0)]
      },
      Flood(title: "WINDOW_UPDATE of the connection") { _, _ in [.windowUpdate(0, by: 1)] },
      Flood(title: "WINDOW_UPDATE of a stream", front: { [$0.headers(method: "POST", ends: false)] }) { _, _ in
        [.windowUpdate(1, by: 1)]
      },
      Flood(title: "WINDOW_UPDATE by nothing of a stream that is over", front: { [$0.headers(), .reset(1)] }) { _, _ in
        [.windowUpdate(1, by: 0)]
      },
      Flood(title: "PRIORITY of one stream") { _, index in [.priority(1, weight: UInt8(index % 256))] },
      Flood(title: "PRIORITY of idle streams") { _, index in [.priority(stream(index), on: 0)] },
      Flood(title: "PRIORITY_UPDATE") { _, index in
        [.priorityUpdate(stream(index % 50), "u=1")]
      },
      Flood(title: "frames of an unknown type") { _, _ in [HTTP2Frame(type: 0xbb, [1, 2, 3])] },
      Flood(title: "CONTINUATION of nothing", front: { [$0.headers(isWhole: false)] }) { _, _ in
        [.continuation(1, [], isWhole: false)]
      },
      Flood(title: "CONTINUATION of a small field", front: { [$0.headers(isWhole: false)] }) { _, _ in
        [.continuation(1, HPACKBlock([HPACKField("a", "")]).bytes, isWhole: false)]
      },
      Flood(title: "CONTINUATION of a large field", front: { [$0.headers(isWhole: false)] }) { _, index in
        [.continuation(1, HTTP2Client.large(index), isWhole: false)]
      },
      Flood(title: "heads beyond what a connection may hold", isPaced: true) { client, index in
        let field = ("x-a", String(repeating: "x", count: 12_000))
        return [client.headers(stream(index), method: "POST", ends: false, with: field)]
      },
    ]

    static let resets: [Flood] = [
      Flood(title: "HEADERS and RST_STREAM", refusal: "http2-resets") { client, index in
        [client.headers(stream(index)), .reset(stream(index))]
      },
      Flood(title: "a body that is broken off", refusal: "http2-resets") { client, index in
        [client.headers(stream(index), method: "POST", ends: false), .data(stream(index), [1]), .reset(stream(index))]
      },
      Flood(title: "provoked by a window beyond all", refusal: "http2-resets", isPaced: true) { client, index in
        [client.headers(stream(index), method: "POST", ends: false), .windowUpdate(stream(index), by: .max >> 1)]
      },
      Flood(title: "provoked by DATA beyond Content-Length", refusal: "http2-resets", isPaced: true) { client, index in
        [
          client.headers(stream(index), method: "POST", ends: false, with: ("content-length", "1")),
          .data(stream(index), [1, 2], ends: true),
        ]
      },
      Flood(title: "provoked by a malformed head", refusal: "http2-resets", isPaced: true) { client, index in
        [client.headers(stream(index), with: ("X-A", "b"))]
      },
    ]

    @Test(arguments: floods + resets) func aFloodEndsTheConnection(_ flood: Flood) throws {
      let site = try Self.site.get()
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").text == Peer.client(1))
      let start = site.edge.access.end
      let countedBefore = try site.refusals(flood.refusal)

      let address = nextAttacker()
      let attacker = try site.begun(from: address)
      try attacker.send(flood.front(attacker))
      let most = 30_000
      let sent = try attacker.flood(upTo: most, reads: flood.reads, isPaced: flood.isPaced) {
        flood.piece(attacker, $0)
      }
      // What is sent to a connection that has ended is read and dropped for a while, and whoever reads nothing does not know.
      if flood.reads { #expect(sent < most, "all of it was taken") }
      try attacker.waitForEnd(by: .after(20))
      #expect(attacker.goAway?.code == HTTP2Code.enhanceYourCalm.rawValue, "\(attacker.summary)")

      let entry = try site.edge.access.wait(from: start, by: .after(20), for: flood.refusal) {
        $0.refusal == flood.refusal && $0.client == address
      }
      #expect(entry.listener == "cleartext")
      #expect(try site.refusals(flood.refusal) == countedBefore + 1)
      #expect(try honest.get("/after").text == Peer.client(1))
      try eventually("no stream is left") { try site.edge.metric("countersign_open_requests") == 0 }
    }

    /// RFC 9113 section 6.9: an error of the connection, or of a stream, for which a connection may be ended, too (section 5.4.1). So the
    /// first one of a flood is the last that is looked at.
    @Test(arguments: [0, 1] as [UInt32]) func aWindowThatOpensByNothingEndsTheConnection(_ stream: UInt32) throws {
      let site = try Self.site.get()
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").text == Peer.client(1))
      let start = site.edge.access.end
      let countedBefore = try site.refusals("http2-protocol")
      let address = nextAttacker()
      let attacker = try site.begun(from: address)
      try attacker.send([attacker.headers(1, method: "POST", ends: false)])
      try attacker.send((0..<100).map { _ in .windowUpdate(stream, by: 0) })
      try attacker.waitForEnd()
      #expect(attacker.goAway?.code == HTTP2Code.protocolError.rawValue, "\(attacker.summary)")
      let entry = try site.edge.access.wait(from: start, for: "the refusal") {
        $0.refusal == "http2-protocol" && $0.client == address
      }
      #expect(entry.listener == "cleartext")
      #expect(try site.refusals("http2-protocol") == countedBefore + 1)
      #expect(try honest.get("/after").text == Peer.client(1))
      try eventually("no stream is left") { try site.edge.metric("countersign_open_requests") == 0 }
    }

    /// RFC 9113 section 5.1.1. The second frame ended the whole process once.
    @Test(arguments: [[2, 1], [1, 4, 3], [6, 5], [0]] as [[UInt32]])
    func streamsThatNoClientMayBeginEndTheirOwnConnection(_ streams: [UInt32]) throws {
      let site = try Self.site.get()
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").text == Peer.client(1))
      let attacker = try site.begun(from: nextAttacker())
      try attacker.send(streams.map { attacker.headers($0) })
      try attacker.waitForEnd()
      #expect(attacker.goAway?.code == HTTP2Code.protocolError.rawValue, "\(attacker.summary)")
      #expect(try honest.get("/after").text == Peer.client(1))
    }

    /// CVE-2019-9511: each window that opens by a byte has a frame as its answer, which is no leave to ask for more.
    @Test func aResponseThatIsTakenByteByByteIsBounded() throws {
      let site = try HTTP2Site { try $0.reply(String(repeating: "a", count: 20_000)) }
      let attacker = try site.begun(from: Self.attacker, settings: [(.initialWindowSize, 0)])
      let stream = try attacker.begin("/dribbled")
      let sent = try attacker.flood(upTo: 10_000, isPaced: true) { _ in [.windowUpdate(stream, by: 1)] }
      #expect(sent < 10_000, "all of it was taken")
      try attacker.waitForEnd(by: .after(20))
      #expect(attacker.goAway?.code == HTTP2Code.enhanceYourCalm.rawValue, "\(attacker.summary)")
    }

    /// A client that never says that it knows of the limit: the library refuses what is more, and tells nobody.
    @Test func streamsBeyondTheLimitAreCountedThoughNobodyLooksAtThem() throws {
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      }
      let attacker = try site.connect(from: Self.attacker)
      attacker.acknowledges = false
      try attacker.begin()
      let sent = try attacker.flood(upTo: 5_000) { [attacker.headers(Self.stream($0), method: "POST", ends: false)] }
      #expect(sent < 5_000, "all of it was taken")
      try attacker.waitForEnd(by: .after(20))
      #expect(attacker.goAway?.code == HTTP2Code.enhanceYourCalm.rawValue, "\(attacker.summary)")
      #expect(try site.begun().get("/after").text == "here")
    }

    /// What a client takes back costs the server little: few of its requests come to a backend.
    @Test func rapidResetsDoNotReachTheBackend() throws {
      let site = try HTTP2Site()
      let attacker = try site.begun(from: Self.attacker)
      _ = try attacker.flood(upTo: 30_000) { [attacker.headers(Self.stream($0)), .reset(Self.stream($0))] }
      try attacker.waitForEnd(by: .after(20))
      #expect(try site.begun().get("/after").status == 200)
      #expect(site.backend.requests.count < 1_000, "\(site.backend.requests.count) requests")
    }

    // MARK: Heads

    /// RFC 9113 section 6.5.2: each field counts 32 bytes more than it has.
    @Test func headsAreCountedAsTheyAreDecoded() throws {
      let site = try HTTP2Site(change: { $0.limits = ["head: 8KiB", "fields: 1000"] })
      let client = try site.begun()
      #expect(client.settings[.maxHeaderListSize] == 8_192)
      func fields(_ count: Int) -> [(String, String)] { (0..<count).map { ("a\($0 % 10)", "b") } }
      #expect(try client.get("/fits", fields: fields(200)).status == 200)
      #expect(try client.get("/large", fields: fields(240)).status == 431)
      #expect(try site.edge.access.wait(refusal: "head-too-large").client == Peer.client())
      #expect(try client.get("/after").status == 200)
      #expect(!site.backend.saw("/large"))
    }

    @Test func fieldsAreCounted() throws {
      let site = try HTTP2Site(change: { $0.limits = ["fields: 20"] })
      let client = try site.begun()
      func fields(_ count: Int) -> [(String, String)] { (0..<count).map { ("x-\($0)", "a") } }
      #expect(try client.get("/fits", fields: fields(20)).status == 200)
      #expect(try client.get("/many", fields: fields(21)).status == 431)
      _ = try site.edge.access.wait(refusal: "too-many-fields")
      let trailers = try client.begin("/trailers", method: "POST", body: [1], trailers: fields(21))
      let response = try client.outcome(on: trailers)
      #expect(response.status == 431 || response.reset != nil)
      #expect(try client.get("/after").status == 200)
      #expect(!site.backend.saw("/many") && !site.backend.completed.contains("/trailers"))
    }

    /// How much of a small block an entry of the table makes.
    enum Bomb: String, CaseIterable, Sendable, CustomTestStringConvertible {
      /// One field of 4,000 bytes, sixteen thousand times in each head.
      case large
      /// Crumbs of Cookie that are as good as nothing, as many as a frame has room for.
      case crumbs
      /// As much as a head may have, on every stream that there may be, and never a window for an answer.
      case held
      var testDescription: String { rawValue }

      var entry: HPACKField {
        self == .crumbs ? HPACKField("cookie", "a") : HPACKField("x-a", String(repeating: "x", count: 4_000))
      }
      /// Seven entries and the pseudo-fields are just below 32 KiB.
      var references: Int { self == .held ? 7 : 16_000 }
    }

    @Test(arguments: Bomb.allCases) func aHeaderBombTakesNoMemory(_ bomb: Bomb) throws {
      let site = try HTTP2Site(keepsBytes: false)
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").status == 200)
      let before = try site.edge.process.residentBytes
      try site.edge.process.forgetPeak()

      let start = site.edge.access.end
      let attackers = try (0..<2).map { _ in try site.begun(from: Self.attacker, settings: [(.initialWindowSize, 0)]) }
      for attacker in attackers {
        var first = HPACKBlock(attacker.fields("/bomb"))
        first.literal(bomb.entry, .incremental)
        try attacker.send(.headers(1, first.bytes))
        let block = attacker.block("/bomb") + [UInt8](repeating: 0xbe, count: bomb.references)
        _ = try attacker.flood(upTo: 90) { [.headers(Self.stream($0 + 1), block)] }
      }
      if bomb == .held {
        for attacker in attackers { try attacker.settle() }
      } else {
        for attacker in attackers { try attacker.waitForEnd(by: .after(30)) }
        _ = try site.edge.access.wait(from: start, for: "the bomb") {
          $0.client == Self.attacker && $0.refusal == "head-too-large"
        }
      }
      let growth = try site.edge.process.peakResidentBytes - before
      #expect(growth < 20 << 20, "\(growth >> 10) KiB")
      #expect(try honest.get("/after").text == Peer.client(1))
    }
  }
}
