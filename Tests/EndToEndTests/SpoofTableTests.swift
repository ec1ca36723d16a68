// The specification's table of refusals at a validator that runs: each by its name and status, and the backend sees
// nothing of it.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct SpoofTable {
    private static let bound = Result { try ValidatorBench(.bound) }
    private static let shared = Result { try ValidatorBench(.shared) }

    private func mark() -> String { "/spoof/\(UUID().uuidString)" }

    @Test(arguments: MalformedRequest.all)
    func theValidatorRefusesMalformedRequests(_ item: MalformedRequest) throws {
      let bench = try Self.shared.get()
      let mark = mark()
      let identity = SignedRequest(mark, by: bench.forger).identityFields.map { $0 + "\r\n" }.joined()
      try bench.refuses(
        item.refusal, status: item.status, stays: item.stays, isInBody: item.isInBody, mark: mark,
        Array(item.text(mark, identity).utf8))
    }

    @Test(arguments: ForgedRequest.all)
    func theValidatorRefusesForgedRequests(_ item: ForgedRequest) throws {
      let bench = try Self.shared.get()
      let mark = mark()
      try bench.refuses(
        item.refusal, status: item.status, stays: item.stays, isInBody: item.isInBody, mark: mark,
        Array(item.text(mark, bench.forger).utf8))
    }

    @Test(arguments: ForgedHeader.all)
    func theValidatorRefusesForgedHeaders(_ item: ForgedHeader) throws {
      let bench = try Self.bound.get()
      let mark = mark()
      try bench.refuses(
        item.refusal, status: item.status, stays: item.stays, mark: mark, item.bytes(mark, bench.forger))
    }

    /// What the names of the table are, and that each stands in one of the cases above or in a test of its own.
    @Test func everyNameOfTheTableIsShown() {
      let table = """
        framing-te-cl framing-te framing-chunk line-ending obs-fold name-space name-token name-alias hop-nominated host-missing
        host-multiple host-invalid target-form absolute-form method-refused head-too-large too-many-fields head-timeout
        trailer-identity identity-missing identity-duplicate identity-foreign identity-form identity-address signature-form
        signature-tag signature-components signature-params signature-length key-unknown key-inactive signature-invalid
        edge-not-allowed audience-wrong time-future time-expired time-lifetime starting replay window-old epochs-full
        bound-address bound-port bound-cid bound-key early-data
        """.split(whereSeparator: \.isWhitespace).map(String.init)
      let shown =
        Set(MalformedRequest.all.map(\.refusal)).union(ForgedRequest.all.map(\.refusal)).union(
          ForgedHeader.all.map(\.refusal)
        )
        .union(["head-timeout", "key-inactive", "starting", "replay", "window-old", "epochs-full", "bound-key"])
      #expect(Set(table).subtracting(shown) == [])
    }

    @Test func aHeadThatDoesNotComeIsRefusedByName() throws {
      let bench = try ValidatorBench(.shared, change: { $0.timeouts = ["head: 1s"] })
      let mark = mark()
      let text = SignedRequest(mark, by: bench.forger).text
      try bench.refuses("head-timeout", status: 408, mark: mark, Array(text.utf8.dropLast(2)))
    }

    @Test func aHeaderThatDoesNotComeIsRefusedByName() throws {
      let bench = try ValidatorBench(.bound, change: { $0.timeouts = ["head: 1s", "handshake: 1s"] })
      let mark = mark()
      let header = SignedProxyHeader(for: SignedRequest(mark, by: bench.forger), by: bench.forger).bytes
      try bench.refuses("proxy-timeout", status: 0, mark: mark, Array(header.dropLast(1)))
    }

    /// Both carriers must come from the same key, even when each key is a good one.
    @Test func aRequestAndAHeaderFromTwoKeysAreRefused() throws {
      let workspace = try Workspace()
      let first = try Keys(in: workspace, prefix: "first-")
      let second = try Keys(in: workspace, prefix: "second-", kid: "k2")
      let joined = workspace.file("joined.jwks.json")
      try KeySetFile.join([first.validator, second.validator], into: joined)
      let bench = try ValidatorBench(.bound, keys: first, change: { $0.identity[0] = "keys: \"\(joined)\"" })
      let other = try Forger(validatorKeys: second.validator, kid: "k2")
      let mark = mark()
      let request = SignedRequest(mark, by: bench.forger)
      let header = SignedProxyHeader(for: request, by: other)
      try bench.refuses("bound-key", status: 403, mark: mark, header.bytes + Array(request.text.utf8))
    }

    @Test(arguments: ["exp", "nbf"])
    func aKeyOutsideItsTimeIsRefused(_ member: String) throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "timed-")
      let others = try Keys(in: workspace, prefix: "other-", kid: "k2")
      let set = workspace.file("timed.jwks.json")
      let hour = 3600 * (member == "exp" ? -1 : 1)
      try KeySetFile.join([keys.validator, others.validator], into: set) { key in
        if key["kid"] as? String == Keys.kid { key[member] = Int(Date().timeIntervalSince1970) + hour }
      }
      let timed = try Forger(validatorKeys: keys.validator)
      let bench = try ValidatorBench(
        .shared, keys: others, change: { $0.identity[0] = "keys: \"\(set)\"" }, kid: "k2")
      let mark = mark()
      try bench.refuses("key-inactive", status: 403, mark: mark, Array(SignedRequest(mark, by: timed).text.utf8))
    }

    /// In `observe` nothing is refused for its identity, and nothing unverified is passed on as one.
    @Test func observeModeForwardsWithoutAnyIdentity() throws {
      let bench = try ValidatorBench(.shared, change: { $0.identity.append("mode: observe") })
      let path = mark()
      let start = bench.validator.access.end
      let connection = try Connection(to: bench.address)
      let response = try connection.get(
        path, fields: ["X-Forwarded-For: \(Peer.claimed)", "client-attest: \(Peer.claimed)"])
      #expect(response.status == 200)
      let request = try bench.backend.waitForRequest(to: path)
      #expect(Set(request.head.foldedNames).isDisjoint(with: ["client-attest", "signature", "signature-input"]))
      #expect(!bench.backend.saw(Peer.claimed))
      #expect(request.head["x-forwarded-for"] == nil)
      let entry = try bench.validator.access.wait(path: path, from: start)
      #expect(entry.refusal == "identity-missing")
    }
  }
}

enum KeySetFile {
  /// One set with the keys of several.
  static func join(_ files: [String], into target: String, change: (inout [String: Any]) -> Void = { _ in }) throws {
    var keys = try files.flatMap { file in
      let object =
        try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file))) as? [String: Any]
      return object?["keys"] as? [[String: Any]] ?? []
    }
    for index in keys.indices { change(&keys[index]) }
    let data = try JSONSerialization.data(withJSONObject: ["keys": keys])
    guard FileManager.default.createFile(atPath: target, contents: data, attributes: [.posixPermissions: 0o600]) else {
      throw Trouble("cannot write \(target)")
    }
  }
}
