import Testing
import Wire

@Suite struct CodingPreferenceTests {
  private func takesGzip(_ lines: String...) -> Bool {
    var preference = CodingPreference()
    for line in lines { preference.note(Array(line.utf8).span) }
    return preference.takesGzip
  }

  @Test(arguments: [
    "gzip", "GZIP", "x-gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", "gzip;q=0.001", "gzip ; q=1",
    "gzip;Q=1.000",
    "gzip;\tq=0.5 ,identity;q=0.5", "*", "*;q=0.1", "br, *", "identity;q=0, gzip", "identity;q=0.3,*", ", gzip,, ",
    "gzip;q=1.", "deflate, gzip;q=1.0, *;q=0.5",
  ])
  func gzipIsTaken(line: String) { #expect(takesGzip(line)) }

  @Test(arguments: [
    "", " ", ",", "identity", "br", "deflate, br", "gzip;q=0", "gzip;q=0.000", "gzip;q=0.", "gzip;q=0, *", "*;q=0",
    "*;q=0, br",
    "gzipped", "gzi",
    // What is as it is is wanted more.
    "gzip;q=0.5, identity", "gzip;q=0.5, identity;q=0.6", "identity, *;q=0.5", "gzip;q=0.5, *",
    // One of two weights is 0.
    "gzip, gzip;q=0", "gzip, x-gzip;q=0",
  ])
  func gzipIsNotTaken(line: String) { #expect(!takesGzip(line)) }

  /// Whatever else the field says.
  @Test(arguments: [
    "gzip;q=2", "gzip;q=1.001", "gzip;q=1.5", "gzip;q=0.1234", "gzip;q=-1", "gzip;q=.5", "gzip;q=", "gzip;q", "gzip;",
    "gzip;level=9",
    "gzip;q=0.5;x=1", "gzip;q =1", "gzip;q= 1", "gzip br", "gzip/1", "\"gzip\"", "gzip, (br)", "gzip;q=1,br;q=x",
    "gzip;q=01",
  ])
  func whatIsMalformedAllowsNothing(line: String) { #expect(!takesGzip(line)) }

  @Test func linesAreOneList() {
    #expect(takesGzip("br", "gzip"))
    #expect(!takesGzip("gzip", "identity;q=1, gzip;q=0.1"))
    #expect(!takesGzip("gzip", ";"))
    #expect(!CodingPreference().takesGzip)
  }

  /// Every prefix of a long field, and no byte behind it is looked at.
  @Test func anyPrefixCanBeRead() {
    let bytes = Array("br;q=1.0, gzip;q=0.8, *;q=0.123".utf8)
    for count in 0...bytes.count {
      var preference = CodingPreference()
      preference.note(bytes.span.extracting(first: count))
      _ = preference.takesGzip
    }
  }
}
