// The sample backend behind everything: an application that believes X-Forwarded-For, made safe by what stands in
// front of it.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct PrinterMonitor {
    /// printer-monitor behind a validator behind an edge.
    private final class Stand: Sendable {
      let workspace: Workspace
      let monitor: ChildProcess
      let monitorAddress: Address
      let validator: Countersign
      let edge: Countersign

      init(_ mode: Site.Mode) throws {
        workspace = try Workspace()
        let monitor = try ChildProcess([
          try Programs.printerMonitor, "--listen", "127.0.0.1:0", "--database", workspace.file("monitor.sqlite"),
        ])
        self.monitor = monitor
        let prefix = "ready listen="
        let ready = monitor.standardError.wait {
          $0.hasPrefix(prefix) ? $0.dropFirst(prefix.count).prefix { $0 != " " } : nil
        }
        guard let address = ready.flatMap(Address.init) else {
          throw Trouble("printer-monitor did not get ready\n\(monitor.tail)")
        }
        monitorAddress = address
        let keys = try Keys.standard
        validator = try Countersign(
          Configuration.validator(keys: keys, to: ["\(address)"], bound: mode == .bound), name: "validator",
          in: workspace)
        edge = try Countersign(
          Configuration.edge(keys: keys, to: ["\(try validator["from-edge"])"], bound: mode == .bound), in: workspace)
      }

      func connect(_ source: String) throws -> Connection { try Connection(to: edge["public"], from: source) }
    }

    private func json(_ response: HTTPResponse) throws -> [String: Any] {
      try #require(
        try JSONSerialization.jsonObject(with: Data(response.body)) as? [String: Any],
        "\(response.status) \(response.text)")
    }

    private func call(
      _ connection: Connection, _ method: String, _ path: String, token: String? = nil, body: String? = nil,
      fields: [String] = []
    )
      throws -> HTTPResponse
    {
      let bearer = token.map { ["Authorization: Bearer \($0)"] } ?? []
      let type = body == nil ? [] : ["Content-Type: application/json"]
      try connection.send(Text.request(path, method: method, fields: bearer + type + fields, body: body))
      return try connection.readResponse()
    }

    @Test(arguments: Site.Mode.allCases)
    func theApplicationSeesTheTrueAddress(_ mode: Site.Mode) throws {
      let stand = try Stand(mode)
      let response = try stand.connect(Peer.client(31)).get(
        "/whoami", fields: ["X-Forwarded-For: \(Peer.claimed)", "X-Real-IP: \(Peer.claimed)"])
      #expect(response.status == 200)
      #expect(try json(response)["client"] as? String == Peer.client(31))
      #expect(!response.text.contains(Peer.claimed))
      #expect(try stand.connect(Peer.client(31)).get("/healthz").status == 200)
      // Without us in front, it believes anything: what the proof above is worth.
      let direct = try Connection(to: stand.monitorAddress, from: Peer.client(31)).get(
        "/whoami", fields: ["X-Forwarded-For: \(Peer.claimed)"])
      #expect(try json(direct)["client"] as? String == Peer.claimed)
    }

    /// Owners find the printers behind their own address, and a claim to be elsewhere finds nothing.
    @Test(arguments: Site.Mode.allCases)
    func anOwnerFindsThePrintersOfItsOwnAddressOnly(_ mode: Site.Mode) throws {
      let stand = try Stand(mode)
      let home = Peer.client(90)
      let away = Peer.client(91)
      let announced = try json(
        try call(stand.connect(home), "POST", "/api/v1/printers/announce", body: #"{"name":"Prusa","model":"MK4"}"#))
      let printer = try #require(announced["printer"] as? [String: Any])
      let id = try #require(printer["id"] as? String)
      let printerToken = try #require(announced["token"] as? String)
      let owner = try json(try call(stand.connect(home), "POST", "/api/v1/owners", body: #"{"name":"Ada"}"#))
      let token = try #require(owner["token"] as? String)

      let claims = [
        "X-Forwarded-For: \(home)", "Forwarded: for=\(home)", "X-Real-IP: \(home)", "X_Forwarded_For: \(home)",
        "Connection: x-forwarded-for",
      ]
      let elsewhere = try call(stand.connect(away), "GET", "/api/v1/discover", token: token, fields: claims)
      #expect(elsewhere.status == 200)
      #expect(!elsewhere.text.contains(id) && elsewhere.text.contains(away))
      #expect(
        try call(stand.connect(away), "POST", "/api/v1/printers/\(id)/link", token: token, fields: claims).status == 404
      )

      let found = try call(stand.connect(home), "GET", "/api/v1/discover", token: token)
      #expect(found.status == 200 && found.text.contains(id))
      #expect(try call(stand.connect(home), "POST", "/api/v1/printers/\(id)/link", token: token).status == 200)

      // Live status over a WebSocket through both processes, wherever the owner now is.
      let events = try stand.connect(away)
      #expect(
        try events.get("/api/v1/printers/\(id)/events", fields: WebSocket.upgrade + ["Authorization: Bearer \(token)"])
          .status == 101)
      let status = try call(
        stand.connect(home), "PUT", "/api/v1/printers/\(id)/status", token: printerToken,
        body: #"{"state":"printing","progress":0.5}"#)
      #expect(status.status == 200, "\(status.text)")
      try eventually("the status arrives on the stream", everyMilliseconds: 1) {
        if String(decoding: events.held, as: UTF8.self).contains("printing") { return true }
        return try !events.fill()
      }
      #expect(String(decoding: events.held, as: UTF8.self).contains("printing"))
    }
  }
}
