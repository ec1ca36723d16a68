// The rate of one route: who is counted, and what the client is told of its count (RateLimit fields, draft-ietf-httpapi-ratelimit-headers,
// sections 3 and 4). The counts themselves are in the process's RateTable.

import Platform
import Policy
import Wire

package final class RouteRate {
  let limit: RateLimit
  private let key: Config.Rate.Key
  /// The field that is counted by, in lower case.
  private let header: [UInt8]
  /// Tells this rate's counts from those of others. The same as long as the configuration says the same of the route, so that counts
  /// go on through a reload.
  private let number: UInt64
  /// `RateLimit-Policy: "client";q=40;w=2`, with its line end.
  let policyLine: [UInt8]
  /// `RateLimit: "client";r=`
  let limitLine: [UInt8]

  init(_ rate: Config.Rate, of route: Config.Route) {
    limit = RateLimit(rate)
    key = rate.key
    var route = route
    route.place = .none
    var hash = SipHash(key0: 0, key1: 0)
    let text = Array("\(route)".utf8)
    hash.add(text.span)
    number = hash.value
    let name: String
    switch rate.key {
    case .client:
      name = "client"
      header = []
    case .clientSubnet:
      name = "client_subnet"
      header = []
    case .header(let field):
      name = "header"
      header = Array(field.utf8)
    }
    let window = (limit.most + 999_999) / 1_000_000
    policyLine = Array("RateLimit-Policy: \"\(name)\";q=\(rate.burst);w=\(window)\r\n".utf8)
    limitLine = Array("RateLimit: \"\(name)\";r=".utf8)
  }

  /// The rate that a request was counted under, of which something is written.
  static func of(_ x: Exchange) -> RouteRate? { x.rate.isCounted ? x.route?.demands?.rate : nil }

  /// Counts one request; false where it is one too many. What its client is to be told is noted.
  func allows(_ x: Exchange, _ worker: Worker) -> Bool {
    let decision = worker.shared.rates.take(whom(x, worker), limit, nowMicroseconds: worker.nowMicroseconds)
    if decision.isShared { worker.counters.add(.ratesShared) }
    x.rate = RateNotice(decision)
    if !decision.isAllowed { x.retryAfterSeconds = Int((decision.waitMicroseconds + 999_999) / 1_000_000) }
    return decision.isAllowed
  }

  private func whom(_ x: Exchange, _ worker: Worker) -> UInt64 {
    var hash = worker.shared.rates.hash
    hash.add(number)
    let header = header
    if !header.isEmpty {
      var isThere = false
      x.headText.withReadable { bytes in
        for index in 0..<x.head.fieldCount {
          let field = x.head.field(index)
          guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: header.span) else { continue }
          hash.add(bytes.extracting(field.value.range))
          isThere = true
        }
      }
      if isThere { return hash.value }
    }
    // Whoever leaves the field out is counted by its address, and whoever is not known (observe mode), with all others who are not.
    let address = x.identity?.address ?? .unspecified(.v6)
    let unit = key == .clientSubnet ? address.clientSubnet : address.clientUnit
    hash.add(UInt64(unit.family.rawValue))
    hash.add(unit.high)
    hash.add(unit.low)
    return hash.value
  }
}

/// What a response tells of its client's count.
package struct RateNotice {
  /// Nothing was counted.
  package static let none = RateNotice()

  private(set) var isCounted = false
  private(set) var remaining = 0
  private(set) var resetSeconds: UInt64 = 0

  private init() {}

  init(_ decision: RateDecision) {
    isCounted = true
    remaining = decision.remaining
    resetSeconds = (decision.resetMicroseconds + 999_999) / 1_000_000
  }

  /// Two lines of that at most.
  static let bytesMax = 160

  /// Appends the two fields.
  func write(_ rate: RouteRate, into out: Buffer) {
    let (policy, limit) = (rate.policyLine, rate.limitLine)
    out.append(policy.span)
    out.append(limit.span)
    out.append(decimal: UInt64(remaining))
    out.append(";t=")
    out.append(decimal: resetSeconds)
    out.append("\r\n")
  }
}
