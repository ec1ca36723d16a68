import Foundation
import Monitor
import Testing

/// The event stream, over a WebSocket written out by hand.
@Suite(.timeLimit(.minutes(3))) struct EventTests {
  private struct Socket {
    let connection: RawConnection

    /// RFC 6455, 1.3: the example's key, and the answer it must get.
    static func open(_ monitor: Fixture, printer: String, token: String) async throws -> Socket {
      let connection = try monitor.connection
      try await connection.send(
        Fixture.head(
          "GET", "/api/v1/printers/\(printer)/events", token: token,
          fields: [
            "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
          ]))
      let response = try await connection.response()
      try #require(response.status == 101)
      #expect(response["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      return Socket(connection: connection)
    }

    func frame() async throws -> (opcode: UInt8, payload: Data) {
      let head = try await connection.read(2)
      try #require(head[0] & 0x80 != 0 && head[1] & 0x80 == 0)
      var count = Int(head[1])
      if count == 126 { count = try await connection.read(2).reduce(0) { $0 << 8 | Int($1) } }
      return (head[0] & 0x0f, try await connection.read(count))
    }

    func event() async throws -> [String: Any] {
      let frame = try await frame()
      try #require(frame.opcode == 1)
      return try #require(try JSONSerialization.jsonObject(with: frame.payload) as? [String: Any])
    }

    func closeCode() async throws -> Int {
      let frame = try await frame()
      try #require(frame.opcode == 8)
      return frame.payload.prefix(2).reduce(0) { $0 << 8 | Int($1) }
    }

    /// A frame as a client sends it: masked.
    func send(_ opcode: UInt8, _ payload: Data) async throws {
      let mask: [UInt8] = [1, 2, 3, 4]
      let masked = payload.enumerated().map { $1 ^ mask[$0 % 4] }
      try await connection.send(Data([0x80 | opcode, 0x80 | UInt8(payload.count)] + mask + masked))
    }
  }

  @Test func anOwnerSeesEverythingInOrder() async throws {
    try await Fixture.run { monitor in
      let (owner, id, token) = try await monitor.linked()
      let path = "/api/v1/printers/\(id)"
      let socket = try await Socket.open(monitor, printer: id, token: owner)
      let first = try await socket.event()
      #expect(first["type"] as? String == "state")
      #expect((first["printer"] as? [String: Any])?["id"] as? String == id)

      _ = try await monitor.request("PUT", path + "/status", token: token, json: #"{"state":"idle"}"#)
      _ = try await monitor.request("PUT", path + "/snapshot", token: token, type: "image/png", body: Data([1, 2]))
      _ = try await monitor.request(
        "POST", path + "/commands", token: owner, json: #"{"kind":"start","file":"benchy.gcode"}"#)
      let state = try await socket.event()
      let status = (state["printer"] as? [String: Any])?["status"] as? [String: Any]
      #expect(status?["state"] as? String == "idle")
      #expect(try await socket.event()["type"] as? String == "snapshot")
      let command = try await socket.event()
      #expect((command["command"] as? [String: Any])?["file"] as? String == "benchy.gcode")
    }
  }

  @Test func aPrinterHearsItsCommands() async throws {
    try await Fixture.run { monitor in
      let (owner, id, token) = try await monitor.linked()
      let socket = try await Socket.open(monitor, printer: id, token: token)
      _ = try await socket.event()
      _ = try await monitor.request(
        "POST", "/api/v1/printers/\(id)/commands", token: owner, json: #"{"kind":"cancel"}"#)
      let event = try await socket.event()
      #expect((event["command"] as? [String: Any])?["kind"] as? String == "cancel")
    }
  }

  @Test func aStrangerHearsNothing() async throws {
    try await Fixture.run { monitor in
      let (_, id, _) = try await monitor.linked()
      let stranger = try await monitor.owner("Mallory")
      let response = try await monitor.request(
        "GET", "/api/v1/printers/\(id)/events", token: stranger,
        fields: [
          "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ])
      #expect(response.status == 404)
      #expect(await monitor.monitor.streamCount(ofPrinter: id) == 0)
    }
  }

  @Test func unlinkingEndsTheOwnersStreamOnly() async throws {
    try await Fixture.run { monitor in
      let (owner, id, token) = try await monitor.linked()
      let ownersSocket = try await Socket.open(monitor, printer: id, token: owner)
      let printersSocket = try await Socket.open(monitor, printer: id, token: token)
      _ = try await ownersSocket.event()
      _ = try await printersSocket.event()
      _ = try await monitor.request("DELETE", "/api/v1/printers/\(id)/link", token: owner)
      #expect(try await ownersSocket.event()["type"] as? String == "unlinked")
      #expect(try await ownersSocket.closeCode() == 1001)
      #expect(try await printersSocket.event()["type"] as? String == "unlinked")
      try await printersSocket.send(9, Data("still".utf8))
      #expect(try await printersSocket.frame().payload == Data("still".utf8))
    }
  }

  @Test func controlFramesAreAnswered() async throws {
    try await Fixture.run { monitor in
      let (owner, id, _) = try await monitor.linked()
      let socket = try await Socket.open(monitor, printer: id, token: owner)
      _ = try await socket.event()
      try await socket.send(9, Data("hello".utf8))
      let pong = try await socket.frame()
      #expect(pong.opcode == 10)
      #expect(pong.payload == Data("hello".utf8))
      try await socket.send(8, Data([0x03, 0xe8]))
      #expect(try await socket.closeCode() == 1000)
      #expect(try await socket.connection.readToEnd().isEmpty)
    }
  }

  @Test func messagesAreNotTaken() async throws {
    try await Fixture.run { monitor in
      let (owner, id, _) = try await monitor.linked()
      let socket = try await Socket.open(monitor, printer: id, token: owner)
      _ = try await socket.event()
      try await socket.send(1, Data("start!".utf8))
      #expect(try await socket.closeCode() == 1003)
    }
  }

  @Test func anIdleStreamIsPinged() async throws {
    try await Fixture.run({ $0.pingIntervalSeconds = 0.05 }) { monitor in
      let (owner, id, _) = try await monitor.linked()
      let socket = try await Socket.open(monitor, printer: id, token: owner)
      _ = try await socket.event()
      #expect(try await socket.frame().opcode == 9)
    }
  }

  @Test func streamsAreLimitedAndGivenBack() async throws {
    try await Fixture.run({ $0.streamsPerPrinterMax = 1 }) { monitor in
      let (owner, id, _) = try await monitor.linked()
      let socket = try await Socket.open(monitor, printer: id, token: owner)
      _ = try await socket.event()
      let second = try await monitor.request(
        "GET", "/api/v1/printers/\(id)/events", token: owner,
        fields: [
          "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ])
      #expect(second.status == 429)
      #expect(second.problem == "too-many-streams")
      try await socket.send(8, Data([0x03, 0xe8]))
      _ = try await socket.connection.readToEnd()
      // The hub hears of the end a moment after the socket does.
      while await monitor.monitor.streamCount(ofPrinter: id) > 0 { await Task.yield() }
      _ = try await Socket.open(monitor, printer: id, token: owner).event()
    }
  }

  @Test func aBadHandshakeHoldsNoStream() async throws {
    try await Fixture.run({ $0.streamsPerPrinterMax = 1 }) { monitor in
      let (owner, id, _) = try await monitor.linked()
      let response = try await monitor.request(
        "GET", "/api/v1/printers/\(id)/events", token: owner,
        fields: ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"])
      #expect(response.status == 400)
      while await monitor.monitor.streamCount(ofPrinter: id) > 0 { await Task.yield() }
      _ = try await Socket.open(monitor, printer: id, token: owner).event()
    }
  }

  @Test func stoppingTheMonitorSaysGoodbye() async throws {
    let directory = try Fixture.temporaryDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }
    let listen = try #require(ListenAddress("127.0.0.1:0"))
    let settings = Settings(listen: listen, databasePath: directory.appending(path: "monitor.sqlite").path)
    let fixture = Fixture(monitor: try await Monitor.start(settings), directory: directory)
    let (owner, id, _) = try await fixture.linked()
    let socket = try await Socket.open(fixture, printer: id, token: owner)
    _ = try await socket.event()
    try await fixture.monitor.stop()
    #expect(try await socket.closeCode() == 1001)
    #expect(try await socket.connection.readToEnd().isEmpty)
  }
}
