// One member of gzip (RFC 1952), read by zlib with its checks of length and sum, as it comes.

import CZlib

public final class Gunzip {
  public struct Fault: Error, CustomStringConvertible {
    public let description: String
  }

  /// The member is whole, and its sum is right.
  public private(set) var hasEnded = false
  private let stream: UnsafeMutablePointer<z_stream>
  private var room = [UInt8](repeating: 0, count: 64 * 1024)

  public init() {
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    precondition(cs_inflate_init(stream) == Z_OK)
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// All that can be read with these further bytes.
  public func feed(_ bytes: some Sequence<UInt8>) throws -> [UInt8] {
    var input = Array(bytes)
    var output: [UInt8] = []
    guard !input.isEmpty else { return [] }
    if hasEnded { throw Fault(description: "\(input.count) bytes behind the member") }
    let count = input.count
    return try input.withUnsafeMutableBufferPointer { source in
      stream.pointee.next_in = source.baseAddress
      stream.pointee.avail_in = UInt32(count)
      while true {
        let (code, left) = room.withUnsafeMutableBufferPointer { target in
          stream.pointee.next_out = target.baseAddress
          stream.pointee.avail_out = UInt32(target.count)
          let code = inflate(stream, Z_NO_FLUSH)
          return (code, Int(stream.pointee.avail_out))
        }
        output += room[..<(room.count - left)]
        switch code {
        case Z_STREAM_END:
          hasEnded = true
          let more = stream.pointee.avail_in
          guard more == 0 else { throw Fault(description: "\(more) bytes behind the member") }
          return output
        case Z_OK where left == 0: continue
        case Z_OK where stream.pointee.avail_in == 0, Z_BUF_ERROR: return output
        default: throw Fault(description: "no gzip: \(code)")
        }
      }
    }
  }

  /// What `bytes` hold. `isWhole`: they end where the member does; else there may be more of it to come.
  public static func text(_ bytes: [UInt8], isWhole: Bool = true) throws -> [UInt8] {
    let reader = Gunzip()
    let text = try reader.feed(bytes)
    if isWhole, !reader.hasEnded { throw Fault(description: "it ends early") }
    return text
  }
}
