// What a probe of a server makes of its answer.

import Proxy
import TestSupport
import Testing

@Suite struct ProbeTests {
  /// What a validator says the time is: no calendar has some of these, and no number some others.
  @Test(
    arguments: [
      "Sat, 28 Nov 9223372036854775807 06:29:01 GMT", "Sat, 28 Nov 25252734927761554 06:29:01 GMT",
      "Sat, 28 Nov 10000 06:29:01 GMT", "Sat, 31 Feb 2026 06:29:01 GMT",
      "Sat, -9223372036854775808 Nov 2026 06:29:01 GMT",
      "Sat, 28 Nov 2026 9223372036854775807:29:01 GMT", "Sat, 28 Nov 2026 06:29:60 GMT", "",
    ])
  func timesThatAServerTells(_ date: String) throws {
    let server = try ScriptedServer { connection in
      guard connection.readHead() != nil else { return }
      connection.send("HTTP/1.1 204 No Content\r\nDate: \(date)\r\n\r\n")
    }
    let probe = try Probe(url: "http://127.0.0.1:\(server.address.port)", authorities: "")
    #expect(try probe.ask("/x", from: nil).status == 204)
  }
}
