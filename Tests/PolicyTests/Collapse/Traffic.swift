// Traffic as a listener sees it, made up: who sends how much, and when. For the tests of the collapse detector.

import Foundation
import Policy
import TestSupport
import Wire

/// Clients of one kind: `population` of them send `rate` requests a second in all.
struct Crowd {
  var name: UInt32
  var population: Int
  var rate: Double
  /// 0: all send as much; 1: as words are used, the second half of the first, the third a third.
  var skew = 0.8
  var isPrivate = false

  /// The address that the client of this rank has.
  func address(_ rank: Int) -> IPAddress {
    let base: UInt32 = isPrivate ? 0x0a00_0000 : 0x2000_0000
    return IPAddress(v4: base &+ name << 16 &+ UInt32(rank) &+ 1)
  }
}

struct Traffic {
  var random: Seeded
  private var sums: [UInt32: [Double]] = [:]
  private let secret: UInt64

  init(seed: UInt64) {
    random = Seeded(seed)
    var other = Seeded(seed ^ 0x5ec7e7)
    secret = other.next()
  }

  private mutating func uniform() -> Double { Double(random.next() >> 11) / Double(1 << 53) }

  /// How many come in a time in which `mean` do on average: Poisson, by the normal distribution where they are many.
  private mutating func number(_ mean: Double) -> Int {
    guard mean > 0 else { return 0 }
    guard mean < 50 else {
      var sum = -6.0
      for _ in 0..<12 { sum += uniform() }
      return max(0, Int((mean + sum * mean.squareRoot()).rounded()))
    }
    // The times between two are exponential.
    var count = 0
    var time = -log(1 - uniform())
    while time < mean {
      count += 1
      time -= log(1 - uniform())
    }
    return count
  }

  private mutating func rank(_ crowd: Crowd) -> Int {
    guard crowd.population > 1 else { return 0 }
    guard crowd.skew > 0 else { return Int(random.next() % UInt64(crowd.population)) }
    var table = sums[crowd.name] ?? []
    if table.count != crowd.population {
      var sum = 0.0
      table = (0..<crowd.population).map { rank in
        sum += 1 / pow(Double(rank + 1), crowd.skew)
        return sum
      }
      sums[crowd.name] = table
    }
    let wanted = uniform() * table[table.count - 1]
    var (low, high) = (0, table.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if table[middle] < wanted { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// What comes in `seconds`; `become` says which address a client has for the listener.
  mutating func sketch(
    _ crowds: [Crowd], seconds: Double, into sketch: inout ClientSketch, become: (IPAddress) -> IPAddress = { $0 }
  ) {
    for crowd in crowds {
      for _ in 0..<number(crowd.rate * seconds) {
        let address = become(crowd.address(rank(crowd)))
        sketch.observe(ClientSketch.key(address, secret: secret), isPrivate: address.isPrivate)
      }
    }
  }
}
