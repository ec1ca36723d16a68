// `plain_fields`: which of the plain fields a backend gets. What is not chosen is nobody's word: it is removed as ever.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct PlainFields {
    private func mark() -> String { "/plain/\(UUID().uuidString)" }

    @Test(arguments: [
      "[x-forwarded-for]", "[X-Forwarded-For, x-forwarded-proto]", "[forwarded]", "[x-real-ip, x-forwarded-host]",
      "[forwarded, x-real-ip, x-forwarded-host, x-forwarded-proto, x-forwarded-for]",
    ])
    func onlyTheChosenPlainFieldsAreWritten(_ chosen: String) throws {
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.upstreams[0].members.append("plain_fields: \(chosen)")
      let edge = try Countersign(configuration, in: try Workspace())
      let all = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"]
      let mark = mark()
      let response = try Connection(to: edge["public"]).get(mark, fields: all.map { "\($0): \(Peer.claimed)" })
      #expect(response.status == 200)
      let head = try backend.waitForRequest(to: mark).head
      let wanted = Set(chosen.lowercased().split { !$0.isLetter && $0 != "-" }.map(String.init))
      for name in all { #expect(head.all(name).count == (wanted.contains(name) ? 1 : 0), "\(name) in \(head.text)") }
      #expect(!backend.saw(Peer.claimed))
    }
  }
}
