import Foundation
import Testing

/// A connection carries one request after the other and nothing in between: no part of a body that was refused or not
/// wanted may ever be taken for a request.
@Suite struct FramingTests {
  /// A body that looks like requests.
  private static func decoy(_ bytes: Int) -> Data {
    let request = Data("GET /whoami?decoy HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
    var body = Data()
    while body.count < bytes { body += request }
    return body
  }

  private static func chunked(_ body: Data) -> Data {
    Data("\(String(body.count, radix: 16))\r\n".utf8) + body + Data("\r\n0\r\n\r\n".utf8)
  }

  @Test(arguments: [10, 5_000, 100_000], [false, true])
  func anUnwantedBodyIsReadAway(bytes: Int, isChunked: Bool) async throws {
    try await Fixture.run { monitor in
      let body = Self.decoy(bytes)
      let connection = try monitor.connection
      let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(body.count)"
      for target in ["/whoami", "/api/v1/printers", "/nothing"] {
        try await connection.send("POST \(target) HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n")
        try await connection.send(isChunked ? Self.chunked(body) : body)
        #expect(try await connection.response().status >= 400)
      }
      try await connection.send("GET /whoami?last HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try await connection.response().json["target"] as? String == "/whoami?last")
    }
  }

  @Test(arguments: [false, true]) func aBodyFarTooLargeEndsTheConnection(isChunked: Bool) async throws {
    try await Fixture.run { monitor in
      let body = Self.decoy(1_000_000)
      let connection = try monitor.connection
      let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(body.count)"
      try await connection.send(
        "POST /api/v1/owners HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\(framing)\r\n\r\n")
      try await connection.send(isChunked ? Self.chunked(body) : body)
      let response = try await connection.response()
      #expect(response.status == 413)
      #expect(response["connection"] == "close")
      #expect(try await connection.readToEnd().isEmpty)
      #expect(try await monitor.request("GET", "/healthz").json["requests"] as? Int == 1)
    }
  }

  @Test func aBodyThatDoesNotComeIsNotWaitedForForever() async throws {
    try await Fixture.run({ $0.bodyTimeoutSeconds = 0.2 }) { monitor in
      let connection = try monitor.connection
      try await connection.send(
        "POST /api/v1/owners HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
          + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"na")
      let response = try await connection.response()
      #expect(response.status == 408)
      #expect(response["connection"] == "close")
      await connection.finishSending()
      #expect(try await connection.readToEnd().isEmpty)
    }
  }

  @Test func brokenChunksEndTheConnection() async throws {
    try await Fixture.run { monitor in
      let connection = try monitor.connection
      try await connection.send(
        "POST /api/v1/owners HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
          + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
      #expect(try await connection.response().status == 400)
      await connection.finishSending()
      #expect(try await connection.readToEnd().isEmpty)
    }
  }

  @Test func requestsFollowEachOtherOnOneConnection() async throws {
    try await Fixture.run { monitor in
      let connection = try monitor.connection
      for number in 0..<5 {
        let body = Data("{\"name\":\"Owner \(number)\"}".utf8)
        try await connection.send(
          "POST /api/v1/owners HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n")
        try await connection.send(Self.chunked(body))
        let response = try await connection.response()
        #expect(response.status == 201)
        #expect((response.json["owner"] as? [String: Any])?["name"] as? String == "Owner \(number)")
      }
    }
  }
}
