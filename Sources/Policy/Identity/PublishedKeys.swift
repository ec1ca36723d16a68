// Keys that everybody knows: those printed in RFCs and in this project's own test vectors. A key file that holds one
// was copied from an example, and whoever reads the same page can sign as us.

import Wire

enum PublishedKeys {
  /// Where `secret` was published, or nil.
  static func source(ofSecret secret: Span<UInt8>) -> String? { source(of: secret, in: secrets) }
  /// Where the private half of the Ed25519 key `point` was published, or nil.
  static func source(ofPoint point: Span<UInt8>) -> String? { source(of: point, in: points) }

  private static func source(of key: Span<UInt8>, in list: [(key: String, source: String)]) -> String? {
    for entry in list {
      guard let published = Base64.bytes(entry.key, .url), published.count == key.count else { continue }
      if key.indices.allSatisfy({ published[$0] == key[$0] }) { return entry.source }
    }
    return nil
  }

  private static let secrets: [(key: String, source: String)] = [
    (
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
      "RFC 7515 A.1 and RFC 7517 A.3"
    ),
    ("GawgguFyGrWKav7AX4VKUg", "RFC 7517 A.3"),
    ("hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg", "RFC 7520 section 3.5"),
    ("AAPapAv4LbFbiVawEjagUBluYqN5rhna-8nuldDvOx8", "RFC 7520 section 3.6"),
    (
      "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ",
      "RFC 9421 B.1.5"
    ),
    ("RCCCPP3m8cJrMPkOx90B5Ih1NKIPCw0Ew27YDnHg_Xc", ownVectors),
    ("wYfZoc_nT4L7K1jqHZsX1OtmL-ETGc04--uQWVWydio", ownVectors),
    ("Y2OAxPQR2Z0KAmAJjwFxNgj2eAdU-McI4av84C0Itpk", ownVectors),
    ("KAcL9Ao75BWNY67EDfJuIY_ckQYq8NlGA7xeQgbtF_4", ownVectors),
    ("_8zTWDtUSA-yDPoDUgRCNIiyGZ6_hPvJPf8yQHuguU4", ownVectors),
  ]

  private static let points: [(key: String, source: String)] = [
    ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "RFC 8032 section 7.1 and RFC 8037 A.1"),
    ("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw", "RFC 8032 section 7.1"),
    ("_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU", "RFC 8032 section 7.1"),
    ("J4EX_BRMcjQPZ9DyMW6Dhs7_vyskKMnFH-98WX8dQm4", "RFC 8032 section 7.1"),
    ("7Bcrk61eVjv0kyxw4SRQNMNUZ-8u_U1k6_gZaDRn4r8", "RFC 8032 section 7.1"),
    ("38lCXk-Wj38MKfAlnPX5rtaFHCu0rYv7hgz-4KskgpI", "RFC 8032 section 7.2"),
    ("Dx0SdJQ7kUFYiRUuiT2A6TJ1ofwLZf1xtLDdoQrX13I", "RFC 8032 section 7.2"),
    ("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs", "RFC 9421 B.1.4"),
    ("5IvhFM7UHlqkcXVODBmyEsnhiYFGyZ2njbA63Mgzx80", ownVectors),
  ]

  private static let ownVectors = "this project's test vectors"
}
