// The server side of HTTP/2, rule by rule.

import TestSupport
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(2)) struct HTTP2Conformance {
    private static let site = Result {
      try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("a body of some bytes")
      }
    }

    /// None is lost: h2spec 2.6 has so many, and one that is only for the strict.
    @Test func theCasesAreAllThere() {
      #expect(HTTP2Case.generic.count == 44)
      let sections = HTTP2Case.connections + HTTP2Case.frameDefinitions + HTTP2Case.exchanges
      #expect(sections.count == 95)
      #expect(HTTP2Case.compression.count == 8)
    }

    private func run(_ item: HTTP2Case) throws { try item.run(on: Self.site.get().connect()) }

    @Test(arguments: HTTP2Case.generic) func generic(_ item: HTTP2Case) throws { try run(item) }
    @Test(arguments: HTTP2Case.generic) func genericByTLS(_ item: HTTP2Case) throws {
      try item.run(on: Self.site.get().connectTLS())
    }
    @Test(arguments: HTTP2Case.connections) func connections(_ item: HTTP2Case) throws { try run(item) }
    @Test(arguments: HTTP2Case.frameDefinitions) func frames(_ item: HTTP2Case) throws { try run(item) }
    @Test(arguments: HTTP2Case.exchanges) func exchanges(_ item: HTTP2Case) throws { try run(item) }
    @Test(arguments: HTTP2Case.compression) func compression(_ item: HTTP2Case) throws { try run(item) }
  }
}
