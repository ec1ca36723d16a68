// What a client says of itself at the edge, in every spelling and place: none of it reaches the backend, and the true
// address does.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct EdgeSpoof {
    private static let bound = Result { try Site(.bound) }
    private static let shared = Result { try Site(.shared) }
    /// An edge that speaks to the backend itself, in plain words.
    private static let alone = Result { try AloneSite() }
    /// One that is spoken to by HTTP/2, with a validator behind it.
    private static let http2 = Result { try Site(.shared, edge: { $0.listeners[0].more = ["protocols: [h2c]"] }) }

    private final class AloneSite: Sendable {
      let workspace: Workspace
      let backend: RecordingBackend
      let edge: Countersign

      init() throws {
        workspace = try Workspace()
        backend = try RecordingBackend()
        edge = try Countersign(Configuration.plainEdge(to: ["\(backend.address)"]), in: workspace)
      }
    }

    enum Place: String, CaseIterable, Sendable {
      case bound, shared, alone, http2

      /// Where fields speak of the connection.
      static let ofHTTP1: [Place] = [.bound, .shared, .alone]
    }

    private static func place(_ place: Place) throws -> (backend: RecordingBackend, edge: Countersign) {
      switch place {
      case .bound: (try bound.get().backend, try bound.get().edge)
      case .shared: (try shared.get().backend, try shared.get().edge)
      case .alone: (try alone.get().backend, try alone.get().edge)
      case .http2: (try http2.get().backend, try http2.get().edge)
      }
    }

    private static func client(_ place: Place) throws -> SpokenClient {
      let address = try self.place(place).edge["public"]
      return place == .http2 ? .http2(try .cleartext(to: address)) : .http1(try Connection(to: address))
    }

    private func mark() -> String { "/edge-spoof/\(UUID().uuidString)" }

    /// Every field by which a client is known somewhere.
    static let identityNames = [
      "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server",
      "X-Forwarded-By",
      "X-Forwarded-Anything", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Client-IP",
      "X-Client-IP",
      "X-Cluster-Client-IP", "Fastly-Client-IP", "Client-Cert", "Client-Cert-Chain", "client-attest", "signature-input",
      "signature", "X-Original-Forwarded-For", "X-Envoy-External-Address", "X-ProxyUser-Ip", "WL-Proxy-Client-IP",
      "Proxy-Client-IP", "X-Remote-Addr", "X-Remote-IP", "X-Originating-IP", "X-Azure-ClientIP", "CF-Connecting-IPv6",
      "X-Appengine-User-IP", "Cdn-Src-Ip", "Ali-CDN-Real-IP", "X-Original-Host", "CloudFront-Viewer-Address",
      "Fly-Client-IP", "DO-Connecting-IP", "X-NF-Client-Connection-IP", "X-Vercel-Forwarded-For", "Incap-Client-IP",
      "X-Sucuri-ClientIP", "EO-Connecting-IP", "X-Real-Client-IP", "X-Source-IP", "X-Original-For", "Proxy",
      "X-SSL-Client-Verify", "SSL-Client-Verify", "X-Client-Cert", "Remote-User", "X-Acme-Visitor-IP",
      "Z-Forwarded-For",
      "X-Ssl-Client-S-Dn",
    ]

    /// Fields of honest applications whose names only look like claims; the whole table is WireTests.ClaimNamesTests.
    static let honestNames = [
      "X-Request-Id", "X-Clip-Id", "Clientele", "X-Client-Version", "X-Client-Name", "X-Client-Id", "X-Client-Data",
      "X-Client-Info", "X-Remote-Config", "X-Real-Estate", "X-Source-Ip-Ish", "X-Client-Certified", "Proxy-Status",
      "X-User-Address", "X-Shipping-Address", "X-HTTP-Method-Override", "X_Client_Id", "X-Amzn-Trace-Id", "CF-Ray",
    ]

    /// The spellings that a careless reader takes for the same name.
    static func spellings(_ name: String) -> [String] {
      var mixed = ""
      for (index, character) in name.enumerated() {
        mixed += index % 2 == 0 ? character.lowercased() : character.uppercased()
      }
      return [
        name, name.lowercased(), name.uppercased(), mixed, name.replacing("-", with: "_"),
        name.uppercased().replacing("-", with: "_"),
        name.replacing("-", with: "."), name.replacing("-", with: "_", maxReplacements: 1),
      ]
    }

    /// What the backend may be told about the client, and nothing else that sounds like it.
    private func seesOnlyTheTruth(_ head: HTTPHead, client: String, sourceLocation: SourceLocation = #_sourceLocation) {
      #expect(head["X-Forwarded-For"] == client, sourceLocation: sourceLocation)
      #expect(head["X-Real-IP"] == client, sourceLocation: sourceLocation)
      let ours = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"]
      let names = head.foldedNames
      for name in ours {
        #expect(
          names.filter { $0 == name }.count == 1, "\(name) is there more or less than once",
          sourceLocation: sourceLocation)
      }
      let known = Set(Self.identityNames.map { $0.lowercased() }).subtracting(ours)
      #expect(known.isDisjoint(with: names), sourceLocation: sourceLocation)
      #expect(!head.text.contains(Peer.claimed), sourceLocation: sourceLocation)
    }

    @Test(arguments: Place.allCases, identityNames)
    func aSpoofedIdentityNeverReachesTheBackend(_ place: Place, _ name: String) throws {
      let backend = try Self.place(place).backend
      let client = try Self.client(place)
      for (index, spelling) in Self.spellings(name).enumerated() {
        let mark = "\(mark())/\(index)"
        let value = name.hasPrefix("Forwarded") ? "for=\(Peer.claimed)" : Peer.claimed
        let response = try client.get(mark, fields: ["\(spelling): \(value)"])
        #expect(response.status == 200, "\(spelling)")
        seesOnlyTheTruth(try backend.waitForRequest(to: mark).head, client: Peer.client())
      }
      #expect(!backend.saw(Peer.claimed))
    }

    @Test(arguments: Place.allCases)
    func honestFieldsReachTheBackendUntouched(_ place: Place) throws {
      let backend = try Self.place(place).backend
      let mark = mark()
      let lines = Self.honestNames.enumerated().map { "\(place == .http2 ? $1.lowercased() : $1): honest \($0)" }
      let response = try Self.client(place).get(mark, fields: lines)
      #expect(response.status == 200)
      let head = try backend.waitForRequest(to: mark).head
      for line in lines { #expect(head.text.contains("\r\n\(line)\r\n"), "\(line)") }
      seesOnlyTheTruth(head, client: Peer.client())
    }

    @Test(arguments: Place.allCases)
    func manyAtOnceAndManyOfEachAreRemoved(_ place: Place) throws {
      let backend = try Self.place(place).backend
      let mark = mark()
      let fields = Self.identityNames.flatMap {
        ["\($0): \(Peer.claimed)", "\($0.uppercased()): \(Peer.claimed), \(Peer.client(99))"]
      }
      let response = try Self.client(place).get(mark, fields: Array(fields.prefix(90)))
      #expect(response.status == 200)
      seesOnlyTheTruth(try backend.waitForRequest(to: mark).head, client: Peer.client())
    }

    @Test(arguments: Place.allCases)
    func trailersCarryNoIdentity(_ place: Place) throws {
      let backend = try Self.place(place).backend
      let client = try Self.client(place)
      for name in Self.identityNames.prefix(20) {
        let mark = mark()
        let honest = "\(place == .http2 ? "x-honest" : "X-Honest"): \(mark)"
        let status = try client.post(
          mark, fields: ["Trailer: \(name)"], body: "body",
          trailers: ["\(name): \(Peer.claimed)", "\(name.replacing("-", with: "_")): \(Peer.claimed)", honest])
        #expect(status == 200)
        seesOnlyTheTruth(try backend.waitForRequest(to: mark).head, client: Peer.client())
        #expect(backend.saw(honest), "an honest trailer is passed on")
      }
      #expect(!backend.saw(Peer.claimed))
    }

    /// A nomination is honoured before anything of ours is written, so it cannot take ours away.
    @Test(arguments: Place.ofHTTP1)
    func nominationsTakeNothingAway(_ place: Place) throws {
      let (backend, edge) = try Self.place(place)
      let connection = try Connection(to: edge["public"])
      for name in Self.identityNames + ["X_Forwarded_For", "close-to, x-forwarded-for"] {
        let mark = mark()
        let response = try connection.get(
          mark, fields: ["Connection: keep-alive, \(name)", "X-Forwarded-For: \(Peer.claimed)"])
        #expect(response.status == 200, "\(name)")
        seesOnlyTheTruth(try backend.waitForRequest(to: mark).head, client: Peer.client())
      }
    }

    /// Whom a connection belongs to never changes, whatever its requests say one after the other.
    @Test func pipelinedSpoofsChangeNothing() throws {
      let (backend, edge) = try Self.place(.shared)
      let connection = try Connection(to: edge["public"], from: Peer.client(77))
      let marks = (0..<30).map { _ in mark() }
      try connection.send(
        marks.enumerated().map { Text.request($1, fields: $0 % 2 == 0 ? ["X-Forwarded-For: \(Peer.claimed)"] : []) }
          .joined())
      for mark in marks {
        #expect(try connection.readResponse().text == Peer.client(77))
        seesOnlyTheTruth(try backend.waitForRequest(to: mark).head, client: Peer.client(77))
      }
    }

    /// The rows on framing, names, host, target, method and size hold at the edge as well.
    @Test(arguments: MalformedRequest.all)
    func theEdgeRefusesMalformedRequests(_ item: MalformedRequest) throws {
      let (backend, edge) = try Self.place(.bound)
      let start = edge.access.end
      let mark = mark()
      let connection = try Connection(to: edge["public"])
      try connection.send(item.text(mark, ""))
      let response = try connection.readResponse()
      #expect(response.status == item.status)
      let entry = try edge.access.wait(from: start, for: item.refusal) { $0.refusal != nil }
      #expect(entry.refusal == item.refusal)
      #expect(entry.client == Peer.client())
      #expect(!response.text.contains(item.refusal))
      if !item.stays { #expect(try connection.readToEnd() == [], "the connection goes on") }
      let honest = "\(mark)/honest"
      #expect(try Connection(to: edge["public"]).get(honest).text == Peer.client())
      _ = try backend.waitForRequest(to: honest)
      if item.isInBody {
        #expect(!backend.completed.contains(mark))
      } else {
        #expect(backend.requests(to: mark).isEmpty)
        #expect(!backend.saw("\(mark) "))
      }
    }

    /// A PROXY header from one who need not send one is no HTTP, and not believed.
    @Test func anUnaskedProxyHeaderIsBadHTTP() throws {
      let (backend, edge) = try Self.place(.bound)
      let before = backend.requests.count
      let header = SignedProxyHeader(
        for: SignedRequest("/", by: Forger(httpKey: [], proxyKey: [])), by: Forger(httpKey: [], proxyKey: [])
      ).bytes
      for front in [Array("PROXY TCP4 \(Peer.claimed) 127.0.0.1 1234 443\r\n".utf8), header] {
        let start = edge.access.end
        let connection = try Connection(to: edge["public"])
        try connection.send(front + Array(Text.request(mark()).utf8))
        #expect(try connection.readResponse().status == 400)
        #expect(try edge.access.wait(from: start, for: "a refusal") { $0.refusal != nil }.client == Peer.client())
      }
      #expect(backend.requests.count == before)
      #expect(!backend.saw(Peer.claimed))
    }

    /// An attestation that was caught on the wire is worth nothing at the front door.
    @Test func aCaughtAttestationSentByAClientIsRemoved() throws {
      let workspace = try Workspace()
      let tap = try RecordingBackend()
      let edge = try Countersign(
        Configuration.edge(keys: Keys.standard, to: ["\(tap.address)"], bound: false), in: workspace)
      #expect(try Connection(to: edge["public"], from: Peer.client(66)).get("/caught").status == 200)
      let caught = try tap.waitForRequest(to: "/caught").head
      let lines = ["client-attest", "signature-input", "signature"].map { "\($0): \(caught[$0] ?? "")" }
      #expect(lines.allSatisfy { $0.count > 40 })

      let (backend, front) = try Self.place(.bound)
      #expect(
        try Connection(to: front["public"], from: Peer.client(1)).get("/caught", fields: lines).text == Peer.client(1))
      seesOnlyTheTruth(try backend.waitForRequest(to: "/caught").head, client: Peer.client(1))
    }
  }
}
