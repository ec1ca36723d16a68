// Names that the configuration calls claims: removed at an edge, refused at a validator, in force with a reload; and what
// a backend says of itself, which is nobody's claim.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Claims {
    private static let names = "claims: [X-Acme-Client, x_shop_visitor]"
    private func mark() -> String { "/claims/\(UUID().uuidString)" }

    @Test func aConfiguredClaimIsRemovedAtAnEdge() throws {
      let site = try Site(.shared, edge: { $0.identity.append(Self.names) })
      let connection = try site.connect()
      for spelling in [
        "X-Acme-Client", "x-acme-client", "X_ACME_CLIENT", "X.Acme-Client", "X-Shop-Visitor", "X_Shop_Visitor",
      ] {
        let mark = mark()
        try connection.send(
          Text.request(
            mark, method: "POST",
            fields: [
              "\(spelling): \(Peer.claimed)", "X-Acme-Clients: honest", "Transfer-Encoding: chunked",
              "Trailer: \(spelling)",
            ]) + Text.chunks(["body"], trailers: ["\(spelling): \(Peer.claimed)", "X-Honest: \(mark)"]))
        #expect(try connection.readResponse().text == Peer.client())
        #expect(try site.backend.waitForRequest(to: mark).head["x-acme-clients"] == "honest")
        #expect(site.backend.saw("X-Honest: \(mark)"))
      }
      #expect(!site.backend.saw(Peer.claimed))
    }

    @Test func aConfiguredClaimIsRefusedAtAValidator() throws {
      let bench = try ValidatorBench(.shared, change: { $0.identity.append(Self.names) })
      for (refusal, line) in [
        ("identity-foreign", "X-Acme-Client: \(Peer.claimed)"), ("identity-foreign", "x-shop-visitor:"),
        ("name-alias", "X_Acme_Client: \(Peer.claimed)"), ("hop-nominated", "Connection: x-acme-client"),
        ("trailer-identity", "Trailer: X-Acme-Client"),
      ] {
        let mark = mark()
        var request = SignedRequest(mark, by: bench.forger)
        request.fields = [line]
        try bench.refuses(refusal, status: 400, mark: mark, Array(request.text.utf8))
      }
    }

    /// By its words it is a claim, and edges of another age may not remove it yet: removed, not refused.
    @Test func aClaimByItsWordsIsRemovedAtAValidator() throws {
      let bench = try ValidatorBench(.shared)
      let mark = mark()
      var request = SignedRequest(mark, by: bench.forger)
      request.fields = ["X-Acme-Client-IP: \(Peer.claimed)", "X_Source_IP: \(Peer.claimed)", "X-Acme-Client: honest"]
      #expect(try bench.send(request).status == 200)
      #expect(try bench.backend.waitForRequest(to: mark).head["x-acme-client"] == "honest")
      #expect(!bench.backend.saw(Peer.claimed))
    }

    /// On one kept connection, whose heads are parsed by the rules that hold when they come.
    @Test func aReloadBringsAndTakesClaims() throws {
      let site = try Site(.bound)
      let connection = try site.connect()
      func claim(_ mark: String) throws -> HTTPHead {
        #expect(try connection.get(mark, fields: ["X-Acme-Client: \(Peer.claimed)"]).status == 200)
        return try site.backend.waitForRequest(to: mark).head
      }
      #expect(try claim(mark())["x-acme-client"] == Peer.claimed)
      for (claims, expected) in [("[X-Acme-Client]", nil), ("[X-Other]", Peer.claimed)] as [(String, String?)] {
        var next = site.edgeConfiguration
        next.identity.append("claims: \(claims)")
        // The second takes back the first.
        try site.edge.reloadAccepting(next)
        try eventually("claims: \(claims)", everyMilliseconds: 5) { try claim(mark())["x-acme-client"] == expected }
      }
    }

    /// Its body is on its way when the claim is taken back: the trailers are judged as the head was.
    @Test func aRequestKeepsTheClaimsThatItBeganWith() throws {
      let site = try Site(.bound, edge: { $0.identity.append("claims: [X-Acme-Client]") })
      let mark = mark()
      let connection = try site.connect()
      try connection.send(
        Text.request(mark, method: "POST", fields: ["Transfer-Encoding: chunked"]) + "4\r\nbody\r\n")
      try eventually("the head is on its way") { site.backend.saw(mark) }
      var next = site.edgeConfiguration
      next.identity.removeAll { $0.hasPrefix("claims") }
      try site.edge.reloadAccepting(next)
      try eventually("the reload is in force", everyMilliseconds: 5) {
        let later = self.mark()
        #expect(try site.connect().get(later, fields: ["X-Acme-Client: \(Peer.claimed)"]).status == 200)
        return try site.backend.waitForRequest(to: later).head["x-acme-client"] == Peer.claimed
      }
      try connection.send("0\r\nX-Acme-Client: trailing\r\nX-Sum: 3\r\n\r\n")
      #expect(try connection.readResponse().status == 200)
      #expect(site.backend.saw("X-Sum: 3") && !site.backend.saw("trailing"))
    }

    @Test func whatABackendSaysOfItselfPasses() throws {
      let lines = [
        "X-Client-Cert: 1", "Remote-User: 2", "X-Acme-Client: 3", "X-Source-IP: 4", "X-Forwarded-For: 5",
        "X-Served-Client-IP: 6", "Early-Data: 7",
      ]
      let trailers = ["X-Served-Client-IP: 1", "X-Acme-Client: 2", "X-Sum: 3"]
      let site = try Site(
        .shared,
        script: { exchange in
          try exchange.send(
            "HTTP/1.1 200 OK\r\n" + lines.map { $0 + "\r\n" }.joined() + "Transfer-Encoding: chunked\r\n\r\n"
              + Text.chunks(["body"], trailers: trailers))
        }, validator: { $0.identity.append(Self.names) }, edge: { $0.identity.append(Self.names) })
      let response = try site.connect().get(mark())
      #expect(response.text == "body")
      for line in lines { #expect(response.head.text.contains("\r\n\(line)\r\n"), "\(line)") }
      #expect(response.trailers == trailers)
    }

    /// RFC 8470: what an intermediary answers 425 to, it has not acted on.
    @Test func aRequestRefusedAsEarlyIsNotUsedUp() throws {
      let bench = try ValidatorBench(.shared)
      let mark = mark()
      let request = SignedRequest(mark, by: bench.forger)
      var early = request
      early.fields = ["Early-Data: 1"]
      let lines = request.identityFields
      #expect(try bench.send(Array(early.text(with: lines).utf8)).status == 425)
      #expect(!bench.backend.saw(mark))
      #expect(try bench.send(Array(request.text(with: lines).utf8)).status == 200)
    }

    @Test func anEdgeRemovesEarlyData() throws {
      let site = try Site(.bound)
      let connection = try site.connect()
      for line in ["Early-Data: 1", "early-data: 0", "Early_Data: 1", "EARLY.DATA: x"] {
        let mark = mark()
        #expect(try connection.get(mark, fields: [line]).status == 200)
        #expect(try !site.backend.waitForRequest(to: mark).head.foldedNames.contains("early-data"))
      }
    }
  }
}
