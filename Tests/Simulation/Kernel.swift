// A kernel in memory: TCP connections, listeners, edge-triggered readiness and two clocks. It keeps to what Linux promises
// and to no more: bytes arrive in pieces and late, an edge is told once, a socket that is closed with unread bytes resets.
//
// Bytes go: send ─► outbox ─► (the World delivers some) ─► the peer's inbox ─► recv
//
// Owned by the World of one seed. Calls.swift maps the system calls to it; Client and Server hold the far ends directly.

import TestSupport

struct Endpoint: Hashable, CustomStringConvertible {
  var address: UInt32
  var port: UInt16

  var addressText: String { "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)" }
  var description: String { "\(addressText):\(port)" }
}

/// Bytes in order, taken from the front.
struct ByteQueue {
  private var bytes: [UInt8] = []
  private var begin = 0

  var count: Int { bytes.count - begin }
  var isEmpty: Bool { begin == bytes.count }

  mutating func append<S: Sequence<UInt8>>(_ new: S) { bytes.append(contentsOf: new) }

  func front(_ n: Int) -> ArraySlice<UInt8> { bytes[begin..<begin + n] }

  mutating func drop(_ n: Int) {
    begin += n
    if begin == bytes.count { removeAll() } else if begin > 1 << 16 { compact() }
  }

  private mutating func compact() {
    bytes.removeFirst(begin)
    begin = 0
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    begin = 0
  }
}

enum Errno {
  static let again: Int32 = 11, noMemory: Int32 = 12, brokenPipe: Int32 = 32, tooManyFiles: Int32 = 24
  static let badDescriptor: Int32 = 9, exists: Int32 = 17, noEntry: Int32 = 2
  static let reset: Int32 = 104, notConnected: Int32 = 107, refused: Int32 = 111, inProgress: Int32 = 115
  static let unreachable: Int32 = 101
}

enum Events {
  static let input: UInt32 = 0x1, output: UInt32 = 0x4, error: UInt32 = 0x8, hangup: UInt32 = 0x10
  static let peerEnded: UInt32 = 0x2000, edgeTriggered: UInt32 = 1 << 31
}

/// Something that a poller can watch.
class Watched {
  var descriptor: Int32 = -1
  fileprivate(set) var poller: Poller?
  fileprivate var interest: UInt32 = 0
  fileprivate var data: UInt64 = 0
  fileprivate var isQueued = false

  var ready: UInt32 { 0 }

  /// An edge: whoever watches it hears of it once.
  final func signal() {
    guard let poller, !isQueued else { return }
    isQueued = true
    poller.queue.append(self)
  }
}

/// One end of a connection. `peer` is the other one.
final class Stream: Watched {
  enum Phase { case new, connecting, open }

  unowned let kernel: Kernel
  var local: Endpoint
  var remote: Endpoint
  fileprivate(set) var phase = Phase.new
  fileprivate(set) var peer: Stream?
  fileprivate(set) var inbox = ByteQueue()
  fileprivate(set) var outbox = ByteQueue()
  /// Bytes that the kernel takes from `send` before it says EAGAIN.
  var capacity = 1 << 16
  /// Bytes that it holds for `recv`. Linux has no smaller buffer.
  private var receiveCapacity: Int { max(capacity, 2_304) }
  private(set) var isFinished = false
  private var finDelivered = false
  fileprivate(set) var gotFin = false
  /// The other side reset it. Told once as ECONNRESET.
  private(set) var gotReset = false
  private var lostToReset = 0
  private var errorIsDue = false
  fileprivate var connectError: Int32 = 0
  fileprivate var resetsOnClose = false
  fileprivate(set) var isClosed = false
  private var resetIsDue = false
  private var lacksRoom = false

  init(kernel: Kernel, local: Endpoint, remote: Endpoint) {
    self.kernel = kernel
    self.local = local
    self.remote = remote
  }

  override var ready: UInt32 {
    if connectError != 0 || gotReset {
      return Events.input | Events.output | Events.error | Events.hangup | Events.peerEnded
    }
    guard phase == .open else { return 0 }
    var mask: UInt32 = 0
    if !inbox.isEmpty || gotFin { mask |= Events.input }
    if gotFin { mask |= Events.peerEnded }
    if gotFin, isFinished { mask |= Events.hangup }
    if outbox.count < capacity { mask |= Events.output }
    return mask
  }

  /// Whether something is on its way from here to the peer.
  var hasUndelivered: Bool {
    phase == .open && peer != nil && (!outbox.isEmpty || (isFinished && !finDelivered) || resetIsDue)
  }

