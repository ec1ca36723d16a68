// What two processes say to each other in an upgrade: frames over a stream socket between them. A frame is
//
//     "CSGH" | version, 16 bits | kind, 8 bits | descriptors, 8 bits | bytes, 32 bits | so many bytes
//
// with the most significant byte first. The descriptors that a frame has come with it by the socket's own means (SCM_RIGHTS).
//
//     old process                              new process
//     descriptors …, secrets, state    ─►      reads its configuration, judges it, opens what is new
//                                      ◄─      prepared, or failed
//     go                               ─►      starts its workers
//                                      ◄─      accepting, or failed
//     done                             ─►      is the service from here on
//                                      ◄─      rules, whenever routes are closed or opened
//     draining, whenever that changes  ─►
//     counts, once it has drained      ─►
//
// `accepting` has the first rules (HandoverRules). Rules and `draining` are said only where both sides know them.
// Both ends are the same program in one version or in two, so nothing is guessed: another version, an unknown kind or a length
// beyond the bound is a fault, and the upgrade does not happen. docs/decisions/0025 says more.

public struct HandoverFrame: Equatable, Sendable {
  public enum Kind: UInt8, CaseIterable, Sendable {
    /// Up to `descriptorsMax` of them, which `state` goes by in their order.
    case descriptors = 1
    case secrets, state, prepared, go, accepting, done, failed, counts
    case rules, draining
  }

  public let kind: Kind
  public let descriptors: Int
  /// Bytes behind the head.
  public let count: Int

  /// Raised by each change that an older or newer program would misread.
  public static let version: UInt16 = 1
  public static let headBytes = 12
  /// Sockets that a frame may carry; the kernel takes 253.
  public static let descriptorsMax = 128
  /// A configuration's file has at most 4 MiB, and more with every default written out. One that has no room here cannot be upgraded, and is
  /// not sent (`HandoverSocket.send`).
  public static let bytesMax = 16 << 20

  public init(kind: Kind, descriptors: Int, count: Int) {
    precondition(
      (0...HandoverFrame.descriptorsMax).contains(descriptors) && (0...HandoverFrame.bytesMax).contains(count))
    self.kind = kind
    self.descriptors = descriptors
    self.count = count
  }

  public enum Outcome: Equatable, Sendable {
    case frame(HandoverFrame)
    /// There are fewer bytes than a head has.
    case incomplete
    case fault(HandoverFault)
  }

  /// Reads a head from the beginning of `bytes`.
  public static func parse(_ bytes: Span<UInt8>) -> Outcome {
    // What is wrong is said as soon as it is there.
    for (i, byte) in magic.enumerated() where i < bytes.count && bytes[i] != byte { return .fault(.notAHandover) }
    guard bytes.count >= headBytes else { return .incomplete }
    let its = UInt16(bytes[4]) << 8 | UInt16(bytes[5])
    guard its == version else { return .fault(.otherVersion(its)) }
    guard let kind = Kind(rawValue: bytes[6]) else { return .fault(.malformed("the kind of a frame")) }
    let descriptors = Int(bytes[7])
    let count = (8..<12).reduce(0) { $0 << 8 | Int(bytes[$1]) }
    guard descriptors <= descriptorsMax, descriptors == 0 || kind == .descriptors, count <= bytesMax else {
      return .fault(.malformed("the length of a frame"))
    }
    return .frame(HandoverFrame(kind: kind, descriptors: descriptors, count: count))
  }

  /// The head's bytes.
  public var head: [UInt8] {
    var bytes = HandoverFrame.magic
    bytes += [
      UInt8(HandoverFrame.version >> 8), UInt8(HandoverFrame.version & 0xff), kind.rawValue, UInt8(descriptors),
    ]
    for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: count >> shift)) }
    return bytes
  }

  private static let magic: [UInt8] = [0x43, 0x53, 0x47, 0x48]
}

/// Why what came is not taken.
public enum HandoverFault: Error, Equatable, Sendable, CustomStringConvertible {
  case notAHandover
  case otherVersion(UInt16)
  /// What it was about.
  case malformed(String)

  public var description: String {
    switch self {
    case .notAHandover: "what came is no handover"
    case .otherVersion(let its):
      "the other program hands over in version \(its), and this one in version \(HandoverFrame.version); restart instead"
    case .malformed(let what): "\(what) cannot be read"
    }
  }
}
