// Request targets as browsers send them: what a URL parser of the WHATWG URL standard leaves unescaped is passed on byte
// for byte, signed and verified as it came. What could be read in two ways is refused, and the log says what it was.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct Targets {
    private static let bound = Result { try Site(.bound) }
    private static let shared = Result { try Site(.shared) }
    private static let bench = Result { try ValidatorBench(.shared) }

    /// Add a line for each target that was refused and should not have been.
    static let sentByBrowsers = [
      "/a?q=100%", "/a?q=%", "/a?q=%zz&r=%2", #"/a?p=C:\x"#, #"/a?\\host\share"#, #"/?a="b"&c='d'"#, "/?<script>",
      "/?a=[1]&b={2}&c=|3|&d=^4&e=`5`", #"/a?!"$%&'()*+,-./:;<=>?@[\]^_`{|}~"#, "/??", "/a?/../b",
      "/100%", "/%", "/%zz/x", "/a|b", "/a[0]", "/a^b", "/{id}", "/~a;b=c,d:e@f!g$h&i'j(k)l*m+n",
      "/%E4%B8%AD?%u4e2d",
    ]

    @Test(arguments: sentByBrowsers, Site.Mode.allCases)
    func aTargetThatBrowsersSendReachesTheBackendAsItCame(_ target: String, _ mode: Site.Mode) throws {
      let site = try (mode == .bound ? Self.bound : Self.shared).get()
      let connection = try site.connect(from: Peer.client(17))
      let start = site.backend.requests.count
      let response = try connection.get(target)
      #expect(response.status == 200 && response.text == Peer.client(17))
      #expect(site.backend.requests.dropFirst(start).map(\.target) == [target])
      #expect(try site.edge.access.wait(path: target).refusal == nil)
      #expect(try site.validator.access.wait(path: target).client == Peer.client(17))

      try connection.send("GET http://\(Site.host)\(target) HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      #expect(try connection.readResponse().text == Peer.client(17))
      #expect(site.backend.requests.dropFirst(start).map(\.target) == [target, target])
    }

    /// The signature base that the validator makes of them is that of RFC 9421, assembled here a second time.
    @Test(arguments: sentByBrowsers)
    func whatIsSignedIsTheTargetAsItWasSent(_ target: String) throws {
      let bench = try Self.bench.get()
      #expect(try bench.send(SignedRequest(target, by: bench.forger)).status == 200)
      let signed = SignedRequest(target, by: bench.forger)
      // An escaped spelling of the same target is another target.
      let spelled = signed.text.replacing(
        " \(target) ", with: " \(target.dropLast())%\(String(target.utf8.last!, radix: 16)) ")
      #expect(try bench.send(Array(spelled.utf8)).status == 403)
    }

    static let refused: [(target: String, detail: String)] = [
      (#"/a\b"#, "a backslash in the target's path"), (#"/a\b?c"#, "a backslash in the target's path"),
      ("/a#b", "a # in the target; fragments are not sent"), ("/a?b#c", "a # in the target; fragments are not sent"),
      ("/a\u{1}", "a control byte in the target"), ("/a?\tb", "a control byte in the target"),
      ("/a?\u{7f}", "a control byte in the target"),
      ("/ü", "a byte in the target that is not ASCII and not percent-encoded"),
      ("/?ü", "a byte in the target that is not ASCII and not percent-encoded"),
      (
        "ftp://a/", "the target is neither a path that begins with /, nor an http or https URL, nor the * of OPTIONS"
      ),
      (#"http://app.example.com\x?"#, "a backslash in the target's path"),
    ]

    @Test(arguments: refused.indices)
    func aTargetThatIsRefusedSaysWhyInTheLog(_ index: Int) throws {
      let (target, detail) = Self.refused[index]
      let site = try Self.shared.get()
      let start = site.edge.access.end
      #expect(try site.connect().get(target).status == 400)
      let entry = try site.edge.access.wait(refusal: "target-form", from: start)
      #expect(entry.detail == detail)
    }

    @Test func routesMatchTheBytesThatWereSent() throws {
      let other = try RecordingBackend { try $0.reply("other") }
      let site = try Site(
        .shared,
        edge: {
          $0.upstreams.append(
            Configuration.Upstream(name: "other", members: ["identity: none"], servers: ["\(other.address)"]))
          $0.routes = ["path: '/100%', to: other", "to: monitor"]
        })
      let connection = try site.connect()
      for target in ["/100%", #"/100%?\"#] { #expect(try connection.get(target).text == "other") }
      for target in ["/100%25", "/100"] { #expect(try connection.get(target).text == Peer.client()) }
      // Decoded once, this is `/100%`.
      #expect(try connection.get("/%3100%").status == 400)
      #expect(try site.edge.access.wait(path: "/%3100%").refusal == "path-ambiguous")
    }
  }
}