  /// Bytes that the peer has not got; our FIN counts as one. Like Linux, it goes on saying what a reset has thrown away.
  var unacknowledged: Int { lostToReset + outbox.count + (isFinished && !finDelivered ? 1 : 0) }

  /// What is under way at this end, for a violation's text.
  var outline: String {
    "\(local) to \(remote): \(outbox.count) of \(capacity) bytes on their way out, \(inbox.count) unread"
      + "\(isFinished ? ", finished" : "")\(gotFin ? ", told the end" : "")\(gotReset ? ", reset" : "")"
  }

  /// Bytes that have come and were not read.
  var unread: Int { inbox.count }

  // MARK: Calls

  func receive(_ most: Int, peeks: Bool, _ take: (ArraySlice<UInt8>) -> Void) -> Int {
    if connectError != 0 { return -Int(connectError) }
    guard phase == .open else { return -Int(phase == .new ? Errno.notConnected : Errno.again) }
    let n = min(most, inbox.count)
    if n > 0 {
      take(inbox.front(n))
      if !peeks {
        inbox.drop(n)
        kernel.movements += 1
      }
      return n
    }
    // A reset behind the peer's end changes nothing for what came before.
    if gotFin { return 0 }
    if gotReset {
      guard errorIsDue else { return 0 }
      errorIsDue = false
      return -Int(Errno.reset)
    }
    return most == 0 ? 0 : -Int(Errno.again)
  }

  func send(_ bytes: some Collection<UInt8>) -> Int {
    if connectError != 0 { return -Int(connectError) }
    if gotReset {
      guard errorIsDue else { return -Int(Errno.brokenPipe) }
      errorIsDue = false
      return -Int(gotFin ? Errno.brokenPipe : Errno.reset)
    }
    if isFinished { return -Int(Errno.brokenPipe) }
    let n = phase == .open ? min(bytes.count, capacity - outbox.count) : 0
    if n < bytes.count { lacksRoom = true }
    guard n > 0 else { return bytes.isEmpty ? 0 : -Int(Errno.again) }
    outbox.append(bytes.prefix(n))
    kernel.movements += 1
    return n
  }

  func finish() {
    guard !isFinished else { return }
    isFinished = true
    signal()
  }

  /// Closes this end. What lies unread in it makes the close a reset.
  func close(reset: Bool = false) {
    guard !isClosed else { return }
    isClosed = true
    isFinished = true
    if reset || resetsOnClose || !inbox.isEmpty {
      outbox.removeAll()
      resetIsDue = !gotReset
    }
    inbox.removeAll()
  }

  // MARK: The way between

  /// Carries up to `most` bytes on to the peer, and our end behind the last of them.
  func deliver(_ most: Int) {
    guard let peer, phase == .open else { return }
    // Nothing that is still on its way is taken behind a reset.
    if peer.gotReset {
      outbox.removeAll()
      finDelivered = true
      resetIsDue = false
      return
    }
    if resetIsDue {
      resetIsDue = false
      finDelivered = true
      kernel.movements += 1
      peer.takeReset()
      return
    }
    let n = min(most, outbox.count, peer.isClosed ? .max : max(0, peer.receiveCapacity - peer.inbox.count))
    if n > 0 {
      kernel.movements += 1
      if peer.isClosed {
        // Nobody is there to read it: the answer is a reset, which only an open end hears.
        outbox.removeAll()
        takeReset()
        return
      }
      peer.inbox.append(outbox.front(n))
      outbox.drop(n)
      peer.signal()
      if lacksRoom {
        lacksRoom = false
        signal()
      }
    }
    guard outbox.isEmpty, isFinished, !finDelivered else { return }
    finDelivered = true
    kernel.movements += 1
    peer.gotFin = true
    peer.signal()
  }

  private func takeReset() {
    guard !gotReset, !isClosed else { return }
    gotReset = true
    errorIsDue = true
    lostToReset = outbox.count
    outbox.removeAll()
    // Linux keeps what lies unread; others do not.
    if !gotFin, kernel.random.below(2) == 0 { inbox.removeAll() }
    signal()
  }

  // MARK: Connecting

  /// What became of the attempt; told once.
  func takeConnectError() -> Int32 {
    defer { connectError = 0 }
    return connectError
  }

  fileprivate func open(to peer: Stream) {
    phase = .open
    self.peer = peer
  }

  fileprivate func beginConnecting(to remote: Endpoint) {
    phase = .connecting
    self.remote = remote
  }

  fileprivate func fail(_ code: Int32) {
    connectError = code
    signal()
  }
}

