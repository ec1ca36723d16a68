// What an event carries through the kernel, and what wakes a thread.

import Glibc
import Platform
import Synchronization
import Testing

@Suite struct TokenTests {
  @Test func everyPartComesBack() {
    for kind in [Token.Kind.wakeup, .listener, .downstream, .upstream] {
      for slot in [0, 1, 255, 256, 65_535, 65_536, 1 << 24 - 1] {
        for generation in [0, 1, 0x7fff_ffff, 0x8000_0000, UInt32.max] {
          let token = Token(kind, slot: slot, generation: generation)
          #expect(token.kind == kind && token.slot == slot && token.generation == generation)
        }
      }
    }
  }

  @Test func partsDoNotTouch() {
    let all = Token(.upstream, slot: 1 << 24 - 1, generation: .max).bits
    let parts = [
      Token(.upstream, slot: 0, generation: 0).bits, Token(.wakeup, slot: 1 << 24 - 1, generation: 0).bits,
      Token(.wakeup, slot: 0, generation: .max).bits,
    ]
    #expect(parts.reduce(0, ^) == all && parts.reduce(0, |) == all)
  }
}

@Suite final class PollerTests {
  let poller: Poller
  let near: Int32
  let far: Int32
  var farIsOpen = true

  init() throws {
    poller = try Poller()
    (near, far) = try SocketPair.unix()
  }

  deinit {
    close(near)
    if farIsOpen { close(far) }
  }

  private func closeFar() {
    SocketPair.end(far)
    farIsOpen = false
  }

  @Test func aConnectionIsToldOnceForEachChange() throws {
    let token = Token(.downstream, slot: 77, generation: 0xdead_beef)
    #expect(poller.add(connection: near, token))
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    #expect(poller.event(0).token == token && poller.event(0).readiness == [.write])
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
    try SocketPair.send(far, [1, 2, 3])
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    #expect(poller.event(0).readiness == [.read, .write])
    // Edge-triggered: the bytes still wait and nothing more is said of them.
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
    try SocketPair.send(far, [4])
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
  }

  @Test func anEndIsTold() throws {
    #expect(poller.add(connection: near, Token(.upstream, slot: 1, generation: 1)))
    _ = poller.wait(timeoutMilliseconds: 0)
    shutdown(far, Int32(SHUT_WR))
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    #expect(poller.event(0).readiness == [.read, .write, .ended])
    closeFar()
    #expect(poller.wait(timeoutMilliseconds: 0) == 1)
    #expect(poller.event(0).readiness.isSuperset(of: [.ended, .failed]))
  }

  @Test func aSourceIsToldUntilItIsEmpty() throws {
    let wakeup = try Wakeup()
    #expect(poller.add(source: wakeup.descriptor, Token(.wakeup, slot: 0, generation: 0)))
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
    wakeup.signal()
    wakeup.signal()
    for _ in 0..<3 {
      #expect(poller.wait(timeoutMilliseconds: 0) == 1)
      #expect(poller.event(0).token.kind == .wakeup && poller.event(0).readiness == [.read])
    }
    wakeup.clear()
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
  }

  @Test func whatWasRemovedIsSilent() throws {
    #expect(poller.add(connection: near, Token(.upstream, slot: 1, generation: 1)))
    #expect(!poller.add(connection: near, Token(.upstream, slot: 2, generation: 1)), "registered twice")
    poller.remove(near)
    try SocketPair.send(far, [1])
    #expect(poller.wait(timeoutMilliseconds: 0) == 0)
  }

  @Test func manyEventsComeInTurns() throws {
    var wakeups: [Wakeup] = []
    for slot in 0..<600 {
      let wakeup = try Wakeup()
      #expect(poller.add(source: wakeup.descriptor, Token(.listener, slot: slot, generation: 9)))
      wakeup.signal()
      wakeups.append(wakeup)
    }
    var seen: Set<Int> = []
    for _ in 0..<10 {
      let count = poller.wait(timeoutMilliseconds: 0)
      for i in 0..<count {
        let slot = poller.event(i).token.slot
        #expect(seen.insert(slot).inserted)
        wakeups[slot].clear()
      }
      if count == 0 { break }
    }
    #expect(seen == Set(0..<600))
  }
}

