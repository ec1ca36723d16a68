// Trailers as they go out: what speaks of identity, framing or the hop does not pass, nor what the route takes away or writes itself, nor
// what was withheld.
// Callers: the worker, for both directions, with the parsed section and its bytes.

import Platform
import Wire

/// The last chunk and the trailers that may pass.
package enum TrailerWriter {
  package static func write(
    _ bytes: Span<UInt8>, _ trailers: TrailerSection, without edit: HeadEdit? = nil, into out: Buffer
  ) {
    out.append("0\r\n")
    writeFields(bytes, trailers, without: edit, into: out)
    out.append("\r\n")
  }

  /// The lines of those that may pass.
  static func writeFields(
    _ bytes: Span<UInt8>, _ trailers: TrailerSection, without edit: HeadEdit?, into out: Buffer
  ) {
    for i in 0..<trailers.fieldCount {
      let kind = trailers.kind(i)
      guard kind == .other || kind == .date || kind == .server else { continue }
      if trailers.field(i).isNominated || edit?.drops(bytes, trailers.name(i)) ?? false { continue }
      HeadWriter.writeLine(bytes, name: trailers.name(i), value: trailers.value(i), into: out)
    }
  }
}
