// Request methods that the proxy itself tells apart. Methods are case-sensitive (RFC 9110 section 9.1).

/// A request method; whatever is not named here is `.other` and forwarded as it came.
public enum Method: UInt8, Sendable {
  case get, head, post, put, delete, options, patch, other

  /// Whether the request may be sent a second time when the first may have been acted on (RFC 9110 section 9.2.2).
  @inlinable public var isIdempotent: Bool {
    switch self {
    case .get, .head, .put, .delete, .options: true
    case .post, .patch, .other: false
    }
  }
}
