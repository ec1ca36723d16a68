// What the steps are done with: heads as a browser, an edge and a backend send them, one client, keys made for the run, and
// a clock that stands still, so that nothing that was signed expires. All the same in every run but for the keys.

import Platform
import Policy
import Proxy
import Wire

struct NotASample: Error, CustomStringConvertible { let description = "what it is to be done with could not be made" }

enum Samples {
  /// The defaults of the configuration.
  static let limits = HeadLimits(headBytes: Config.Limits().headBytes, fields: Config.Limits().fields)
  /// Noon, a day in January 2026.
  static let nowMilliseconds: UInt64 = 1_767_268_800_000

  /// A wall clock that nobody sets.
  static func steady(_ milliseconds: UInt64) -> Clock.Reading {
    Clock.Reading(wallMilliseconds: milliseconds, monotonicMilliseconds: milliseconds)
  }
  static let edge = "edge-a"
  static let audience = "monitor-1"

  static let client = ClientIdentity(
    address: IPAddress(v4: 0xc633_6409), port: 51_324, secure: true, via: .socket,
    connection: ConnectionID(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f))
  /// An address of this machine's own, for the policies that ask.
  static let local = IPAddress(v4: 0xcb00_7150)

  // MARK: Heads

  static func head(_ lines: [String]) -> [UInt8] { Array((lines + ["", ""]).joined(separator: "\r\n").utf8) }

  /// As harness/load.py has it, with the two fields that a browser adds to what a load generator sends.
  private static let browserLines = [
    "GET /api/printers?state=printing HTTP/1.1",
    "Host: printers.example.com",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: application/json, text/plain;q=0.9, */*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,cs;q=0.3",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://printers.example.com/dashboard",
    "Cookie: session=f3b1c2d4e5a697887766554433221100; theme=dark; lang=en",
    "Connection: keep-alive",
    "DNT: 1",
  ]

  static let browser = head(browserLines)

  /// What a page's script and a proxy or two have added to it: 30 fields, some of them claims.
  static let many = head(
    browserLines + [
      "Origin: https://printers.example.com",
      "Sec-Fetch-Dest: empty",
      "Sec-Fetch-Mode: cors",
      "Sec-Fetch-Site: same-origin",
      "Sec-CH-UA: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"",
      "Sec-CH-UA-Mobile: ?0",
      "Sec-CH-UA-Platform: \"Linux\"",
      "Sec-GPC: 1",
      "Pragma: no-cache",
      "Cache-Control: no-cache",
      "Priority: u=1, i",
      "If-None-Match: \"5f3c-61a2b3c4d5e6f\"",
      "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
      "Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
      "X-Requested-With: XMLHttpRequest",
      "X-CSRF-Token: 8c1f7a52e0b94d6f8c1f7a52e0b94d6f",
      "X-Request-ID: 6f0b6d1e-4b0e-4a57-9f5d-0d7c2f1f8a11",
      "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
      "X-Real-IP: 192.0.2.1",
      "Via: 1.1 office-proxy",
    ])

  /// The bench's backend's.
  static let response = head([
    "HTTP/1.1 200 OK",
    "Server: nginx/1.22.1",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT",
    "Content-Type: application/json",
    "Content-Length: 88",
    "Connection: keep-alive",
    "Cache-Control: no-store",
    "X-Served-By: backend",
  ])

  static func parsed(_ bytes: [UInt8]) throws -> RequestHead {
    let head = RequestHead(fieldsMax: limits.fields)
    guard case .complete(bytes.count) = head.parse(bytes.span, limits: limits) else { throw NotASample() }
    return head
  }

  static func parsedResponse() throws -> ResponseHead {
    let head = ResponseHead(fieldsMax: 256)
    guard case .complete(response.count) = head.parse(response.span, limits: limits, requestWasHead: false) else {
      throw NotASample()
    }
    return head
  }

  /// A request's head as it goes on, with nothing changed and nothing of its identity.
  static func write(_ bytes: [UInt8], _ head: RequestHead, into out: Buffer) {
    HeadWriter.writeRequest(
      bytes.span, head: head, line: bytes.span, RequestTarget(head), framing: head.framing, webSocket: false,
      expectsContinue: false, edit: nil, FieldValues(), into: out)
  }

  /// The browser's request as a validator receives it.
  static func signed(by signer: Signer) throws -> [UInt8] {
    let head = try parsed(browser)
    let out = Buffer(capacity: 4_096)
    write(browser, head, into: out)
    let done = signer.writeFields(
      client, head: browser.span, method: head.methodRange, authority: head.authority, path: head.path,
      query: head.query, nowMilliseconds: nowMilliseconds, into: out)
    out.append("\r\n")
    guard done, !out.overflowed else { throw NotASample() }
    return out.copyBytes()
  }

  // MARK: Keys

  static func keys(_ algorithm: KeyAlgorithm) throws -> KeySet {
    try KeySet([KeySet.newKey(id: "k1", algorithm: algorithm)], source: "micro")
  }

  /// Its sequence numbers all have ten digits, as those of an edge that has run for some days, and so the same length.
  static func signer(_ keys: KeySet) throws -> Signer {
    let epoch = nowMilliseconds << 16
    return try Signer(
      keys: keys, keyID: "k1", audience: audience, edge: edge,
      lanes: SenderLanes(
        http: SenderLane(epoch: epoch | 1, last: 1_000_000_000), pp2: SenderLane(epoch: epoch | 2, last: 1_000_000_000)),
      headBytesMax: limits.headBytes)
  }

  /// With windows as large as the configuration's default.
  static func verifier(_ keys: KeySet) throws -> Verifier {
    try Verifier(
      keys: keys.exported(for: audience), audience: audience, edges: [edge], skewMilliseconds: 2_000,
      windows: ReplayWindows(start: steady(0)), headBytesMax: limits.headBytes)
  }
}
