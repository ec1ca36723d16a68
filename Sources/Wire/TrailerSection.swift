// The fields after a body (RFC 9110 section 6.5), read by the same rules as a head's: those behind the last chunk (RFC 9112
// section 7.1.2), or the lines that a codec has made of fields (RFC 9113 section 8.1).
// A field that frames or routes a message is refused there (RFC 9110 section 6.5.1 forbids to send one): it can only be meant
// for a reader that merges trailers into the head. Callers: the exchange, when BodyDecoder offers trailers; a codec.

public final class TrailerSection {
  let table: FieldTable

  /// `isLenient`: lines may end in a bare LF, as a server's may.
  public init(fieldsMax: Int, names: FieldNames = .request, isLenient: Bool = false) {
    table = FieldTable(fieldsMax: fieldsMax, names: names, isLenient: isLenient)
  }

  /// `bytes` begin with the first field line (or the empty line, when there is none).
  public func parse(_ bytes: Span<UInt8>, limits: HeadLimits) -> HeadOutcome {
    let end = min(bytes.count, limits.headBytes)
    switch table.scan(bytes, from: 0, end: end, limits: limits) {
    case .incomplete: return bytes.count >= limits.headBytes ? .refused(.headTooLarge) : .incomplete
    case .refused(let refusal): return .refused(refusal)
    case .next(let length): return conclude(length: length)
    }
  }

  private func conclude(length: Int) -> HeadOutcome {
    let forbidden =
      FieldKind.host.bit | FieldKind.contentLength.bit | FieldKind.transferEncoding.bit | FieldKind.connection.bit
      | FieldKind.trailer.bit | FieldKind.te.bit | FieldKind.upgrade.bit | FieldKind.expect.bit
    return table.seen & forbidden != 0 ? .refused(.framingChunk) : .complete(length: length)
  }

  /// A protected name, in any spelling, is among the fields.
  public var hasIdentity: Bool { table.seen & FieldKind.identityBits != 0 }

  public var fieldCount: Int { table.count }
  /// All about one field at once: for loops over every field.
  public func field(_ index: Int) -> FieldLine { table.line(index) }
  /// Has a field go no further.
  public func withhold(_ index: Int) { table.withhold(index) }
  public func kind(_ index: Int) -> FieldKind { table.line(index).kind }
  public func name(_ index: Int) -> ByteRange { table.line(index).name }
  public func value(_ index: Int) -> ByteRange { table.line(index).value }
}
