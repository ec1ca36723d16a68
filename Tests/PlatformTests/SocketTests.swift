// Addresses to the kernel and back, and what listening and connecting make of them.

import Foundation
import Glibc
import Platform
import Testing
import Wire

@Suite final class SocketTests {
  let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sock-\(UUID().uuidString.prefix(8))")
    .path

  init() throws { try PrivateFile.makeDirectory(directory) }
  deinit { try? FileManager.default.removeItem(atPath: directory) }

  @Test(arguments: ["127.0.0.1", "127.1.2.3", "127.255.255.254", "::1"])
  func addressesComeBackAsTheyWent(_ text: String) throws {
    let address = try #require(IPAddress(text))
    let listener = try Sockets.listen(on: .ip(address, port: 0))
    defer { Sockets.closeDescriptor(listener) }
    let bound = Sockets.local(listener)
    #expect(bound.ip == address && bound.port != 0)
    let (caller, connected) = try Sockets.connect(to: bound)
    defer { Sockets.closeDescriptor(caller) }
    if !connected { try #require(Sockets.waitWritable(caller, timeoutMilliseconds: 10_000)) }
    #expect(Sockets.connectResult(caller) == 0)
    try #require(Sockets.waitReadable(listener, or: -1, timeoutMilliseconds: 10_000))
    guard case .connection(let answerer, let peer) = Sockets.accept(listener) else {
      Issue.record("nobody came")
      return
    }
    defer { Sockets.closeDescriptor(answerer) }
    #expect(peer == Sockets.local(caller) && peer.ip == (address.family == .v4 ? IPAddress("127.0.0.1") : address))
    #expect(Sockets.local(answerer) == bound)
    guard case .none = Sockets.accept(listener) else {
      Issue.record("one call, two connections")
      return
    }
  }

  @Test func workersShareAPortAndStrangersAreSeen() throws {
    let first = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
    defer { Sockets.closeDescriptor(first) }
    let address = Sockets.local(first)
    let second = try Sockets.listen(on: address)
    defer { Sockets.closeDescriptor(second) }
    #expect(Sockets.local(second) == address)
    #expect(Sockets.isInUse(address))
    #expect(!Sockets.isInUse(.ip(IPAddress(v4: 0x7f00_0001), port: 0)))
  }

  @Test func aUnixSocketIsUnnamedAtTheOtherEnd() throws {
    let path = "\(directory)/s"
    let listener = try Sockets.listen(on: .unix(path: path))
    defer { Sockets.closeDescriptor(listener) }
    let (caller, connected) = try Sockets.connect(to: .unix(path: path))
    defer { Sockets.closeDescriptor(caller) }
    #expect(connected)
    guard case .connection(let answerer, let peer) = Sockets.accept(listener) else {
      Issue.record("nobody came")
      return
    }
    Sockets.closeDescriptor(answerer)
    #expect(peer == .unnamed && peer.ip == nil && peer.port == 0)
  }

  @Test func aDeadSocketFileIsReplacedAndALiveOneIsNot() throws {
    let path = "\(directory)/s"
    let first = try Sockets.listen(on: .unix(path: path))
    #expect(throws: SystemError.self) { try Sockets.listen(on: .unix(path: path)) }
    SocketPair.end(first)
    let second = try Sockets.listen(on: .unix(path: path))
    defer { Sockets.closeDescriptor(second) }
    #expect(try Sockets.connect(to: .unix(path: path)).connected)
  }

  @Test func aFileThatIsNoSocketStays() throws {
    let path = "\(directory)/s"
    try PrivateFile.write(Array("precious".utf8), to: path, existing: .refuse)
    #expect(throws: SystemError.self) { try Sockets.listen(on: .unix(path: path)) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
  }

  @Test func aPathFitsOrIsRefused() throws {
    let longest =
      directory + "/" + String(repeating: "x", count: SocketAddress.unixPathBytesMax - directory.utf8.count - 1)
    let listener = try Sockets.listen(on: .unix(path: longest))
    Sockets.closeDescriptor(listener)
    #expect(FileManager.default.fileExists(atPath: longest))
    #expect(throws: SystemError.self) { try Sockets.listen(on: .unix(path: longest + "x")) }
    #expect(throws: SystemError.self) { try Sockets.connect(to: .unix(path: longest + "x")) }
    #expect(throws: SystemError.self) { try Sockets.connect(to: .unix(path: "")) }
    #expect(throws: SystemError.self) { try Sockets.connect(to: .unnamed) }
  }

  @Test func aRefusedConnectionSaysSo() throws {
    do {
      _ = try Sockets.connect(to: .unix(path: "\(directory)/nobody"))
      Issue.record("connected to nobody")
    } catch {
      #expect(error.code == ENOENT && error.description.hasPrefix("connect: "))
    }
    // A port that was just closed: the kernel refuses, at once or after a moment.
    let listener = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
    let address = Sockets.local(listener)
    SocketPair.end(listener)
    do {
      let (caller, connected) = try Sockets.connect(to: address)
      defer { Sockets.closeDescriptor(caller) }
      #expect(!connected)
      try #require(Sockets.waitWritable(caller, timeoutMilliseconds: 10_000))
      #expect(Sockets.connectResult(caller) == ECONNREFUSED)
    } catch let error as SystemError {
      #expect(error.code == ECONNREFUSED)
    }
  }

  @Test func numbersResolveToThemselvesOnce() throws {
    #expect(try SocketAddress.resolve("127.0.0.9", port: 81) == [.ip(IPAddress(v4: 0x7f00_0009), port: 81)])
    #expect(try SocketAddress.resolve("::1", port: 82) == [.ip(IPAddress(v6High: 0, v6Low: 1), port: 82)])
    let local = try SocketAddress.resolve("localhost", port: 83)
    #expect(!local.isEmpty && local.allSatisfy { $0.port == 83 && $0.ip?.isLoopback == true })
    #expect(Set(local.compactMap(\.ip)).count == local.count)
  }

  // MARK: Log files

  /// Whether all of it was taken.
  private func write(_ text: String, to log: LogFile) -> Bool {
    if case .wrote(let count) = log.write(Array(text.utf8)) { count == text.utf8.count } else { false }
  }

  @Test func aLogIsAppendedToAndOpenedAnew() throws {
    let path = "\(directory)/access.log"
    try PrivateFile.write(Array("old\n".utf8), to: path, existing: .refuse)
    let log = try LogFile(path: path)
    #expect(write("one\n", to: log))
    try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
    #expect(write("two\n", to: log), "until told otherwise, into the file that was moved")
    try log.reopen()
    #expect(write("three\n", to: log))
    #expect(try String(contentsOfFile: path + ".1", encoding: .utf8) == "old\none\ntwo\n")
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "three\n")
  }

