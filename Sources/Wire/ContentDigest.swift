// Fields that hold a digest of the content, or of the representation in the coding that it is sent in (RFC 9530, and those before it).
// Callers: Policy's configuration, and Proxy's rule of compression.

public enum ContentDigest {
  public static func isName(_ name: Span<UInt8>) -> Bool {
    switch name.count {
    case 6: name.equalsIgnoringCase(lowercase: "digest".utf8.span)
    case 11:
      name.equalsIgnoringCase(lowercase: "content-md5".utf8.span)
        || name.equalsIgnoringCase(lowercase: "repr-digest".utf8.span)
    case 14: name.equalsIgnoringCase(lowercase: "content-digest".utf8.span)
    default: false
    }
  }

  /// Of content that went out in another coding, trailers tell what it was before.
  public static func withhold(_ bytes: Span<UInt8>, _ trailers: TrailerSection) {
    for i in 0..<trailers.fieldCount where isName(bytes.extracting(trailers.name(i).range)) { trailers.withhold(i) }
  }
}
