// Digests of request fields in the access log, against a MAC that is made here from the value alone.

import Foundation
import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct FieldDigestTests {
  private let keys: LogFieldKeys
  private static let fields = [
    Config.Log.Field(name: "account", source: .header("X-Account")),
    Config.Log.Field(name: "session", source: .cookie("sid")),
  ]

  init() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("digest-\(UUID().uuidString)").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try KeySetStore.add(id: "log", algorithm: .hmac, to: "\(directory)/key")
    keys = try LogFieldKeys.load(path: "\(directory)/key", group: nil, fields: Self.fields, identity: nil)
  }

  private func members(_ head: String) throws -> String {
    let bytes = HeadDocument.bytes("GET / HTTP/1.1\nHost: a" + (head.isEmpty ? "" : "\n" + head))
    let parsed = RequestHead(fieldsMax: 200)
    let limits = HeadLimits(headBytes: 1 << 20, fields: 200)
    guard case .complete(bytes.count) = parsed.parse(bytes.span, limits: limits) else {
      Issue.record("not a head: \(head.prefix(100))")
      return ""
    }
    let digests = try #require(FieldDigests(Self.fields, keys))
    let out = Buffer(capacity: 1_000)
    digests.write(bytes.span, parsed, into: out)
    return String(decoding: out.copyBytes(), as: UTF8.self)
  }

  private func digest(_ value: String, of index: Int) throws -> String {
    let mac = try HMACContext(key: keys.secrets[index])
    var tag = [UInt8](repeating: 0, count: 32)
    var room = tag.mutableSpan
    let bytes = Array(value.utf8)
    #expect(mac.tag(of: bytes.span, into: &room))
    return tag.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private func account(_ value: String) throws -> String { ",\"account\":\"\(try digest(value, of: 0))\"" }
  private func session(_ value: String) throws -> String { ",\"session\":\"\(try digest(value, of: 1))\"" }

  @Test func valuesAreDigestedAsTheyCame() throws {
    #expect(try members("") == "")
    #expect(try members("x-aCCount:   4711 \t") == account("4711"))
    #expect(try members("X-Account: 4711\nCookie: a=b; sid=xyz") == account("4711") + session("xyz"))
    #expect(try members("X-Account:") == account(""))
    #expect(try members("X-Accounts: 1\nX-Accoun: 2\nX_Account: 3") == "")
    // Another name, another key.
    #expect(try digest("4711", of: 0) != digest("4711", of: 1))
  }

  /// What an attacker adds never looks like the other's value alone.
  @Test func aFieldThatIsThereTwiceIsOneList() throws {
    #expect(try members("X-Account: 1\nX-Other: 2\nX-Account: 3") == account("1, 3"))
  }

  @Test(arguments: [
    ("sid=1", "1"), ("sid=1;", "1"), ("a=sid=9;sid=1", "1"), (" sid=1 ; b=2", "1"), ("sid=\"q\"", "\"q\""),
    ("sid=1; sid=2", "1"), ("sid=", ""), (";;; sid=1", "1"), ("sid=a=b", "a=b"), ("a; sid=1", "1"),
  ])
  func theFirstCookieOfTheNameCounts(_ text: String, _ value: String) throws {
    #expect(try members("Cookie: \(text)") == session(value))
  }

  @Test(arguments: ["", "SID=1", "asid=1", "sid", "sid ; a", "sidx=1", "a=\"sid=1\"", "s"])
  func otherCookiesDoNot(_ text: String) throws {
    #expect(try members("Cookie: \(text)") == "")
  }

  @Test func cookiesMayStandInSeveralLines() throws {
    #expect(try members("Cookie: a=1\nX: y\nCookie: sid=2\nCookie: sid=3") == session("2"))
  }

  /// However long: nothing of it is cut off.
  @Test func aLongValueIsDigestedWhole() throws {
    let long = String(repeating: "v", count: 200_000)
    #expect(try members("X-Account: \(long)1") == account(long + "1"))
    #expect(try members("X-Account: \(long)1") != members("X-Account: \(long)2"))
  }
}
