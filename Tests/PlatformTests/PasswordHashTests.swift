import Platform
import Testing

@Suite struct PasswordHashTests {
  /// Published test vectors: of bcrypt (crypt_blowfish's wrapper.c) and of SHA-crypt (U. Drepper's specification).
  static let vectors: [(hash: String, password: [UInt8])] = [
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", Array("U*U".utf8)),
    ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", [0xff, 0xff, 0xa3]),
    (
      "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
      Array("Hello world!".utf8)
    ),
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", Array("Hello world!".utf8)),
  ]

  @Test(arguments: vectors.indices)
  func theRightPasswordIsRightAndNoOther(index: Int) {
    let (hash, password) = Self.vectors[index]
    #expect(PasswordHash.isRight(SecretBytes(password.span), hash))
    for other in [[], password + [0x20], Array(password.dropLast()), Array("hello world!".utf8)] {
      #expect(!PasswordHash.isRight(SecretBytes(other.span), hash))
    }
  }

  /// libcrypt ends a text at its first zero byte.
  @Test func aZeroByteIsNoEnd() {
    for (hash, password) in Self.vectors {
      #expect(!PasswordHash.isRight(SecretBytes((password + [0]).span), hash))
      #expect(!PasswordHash.isRight(SecretBytes((password + [0, 0x41]).span), hash))
    }
  }

  @Test func whatLibcryptDoesNotKnowIsWrong() {
    let password = SecretBytes(Array("x".utf8).span)
    for hash in ["", "*0", "*", "x", "$6$", "$2y$99$abc", "$nonsense$abc$def"] {
      #expect(!PasswordHash.isRight(password, hash), "\(hash)")
    }
  }

  @Test func longPasswordsAreNobodys() {
    let hash = Self.vectors[2].hash
    #expect(
      !PasswordHash.isRight(SecretBytes([UInt8](repeating: 0x61, count: PasswordHash.passwordBytesMax).span), hash))
    #expect(!PasswordHash.isRight(SecretBytes([UInt8](repeating: 0x61, count: 100_000).span), hash))
  }
}
