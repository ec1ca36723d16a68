// Servers that end a connection in the same breath as they answer: the end must be noticed although the kernel tells of
// it once, and together with the last bytes. And heads that are as long as heads may be.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ConnectionEnds {
    /// Sends `text` and closes, so that the last bytes and the end of the connection come as one segment.
    private static func sendAndEnd(_ exchange: Exchange, _ text: String) throws {
      Socket.set(exchange.connection.descriptor, Int32(IPPROTO_TCP), TCP_CORK, 1)
      try exchange.send(text)
      exchange.end()
    }

    @Test(arguments: Site.Mode.allCases)
    func aResponseThatEndsWithItsConnectionIsWholeAtOnce(_ mode: Site.Mode) throws {
      let site = try Site(mode) { try Self.sendAndEnd($0, "HTTP/1.0 200 OK\r\n\r\nall of it") }
      for number in 0..<5 {
        let response = try site.connect().get("/end/\(number)")
        #expect(response.status == 200 && response.text == "all of it")
        #expect(try site.edge.access.wait(path: "/end/\(number)").refusal == nil)
      }
    }

    /// It did not say that it would close; a request that may not be repeated must not find that out.
    @Test(arguments: Site.Mode.allCases)
    func aConnectionThatEndedWithItsResponseIsNotUsedAgain(_ mode: Site.Mode) throws {
      let site = try Site(mode) { exchange in
        try exchange.finishBody()
        try Self.sendAndEnd(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      }
      let connection = try site.connect()
      for number in 0..<10 {
        try connection.send(Text.request("/post/\(number)", method: "POST", body: "once"))
        #expect(try connection.readResponse().status == 200)
      }
      #expect(site.backend.connectionCount == 10)
    }

    @Test func aResponseHeadBehindLargeHintsLosesNothing() throws {
      let site = try Site(.bound) { exchange in
        try exchange.finishBody()
        try exchange.send(
          "HTTP/1.1 103 Early Hints\r\nLink: \(String(repeating: "a", count: 12_000))\r\n\r\n"
            + "HTTP/1.1 200 OK\r\nX-Long: \(String(repeating: "b", count: 25_000))\r\nSet-Cookie: last=1\r\n"
            + "Content-Length: 2\r\n\r\nok")
      }
      let connection = try site.connect()
      try connection.send(Text.request("/hints"))
      #expect(try connection.readResponse(interim: true).status == 103)
      let response = try connection.readResponse()
      #expect(response.status == 200 && response.text == "ok")
      #expect(response.head["x-long"]?.utf8.count == 25_000 && response.head["set-cookie"] == "last=1")
    }
  }
}