@Suite struct ThreadTests {
  @Test func aWakeUpIsKeptUntilCleared() throws {
    let wakeup = try Wakeup()
    #expect(!wakeup.wait(timeoutMilliseconds: 0))
    wakeup.clear()
    wakeup.signal()
    #expect(wakeup.wait(timeoutMilliseconds: 0) && wakeup.wait(timeoutMilliseconds: 0))
    wakeup.clear()
    #expect(!wakeup.wait(timeoutMilliseconds: 0))
  }

  @Test func messagesComeOnceAndInOrder() throws {
    let mailbox = try Mailbox<Int>()
    #expect(mailbox.takeAll().isEmpty)
    for i in 0..<5 { mailbox.post(i) }
    #expect(mailbox.wakeup.wait(timeoutMilliseconds: 0))
    #expect(mailbox.takeAll() == [0, 1, 2, 3, 4])
    #expect(mailbox.takeAll().isEmpty && !mailbox.wakeup.wait(timeoutMilliseconds: 0))
  }

  @Test func messagesOfManyThreadsAllArrive() throws {
    let mailbox = try Mailbox<(thread: Int, number: Int)>()
    let each = 2_000
    let threads = try (0..<4).map { thread in
      try WorkerThread.start(name: "post-\(thread)", processor: nil) {
        for number in 0..<each { mailbox.post((thread, number)) }
      }
    }
    var next = [0, 0, 0, 0]
    while next.reduce(0, +) < 4 * each {
      try #require(mailbox.wakeup.wait(timeoutMilliseconds: 10_000), "a message was posted and nobody was woken")
      for (thread, number) in mailbox.takeAll() {
        #expect(number == next[thread])
        next[thread] += 1
      }
    }
    for thread in threads { thread.join() }
    #expect(mailbox.takeAll().isEmpty)
  }

  /// Its number may be another thread's by then.
  @Test func aThreadIsJoinedOrDetachedOnce() async {
    await #expect(processExitsWith: .failure) {
      let thread = try WorkerThread.start(name: "joined", processor: nil) {}
      thread.join()
      thread.join()
    }
    await #expect(processExitsWith: .failure) {
      let thread = try WorkerThread.start(name: "detached", processor: nil) {}
      thread.detach()
      thread.join()
    }
  }

  /// One that nobody joined or detached would keep its stack, some 8 MiB of addresses, and each reload has one.
  @Test func aThreadThatIsDroppedGivesItsStackBack() async {
    await #expect(processExitsWith: .success) {
      var most = rlimit(rlim_cur: 8 << 30, rlim_max: 8 << 30)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &most) == 0)
      for _ in 0..<2_000 {
        let ended = try Wakeup()
        _ = try WorkerThread.start(name: "dropped", processor: nil) { ended.signal() }
        try #require(ended.wait(timeoutMilliseconds: 10_000))
      }
    }
  }

  @Test func countersCountByWord() {
    let words = CounterWords(count: 3)
    words.add(0, 2)
    words.add(0, 3)
    words.store(1, 7)
    words.add(2, .max)
    words.add(2, 2)
    #expect([0, 1, 2].map(words.load) == [5, 7, 1])
  }

  @Test func aReaderSeesCountersGrow() throws {
    let words = CounterWords(count: 2)
    let rounds: UInt64 = 200_000
    let writer = try WorkerThread.start(name: "count", processor: nil) {
      for _ in 0..<rounds { words.add(0, 1) }
    }
    var last: UInt64 = 0
    while last < rounds {
      let now = words.load(0)
      #expect(now >= last && now <= rounds)
      last = now
    }
    writer.join()
    #expect(words.load(0) == rounds && words.load(1) == 0)
  }
}
