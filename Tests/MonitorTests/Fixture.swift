// A running monitor with a database of its own, and short ways of asking it things.

import Foundation
import Monitor
import Testing

struct Fixture: Sendable {
  let monitor: Monitor
  let directory: URL

  var connection: RawConnection { get throws { try RawConnection(to: monitor.address) } }

  /// Starts a monitor on a free port, gives it to `body`, stops it, removes its files.
  static func run(
    _ adjust: (inout Settings) -> Void = { _ in }, _ body: (Fixture) async throws -> Void
  ) async throws {
    let directory = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }
    let listen = try #require(ListenAddress("127.0.0.1:0"))
    var settings = Settings(listen: listen, databasePath: directory.appending(path: "monitor.sqlite").path)
    adjust(&settings)
    let monitor = try await Monitor.start(settings)
    do {
      try await body(Fixture(monitor: monitor, directory: directory))
    } catch {
      try await monitor.stop(graceSeconds: 0.1)
      throw error
    }
    try await monitor.stop(graceSeconds: 0.1)
  }

  static func temporaryDirectory() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appending(path: "monitor-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }

  /// One request on a connection of its own.
  func request(
    _ method: String, _ target: String, token: String? = nil, from address: String? = nil, json: String? = nil,
    type: String? = nil, body: Data? = nil, fields: [String] = []
  ) async throws -> RawResponse {
    let connection = try connection
    try await connection.send(
      Self.head(
        method, target, token: token, from: address, json: json, type: type, body: body, fields: fields))
    return try await connection.response(toHead: method == "HEAD")
  }

  static func head(
    _ method: String, _ target: String, token: String? = nil, from address: String? = nil, json: String? = nil,
    type: String? = nil, body: Data? = nil, fields: [String] = []
  ) -> Data {
    var lines = ["\(method) \(target) HTTP/1.1", "Host: monitor.test"] + fields
    if let token { lines.append("Authorization: Bearer \(token)") }
    if let address { lines.append("X-Forwarded-For: \(address)") }
    if let type = type ?? json.map({ _ in "application/json" }) { lines.append("Content-Type: \(type)") }
    let content = body ?? json.map { Data($0.utf8) }
    if let content { lines.append("Content-Length: \(content.count)") }
    return Data((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (content ?? Data())
  }

  func owner(_ name: String) async throws -> String {
    let response = try await request("POST", "/api/v1/owners", json: "{\"name\":\"\(name)\"}")
    try #require(response.status == 201)
    return try #require(response.json["token"] as? String)
  }

  func printer(_ name: String, from address: String) async throws -> (id: String, token: String) {
    let response = try await request(
      "POST", "/api/v1/printers/announce", from: address, json: #"{"name":"\#(name)","model":"M1"}"#)
    try #require(response.status == 201)
    let printer = try #require(response.json["printer"] as? [String: Any])
    return (try #require(printer["id"] as? String), try #require(response.json["token"] as? String))
  }

  /// The identifiers of what this owner can discover from this address.
  func discovered(by owner: String, from address: String) async throws -> [String] {
    let response = try await request("GET", "/api/v1/discover", token: owner, from: address)
    try #require(response.status == 200)
    let printers = try #require(response.json["printers"] as? [[String: Any]])
    return printers.compactMap { $0["id"] as? String }
  }

  /// A printer and the owner it is linked to.
  func linked() async throws -> (owner: String, id: String, token: String) {
    let owner = try await owner("Ada")
    let printer = try await printer("P1", from: "192.0.2.7")
    let response = try await request("POST", "/api/v1/printers/\(printer.id)/link", token: owner, from: "192.0.2.7")
    try #require(response.status == 200)
    return (owner, printer.id, printer.token)
  }
}

extension RawResponse {
  var problem: String? { (json["error"] as? [String: Any])?["code"] as? String }
}