final class Listener: Watched {
  let local: Endpoint
  fileprivate(set) var pending: [Stream] = []
  fileprivate(set) var isClosed = false

  init(local: Endpoint) { self.local = local }

  override var ready: UInt32 { pending.isEmpty ? 0 : Events.input }
}

/// An event descriptor: readable once it was signalled, until it is read.
final class EventDescriptor: Watched {
  fileprivate(set) var isSet = false
  override var ready: UInt32 { isSet ? Events.input : 0 }
}

final class Poller: Watched {
  fileprivate var queue: [Watched] = []
  /// Of the wait under way.
  fileprivate var turn: [Watched] = []
  fileprivate var levels: [Watched] = []
}

final class Kernel {
  private var table: [Watched?] = []
  private var free: [Int] = []
  private var listeners: [Endpoint: Listener] = [:]
  var random: Seeded
  private var chance: Seeded
  var monotonicNanoseconds: UInt64 = 1_000_000_000_000
  /// What the wall clock shows more than the monotonic one.
  var wallOffsetNanoseconds: UInt64 = 1_800_000_000_000_000_000
  /// Every connection, until both ends are closed.
  private(set) var streams: [Stream] = []
  /// Connections that the engine began, in order, and about which nothing is decided yet.
  private(set) var connecting: [Stream] = []
  private var nextPort: UInt16 = 20_000
  /// Counts what happens: bytes that an end gave, took or got, the end of a stream that arrived, a connection that was asked for
  /// or made, and a wait for which the engine has no time because it has more to do. While nobody counts it up, nothing moves.
  var movements: UInt64 = 0
  /// What `socket` and `accept4` say: whether the process has run out of descriptors.
  var lacksDescriptors = false
  /// What `connect` says at once for an address, or nil.
  var connectRefusal: (Endpoint) -> Int32? = { _ in nil }

  /// - Parameter chance: what random bytes follow from.
  init(seed: UInt64, chance: UInt64) {
    random = Seeded(seed)
    self.chance = Seeded(chance)
  }

  /// Random bytes, where libcrypto has others.
  func fill(_ to: UnsafeMutableRawPointer?, _ count: Int) {
    let bytes = UnsafeMutableRawBufferPointer(start: to, count: count)
    for at in stride(from: 0, to: count, by: 8) {
      withUnsafeBytes(of: chance.next().littleEndian) {
        UnsafeMutableRawBufferPointer(rebasing: bytes[at..<min(at + 8, count)]).copyBytes(from: $0.prefix(count - at))
      }
    }
  }

  /// Sockets that the engine has not closed.
  var openSockets: Int { table.count { $0 is Stream || $0 is Listener } }

  func find<T: Watched>(_ fd: Int32, _: T.Type) -> T? {
    let index = Int(fd) - Int(simulatedBase)
    return table.indices.contains(index) ? table[index] as? T : nil
  }

  func add(_ watched: Watched) -> Int32 {
    let index = free.popLast() ?? table.count
    if index == table.count { table.append(watched) } else { table[index] = watched }
    watched.descriptor = simulatedBase + Int32(index)
    return watched.descriptor
  }

  // MARK: Calls

  func makeSocket() -> Int32 {
    guard !lacksDescriptors else { return -Errno.tooManyFiles }
    return add(
      Stream(kernel: self, local: Endpoint(address: 0x0a00_0001, port: 0), remote: Endpoint(address: 0, port: 0)))
  }

  func makeListener(_ local: Endpoint) -> Int32 {
    let listener = Listener(local: local)
    listeners[local] = listener
    return add(listener)
  }

  func makeEvent() -> Int32 { add(EventDescriptor()) }
  func makePoller() -> Int32 { add(Poller()) }

  func accept(_ fd: Int32) -> Stream? {
    guard let listener = find(fd, Listener.self), !listener.pending.isEmpty else { return nil }
    let stream = listener.pending.removeFirst()
    movements += 1
    _ = add(stream)
    return stream
  }

  func connect(_ fd: Int32, to remote: Endpoint) -> Int32 {
    guard let stream = find(fd, Stream.self) else { return -Errno.badDescriptor }
    if let code = connectRefusal(remote) { return -code }
    nextPort += 1
    stream.local.port = nextPort
    stream.beginConnecting(to: remote)
    connecting.append(stream)
    movements += 1
    return -Errno.inProgress
  }

  func signal(event fd: Int32) {
    guard let event = find(fd, EventDescriptor.self) else { return }
    event.isSet = true
    event.signal()
  }

  func clear(event fd: Int32) { find(fd, EventDescriptor.self)?.isSet = false }

