// What a validator verifies: requests that it has not seen, one that it has, and the window of numbers by itself.

import Platform
import Policy
import Wire

enum VerifySteps {
  static var all: [Step] {
    [
      fresh("HMAC", .hmac), fresh("Ed25519", .ed25519), replayed,
      part("read client-attest") { head in
        let range = head.attest
        return { bytes in
          guard case .attest(let claim) = Attest.parse(bytes, at: range) else { return false }
          return claim.port == Samples.client.port
        }
      },
      part("read signature-input") { head in
        let range = head.signatureInput
        return { bytes in
          guard case .input(let input) = SignatureInput.parse(bytes, at: range) else { return false }
          return input.sequence > 1_000_000_000
        }
      },
      part("read signature") { head in
        let range = head.signature
        return { bytes in
          guard case .value(let value) = SignatureValue.parse(bytes, at: range) else { return false }
          return value.count == HMACContext.tagCount
        }
      },
      tag, mark, used,
    ]
  }

  /// One of the three fields by itself.
  private static func part(
    _ what: String, _ reading: @escaping (RequestHead) -> (Span<UInt8>) -> Bool
  ) -> Step {
    Step("verify: its part: \(what)") {
      let bytes = try Samples.signed(by: Samples.signer(Samples.keys(.hmac)))
      let read = reading(try Samples.parsed(bytes))
      return Operation { _ in read(bytes.span) }
    }
  }

  /// Of as many bytes as the base of the browser's request has: its parts, and the names of its lines.
  private static var tag: Step {
    Step("verify: its part: HMAC") {
      let head = try Samples.parsed(Samples.signed(by: Samples.signer(Samples.keys(.hmac))))
      let ranges = [head.methodRange, head.authority, head.path, head.query, head.attest, head.signatureInput]
      let names = "'@method': -'@authority': -'@path': -'@query': -'client-attest': -'@signature-params': "
      let message = [UInt8](repeating: 0x61, count: ranges.reduce(names.utf8.count - 3) { $0 + Int($1.count) })
      let context = try HMACContext(key: SecureRandom.secret(count: 32))
      return Operation { _ in
        var tag = InlineArray<32, UInt8>(repeating: 0)
        var room = tag.mutableSpan
        return context.tag(of: message.span, into: &room)
      }
    }
  }

  private static func fresh(_ name: String, _ algorithm: KeyAlgorithm) -> Step {
    Step("verify: a fresh request, \(name)") {
      let keys = try Samples.keys(algorithm)
      let requests = try SignedRequests(Samples.signer(keys))
      let verifier = try Samples.verifier(keys)
      return Operation(timesMax: 1 << 15, prepare: { requests.sign($0) }) { time in
        requests.bring(time)
        guard case .verified = requests.verify(with: verifier) else { return false }
        return true
      }
    }
  }

  private static var replayed: Step {
    Step("verify: a replayed request, HMAC: refused") {
      let keys = try Samples.keys(.hmac)
      let requests = try SignedRequests(Samples.signer(keys))
      let verifier = try Samples.verifier(keys)
      guard case .verified = requests.verify(with: verifier) else { throw NotASample() }
      return Operation { _ in
        guard case .refused(.replay) = requests.verify(with: verifier) else { return false }
        return true
      }
    }
  }

  /// The window as `ReplayWindows` makes it, and one sender.
  private static func makeTable() throws -> ReplayTable {
    guard let table = ReplayTable(windowBits: 1 << 18, epochsMax: 1_024) else { throw NotASample() }
    return table
  }

  private static let epoch = Samples.nowMilliseconds << 16 | 1

  private static var mark: Step {
    Step("verify: its part: a fresh number, look and mark") {
      let table = try makeTable()
      let lane = SenderLane(epoch: epoch)
      let now = Samples.nowMilliseconds
      return Operation { _ in
        let sequence = lane.next()
        guard table.peek(epoch: lane.epoch, sequence: sequence) == nil else { return false }
        return table.mark(
          epoch: lane.epoch, sequence: sequence, expiresMilliseconds: now + 30_000, nowMilliseconds: now) == nil
      }
    }
  }

  private static var used: Step {
    Step("verify: its part: a used number, look") {
      let table = try makeTable()
      let now = Samples.nowMilliseconds
      let (epoch, sequence): (UInt64, UInt64) = (epoch, 12_345)
      guard
        table.mark(epoch: epoch, sequence: sequence, expiresMilliseconds: now + 30_000, nowMilliseconds: now) == nil
      else { throw NotASample() }
      return Operation { _ in table.peek(epoch: epoch, sequence: sequence) == .replay }
    }
  }
}
