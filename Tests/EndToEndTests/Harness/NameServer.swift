// A name server of a test's own, on an address of its own, and programs that ask it and no other: each sees another
// /etc/resolv.conf, in a mount namespace of its own. Root may have both.

import Foundation

final class NameServer: Sendable {
  enum Record: Sendable {
    case a(String)
    case alias(String)
    case service(priority: UInt16, weight: UInt16, port: UInt16, target: String)

    fileprivate var type: UInt16 {
      switch self {
      case .a: 1
      case .alias: 5
      case .service: 33
      }
    }

    fileprivate var data: [UInt8] {
      switch self {
      case .a(let address): address.split(separator: ".").map { UInt8($0)! }
      case .alias(let target): NameServer.name(target)
      case .service(let priority, let weight, let port, let target):
        [priority, weight, port].flatMap(NameServer.short) + NameServer.name(target)
      }
    }
  }

  /// What a question about a name comes to.
  enum Answer: Sendable {
    case records([Record], ttl: UInt32)
    /// SERVFAIL.
    case failure
    case silence
  }

  private struct State {
    var zone: [String: Answer] = [:]
    var questions: [String: Int] = [:]
    var isClosed = false
  }

  let address: String
  private let descriptor: Int32
  private let state = Guarded(State())
  private let workspace: Workspace

  private static let count = Guarded(0)

  /// A number that no other has, in addresses.
  static func number() -> Int {
    count.with { count in
      count += 1
      return count
    }
  }

  init(in workspace: Workspace) throws {
    let number = Self.number()
    address = "127.53.\(number / 250).\(number % 250 + 1)"
    self.workspace = workspace
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_port = UInt16(53).bigEndian
    inet_pton(AF_INET, address, &place.sin_addr)
    let code = withUnsafePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Foundation.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 else {
      throw Trouble("port 53 of \(address): \(String(cString: strerror(errno))); these tests are for root")
    }
    try workspace.write("resolv.conf", "nameserver \(address)\noptions timeout:1 attempts:1\n")
    Thread.detachNewThread { [descriptor, state] in Self.serve(descriptor, state) }
  }

  deinit {
    state.with { $0.isClosed = true }
    // Wakes whoever waits for questions; that thread closes it.
    shutdown(descriptor, Int32(SHUT_RDWR))
  }

  /// What goes in front of a program and its arguments.
  var wrapper: [String] {
    get throws {
      [
        try Programs.unshare, "--mount", "--propagation", "private", "--", "/bin/sh", "-c",
        #"mount --bind "$0" /etc/resolv.conf && exec "$@""#, workspace.file("resolv.conf"),
      ]
    }
  }

  func set(_ name: String, _ records: [Record], ttl: UInt32 = 1) { set(name, .records(records, ttl: ttl)) }
  func set(_ name: String, _ addresses: String..., ttl: UInt32 = 1) { set(name, addresses.map { .a($0) }, ttl: ttl) }
  func set(_ name: String, _ answer: Answer) { state.with { $0.zone[name] = answer } }
  /// There is no such name from now on (NXDOMAIN).
  func remove(_ name: String) { state.with { $0.zone[name] = nil } }

  /// Of addresses, IPv4.
  func questions(about name: String) -> Int { state.with { $0.questions[name, default: 0] } }

  func waitForQuestions(about name: String, more: Int) throws {
    let before = questions(about: name)
    guard state.wait(until: .usual, { $0.questions[name, default: 0] >= before + more ? true : nil }) != nil else {
      throw Trouble("\(name) was not asked for \(more) times more")
    }
  }

  // MARK: Messages

  private static func serve(_ descriptor: Int32, _ state: Guarded<State>) {
    var bytes = [UInt8](repeating: 0, count: 2048)
    while true {
      var storage = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let count = withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(descriptor, &bytes, bytes.count, 0, $0, &length)
        }
      }
      if state.with({ $0.isClosed }) { break }
      guard count >= 17, let reply = answer(Array(bytes[..<count]), state) else { continue }
      _ = withUnsafePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(descriptor, reply, reply.count, 0, $0, length)
        }
      }
    }
    Foundation.close(descriptor)
  }

  private static func answer(_ question: [UInt8], _ state: Guarded<State>) -> [UInt8]? {
    var at = 12
    var labels: [String] = []
    while question[at] != 0 {
      labels.append(String(decoding: question[at + 1...at + Int(question[at])], as: UTF8.self))
      at += 1 + Int(question[at])
    }
    let type = UInt16(question[at + 1]) << 8 | UInt16(question[at + 2])
    let asked = question[12..<at + 5]
    let name = labels.joined(separator: ".").lowercased()
    let zone = state.with { state in
      if type == 1 { state.questions[name, default: 0] += 1 }
      return state.zone
    }
    var code: UInt16 = 0
    var records: [[UInt8]] = []
    var owner = name
    loop: while true {
      switch zone[owner] {
      case nil:
        code = 3
        break loop
      case .failure:
        code = 2
        break loop
      case .silence: return nil
      case .records(let all, let ttl):
        for record in all where record.type == type || record.type == 5 {
          let data = record.data
          records.append(
            Self.name(owner) + short(record.type) + short(1) + short(UInt16(ttl >> 16)) + short(UInt16(ttl & 0xffff))
              + short(UInt16(data.count)) + data)
        }
        guard case .alias(let target)? = all.first else { break loop }
        owner = target
      }
    }
    return question[..<2] + short(0x8180 | code) + short(1) + short(UInt16(records.count)) + short(0) + short(0)
      + asked + records.joined()
  }

  private static func short(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

  private static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }
}
