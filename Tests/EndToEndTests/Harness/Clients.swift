// Real clients: curl, and openssl's s_client as a TLS stream that a test can drive byte by byte.

import Foundation

struct Curl {
  struct Answer {
    var exit: ChildProcess.Exit
    var status: Int
    /// Every head it received, interim ones too.
    var heads: String
    var body: String
    var version: String
    var error: String
  }

  var workspace: Workspace

  /// Fetches a URL from the given source address. The name in the URL is looked up nowhere: every name is 127.0.0.1.
  func fetch(
    _ url: String, from source: String = Peer.client(), _ options: [String] = [], by deadline: Deadline = .after(60)
  ) throws -> Answer {
    let mark = UUID().uuidString
    let (heads, body) = (workspace.file("\(mark).heads"), workspace.file("\(mark).body"))
    let outcome = try ChildProcess.run(
      [
        try Programs.curl, "--silent", "--show-error", "--noproxy", "*", "--connect-to", "::127.0.0.1:", "--max-time",
        "60",
        "--interface", source, "--dump-header", heads, "--output", body, "--write-out", "%{http_code} %{http_version}",
      ] + options + [url], by: deadline)
    let words = outcome.output.split(whereSeparator: \.isWhitespace).map(String.init)
    func text(_ path: String) -> String {
      String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
    return Answer(
      exit: outcome.exit, status: Int(words.first ?? "") ?? 0, heads: text(heads), body: text(body),
      version: words.last ?? "", error: outcome.error)
  }
}

extension Connection {
  /// A TLS connection through `openssl s_client`; closing it ends that process.
  static func tls(
    to address: Address, from source: String = Peer.client(), name: String = Site.host, options: [String] = []
  ) throws -> Connection {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw Trouble("no socket pair: \(String(cString: strerror(errno)))")
    }
    defer { Foundation.close(ends[1]) }
    let process = try ChildProcess(
      [
        try Programs.openssl, "s_client", "-connect", "\(address)", "-bind", "\(source):0", "-servername", name,
        "-CAfile", try Certificates.standard.ca, "-verify_return_error", "-verify_hostname", name, "-quiet",
      ] + options, standardInput: ends[1], output: ends[1])
    return Connection(ends[0], process: process)
  }
}
