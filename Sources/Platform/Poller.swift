// epoll. A connection is registered once, edge-triggered, for both directions. The data of an event names a slot and its
// generation, so an event that arrives after its connection was closed is recognized and dropped. Each worker has one.

import CLinux
import Glibc

/// What a descriptor was registered for: 64 bits that the kernel returns with each event.
public struct Token: Equatable, Sendable {
  public enum Kind: UInt8, Sendable { case wakeup = 0, listener, downstream, upstream }

  public let bits: UInt64

  /// - Parameters:
  ///   - slot: index in the worker's table, below 2^24.
  ///   - generation: how often that slot was used before.
  @inlinable public init(_ kind: Kind, slot: Int, generation: UInt32) {
    bits = UInt64(kind.rawValue) << 56 | UInt64(slot & 0xff_ffff) << 32 | UInt64(generation)
  }

  @inlinable init(bits: UInt64) { self.bits = bits }

  @inlinable public var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: bits >> 56)) ?? .wakeup }
  @inlinable public var slot: Int { Int((bits >> 32) & 0xff_ffff) }
  @inlinable public var generation: UInt32 { UInt32(truncatingIfNeeded: bits) }
}

/// What a descriptor is ready for.
public struct Readiness: OptionSet, Sendable {
  public let rawValue: UInt8
  @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
  public static let read = Readiness(rawValue: 1)
  public static let write = Readiness(rawValue: 2)
  /// The peer closed its sending side, or the connection failed. Reading tells which.
  public static let ended = Readiness(rawValue: 4)
  /// The connection failed, or is closed in both directions.
  public static let failed = Readiness(rawValue: 8)
}

@safe public final class Poller {
  private let descriptor: Int32
  // SAFETY: room for `eventsMax` entries, allocated in init, freed in deinit, never lent. epoll_wait initializes the first
  // `ready` of them. Poller is not Sendable: one thread uses it.
  private let events: UnsafeMutablePointer<epoll_event>
  private static let eventsMax = 256
  private var ready = 0

  public init() throws(SystemError) {
    descriptor = cs_epoll_create()
    guard descriptor >= 0 else { throw SystemError("epoll_create1") }
    // SAFETY: nothing is read from it before epoll_wait has written it.
    unsafe events = .allocate(capacity: Poller.eventsMax)
  }

  deinit {
    // SAFETY: what init allocated; entries need no deinitialization.
    unsafe events.deallocate()
    close(descriptor)
  }

  /// Registers a connection for its whole life: both directions, edge-triggered.
  public func add(connection fd: Int32, _ token: Token) -> Bool {
    cs_epoll_add(descriptor, fd, cs_EPOLLIN | cs_EPOLLOUT | cs_EPOLLRDHUP | cs_EPOLLET, token.bits) == 0
  }

  /// Registers a listener or a `Wakeup`: readable, level-triggered. With `exclusive`, an event wakes one of the workers that
  /// wait on the same descriptor, not all of them.
  public func add(source fd: Int32, _ token: Token, exclusive: Bool = false) -> Bool {
    cs_epoll_add(descriptor, fd, cs_EPOLLIN | (exclusive ? cs_EPOLLEXCLUSIVE : 0), token.bits) == 0
  }

  public func remove(_ fd: Int32) { _ = cs_epoll_remove(descriptor, fd) }

  /// Waits for events, at most `timeoutMilliseconds` (negative: without limit). Returns how many there are.
  public func wait(timeoutMilliseconds: Int32) -> Int {
    // SAFETY: events has room for the eventsMax entries that the kernel is allowed to write.
    let n = unsafe epoll_wait(descriptor, events, Int32(Poller.eventsMax), timeoutMilliseconds)
    // EINTR counts as no events; any other error is a bug of ours.
    precondition(n >= 0 || cs_errno() == EINTR, "epoll_wait failed")
    ready = max(0, Int(n))
    return ready
  }

  /// Event `i` of the last `wait`.
  public func event(_ i: Int) -> (token: Token, readiness: Readiness) {
    precondition(i >= 0 && i < ready)
    // SAFETY: the kernel filled entries 0..<ready, and i is one of them. The struct is packed: a C function reads it.
    let bits = unsafe cs_epoll_events(events + i)
    let token = unsafe Token(bits: cs_epoll_data(events + i))
    var readiness: Readiness = []
    if bits & cs_EPOLLIN != 0 { readiness.insert(.read) }
    if bits & cs_EPOLLOUT != 0 { readiness.insert(.write) }
    if bits & cs_EPOLLRDHUP != 0 { readiness.insert(.ended) }
    if bits & (cs_EPOLLERR | cs_EPOLLHUP) != 0 { readiness.insert(.failed) }
    return (token, readiness)
  }
}

/// Wakes a worker from another thread: an eventfd that its poller waits on.
public final class Wakeup: Sendable {
  public let descriptor: Int32

  public init() throws(SystemError) {
    descriptor = cs_eventfd()
    guard descriptor >= 0 else { throw SystemError("eventfd") }
  }

  deinit { close(descriptor) }

  public func signal() {
    var one: UInt64 = 1
    // SAFETY: the call reads the eight bytes of a local.
    _ = unsafe write(descriptor, &one, 8)
  }

  /// Waits until it is signalled. False after `timeoutMilliseconds`.
  public func wait(timeoutMilliseconds: Int32) -> Bool {
    var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    // SAFETY: the call reads and writes one local entry, which is the count that it is given.
    return unsafe poll(&wanted, 1, timeoutMilliseconds) > 0
  }

  public func clear() {
    var count: UInt64 = 0
    // SAFETY: the call writes at most the eight bytes of a local.
    _ = unsafe read(descriptor, &count, 8)
  }
}
