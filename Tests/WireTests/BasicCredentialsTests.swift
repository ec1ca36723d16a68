import Testing
import Wire

@Suite struct BasicCredentialsTests {
  private func read(_ value: String) -> [String]? {
    var bytes = [UInt8](repeating: 0, count: BasicCredentials.bytesMax)
    var room = bytes.mutableSpan
    guard let found = BasicCredentials(parsing: Array(value.utf8).span, into: &room) else { return nil }
    return [found.name, found.password].map { String(decoding: bytes[$0.range], as: UTF8.self) }
  }

  private func basic(_ text: String) -> String { "Basic \(base64(Array(text.utf8)))" }

  private func base64(_ bytes: [UInt8]) -> String { Base64.text(bytes, .standard) }

  @Test(arguments: [
    ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
    ("basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
    ("BASIC dGVzdDoxMjPCow==", "test", "123£"),
  ])
  func nameAndPasswordAreRead(value: String, name: String, password: String) {
    #expect(read(value) == [name, password])
  }

  @Test func aPasswordMayHoldColonsAndNothing() {
    #expect(read(basic("a:b:c")) == ["a", "b:c"])
    #expect(read(basic("a:")) == ["a", ""])
  }

  @Test(arguments: [
    "", "Basic", "Basic ", "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic !!!!",
    // Not padded, and padded with bits set past the last byte.
    "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== x",
    "Basic\tQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
  ])
  func whatIsNoneIsRefused(value: String) {
    #expect(read(value) == nil)
  }

  @Test func aNameIsNeverEmptyAndThereIsAColon() {
    #expect(read(basic(":secret")) == nil)
    #expect(read(basic("nocolon")) == nil)
  }

  @Test func longerOnesAreNobodys() {
    let most = BasicCredentials.bytesMax
    #expect(read(basic("a:" + String(repeating: "b", count: most - 2)))?[1].count == most - 2)
    #expect(read(basic("a:" + String(repeating: "b", count: most - 1))) == nil)
    #expect(read(basic("a:" + String(repeating: "b", count: 100_000))) == nil)
  }
}

@Suite struct MediaPreferenceTests {
  @Test(
    arguments: [
      ([], false), ([""], false), (["*/*"], false), (["text/html"], false), (["application/json"], true),
      (["application/problem+json"], true), (["Application/JSON ; q=0.5"], true),
      (["text/html, application/json"], false),
      (["text/html;q=0.8, application/json;q=0.9"], true), (["application/json;q=0.9", "text/html;q=0.8"], true),
      (["text/html;q=0.9,application/json;q=0.8"], false), (["application/json;q=0"], false),
      (["application/json, */*;q=0.5"], true), (["application/*;q=0.9, text/*;q=0.1"], true),
      // The most specific range counts, wherever it stands.
      (["application/json;q=0.1, application/*, text/html;q=0.5"], false),
      (["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"], false),
      (["image/png"], false), (["application/json;q=x, text/html;q=0.1"], false), (["+json"], false), ([",,;,"], false),
      (["application/json;level=1;Q=0.2, text/html;q=0.1"], true), (["application/json;q=1.9999"], true),
    ] as [([String], Bool)])
  func jsonOnlyWhereItIsWantedMore(lines: [String], expected: Bool) {
    var preference = MediaPreference()
    for line in lines { preference.note(Array(line.utf8).span) }
    #expect(preference.prefersJSON == expected)
  }
}
