// Peers that end at the wrong moment: what they began is ended on the other side too, and nobody else is touched.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Resets {
    @Test(arguments: Site.Mode.allCases)
    func aClientThatResetsItsUploadLeavesNoWholeRequest(_ mode: Site.Mode) throws {
      let site = try Site(mode)
      let connection = try site.connect()
      try connection.send(
        "POST /upload HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 1000000\r\n\r\n"
          + String(repeating: "a", count: 5000))
      _ = try site.backend.waitForRequest(to: "/upload")
      connection.reset()
      try site.backend.waitForOpenCount(0)
      #expect(!site.backend.completed.contains("/upload"))
      #expect(try site.edge.access.wait(path: "/upload").refusal == "client-reset")
      #expect(try site.connect().get("/next").status == 200)
    }

    @Test(arguments: Site.Mode.allCases)
    func aClientThatResetsADownloadStopsTheBackend(_ mode: Site.Mode) throws {
      let site = try Site(mode, keepsBytes: false) { try $0.replyEndlessly() }
      let connection = try site.connect()
      try connection.send(Text.request("/download"))
      _ = try connection.readHead()
      connection.reset()
      try site.backend.waitForOpenCount(0)
    }

    @Test func aClientThatGivesUpWaitingStopsTheBackend() throws {
      let site = try Site(.bound) { exchange in _ = try exchange.connection.readToEnd() }
      let connection = try site.connect()
      try connection.send(Text.request("/wait"))
      _ = try site.backend.waitForRequest(to: "/wait")
      connection.reset()
      try site.backend.waitForOpenCount(0)
      #expect(try site.edge.access.wait(path: "/wait").refusal == "client-reset")
    }

    /// A half-closed client still gets its answer.
    @Test(arguments: Site.Mode.allCases)
    func aClientMayCloseItsHalfAfterItsRequest(_ mode: Site.Mode) throws {
      let site = try Site(mode)
      let connection = try site.connect(from: Peer.client(14))
      try connection.send(Text.request("/half", method: "POST", body: "all"))
      connection.shutdownWrite()
      let response = try connection.readResponse()
      #expect(response.status == 200 && response.text == Peer.client(14))
      #expect(try connection.readToEnd() == [])
      let pipelined = try site.connect()
      try pipelined.send((0..<5).map { Text.request("/half/\($0)") }.joined())
      pipelined.shutdownWrite()
      for _ in 0..<5 { #expect(try pipelined.readResponse().status == 200) }
      #expect(try pipelined.readToEnd() == [])
    }

    @Test func aHalfOfARequestIsNoRequest() throws {
      let site = try Site(.bound)
      for text in [
        "GET", "GET /half HTTP/1.1\r\nHost: a\r\n", "POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
      ] {
        let connection = try site.connect()
        try connection.send(text)
        connection.shutdownWrite()
        #expect(try !String(decoding: connection.readToEnd(), as: UTF8.self).contains(" 200 "))
      }
      #expect(!site.backend.completed.contains("/half"))
      #expect(try site.connect().get("/next").status == 200)
    }

    @Test(arguments: Site.Mode.allCases)
    func aResponseThatBreaksOffIsNotMadeWhole(_ mode: Site.Mode) throws {
      let site = try Site(mode) { exchange in
        switch exchange.target {
        case "/length": try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        case "/chunked": try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        case "/head": try exchange.send("HTTP/1.1 200 OK\r\nContent-Le")
        default: return try exchange.reply("whole")
        }
        if exchange.head["x-reset"] != nil { exchange.reset() }
        exchange.end()
      }
      for fields in [[], ["X-Reset: 1"]] {
        for target in ["/length", "/chunked"] {
          let connection = try site.connect()
          try connection.send(Text.request(target, method: "POST", fields: fields + ["Connection: close"], body: "x"))
          let bytes = String(decoding: try connection.readToEnd(), as: UTF8.self)
          #expect(!bytes.hasSuffix("0\r\n\r\n"), "\(target) was made whole")
          #expect(
            bytes.hasPrefix("HTTP/1.1 200") || bytes.hasPrefix("HTTP/1.1 502"), "\(target): \(bytes.debugDescription)")
          #expect(bytes.hasPrefix("HTTP/1.1 502") || !bytes.contains("Content-Length: 4\r\n"))
        }
        let connection = try site.connect()
        try connection.send(Text.request("/head", method: "POST", fields: fields, body: "x"))
        #expect(try connection.readResponse().status == 502)
      }
      #expect(try site.connect().get("/next").text == "whole")
    }

    @Test(arguments: [
      "not HTTP at all\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 999999 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
    ])
    func aResponseThatIsNoneIsABadGateway(_ text: String) throws {
      let site = try Site(.bound) { exchange in
        try exchange.finishBody()
        try exchange.send(text)
        exchange.end()
      }
      let response = try site.connect().get("/bad")
      #expect(response.status == 502)
      #expect(try site.validator.access.wait(path: "/bad").refusal == "upstream-response")
    }

    /// A kept connection that the backend closes just as it is used again: what may be repeated is, what may not is
    /// not.
    @Test(arguments: Site.Mode.allCases)
    func aKeptConnectionThatEndsUnderARequestIsTriedAgain(_ mode: Site.Mode) throws {
      let seen = Guarded<[Int: Int]>([:])
      let site = try Site(
        mode,
        script: { exchange in
          // Every second request of a connection finds it closed.
          let count = seen.with { counts in
            counts[exchange.request.connection, default: 0] += 1
            return counts[exchange.request.connection]!
          }
          if count == 2 { return exchange.end() }
          try exchange.reply(exchange.clientAddress)
        }, validator: { $0.workers = "1" }, edge: { $0.workers = "1" })
      let connection = try site.connect()
      for index in 0..<10 {
        let response = try connection.get("/again/\(index)")
        #expect(response.status == 200 && response.text == Peer.client())
      }
      #expect(site.backend.requests.count > 10, "nothing had to be tried again, so nothing was shown")
    }

    @Test func whatMayNotBeRepeatedIsNot() throws {
      let site = try Site(
        .bound,
        script: { exchange in
          if exchange.request.method == "POST" {
            _ = try exchange.readBody()
            return exchange.end()
          }
          try exchange.reply("")
        })
      let connection = try site.connect()
      #expect(try connection.get("/first").status == 200)
      try connection.send(Text.request("/once", method: "POST", body: "pay"))
      #expect(try connection.readResponse().status == 502)
      #expect(site.backend.requests(to: "/once").count == 1)
      #expect(try site.validator.access.wait(path: "/once").refusal == "upstream-reset")
    }

    /// A backend that ends its idle connections does no harm to the next request, whatever its method.
    @Test func anIdleConnectionThatTheBackendEndsIsForgotten() throws {
      let site = try Site(
        .shared,
        script: { exchange in
          try exchange.reply("")
          exchange.end()
        })
      let connection = try site.connect()
      for index in 0..<10 {
        try connection.send(Text.request("/post/\(index)", method: "POST", body: "x"))
        #expect(try connection.readResponse().status == 200)
        try site.backend.waitForOpenCount(0)
      }
      #expect(site.backend.requests.count == 10)
    }

    @Test func aBackendThatAnswersEarlyIsHeard() throws {
      let site = try Site(.bound) { exchange in
        exchange.takesBodyItself()
        try exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
        exchange.connection.shutdownWrite()
        _ = try? exchange.connection.readToEnd()
        exchange.end()
      }
      let connection = try site.connect()
      try connection.send(
        "POST /early HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 100000000\r\n\r\n"
          + String(repeating: "a", count: 100_000))
      let response = try connection.readResponse()
      #expect(response.status == 413 && response.text == "much")
    }

    /// A thousand broken clients leave nothing behind.
    @Test func brokenClientsLeaveNothingBehind() throws {
      let site = try Site(.bound, edge: { $0.access = "off" })
      #expect(try site.connect().get("/warm").status == 200)
      func breakOff(_ index: Int) throws {
        let connection = try site.connect(from: Peer.client(index % 200))
        switch index % 5 {
        case 0: break
        case 1: try connection.send("GET /bro")
        case 2: try connection.send(Text.request("/broken"))
        case 3:
          #expect(try connection.get("/broken").status == 200)
        default: try connection.send("POST /broken HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 10\r\n\r\nabc")
        }
        if index % 2 == 0 { connection.reset() } else { connection.close() }
      }
      for index in 0..<200 { try breakOff(index) }
      let edge = site.edge.process
      let files = try eventually("calm") { () -> Int? in
        let first = try edge.openFileCount
        observe(seconds: 0.05)
        return try edge.openFileCount == first ? first : nil
      }
      for index in 0..<1000 { try breakOff(index) }
      try eventually("all descriptors are back") { try edge.openFileCount <= files + 4 }
      #expect(try site.connect().get("/after").status == 200)
      #expect(edge.exit == nil)
    }
  }
}
