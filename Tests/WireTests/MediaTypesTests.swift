import Testing
import Wire

@Suite struct MediaTypesTests {
  private func types(_ texts: String...) throws -> MediaTypes {
    MediaTypes(try texts.map { try #require(MediaTypePattern($0), "\($0)") })
  }

  private func holds(_ types: MediaTypes, _ value: String) -> Bool { types.holds(Array(value.utf8).span) }

  @Test(arguments: ["text/html", "Text/*", "application/*+json", "image/svg+xml", "a/b"])
  func whatIsOneIsRead(text: String) throws { #expect(try #require(MediaTypePattern(text)).text == text.lowercased()) }

  @Test(arguments: [
    "", "text", "text/", "/html", "*/*", "*", "*/html", "text/h*", "text/*html", "text/*+", "text/**", "te xt/a",
    "text/html; charset=utf-8",
    "text//html", "text/a/b", "text/ä", "text/*+json*",
    String(repeating: "a", count: 70) + "/" + String(repeating: "b", count: 70),
  ])
  func whatIsNoneIsRefused(text: String) { #expect(MediaTypePattern(text) == nil) }

  @Test func parametersAndCaseDoNotMatter() throws {
    let types = try types("text/html", "application/*+json", "font/*")
    for value in [
      "text/html", "TEXT/HTML", "text/html;charset=utf-8", "text/html ; charset=\"a,b\"", "text/html\t;x",
      "application/problem+json",
      "application/a+b+JSON;v=1", "font/woff",
    ] { #expect(holds(types, value), "\(value)") }
    for value in [
      "", "text", "text/", "text/htm", "text/htmlx", "text/html,text/plain", "text/html/x", "application/json",
      "application/+json",
      "application/x+jsonx", "application/json+x", "font/", "fonts/x", "/", " text/html", "\"text/html\"",
    ] { #expect(!holds(types, value), "\(value)") }
  }

  @Test func aStreamOfEventsIsMeantOnlyByItsName() throws {
    let (all, one) = (try types("text/*"), try types("text/plain", "text/event-stream"))
    #expect(!holds(all, "text/event-stream") && !holds(all, "Text/Event-Stream; charset=utf-8"))
    #expect(holds(all, "text/event-streams") && holds(one, "text/event-stream;x"))
    #expect(holds(try types("text/*", "text/event-stream"), "text/event-stream"))
  }
}
