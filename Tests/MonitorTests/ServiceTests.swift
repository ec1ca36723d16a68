import Foundation
import Monitor
import Testing

@Suite struct ServiceTests {
  @Test func refusesWhatIsNotAsked() async throws {
    try await Fixture.run({ $0.jsonBytesMax = 1024 }) { monitor in
      let (owner, id, token) = try await monitor.linked()
      let path = "/api/v1/printers/\(id)"
      let long = String(repeating: "x", count: 65)
      typealias Row = (
        method: String, target: String, token: String?, json: String?, type: String?, status: Int, problem: String
      )
      let rows: [Row] = [
        ("GET", "/nothing", nil, nil, nil, 404, "not-found"),
        ("GET", "/healthz/", nil, nil, nil, 404, "not-found"),
        ("GET", "//healthz", nil, nil, nil, 404, "not-found"),
        ("GET", "/api/v1/../v1/printers", owner, nil, nil, 404, "not-found"),
        ("GET", "/api/v1/printers/zzz", owner, nil, nil, 404, "not-found"),
        ("GET", "/api/v1/printers/\(String(repeating: "0", count: 32))", owner, nil, nil, 404, "not-found"),
        ("DELETE", "/whoami", nil, nil, nil, 405, "method-not-allowed"),
        ("GET", "/api/v1/printers/announce", nil, nil, nil, 405, "method-not-allowed"),
        ("GET", "/api/v1/printers", nil, nil, nil, 401, "unauthorized"),
        ("GET", "/api/v1/printers", "owner_wrong", nil, nil, 401, "unauthorized"),
        ("GET", "/api/v1/printers", token, nil, nil, 403, "forbidden"),
        ("PUT", path + "/status", owner, #"{"state":"idle"}"#, nil, 403, "forbidden"),
        ("PUT", path + "/status", token, #"{"state":"idle"}"#, "text/plain", 415, "media-type"),
        ("PUT", path + "/status", token, #"{"state":"idle""#, nil, 400, "malformed"),
        ("PUT", path + "/status", token, "", nil, 400, "malformed"),
        ("PUT", path + "/status", token, "[]", nil, 422, "invalid"),
        ("PUT", path + "/status", token, "{}", nil, 422, "invalid"),
        ("PUT", path + "/status", token, #"{"state":"flying"}"#, nil, 422, "invalid"),
        ("PUT", path + "/status", token, #"{"state":"idle","progress":1.5}"#, nil, 422, "invalid"),
        ("PUT", path + "/status", token, #"{"state":"idle","progress":"1"}"#, nil, 422, "invalid"),
        ("PUT", path + "/status", token, #"{"state":"idle","tool_celsius":5000}"#, nil, 422, "invalid"),
        ("POST", "/api/v1/owners", nil, #"{"name":"\#(long)"}"#, nil, 422, "invalid"),
        ("POST", "/api/v1/owners", nil, #"{"name":" "}"#, nil, 422, "invalid"),
        ("POST", "/api/v1/owners", nil, #"{"name":"a\nb"}"#, nil, 422, "invalid"),
        ("POST", "/api/v1/owners", nil, #"{"name":null}"#, nil, 422, "invalid"),
        (
          "POST", "/api/v1/owners", nil, #"{"name":"\#(String(repeating: "x", count: 2000))"}"#, nil, 413,
          "body-too-large"
        ),
        ("POST", path + "/commands", owner, #"{"kind":"start"}"#, nil, 422, "invalid"),
        ("POST", path + "/commands", owner, #"{"kind":"pause","file":"x"}"#, nil, 422, "invalid"),
        ("POST", path + "/commands", token, #"{"kind":"pause"}"#, nil, 403, "forbidden"),
        ("PUT", path + "/snapshot", token, "{}", nil, 415, "media-type"),
        ("PUT", path + "/snapshot", token, "", "image/png", 422, "invalid"),
        ("GET", path + "/snapshot", owner, nil, nil, 404, "not-found"),
        ("GET", path + "/events", owner, nil, nil, 426, "upgrade-required"),
      ]
      for row in rows {
        let response = try await monitor.request(
          row.method, row.target, token: row.token, json: row.json, type: row.type)
        #expect(response.status == row.status, "\(row.method) \(row.target) \(row.json ?? "")")
        #expect(response.problem == row.problem, "\(row.method) \(row.target) \(row.json ?? "")")
        #expect((response["allow"] != nil) == (row.status == 405))
        #expect((response["www-authenticate"] != nil) == (row.status == 401))
      }
    }
  }

  @Test func aStatusAndACommandGoBetweenOwnerAndPrinter() async throws {
    try await Fixture.run { monitor in
      let (owner, id, token) = try await monitor.linked()
      let path = "/api/v1/printers/\(id)"
      let idle = try await monitor.request("PUT", path + "/status", token: token, json: #"{"state":"idle"}"#)
      #expect(idle.status == 200)
      // What the state does not allow is refused.
      let pause = try await monitor.request("POST", path + "/commands", token: owner, json: #"{"kind":"pause"}"#)
      #expect(pause.status == 409)
      let start = try await monitor.request(
        "POST", path + "/commands", token: owner, json: #"{"kind":"start","file":"benchy.gcode"}"#)
      #expect(start.status == 202)
      let list = try await monitor.request("GET", path + "/commands", token: token)
      let commands = try #require(list.json["commands"] as? [[String: Any]])
      #expect(commands.map { $0["file"] as? String } == ["benchy.gcode"])
      _ = try await monitor.request(
        "PUT", path + "/status", token: token,
        json: #"{"state":"printing","file":"benchy.gcode","progress":0.5,"tool_celsius":215.5}"#)
      let seen = try await monitor.request("GET", path, token: owner)
      let status = try #require(seen.json["status"] as? [String: Any])
      #expect(status["state"] as? String == "printing")
      #expect(status["tool_celsius"] as? Double == 215.5)
    }
  }

  @Test func aSnapshotComesBackByteForByte() async throws {
    try await Fixture.run { monitor in
      let (owner, id, token) = try await monitor.linked()
      let path = "/api/v1/printers/\(id)/snapshot"
      let picture = Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
      let put = try await monitor.request("PUT", path, token: token, type: "image/jpeg", body: picture)
      #expect(put.status == 200)
      let got = try await monitor.request("GET", path, token: owner)
      #expect(got.status == 200)
      #expect(got.body == picture)
      #expect(got["content-type"] == "image/jpeg")
      let tag = try #require(got["etag"])
      let same = try await monitor.request("GET", path, token: owner, fields: ["If-None-Match: \"x\", \(tag)"])
      #expect(same.status == 304)
      #expect(same["etag"] == tag)
      let head = try await monitor.request("HEAD", path, token: owner)
      #expect(head.status == 200)
      #expect(head["content-length"] == String(picture.count))
      let newer = try await monitor.request("PUT", path, token: token, type: "image/png", body: Data([1]))
      #expect(newer.status == 200)
      let changed = try await monitor.request("GET", path, token: owner, fields: ["If-None-Match: \(tag)"])
      #expect(changed.status == 200)
      #expect(changed.body == Data([1]))
    }
  }

  @Test func whoamiShowsWhatCame() async throws {
    try await Fixture.run { monitor in
      let fields = [
        "X-Real-IP: 192.0.2.8", "Forwarded: for=192.0.2.7;proto=https", "X_Forwarded_For: 203.0.113.1",
        "X-Forwarded-Anything: yes", "client-attest: ip=\"192.0.2.7\", port=1", "User-Agent: test",
      ]
      let json = try await monitor.request("GET", "/whoami?x=1", from: "192.0.2.7", fields: fields)
      #expect(json.json["client"] as? String == "192.0.2.7")
      #expect(json.json["client_from"] as? String == "x-forwarded-for")
      #expect(json.json["target"] as? String == "/whoami?x=1")
      #expect(json.json["host"] as? String == "monitor.test")
      #expect(
        json.json["fields"] as? [String: [String]] == [
          "x-forwarded-for": ["192.0.2.7"], "x-real-ip": ["192.0.2.8"], "forwarded": ["for=192.0.2.7;proto=https"],
          "x_forwarded_for": ["203.0.113.1"], "x-forwarded-anything": ["yes"],
          "client-attest": ["ip=\"192.0.2.7\", port=1"],
        ])
      let text = try await monitor.request(
        "GET", "/whoami", fields: ["client-attest: ip=\"192.0.2.7\", port=1", "Accept: text/plain"])
      #expect(String(decoding: text.body, as: UTF8.self) == "client-attest: ip=\"192.0.2.7\", port=1\n")
      let bare = try await monitor.request("GET", "/whoami")
      #expect(bare.json["client"] as? String == "127.0.0.1")
      #expect(bare.json["client_from"] as? String == "socket")
    }
  }

  @Test func healthCountsEveryRequestButItsOwn() async throws {
    try await Fixture.run { monitor in
      for _ in 0..<3 { _ = try await monitor.request("GET", "/healthz") }
      #expect(try await monitor.request("GET", "/healthz").json["requests"] as? Int == 0)
      _ = try await monitor.request("GET", "/whoami")
      _ = try await monitor.request("GET", "/nothing")
      let health = try await monitor.request("GET", "/healthz")
      #expect(health.json["requests"] as? Int == 2)
      #expect(health.json["status"] as? String == "ok")
    }
  }

  @Test func listensOnAUnixSocketAndLeavesNoFile() async throws {
    let directory = try Fixture.temporaryDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }
    let path = directory.appending(path: "m.sock").path
    let listen = try #require(ListenAddress("unix:\(path)"))
    try await Fixture.run({ $0.listen = listen }) { monitor in
      let response = try await monitor.request("GET", "/whoami", from: "192.0.2.7")
      #expect(response.json["client"] as? String == "192.0.2.7")
      // With neither a field nor an address of the peer there is nobody to decide by.
      #expect(try await monitor.request("GET", "/whoami").json["client_from"] as? String == "none")
    }
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func aTakenPortIsAnErrorAtOnce() async throws {
    try await Fixture.run { monitor in
      let settings = Settings(
        listen: monitor.monitor.address, databasePath: monitor.directory.appending(path: "other.sqlite").path)
      await #expect(throws: (any Error).self) { try await Monitor.start(settings) }
    }
  }
}
