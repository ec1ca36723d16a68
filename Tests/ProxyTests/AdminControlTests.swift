import Platform
import Policy
import Proxy
import Testing
import Wire

/// Who may change what, and how queries are read.
@Suite struct AdminControlTests {
  private func control() throws -> AdminControl {
    let shared = try ProcessShared(
      workers: 1, replayWindowBits: 1 << 10, log: OperationalLog(queue: try LogQueue(bytesMax: 1 << 16)))
    let read = ConfigReader.read(
      text: """
        listeners: [{ name: web, listen: "127.0.0.1:0" }]
        routes: [{ to: app, name: all }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        """, path: "/etc/edge.yaml")
    shared.routes.take(try #require(read.config))
    return AdminControl(shared: shared)
  }

  @Test func onlyRootAndTheProcessesOwnUserMayChange() throws {
    let control = try control()
    let own = ProcessLimits.user
    #expect(control.change("/routes/close", query: "?name=all", user: 0).status == "200 OK")
    #expect(control.change("/routes/open", query: "?name=all", user: own).status == "200 OK")
    for user in [nil, 65_534, own &+ 1] as [UInt32?] where user != 0 {
      let answer = control.change("/routes/close", query: "?name=all", user: user)
      #expect(answer.status == "403 Forbidden", "\(user.map { "\($0)" } ?? "nobody")")
    }
    #expect(control.shared.routes.closures.isEmpty)
  }

  @Test(arguments: [
    ("", "400"), ("?name", "400"), ("?name=a&name=b", "400"), ("?name=%zz", "400"), ("?name=%f", "400"),
    ("?name=%ff", "400"),
    ("?name=all&for=0", "400"), ("?name=all&for=-1", "400"), ("?name=all&for=31536000001", "400"),
    ("?name=all&for=1h", "400"),
    ("?name=nobody", "404"), ("?name=all&for=1&why=a%20b%0ac", "200"), ("?name=%61ll", "200"),
  ])
  func aQueryIsReadStrictly(_ query: String, _ status: String) throws {
    let control = try control()
    #expect(control.change("/routes/close", query: query, user: 0).status.hasPrefix(status))
  }

  @Test(arguments: ["", "a b&c=d%e\"f\\", "ä 🦊", "x\ny"]) func whatIsEncodedReadsBack(_ text: String) {
    #expect(AdminControl.values("?a=\(AdminControl.encoded(text))&b=1") == ["a": text, "b": "1"])
  }

  @Test func aReasonIsShownAsItWasGivenOnOneLineWithoutControlCharacters() throws {
    let control = try control()
    let why = "\u{1b}[31mfür \"A\\B\"\n\u{2028}\u{9b}€ 🦊"
    let answer = control.change("/routes/close", query: "?name=all&why=\(AdminControl.encoded(why))", user: 0)
    #expect(answer.body.contains(#""why":"[31mfür \"A\\B\"€ 🦊""#), "\(answer.body)")
    let long = AdminControl.encoded(String(repeating: "€", count: 100))
    #expect(control.change("/routes/close", query: "?name=all&why=\(long)", user: 0).status == "200 OK")
    #expect(control.shared.routes.closure(of: "all")?.why == String(repeating: "€", count: 85))
  }

  @Test func aJSONTextEscapesWhatItMust() {
    #expect(JSONText.quote("a\"\\\n\u{7f}\u{9b}ü") == #""a\"\\\u000a\u007f\u009bü""#)
  }
}
