// Bodies of any size pass with flat memory: what one side does not take, the other is not asked for.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Bodies {
    static let gibibyte = 1 << 30
    static let growthMax = 8 << 20

    /// Bytes that tell their place: every 64 KiB block begins with its number.
    private final class Pattern: @unchecked Sendable {
      static let blockCount = 65536
      private let block: UnsafeMutableRawPointer = .allocate(byteCount: Pattern.blockCount, alignment: 16)

      init() {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for offset in stride(from: 0, to: Self.blockCount, by: 8) {
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          block.storeBytes(of: state, toByteOffset: offset, as: UInt64.self)
        }
      }

      deinit { block.deallocate() }

      func withBlock<Result>(_ number: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        block.storeBytes(of: UInt64(number), as: UInt64.self)
        return try body(UnsafeRawBufferPointer(start: block, count: Self.blockCount))
      }

      func write(_ byteCount: Int, to path: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Trouble("cannot write \(path)") }
        defer { close(file) }
        for number in 0..<byteCount / Self.blockCount {
          try withBlock(number) { bytes in
            guard Foundation.write(file, bytes.baseAddress, bytes.count) == bytes.count else {
              throw Trouble("cannot write \(path)")
            }
          }
        }
      }
    }

    /// The system's fastest; what it prints begins with the checksum.
    private static var sha256: [String] { get throws { [try Programs.openssl, "dgst", "-sha256", "-r"] } }

    private static func checksum(ofFile path: String) throws -> String {
      String(try ChildProcess.succeed(sha256 + [path]).prefix(64))
    }

    private func grewLittle(
      _ process: ChildProcess, sourceLocation: SourceLocation = #_sourceLocation, _ work: () throws -> Void
    ) throws {
      try process.forgetPeak()
      let before = try process.residentBytes
      try work()
      let growth = try process.peakResidentBytes - before
      #expect(growth < Self.growthMax, "\(process.name) grew by \(growth / 1024) KiB", sourceLocation: sourceLocation)
    }

    @Test(.threads(1)) func aGibibytePassesEachWayOverTLSWithFlatMemory() throws {
      let workspace = try Workspace()
      let file = workspace.file("gibibyte")
      try Pattern().write(Self.gibibyte, to: file)
      let expected = try Self.checksum(ofFile: file)

      let site = try Site(.bound, tls: true, hopTLS: true, keepsBytes: false) { exchange in
        switch exchange.target {
        case "/up": try exchange.reply(try Self.digest(exchange))
        case "/down":
          try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.gibibyte)\r\n\r\n")
          let pattern = Pattern()
          for number in 0..<Self.gibibyte / Pattern.blockCount {
            try pattern.withBlock(number) { try exchange.connection.send($0) }
          }
        default: try exchange.reply("warm")
        }
      }
      let curl = ["--cacert", try Certificates.standard.ca, "--max-time", "300"]
      // Whatever grows once, grows now.
      let warm = workspace.file("warm")
      try Pattern().write(16 << 20, to: warm)
      _ = try site.curl.fetch(site.url("/up", scheme: "https"), curl + ["--upload-file", warm])

      try grewLittle(site.edge.process) {
        try grewLittle(site.validator.process) {
          let up = try site.curl.fetch(
            site.url("/up", scheme: "https"), curl + ["--upload-file", file, "--header", "Expect:"], by: .after(300))
          #expect(up.status == 200, "\(up.error)")
          #expect(up.body == expected)

          let command = """
            \(try Programs.curl) --silent --noproxy '*' --connect-to ::127.0.0.1: --interface \(Peer.client()) --max-time 300 \
            --cacert \(try Certificates.standard.ca) \(try site.url("/down", scheme: "https")) | \
            \(try Self.sha256.joined(separator: " "))
            """
          let down = try ChildProcess.run(["/bin/sh", "-c", command], by: .after(300))
          #expect(down.output.hasPrefix(expected))
        }
      }
      let entry = try site.edge.access.wait(path: "/down")
      #expect((entry.bytes_out ?? 0) >= Self.gibibyte)
      #expect((try site.edge.access.wait(path: "/up").bytes_in ?? 0) >= 16 << 20)
    }

    /// The checksum of a body as it streams by.
    private static func digest(_ exchange: Exchange) throws -> String {
      let pipe = try EndToEndTests.Pipe()
      let program = try ChildProcess(sha256, standardInput: pipe.readEnd)
      close(pipe.readEnd)
      var left = exchange.head.contentLength ?? 0
      exchange.takesBodyItself()
      while left > 0 {
        if exchange.connection.heldCount == 0, try !exchange.connection.fill() {
          throw Trouble("\(left) bytes are missing")
        }
        let bytes = UnsafeRawBufferPointer(rebasing: exchange.connection.held.prefix(left))
        var written = 0
        while written < bytes.count {
          let count = Foundation.write(pipe.writeEnd, bytes.baseAddress! + written, bytes.count - written)
          guard count > 0 else { throw Trouble("openssl takes no more") }
          written += count
        }
        left -= bytes.count
        exchange.connection.consume(bytes.count)
      }
      pipe.closeWriteEnd()
      _ = try program.waitForExit()
      program.standardOutput.waitForEnd(by: .usual)
      return String(program.standardOutput.text.prefix(64))
    }

    /// Sends blocks until nobody takes them for a while; how many bytes were taken.
    private static func sendUntilStalled(_ connection: Connection, byteCount: Int) throws -> Int {
      let pattern = Pattern()
      var sent = 0
      while sent < byteCount {
        let offset = sent % Pattern.blockCount
        let count = try pattern.withBlock(sent / Pattern.blockCount) { block in
          try connection.sendSome(UnsafeRawBufferPointer(rebasing: block[offset...]))
        }
        if let count {
          sent += count
        } else if !connection.hasRoom(withinSeconds: 0.5) {
          return sent
        }
      }
      return sent
    }

    private static func receive(_ connection: Connection, byteCount: Int) throws {
      let pattern = Pattern()
      var received = 0
      while received < byteCount {
        if connection.heldCount == 0, try !connection.fill() {
          throw Trouble("ended after \(received) of \(byteCount) bytes")
        }
        let offset = received % Pattern.blockCount
        let count = min(connection.heldCount, Pattern.blockCount - offset, byteCount - received)
        let isRight = pattern.withBlock(received / Pattern.blockCount) {
          memcmp($0.baseAddress! + offset, connection.held.baseAddress!, count) == 0
        }
        guard isRight else { throw Trouble("a wrong byte in the \(count) after \(received)") }
        connection.consume(count)
        received += count
      }
    }

    /// More than what this machine's kernel may hold of it on its way over three connections.
    private static let heldMax: Int = {
      let sizes = ["tcp_rmem", "tcp_wmem"].map { name in
        let text = (try? String(contentsOfFile: "/proc/sys/net/ipv4/\(name)", encoding: .utf8)) ?? ""
        return text.split { $0.isWhitespace }.last.flatMap { Int($0) } ?? 0
      }
      return 3 * sizes.reduce(0, +) + 1 << 20
    }()
    private static let much = max(256 << 20, 2 * heldMax)

    /// A client that does not read stops the backend from writing; when it reads, it gets every byte.
    @Test(arguments: Site.Mode.allCases)
    func aClientThatDoesNotReadStopsTheBackend(_ mode: Site.Mode) throws {
      let stalled = Guarded<Int?>(nil)
      let site = try Site(mode, keepsBytes: false) { exchange in
        guard exchange.target == "/much" else { return try exchange.reply("warm") }
        try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.much)\r\n\r\n")
        let sent = try Self.sendUntilStalled(exchange.connection, byteCount: Self.much)
        stalled.with { $0 = sent }
        let pattern = Pattern()
        var next = sent
        while next < Self.much {
          let offset = next % Pattern.blockCount
          next += try pattern.withBlock(next / Pattern.blockCount) { block in
            let rest = UnsafeRawBufferPointer(rebasing: block[offset...])
            try exchange.connection.send(rest)
            return rest.count
          }
        }
      }
      #expect(try site.connect().get("/warm").status == 200)
      let connection = try Connection(to: site.publicAddress, receiveBufferBytes: 65536)
      try grewLittle(site.edge.process) {
        try grewLittle(site.validator.process) {
          try connection.send(Text.request("/much"))
          let sent = try #require(stalled.wait(until: .usual) { $0 })
          #expect(sent < Self.heldMax, "the backend was let to write \(sent >> 20) MiB to nobody")
          let head = try #require(try connection.readHead())
          #expect(head.contentLength == Self.much)
          try Self.receive(connection, byteCount: Self.much)
        }
      }
    }

    /// A backend that does not read stops the client from writing.
    @Test(arguments: Site.Mode.allCases)
    func aBackendThatDoesNotReadStopsTheClient(_ mode: Site.Mode) throws {
      let gate = Guarded(false)
      let site = try Site(mode, keepsBytes: false) { exchange in
        guard exchange.target == "/much" else { return try exchange.reply("warm") }
        exchange.takesBodyItself()
        _ = gate.wait(until: .usual) { $0 ? true : nil }
        try Self.receive(exchange.connection, byteCount: Self.much)
        try exchange.reply("all")
      }
      #expect(try site.connect().get("/warm").status == 200)
      let connection = try site.connect()
      try grewLittle(site.edge.process) {
        try grewLittle(site.validator.process) {
          try connection.send("POST /much HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: \(Self.much)\r\n\r\n")
          let sent = try Self.sendUntilStalled(connection, byteCount: Self.much)
          #expect(sent < Self.heldMax, "the client was let to write \(sent >> 20) MiB to nobody")
          gate.with { $0 = true }
          let pattern = Pattern()
          var next = sent
          while next < Self.much {
            let offset = next % Pattern.blockCount
            next += try pattern.withBlock(next / Pattern.blockCount) { block in
              let rest = UnsafeRawBufferPointer(rebasing: block[offset...])
              try connection.send(rest)
              return rest.count
            }
          }
          #expect(try connection.readResponse().text == "all")
        }
      }
    }

    @Test func bothBodiesMayFlowAtOnce() throws {
      let size = 32 << 20
      let site = try Site(.bound, keepsBytes: false) { exchange in
        guard exchange.target == "/both" else { return try exchange.reply("warm") }
        exchange.takesBodyItself()
        try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
        var left = size
        while left > 0 {
          if exchange.connection.heldCount == 0, try !exchange.connection.fill() {
            throw Trouble("\(left) bytes are missing")
          }
          let bytes = exchange.connection.take(min(left, exchange.connection.heldCount))
          try exchange.connection.send(bytes)
          left -= bytes.count
        }
      }
      let connection = try site.connect()
      try connection.send("POST /both HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: \(size)\r\n\r\n")
      let sender = Background("sender") {
        let pattern = Pattern()
        for number in 0..<size / Pattern.blockCount { try pattern.withBlock(number) { try connection.send($0) } }
      }
      let head = try #require(try connection.readHead())
      #expect(head.contentLength == size)
      try Self.receive(connection, byteCount: size)
      try sender.result()
    }

    /// Connections that only wait hold no buffers.
    @Test func idleConnectionsAreCheap() throws {
      // Whoever is asked last has waited for all others, on however busy a machine.
      let site = try Site(
        .shared,
        edge: {
          $0.access = "off"
          $0.timeouts = ["head: 10m", "idle: 10m"]
        })
      let before = try site.edge.process.residentBytes
      let connections = try (0..<1000).map { try site.connect(from: Peer.client($0)) }
      for connection in connections { #expect(try connection.get("/idle").status == 200) }
      let growth = try site.edge.process.residentBytes - before
      #expect(growth < 16 << 20, "1000 idle connections hold \(growth / 1024) KiB")
    }
  }
}
