// The head of one request as offsets into its text, and what that says about framing, connection and identity. HTTP/1 parses
// the text (`parse`, RFC 9112 sections 3 and 5); a codec that is given fields writes it, and says where the pseudo-fields lie
// (the other `parse`, RFC 9113 section 8.3). Strict: whatever two readers could take in two ways is refused.
// Invariant: after `.complete(length)` every range lies in the first `length` bytes, and the values hold until the next
// `parse`. Caller: the downstream connection; one object for each worker, reused.

public final class RequestHead {
  let table: FieldTable
  var line = RequestLine()
  var facts = RequestFacts()

  public init(fieldsMax: Int, names: FieldNames = .request) { table = FieldTable(fieldsMax: fieldsMax, names: names) }

  /// A parser of trailers that knows names as this head does.
  public func makeTrailers(fieldsMax: Int) -> TrailerSection {
    TrailerSection(fieldsMax: fieldsMax, names: table.names)
  }

  // MARK: The request line

  public var method: Method { line.method }
  public var methodRange: ByteRange { line.methodRange }
  /// The request target as received; of pseudo-fields, `:path`, or the `:authority` of CONNECT.
  public var target: ByteRange { line.target }
  /// Never empty after `.complete`: `*` for OPTIONS, and a `/` where an absolute form has no path.
  public var path: ByteRange { line.path }
  /// With its `?`; empty when there is none.
  public var query: ByteRange { line.query }
  /// The last digit of the version: 0 or 1; 1 of pseudo-fields, which name no version.
  public var minorVersion: Int { line.minorVersion }
  /// After `.refused(.targetForm)`: what is wrong with the target.
  public var targetFault: TargetFault { line.targetFault }

  // MARK: What the fields say

  /// The value of Host, or of `:authority` where there is no Host; where both are, or an absolute form, all name the same.
  public var authority: ByteRange { facts.authority }
  public var framing: BodyFraming { facts.framing }
  public var keepAlive: Bool { facts.keepAlive }
  public var expectsContinue: Bool { facts.expectsContinue }
  /// GET of HTTP/1.1 without content, `Connection: upgrade` and `Upgrade: websocket` alone (RFC 6455 section 4.1).
  public var wantsWebSocket: Bool { facts.wantsWebSocket }
  /// The head's length in bytes; 0 until it was read whole. Also set with a refusal that does not close the connection.
  public var length: Int { facts.length }

  // MARK: Fields

  public var fieldCount: Int { table.count }
  /// All about one field at once: for loops over every field.
  public func field(_ index: Int) -> FieldLine { table.line(index) }
  public func kind(_ index: Int) -> FieldKind { table.line(index).kind }
  public func name(_ index: Int) -> ByteRange { table.line(index).name }
  /// Without the whitespace around it.
  public func value(_ index: Int) -> ByteRange { table.line(index).value }
  /// Listed in Connection, so meant for this hop only.
  public func isNominated(_ index: Int) -> Bool { table.line(index).isNominated }
  /// Has a field treated as if Connection listed it: it was meant for us, and goes no further.
  public func withhold(_ index: Int) { table.withhold(index) }
  public func has(_ kind: FieldKind) -> Bool { table.has(kind) }

  // MARK: Identity

  /// The values of the three signed fields; empty when absent.
  public var attest: ByteRange { table.firstValue(.clientAttest) }
  public var signatureInput: ByteRange { table.firstValue(.signatureInput) }
  public var signature: ByteRange { table.firstValue(.signature) }

  /// What a validator refuses about names, by the first row of the specification's table that applies. The parser does
  /// not act on it: an edge removes those fields instead.
  public var identityRefusal: Refusal? {
    let seen = table.seen
    if seen & FieldKind.alias.bit != 0 { return .nameAlias }
    if facts.nominatesProtected { return .hopNominated }
    if line.isAbsoluteForm { return .absoluteForm }
    if facts.trailerNamesIdentity { return .trailerIdentity }
    if seen & FieldKind.signedBits != FieldKind.signedBits { return .identityMissing }
    if table.repeated & FieldKind.signedBits != 0 { return .identityDuplicate }
    if seen & FieldKind.foreignBits != 0 { return .identityForeign }
    return nil
  }
}

/// The request line's parts.
struct RequestLine {
  var method = Method.other
  var methodRange = ByteRange.empty
  var target = ByteRange.empty
  var path = ByteRange.empty
  var query = ByteRange.empty
  var minorVersion = 1
  var isAbsoluteForm = false
  /// CONNECT or TRACE.
  var isMethodRefused = false
  var isConnect = false
  /// The authority that is named beside Host: in an absolute form, or as `:authority`.
  var targetAuthority: ByteRange?
  var targetFault = TargetFault.none

  init() {}
}

/// Why a target is refused as `target-form`, for the log.
public enum TargetFault: UInt8, CaseIterable, Sendable {
  case none, control, space, notASCII, fragment, backslash, form, connect

  /// Of a target that a byte ended which may not stand in it.
  init(stop: UInt8) {
    self =
      switch stop {
      case 0x23: .fragment
      case 0x5c: .backslash
      case Ascii.space: .space
      case 0x80...: .notASCII
      default: .control
      }
  }

  public var text: StaticString {
    switch self {
    case .none: ""
    case .control: "a control byte in the target"
    case .space: "a space in the target"
    case .notASCII: "a byte in the target that is not ASCII and not percent-encoded"
    case .fragment: "a # in the target; fragments are not sent"
    case .backslash: "a backslash in the target's path"
    case .form: "the target is neither a path that begins with /, nor an http or https URL, nor the * of OPTIONS"
    case .connect: "CONNECT with a target that is not host:port"
    }
  }
}

/// What the fields of a request say together.
struct RequestFacts {
  var authority = ByteRange.empty
  var framing = BodyFraming.none
  var keepAlive = false
  var expectsContinue = false
  var wantsWebSocket = false
  var nominatesProtected = false
  var length = 0
  var trailerNamesIdentity = false

  init() {}
}
