// The application behind everything, inside the test: it keeps every byte it was ever sent, so "the backend saw
// nothing" is a fact and not a hope, and it answers as the test's script says. One thread takes connections, each has
// one of its own.

import Foundation

final class RecordingBackend: Sendable {
  typealias Script = @Sendable (Exchange) throws -> Void

  let address: Address
  private let listening: Int32
  private let script: Script
  private let keepsBytes: Bool
  private let state = Guarded(State())

  private struct State {
    var bytes: [UInt8] = []
    var requests: [HTTPRequest] = []
    var completed: [String] = []
    var connectionCount = 0
    var open: [Int: Connection] = [:]
    var failures: [String] = []
    var isClosed = false
  }

  /// `keepsBytes: false` is for the tests that send a great deal: then nothing is recorded.
  init(
    listen: Address = .anyPort, keepsBytes: Bool = true, _ script: @escaping Script = { try $0.reply($0.clientAddress) }
  ) throws {
    (listening, address) = try Socket.listen(listen)
    self.script = script
    self.keepsBytes = keepsBytes
    let descriptor = fcntl(listening, F_DUPFD_CLOEXEC, 0)
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    let thread = Thread { [weak self] in
      while true {
        let accepted = Socket.accept(descriptor)
        if accepted < 0 && (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED) { continue }
        guard accepted >= 0, let self else { break }
        self.serve(accepted)
      }
      Foundation.close(descriptor)
    }
    thread.stackSize = 1 << 20
    thread.start()
  }

  deinit { close() }

  /// Stops listening and ends every connection.
  func close() {
    let open = state.with { state in
      defer { state.open = [:] }
      if !state.isClosed {
        state.isClosed = true
        shutdown(listening, Int32(SHUT_RDWR))
        Foundation.close(listening)
      }
      return state.open.values
    }
    for connection in open { shutdown(connection.descriptor, Int32(SHUT_RDWR)) }
  }

  private func serve(_ descriptor: Int32) {
    let connection = Connection(descriptor)
    Socket.set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    // The proxy may keep a connection idle for long; only the test's end ends this wait.
    connection.patienceSeconds = 600
    let number = state.with { state in
      defer { state.connectionCount += 1 }
      state.open[state.connectionCount] = connection
      return state.connectionCount
    }
    let state = self.state
    let keepsBytes = self.keepsBytes
    let script = self.script
    if keepsBytes {
      connection.witness = { bytes in state.with { $0.bytes += bytes } }
    }
    let thread = Thread {
      do {
        while let head = try connection.readHead() {
          let request = HTTPRequest(head: head, connection: number)
          if keepsBytes { state.with { $0.requests.append(request) } }
          let exchange = Exchange(request: request, connection: connection)
          try script(exchange)
          if exchange.isOver { break }
          try exchange.finishBody()
          if keepsBytes { state.with { $0.completed.append(request.target) } }
        }
      } catch {
        // Ends by the peer's doing are what many tests are about; they can still be looked at.
        state.with { $0.failures.append("\(error)") }
      }
      // First closed, then counted out: who waits for the count may rely on the end being on its way.
      connection.close()
      state.with { $0.open[number] = nil }
    }
    thread.stackSize = 1 << 20
    thread.start()
  }

  // MARK: What it saw

  var requests: [HTTPRequest] { state.now.requests }
  /// The targets of the requests that came whole, with their bodies, and were answered.
  var completed: [String] { state.now.completed }
  var connectionCount: Int { state.with { $0.connectionCount } }
  var openCount: Int { state.with { $0.open.count } }
  var failures: [String] { state.now.failures }
  var receivedCount: Int { state.with { $0.bytes.count } }

  /// Whether these bytes ever came, in whatever place: head, body, trailer or the middle of nowhere.
  func saw(_ text: String) -> Bool {
    state.with { state in
      let needle = Array(text.utf8)
      return state.bytes.withUnsafeBytes { bytes in
        needle.withUnsafeBytes { bytes.firstIndex(of: $0.baseAddress!, $0.count) != nil }
      }
    }
  }

  func requests(to target: String) -> [HTTPRequest] { requests.filter { $0.target == target } }

  /// Waits for the first request whose target is this.
  func waitForRequest(to target: String, by deadline: Deadline = .usual) throws -> HTTPRequest {
    let found = state.wait(until: deadline) { state in state.requests.first { $0.target == target } }
    guard let found else { throw Trouble("the backend never saw a request to \(target)") }
    return found
  }

  func waitForOpenCount(_ count: Int, by deadline: Deadline = .usual) throws {
    guard state.wait(until: deadline, { $0.open.count == count ? true : nil }) != nil else {
      throw Trouble("the backend has \(openCount) connections, not \(count)")
    }
  }
}

/// One request at the backend, and the answering of it.
final class Exchange {
  let request: HTTPRequest
  let connection: Connection
  private var readsBody = false
  private(set) var isOver = false

  fileprivate init(request: HTTPRequest, connection: Connection) {
    self.request = request
    self.connection = connection
  }

  var head: HTTPHead { request.head }
  var target: String { request.target }

  /// Who the client is, as an ordinary backend would read it: the one X-Forwarded-For.
  var clientAddress: String { head["x-forwarded-for"] ?? "none or many: \(head.all("x-forwarded-for"))" }

  func readBody() throws -> Body {
    readsBody = true
    if head.isChunked { return try connection.readChunked() }
    return Body(bytes: try connection.read(head.contentLength ?? 0))
  }

  /// The script reads the body its own way.
  func takesBodyItself() { readsBody = true }

  func finishBody() throws {
    if !readsBody { _ = try readBody() }
  }

  func send(_ text: String) throws { try connection.send(text) }

  func reply(_ body: String, status: String = "200 OK", fields: [String] = []) throws {
    try finishBody()
    let lines = ["HTTP/1.1 \(status)", "Content-Length: \(body.utf8.count)"] + fields
    let text = request.method == "HEAD" ? "" : body
    try send(lines.map { $0 + "\r\n" }.joined() + "\r\n" + text)
  }

  /// A response of a gigabyte, which nobody takes to its end: it goes on until the connection fails.
  func replyEndlessly(_ noteSent: (Int) -> Void = { _ in }) throws -> Never {
    try send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    try sendEndlessly(noteSent)
  }

  func sendEndlessly(_ noteSent: (Int) -> Void = { _ in }) throws -> Never {
    let block = [UInt8](repeating: 0x41, count: 65_536)
    while true {
      try connection.send(block)
      noteSent(block.count)
    }
  }

  /// Sends back what comes, as a WebSocket's server may, until the client ends; then the exchange is over.
  func echoToEnd() throws {
    repeat {
      let bytes = connection.take(connection.heldCount)
      if !bytes.isEmpty { try connection.send(bytes) }
    } while try connection.fill()
    end()
  }

  /// Ends the connection after this exchange.
  func end() { isOver = true }

  func reset() {
    connection.reset()
    isOver = true
  }
}
