// A client of either protocol, for tests of what is the same in both. Lines are as HTTP/1 has them; by HTTP/2 their names are
// lower case.

import TestSupport

enum SpokenClient {
  case http1(Connection)
  case http2(HTTP2Client)

  private func fields(_ lines: [String]) -> [(String, String)] {
    lines.map { line in
      let colon = line.firstIndex(of: ":")!
      return (line[..<colon].lowercased(), String(line[colon...].dropFirst().drop { $0 == " " }))
    }
  }

  func get(_ target: String, fields lines: [String] = []) throws -> (status: Int, text: String) {
    switch self {
    case .http1(let connection):
      let response = try connection.get(target, fields: lines)
      return (response.status, response.text)
    case .http2(let client):
      let response = try client.get(target, fields: fields(lines))
      return (response.status, response.text)
    }
  }

  /// A body without a length said, and trailers behind it.
  func post(_ target: String, fields lines: [String], body: String, trailers: [String]) throws -> Int {
    switch self {
    case .http1(let connection):
      try connection.send(
        Text.request(target, method: "POST", fields: ["Transfer-Encoding: chunked"] + lines)
          + Text.chunks([body], trailers: trailers))
      return try connection.readResponse().status
    case .http2(let client):
      return try client.get(
        target, method: "POST", fields: fields(lines), body: Array(body.utf8), trailers: fields(trailers)
      ).status
    }
  }
}