  @Test func nothingIsWrittenFromBeyondTheEnd() async {
    await #expect(processExitsWith: .failure) { _ = LogFile(.output).write([0x0a], from: 2) }
  }

  @Test func aLogThatCannotBeOpenedAnewGoesOn() throws {
    let path = "\(directory)/logs/access.log"
    #expect(throws: SystemError.self) { try LogFile(path: path) }
    try PrivateFile.makeDirectory("\(directory)/logs")
    let log = try LogFile(path: path)
    try FileManager.default.moveItem(atPath: "\(directory)/logs", toPath: "\(directory)/moved")
    #expect(throws: SystemError.self) { try log.reopen() }
    #expect(write("still here\n", to: log))
    #expect(try String(contentsOfFile: "\(directory)/moved/access.log", encoding: .utf8) == "still here\n")
  }

  @Test func aFIFOIsNeverWaitedFor() throws {
    // As `Signals` does in the process.
    signal(SIGPIPE, SIG_IGN)
    let path = "\(directory)/fifo"
    #expect(mkfifo(path, 0o600) == 0)
    let log = try LogFile(path: path)
    #expect(!log.isOpen && !write("nobody\n", to: log))
    try log.reopen()
    #expect(!log.isOpen)

    let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try log.reopen()
    #expect(log.isOpen && write("line\n", to: log))
    var room = [UInt8](repeating: 0, count: 64)
    #expect(read(reader, &room, room.count) == 5 && room.starts(with: Array("line\n".utf8)))
    var isFull = false
    for _ in 0..<100 where !isFull {
      if case .full = log.write([UInt8](repeating: 0x0a, count: 65536)) { isFull = true }
    }
    #expect(isFull, "a reader that does not read")
    close(reader)
    // A program that another test starts may have a copy of it for a moment.
    let deadline = Clock.monotonicMilliseconds() + 10_000
    var result = log.write([0x0a])
    while case .full = result, Clock.monotonicMilliseconds() < deadline { result = log.write([0x0a]) }
    guard case .failed(let error) = result else {
      Issue.record("written to nobody")
      return
    }
    #expect(error.code == EPIPE && !log.isOpen)
  }

  @Test func aSocketOnDiskIsNoLog() throws {
    let path = "\(directory)/socket"
    let descriptor = try Sockets.listen(on: .unix(path: path))
    defer { Sockets.closeDescriptor(descriptor) }
    #expect(throws: SystemError.self) { try LogFile(path: path) }
  }
}
