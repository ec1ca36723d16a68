// As many validly signed requests as a batch needs, each with a number of its own. They differ in the number and in the
// signature alone, so one head lies in one place, as in a connection's buffer, and only those bytes are put into it:
// a ring of whole heads would measure the memory that it lies in.

import Platform
import Policy
import Wire

final class SignedRequests {
  private let signer: Signer
  private let bytes = Buffer(capacity: 4_096)
  private let head: RequestHead
  /// Where the number and the signature stand in the head.
  private let number: Range<Int>
  private let signature: Range<Int>
  /// Where the first of the signed fields begins.
  private let fieldsStart: Int
  private let fields = Buffer(capacity: 4_096)
  /// Of each request its number and its signature, one behind the other.
  private var ring: [UInt8] = []

  init(_ signer: Signer) throws {
    self.signer = signer
    let signed = try Samples.signed(by: signer)
    bytes.append(signed.span)
    head = try Samples.parsed(signed)
    guard let nonceEnd = signed.firstRange(of: Array("\";keyid=\"".utf8))?.lowerBound,
      let fieldsStart = signed.firstRange(of: Array("client-attest: ".utf8))?.lowerBound
    else { throw NotASample() }
    number = nonceEnd - 10..<nonceEnd
    signature = head.signature.range
    self.fieldsStart = fieldsStart
  }

  /// Signs so many new ones.
  func sign(_ count: Int) {
    ring.removeAll(keepingCapacity: true)
    for _ in 0..<count {
      fields.removeAll()
      let done = bytes.withReadable {
        signer.writeFields(
          Samples.client, head: $0, method: head.methodRange, authority: head.authority, path: head.path,
          query: head.query, nowMilliseconds: Samples.nowMilliseconds, into: fields)
      }
      precondition(done && fieldsStart + fields.count == head.length - 2, "all of them have the same length")
      fields.withReadable { span in
        for at in number { ring.append(span[at - fieldsStart]) }
        for at in signature { ring.append(span[at - fieldsStart]) }
      }
    }
  }

  /// Makes the nth of them the one that is verified.
  func bring(_ index: Int) {
    let ring = ring
    let start = index * (number.count + signature.count)
    let one = ring.span.extracting(start..<start + number.count + signature.count)
    bytes.overwrite(at: number.lowerBound, with: one.extracting(first: number.count))
    bytes.overwrite(at: signature.lowerBound, with: one.extracting(number.count..<one.count))
  }

  func verify(with verifier: Verifier) -> VerifyOutcome {
    bytes.withReadable {
      verifier.verify(
        head: $0, method: head.methodRange, authority: head.authority, path: head.path, query: head.query,
        attest: head.attest, signatureInput: head.signatureInput, signature: head.signature,
        at: Samples.steady(Samples.nowMilliseconds), bound: nil)
    }
  }
}
