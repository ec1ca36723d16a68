// What stood around the numbers of a sender's last message. A sender is one event loop of one edge: its messages of one
// second have the same parameters but for the sequence number, and mostly the same names. Comparing those bytes with the
// kept ones says what parsing them would say.
// Invariant: what is kept was read by the parser of its field, written again the same, and signed. Nothing else follows
// from it than from the parser: what differs in any byte is parsed whole. Called by Verifier, which confines it to its
// thread. Nothing is allocated after init.

import Platform
import Wire

final class KnownSender {
  /// Of `signature-input`: up to the dot before the sequence number, and from the quote behind it.
  private let prefix = Buffer(capacity: 256)
  private let suffix = Buffer(capacity: 128)
  /// Of `client-attest`: from behind the port to `cid=:`.
  private let middle = Buffer(capacity: 256)
  private var input: SignatureInput?
  private var attest: Attest?
  private(set) var key = 0
  /// How many bytes of `client-attest` followed the middle.
  private var tailCount = 0

  init() {
    // Memory is taken with the first byte; that is to be now.
    for buffer in [prefix, suffix, middle] {
      buffer.append(0)
      buffer.removeAll()
    }
  }

  /// How many senders a verifier keeps, a power of two.
  static let slots = 16

  /// The sender whose message it may be: a guess by the last characters of the epoch, of which 10 bits are random.
  static func slot(_ head: Span<UInt8>, _ signatureInput: ByteRange) -> Int {
    let end = signatureInput.lower + SignatureInput.epochEnd
    guard end < signatureInput.upper, end < head.count else { return 0 }
    return (Int(head[end &- 1]) &* 5 &+ Int(head[end]) &>> 2) & (slots - 1)
  }

  func read(attest range: ByteRange, in head: Span<UInt8>) -> Attest? {
    guard let attest else { return nil }
    let end = range.upper - tailCount
    let start = end - middle.count
    guard start > range.lower, range.upper <= head.count,
      middle.withReadable({ ByteComparison.isEqual($0, head.extracting(start..<end)) })
    else { return nil }
    return Attest.parse(head, at: range, as: attest, middle: start..<end)
  }

  func read(signatureInput range: ByteRange, in head: Span<UInt8>) -> SignatureInput? {
    guard let input else { return nil }
    let (first, last) = (range.lower + prefix.count, range.upper - suffix.count)
    guard first < last, range.upper <= head.count,
      prefix.withReadable({ ByteComparison.isEqual($0, head.extracting(range.lower..<first)) }),
      suffix.withReadable({ ByteComparison.isEqual($0, head.extracting(last..<range.upper)) })
    else { return nil }
    return SignatureInput.parse(
      head, at: range, as: input, prefixCount: prefix.count, suffixCount: suffix.count)
  }

  /// Appends the parameters of a message that was read by what is kept.
  func writeParameters(of input: SignatureInput, to base: Buffer) {
    prefix.withReadable { base.append($0.extracting(SignatureInput.memberCount..<$0.count)) }
    base.append(decimal: input.sequence)
    suffix.withReadable { base.append($0) }
  }

  /// Appends what stands between port and connection in a message that was read by what is kept.
  func writeMiddle(to base: Buffer) { middle.withReadable { base.append($0) } }

  /// Keeps what stands around the numbers of a message that was verified.
  func keep(_ attest: Attest, at range: ByteRange, in head: Span<UInt8>) {
    let kept = attest.middle(in: range)
    middle.removeAll()
    middle.append(head.extracting(kept))
    tailCount = range.upper - kept.upperBound
    self.attest = middle.overflowed ? nil : attest
  }

  func keep(_ input: SignatureInput, in head: Span<UInt8>, key: Int) {
    prefix.removeAll()
    SignatureInput.writeMember(to: prefix)
    SignatureInput.writePrefix(created: input.created, expires: input.expires, epoch: input.epoch, to: prefix)
    suffix.removeAll()
    SignatureInput.writeSuffix(keyID: head.extracting(input.keyID.range), to: suffix)
    self.input = prefix.overflowed || suffix.overflowed ? nil : input
    self.key = key
  }
}
