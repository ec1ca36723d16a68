// What the fields of a section say about other fields: Connection nominates some for this hop (RFC 9110 section 7.6.1), Trailer
// announces some (section 6.6.2).
// Callers: RequestHead, ResponseHead.

extension FieldTable {
  /// What the Connection lines say (RFC 9110 section 7.6.1).
  struct ConnectionOptions {
    var close = false
    var keepAlive = false
    var upgrade = false
    /// A protected identity name was nominated.
    var nominatesProtected = false
  }

  private static let closeOption = PackedName("close")

  /// The fields that Connection lists: by kind where a kind has one name, else by name. There are few in honest
  /// messages; the bound keeps the comparison with every field cheap in others.
  private struct Nominations {
    static let namesMax = 16

    var kinds: UInt64 = 0
    var names = InlineArray<16, ByteRange>(repeating: .empty)
    var count = 0
  }

  /// Reads every Connection line and marks the nominated fields. Refused: what is not a list of tokens, a field that
  /// the message cannot do without, and more than 16 names that are not the hop's own.
  func readConnection(_ bytes: Span<UInt8>, into options: inout ConnectionOptions) -> Refusal? {
    guard has(.connection) else { return nil }
    var nominations = Nominations()
    let last = repeated & FieldKind.connection.bit == 0 ? firstIndex(.connection) : count &- 1
    for index in firstIndex(.connection)...last where line(index).kind == .connection {
      if let refusal = readOptions(bytes, line(index).value, into: &options, &nominations) { return refusal }
    }
    markNominated(bytes, nominations)
    return nil
  }

  private func readOptions(
    _ bytes: Span<UInt8>, _ value: ByteRange, into options: inout ConnectionOptions, _ nominations: inout Nominations
  ) -> Refusal? {
    var cursor = TokenCursor(value)
    while true {
      let token: ByteRange
      switch cursor.next(bytes) {
      case .end: return nil
      case .malformed: return .valueInvalid
      case .token(let range): token = range
      }
      let kind = names.kind(bytes, token)
      switch kind {
      case .host, .contentLength, .transferEncoding: return .hopNominated
      case .keepAlive: options.keepAlive = true
      case .upgrade: options.upgrade = true
      case .other where bytes.holds(Self.closeOption, at: token):
        options.close = true
        continue
      default: if kind.isIdentity { options.nominatesProtected = true }
      }
      switch kind {
      case .other, .foreign, .claim, .alias:
        guard nominations.count < Nominations.namesMax else { return .tooManyFields }
        nominations.names[nominations.count] = token
        nominations.count &+= 1
      default: nominations.kinds |= kind.bit
      }
    }
  }

  private func markNominated(_ bytes: Span<UInt8>, _ nominations: Nominations) {
    guard nominations.kinds & seen != 0 || nominations.count > 0 else { return }
    var lines: [FieldLine] = []
    swap(&lines, &self.lines)
    for index in 0..<count {
      var isNominated = lines[index].kind.bit & nominations.kinds != 0
      var at = 0
      while at < nominations.count, !isNominated {
        isNominated = bytes.equalsIgnoringCase(lines[index].name, nominations.names[at])
        at &+= 1
      }
      lines[index].isNominated = isNominated
    }
    swap(&lines, &self.lines)
  }

  /// Whether a Trailer line announces a protected name; nil when one is not a list of tokens.
  func trailerNamesIdentity(_ bytes: Span<UInt8>) -> Bool? {
    guard has(.trailer) else { return false }
    var found = false
    for index in firstIndex(.trailer)..<count where line(index).kind == .trailer {
      var cursor = TokenCursor(line(index).value)
      reading: while true {
        switch cursor.next(bytes) {
        case .end: break reading
        case .malformed: return nil
        case .token(let token): if names.kind(bytes, token).isIdentity { found = true }
        }
      }
    }
    return found
  }
}