  func setLinger(_ fd: Int32, seconds: Int32) { find(fd, Stream.self)?.resetsOnClose = seconds == 0 }

  func close(_ fd: Int32) -> Int32 {
    let index = Int(fd) - Int(simulatedBase)
    guard table.indices.contains(index), let watched = table[index] else { return -Errno.badDescriptor }
    table[index] = nil
    free.append(index)
    unwatch(watched)
    switch watched {
    case let stream as Stream:
      connecting.removeAll { $0 === stream }
      stream.close()
    case let listener as Listener:
      listener.isClosed = true
      listeners[listener.local] = nil
      for stream in listener.pending { stream.close(reset: true) }
      listener.pending = []
    default: break
    }
    return 0
  }

  // MARK: Readiness

  func watch(_ poller: Poller, _ watched: Watched, _ events: UInt32, _ data: UInt64) -> Int32 {
    guard watched.poller == nil else { return -Errno.exists }
    watched.poller = poller
    watched.interest = events
    watched.data = data
    if events & Events.edgeTriggered == 0 { poller.levels.append(watched) }
    if watched.ready & (events | Events.error | Events.hangup) != 0 { watched.signal() }
    return 0
  }

  func unwatch(_ watched: Watched) {
    guard let poller = watched.poller else { return }
    poller.queue.removeAll { $0 === watched }
    poller.turn.removeAll { $0 === watched }
    poller.levels.removeAll { $0 === watched }
    watched.poller = nil
    watched.isQueued = false
  }

  /// Begins a wait: everything that is due, in an order of its own.
  func prepare(_ poller: Poller, mayWait: Bool) {
    if !mayWait { movements += 1 }
    for watched in poller.levels where watched.ready != 0 { watched.signal() }
    poller.turn = poller.queue
    poller.queue = []
    for watched in poller.turn { watched.isQueued = false }
    guard poller.turn.count > 1 else { return }
    for i in stride(from: poller.turn.count - 1, to: 0, by: -1) {
      poller.turn.swapAt(i, random.below(i + 1))
    }
  }

  func next(_ poller: Poller) -> (events: UInt32, data: UInt64)? {
    while let watched = poller.turn.popLast() {
      let mask = watched.ready & (watched.interest | Events.error | Events.hangup)
      if mask != 0 { return (mask, watched.data) }
    }
    return nil
  }

  // MARK: For the World

  func listens(at local: Endpoint) -> Bool { listeners[local] != nil }

  /// A connection to a listener of the engine; nil when nobody listens there.
  func open(from local: Endpoint, to remote: Endpoint) -> Stream? {
    guard let listener = listeners[remote] else { return nil }
    let near = Stream(kernel: self, local: local, remote: remote)
    admit(near, to: listener)
    streams.append(near)
    return near
  }

  private func admit(_ near: Stream, to listener: Listener) {
    let far = Stream(kernel: self, local: near.remote, remote: near.local)
    near.open(to: far)
    far.open(to: near)
    streams.append(far)
    listener.pending.append(far)
    listener.signal()
  }

  /// Lets a connection that the engine began come about. Where a worker listens it gets the other end and nil is returned;
  /// otherwise the other end is.
  func establish(_ stream: Stream) -> Stream? {
    movements += 1
    connecting.removeAll { $0 === stream }
    streams.append(stream)
    if let listener = listeners[stream.remote] {
      admit(stream, to: listener)
      stream.signal()
      return nil
    }
    let far = Stream(kernel: self, local: stream.remote, remote: stream.local)
    stream.open(to: far)
    far.open(to: stream)
    streams.append(far)
    stream.signal()
    return far
  }

  func refuse(_ stream: Stream, _ code: Int32) {
    movements += 1
    connecting.removeAll { $0 === stream }
    stream.fail(code)
  }

  /// Forgets connections of which nobody has anything to say any more.
  func prune() {
    streams.removeAll { stream in
      guard stream.isClosed, !stream.hasUndelivered, stream.peer?.isClosed != false else { return false }
      if let peer = stream.peer, peer.hasUndelivered { return false }
      // The other one holds this one; for that it is the same.
      stream.peer = nil
      return true
    }
  }

  /// Breaks the references between its parts.
  func end() {
    for stream in streams { stream.peer = nil }
    for case let watched? in table { watched.poller = nil }
    streams = []
    table = []
  }
}

extension Seeded {
  /// A number from 0 to `n` - 1.
  mutating func below(_ n: Int) -> Int { Int(truncatingIfNeeded: next() % UInt64(n)) }
  /// True once in `n` times.
  mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }
}
