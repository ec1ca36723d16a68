// Health checks that speak HTTP/2: gRPC's health service, and a path of a server that speaks nothing else.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct GRPCHealth {
    private static let pace = "interval: 500ms, timeout: 500ms, rise: 1, fall: 1"

    private func checks(_ result: String, upstream: String, server: String, _ process: Countersign) throws -> Int {
      let labels = "upstream=\"\(upstream)\",server=\"\(server)\",result=\"\(result)\""
      return try process.metric("countersign_health_checks_total{\(labels)}") ?? 0
    }

    @Test func aServerIsWellAsLongAsItsServiceServes() throws {
      let workspace = try Workspace()
      let health = try workspace.write("health", "demo.Service SERVING\n SERVING\n")
      let server = try GRPCServer(health: health)
      var configuration = Configuration.plainEdge(to: ["\(server.address)"])
      configuration.upstreams[0].members += ["protocol: http2", "health: { grpc: demo.Service, \(Self.pace) }"]
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let name = "\(server.address)"
      let down = "server \(name) is down: "
      try eventually("it passes") { try checks("passed", upstream: "backend", server: name, edge) >= 2 }
      let asked = try server.wait("a check") { $0.event == "check" }
      #expect(asked.service == "demo.Service")
      #expect(asked.metadata?.contains { $0[0] == "client-attest" || $0[0] == "x-forwarded-for" } == false)

      // Each by its name.
      let troubles = [
        ("demo.Service NOT_SERVING\n", "the service is NOT_SERVING"),
        ("demo.Service UNKNOWN\n", "the service is UNKNOWN"),
        ("demo.Service EMPTY\n", "the service is UNKNOWN"),
        ("other.Service SERVING\n", "grpc-status NOT_FOUND (unknown service)"),
        // The service hears of the deadline, and may say first that it is over.
        ("demo.Service HANG\n", ""),
      ]
      for (text, why) in troubles {
        let start = edge.process.standardError.count
        try workspace.write("health", text)
        try edge.said("\(down)\(why)", from: start)
        try workspace.write("health", "demo.Service SERVING\n")
        try edge.said("server \(name) is up: checks pass", from: start)
      }
      // The server as a whole has a name of its own.
      let start = edge.process.standardError.count
      configuration.upstreams[0].members[configuration.upstreams[0].members.count - 1] =
        "health: { grpc: \"\", \(Self.pace) }"
      try edge.reloadAccepting(configuration)
      try edge.said("\(down)grpc-status NOT_FOUND (unknown service)", from: start)
    }

    /// Signed, and passed on to the service behind the validator.
    @Test(arguments: Site.Mode.allCases, [false, true])
    func aCheckOfAValidatorAsksTheServiceBehindIt(_ mode: Site.Mode, hopTLS: Bool) throws {
      let workspace = try Workspace()
      let health = try workspace.write("health", " SERVING\n")
      let server = try GRPCServer(health: health)
      let site = try Site(
        mode, hopTLS: hopTLS,
        validator: {
          $0.listeners[0].more.append("protocols: [\(hopTLS ? "h2" : "h2c")]")
          $0.upstreams[0].members.append("protocol: http2")
          $0.upstreams[0].servers = ["\(server.address)"]
        },
        edge: {
          $0.upstreams[0].members += ["protocol: http2", "health: { grpc: \"\", host: \(Site.host), \(Self.pace) }"]
          $0.hasAdmin = true
        })
      let name = try "\(site.validator["from-edge"])"
      try eventually("it passes") { try checks("passed", upstream: "monitor", server: name, site.edge) >= 2 }
      let asked = try server.wait("a check") { $0.event == "check" }
      #expect(asked.metadata?.filter { $0[0] == "x-forwarded-for" } == [["x-forwarded-for", "127.0.0.1"]])
      let start = site.edge.process.standardError.count
      try workspace.write("health", " NOT_SERVING\n")
      try site.edge.said("server \(name) is down: the service is NOT_SERVING", from: start)
      let refused = site.validator.access.entries.filter { $0.refusal != nil && $0.refusal != "starting" }
      #expect(refused.isEmpty, "\(refused)")
    }

    @Test func aServerOfHTTP1HasNoHealthServiceOfGRPC() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend { try $0.reply("well") }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.upstreams[0].members.append("health: { grpc: \"\", interval: 2s, timeout: 2s }")
      let edge = try Countersign(configuration, in: workspace)
      try edge.said("server \(backend.address) is down: it does not answer in HTTP/2")
    }

    /// By TLS a server that names no protocol speaks HTTP/1, and is not asked in HTTP/2.
    @Test func aServerThatDoesNotNameHTTP2IsDown() throws {
      let workspace = try Workspace()
      let certificate = try Certificates.standard.app
      let server = try ChildProcess(
        [
          try Programs.openssl, "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", certificate.certificate, "-key",
          certificate.key,
        ], name: "s_server")
      let prefix = "ACCEPT 127.0.0.1:"
      let port = server.standardOutput.wait { $0.hasPrefix(prefix) ? UInt16($0.dropFirst(prefix.count)) : nil }
      let address = Address(host: "127.0.0.1", port: try #require(port, "\(server.tail)"))
      var configuration = Configuration.plainEdge(to: ["\(address)"])
      configuration.upstreams[0].members += ["protocol: http2", "health: { path: /up, \(Self.pace) }"]
      configuration.upstreams[0].tls = "ca: \"\(try Certificates.standard.ca)\", name: app.example.com"
      let edge = try Countersign(configuration, in: workspace)
      try edge.said("server \(address) is down: it does not speak HTTP/2 (ALPN)")
    }

    /// A path of a server that speaks nothing but HTTP/2, and one of a port beside it that speaks HTTP/1.
    @Test(arguments: [false, true])
    func aPathIsAskedForInWhatTheServerSpeaks(tls: Bool) throws {
      let workspace = try Workspace()
      let status = Guarded("200 OK")
      let backend = try RecordingBackend { try $0.reply($0.clientAddress, status: status.now) }
      var behind = Configuration.plainEdge(to: ["\(backend.address)"])
      behind.listeners[0].trust = ["from: [127.0.0.1], evidence: socket"]
      behind.listeners[0].more = ["protocols: [\(tls ? "h2" : "h2c")]"]
      if tls { behind.listeners[0].certificates = [try Certificates.standard.app] }
      let server = try Countersign(behind, name: "server", in: workspace)
      let name = try "\(server["public"])"
      var configuration = Configuration.plainEdge(to: [name])
      configuration.upstreams[0].members += ["protocol: http2", "health: { path: \"/up?x=1\", \(Self.pace) }"]
      if tls { configuration.upstreams[0].tls = "ca: \"\(try Certificates.standard.ca)\", name: app.example.com" }
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      try eventually("it passes") { try checks("passed", upstream: "backend", server: name, edge) >= 2 }
      #expect(try backend.waitForRequest(to: "/up?x=1").head["host"] == (tls ? "app.example.com" : name))
      status.with { $0 = "503 Service Unavailable" }
      try edge.said("server \(name) is down: status 503")

      // The port beside it.
      let start = edge.process.standardError.count
      let beside = try RecordingBackend { try $0.reply("well") }
      configuration.upstreams[0].members[configuration.upstreams[0].members.count - 1] =
        "health: { path: /beside, protocol: http1, port: \(beside.address.port), tls: off, \(Self.pace) }"
      try edge.reloadAccepting(configuration)
      try edge.said("server \(name) is up: checks pass", from: start)
      _ = try beside.waitForRequest(to: "/beside")
      // Asked in HTTP/1, the server has no answer.
      let again = edge.process.standardError.count
      configuration.upstreams[0].members[configuration.upstreams[0].members.count - 1] =
        "health: { path: /up, protocol: http1, \(Self.pace) }"
      try edge.reloadAccepting(configuration)
      try edge.said("server \(name) is down: ", from: again)
    }
  }
}
