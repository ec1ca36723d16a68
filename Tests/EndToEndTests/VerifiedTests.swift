// A validator is seen to check: the edge knows by each answer whether somebody verifies what it signs, and says so where nobody does.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Verified {
    private func responses(_ site: Site, _ verified: String) throws -> Int {
      try #require(try site.edge.metric("countersign_attested_responses_total{verified=\"\(verified)\"}"))
    }

    @Test func anEnforcingValidatorIsSeenAndItsWordIsRemoved() throws {
      // The backend's own word for it is not believed, and passes neither hop.
      let site = try Site(
        script: { try $0.reply($0.clientAddress, fields: ["Countersign-Verified: observe", "A: b"]) },
        edge: { $0.hasAdmin = true })
      let response = try site.connect().get("/verified")
      #expect(response.status == 200)
      #expect(response.head["a"] == "b" && response.head["countersign-verified"] == nil, "\(response.head.text)")
      #expect(try site.edge.access.wait(path: "/verified").verified == "enforce")
      #expect(try responses(site, "enforce") == 1 && responses(site, "none") == 0 && responses(site, "observe") == 0)
    }

    @Test func aValidatorThatOnlyObservesIsAWarning() throws {
      let site = try Site(
        validator: { $0.identity.append("mode: observe") }, edge: { $0.hasAdmin = true })
      #expect(try site.connect().get("/observed").status == 200)
      #expect(try site.edge.access.wait(path: "/observed").verified == "observe")
      #expect(try responses(site, "observe") == 1)
      try site.edge.said("lets every request pass (identity.mode: observe)")
    }

    /// What the edge signs goes to a server that does not look at it.
    @Test func anUpstreamBehindWhichNobodyVerifiesIsAWarning() throws {
      let backend = try RecordingBackend { try $0.reply("unverified") }
      let site = try Site(
        .shared,
        edge: {
          $0.upstreams[0].servers = ["\(backend.address)"]; $0.hasAdmin = true
        })
      #expect(try site.connect().get("/nobody").text == "unverified")
      #expect(try site.edge.access.wait(path: "/nobody").verified == "none")
      #expect(try responses(site, "none") == 1)
      try site.edge.said("nobody may be checking who the client is there")
    }

    /// Twenty refusals in a row, and the edge asks for no more requests, until there is an end to them.
    @Test func anEdgeWhoseValidatorRefusesEverythingIsNotReady() throws {
      let site = try Site(
        .shared, validator: { $0.identity = $0.identity.map { $0.hasPrefix("edges") ? "edges: [edge-b]" : $0 } },
        edge: {
          $0.hasAdmin = true
          $0.listeners[0].more = ["checks: [{ from: [\(Peer.balancers)], path: /healthz }]"]
        })
      let balancer = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(try balancer.get("/healthz").text == "200 OK\n")
      for _ in 0..<20 { #expect(try site.connect().get("/refused").status == 403) }
      let answer = try balancer.get("/healthz")
      #expect(answer.status == 503)
      #expect(answer.text.contains("validators: every request of late was refused"), "\(answer.text)")
      let metrics = try Connection(to: site.edge["admin"], from: nil).get("/metrics")
      #expect(metrics.metric("countersign_unready{reason=\"validators\"}") == 1)
      #expect(metrics.metric("countersign_ready") == 0)
      try site.edge.said("refused a request that this edge signed")
      #expect(try responses(site, "refused") == 20)
    }
  }
}
