// The program by itself: it needs OpenSSL, PCRE2, libcrypt, zlib and the C library of the host, and nothing of the toolchain that built it.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Standalone {
    @Test func theProgramNeedsTheHostsLibrariesAlone() throws {
      let allowed = [
        "libssl.so", "libcrypto.so", "libpcre2-8.so", "libz.so", "libnghttp2.so", "libcrypt.so", "libc.so", "libm.so",
        "ld-linux",
      ]
      let needed = try Self.needed(of: Programs.countersign)
      #expect(needed.contains { $0.hasPrefix("libssl.so") })
      for library in needed {
        #expect(allowed.contains { library.hasPrefix($0) }, "the program needs \(library)")
      }
    }

    /// In a root directory that holds the program, those libraries and nothing else.
    @Test func itServesWhereThereIsNothingElse() throws {
      let root = try Workspace()
      try Self.install(try Programs.countersign, in: root)
      func command(_ arguments: String...) throws {
        let outcome = try ChildProcess.run(Self.rooted(in: root.path, arguments))
        #expect(outcome.succeeded, "\(arguments): \(outcome.error)")
      }
      let version = try ChildProcess.run(Self.rooted(in: root.path, ["--version"]))
      #expect(version.output.hasPrefix("0."), "\(version)")
      try command("keys", "new", "--kid", "k1", "--out", "/edge.jwks.json")
      try command("certs", "dev", "--out", "/certs", "--name", Site.host)

      let backend = try RecordingBackend()
      try root.write(
        "edge.yaml",
        """
        listeners:
          - { name: public, listen: "127.0.0.1:0", tls: [{ certificate: certs/server.pem, key: certs/server.key }] }
        routes: [{ host_regex: '[a-z]+\\.example\\.com', to: backend }]
        upstreams: { backend: { servers: ["\(backend.address)"] } }
        log: { access: off }

        """)
      try command("check", "-c", "/edge.yaml")
      let process = try ChildProcess(Self.rooted(in: root.path, ["run", "-c", "/edge.yaml"]), name: "edge")
      let prefix = "ready listeners=public="
      let ready = process.standardError.wait { $0.hasPrefix(prefix) ? $0.dropFirst(prefix.count) : nil }
      guard let address = ready.flatMap({ Address($0.prefix { $0 != " " }) }) else {
        throw Trouble("did not get ready: \(process.tail)")
      }
      let answer = try Curl(workspace: root).fetch(
        "https://\(Site.host):\(address.port)/", ["--cacert", root.file("certs/ca.pem")])
      #expect(answer.body == Peer.client(), "\(answer.error)")
    }

    private static func needed(of program: String) throws -> [String] {
      try ChildProcess.succeed([try Programs.readelf, "--dynamic", program]).split(separator: "\n")
        .filter { $0.contains("(NEEDED)") }
        .compactMap { $0.split(separator: "[").last.map { String($0.prefix { $0 != "]" }) } }
    }

    /// The program, and the libraries that the loader finds for it here, each at its own path.
    private static func install(_ program: String, in root: Workspace) throws {
      let files = FileManager.default
      // A child that another test starts meanwhile would hold the copy open for writing, and so keep it from being run.
      try Inheritance.lock.withLock { try files.copyItem(atPath: program, toPath: root.file("countersign")) }
      for line in try ChildProcess.succeed([try Programs.ldd, program]).split(separator: "\n") {
        guard let path = line.split(whereSeparator: \.isWhitespace).map(String.init).first(where: { $0.hasPrefix("/") })
        else {
          continue
        }
        #expect(!path.contains("swift"), "a library of the toolchain: \(path)")
        let place = root.path + path
        try files.createDirectory(
          atPath: (place as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        // What is there may be a link: its content is wanted.
        let copied = Inheritance.lock.withLock {
          files.createFile(
            atPath: place, contents: files.contents(atPath: path), attributes: [.posixPermissions: 0o755])
        }
        guard copied else { throw Trouble("cannot copy \(path)") }
      }
    }

    /// The program with that directory as its root, and a /proc, where Swift's runtime reads the arguments. Who is not root
    /// becomes it in a user namespace.
    private static func rooted(in directory: String, _ arguments: [String]) throws -> [String] {
      let asRoot = getuid() == 0 ? [] : ["--user", "--map-root-user"]
      let script = #"mkdir -p "$0/proc" && mount --rbind /proc "$0/proc" && exec chroot "$0" /countersign "$@""#
      return [try Programs.unshare] + asRoot + ["--mount", "--", "/bin/sh", "-c", script, directory] + arguments
    }
  }
}
