// What passes behind a chunked body: what is nobody's claim and frames nothing.

import Platform
import Proxy
import Testing
import Wire

@Suite struct TrailerWriterTests {
  private func written(_ lines: [String]) throws -> String {
    let bytes = Array((lines.map { $0 + "\r\n" }.joined() + "\r\n").utf8)
    let trailers = TrailerSection(fieldsMax: 20)
    let outcome = trailers.parse(bytes.span, limits: HeadDocument.limits)
    guard case .complete(bytes.count) = outcome else {
      Issue.record("\(outcome): \(lines)")
      return ""
    }
    let out = Buffer(capacity: 4_096)
    TrailerWriter.write(bytes.span, trailers, into: out)
    return HeadDocument.text(out.copyBytes())
  }

  @Test func theLastChunkAndItsTrailers() throws {
    #expect(try written([]) == "0\n\n")
    #expect(
      try written(["X-Sum:  1 ", "Date: d", "Server:s", "x-empty:"])
        == "0\nX-Sum: 1\nDate: d\nServer: s\nx-empty: \n\n")
  }

  @Test(arguments: RequestWriterTests.claims)
  func noClaimPassesInAnySpelling(_ name: String) throws {
    for spelling in RequestWriterTests.spellings(name) {
      #expect(try written(["A: 1", "\(spelling): 192.0.2.66", "B: 2"]) == "0\nA: 1\nB: 2\n\n", "\(spelling)")
    }
  }

  @Test(arguments: [
    "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Via", "Content_Length",
  ])
  func whatIsForAHopOrFramesStaysHere(_ name: String) throws {
    #expect(try written(["\(name): 1", "A: 1"]) == "0\nA: 1\n\n")
  }

  @Test(arguments: ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "TE", "Upgrade", "Expect"])
  func whatOnlyAHeadMaySayIsRefused(_ name: String) {
    let bytes = Array("\(name): 1\r\n\r\n".utf8)
    #expect(
      TrailerSection(fieldsMax: 20).parse(bytes.span, limits: HeadDocument.limits) == .refused(.framingChunk))
  }
}
