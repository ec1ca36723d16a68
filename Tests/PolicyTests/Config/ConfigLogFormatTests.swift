// The formats of the access log as they are written: templates, what they may not be, and what belongs to which format.

import Policy
import Testing

@Suite struct ConfigLogFormatTests {
  private func log(_ text: String) -> String { minimal("log: { \(text) }\n") }

  private func template(_ text: String) throws -> LogTemplate { try LogTemplate.parse(text).get() }
  private func fault(_ text: String) -> String? {
    if case .failure(let fault) = LogTemplate.parse(text) { fault.message } else { nil }
  }

  @Test func aTemplateIsTextAndVariables() throws {
    let read = try template("$time ${status}x $$1 \"$path\" $host")
    #expect(
      read.pieces == [
        .variable(.time, isQuoted: false), .literal(Array(" ".utf8)), .variable(.status, isQuoted: false),
        .literal(Array("x $1 \"".utf8)), .variable(.path, isQuoted: true), .literal(Array("\" ".utf8)),
        .variable(.host, isQuoted: false),
      ])
    #expect(read.text == "$time ${status}x $$1 \"$path\" $host")
  }

  @Test func whatStandsBetweenColumnsIsEscapedThere() throws {
    let read = try template("$client|$path;\"a,b $host\"")
    for byte in "| ;$".utf8 where byte != UInt8(ascii: "$") { #expect(read.separators.contains(byte)) }
    // Within quotes a comma separates nothing.
    for byte in ",ab/?.$".utf8 { #expect(!read.separators.contains(byte)) }
  }

  @Test(arguments: LogVariable.allCases)
  func everyMemberIsAVariable(variable: LogVariable) throws {
    #expect(try template("$\(variable.rawValue)").pieces == [.variable(variable, isQuoted: false)])
  }

  @Test(arguments: [
    ("", "expected 1 to 2048 bytes"), ("no variable", "expected a variable, such as `$client`"),
    ("$clint", "there is no variable `$clint`: did you mean `$client`?"),
    ("costs 5$", "there is no variable `$`; a dollar sign alone is `$$`"),
    ("${client", "`${client` lacks its `}`"), ("\"$client", "a double quote is not closed"),
    ("$client\n$path", "expected printable ASCII and tabs: a line stays one line"),
    ("$client ä", "expected printable ASCII and tabs: a line stays one line"),
    (
      "$path $path $path $request $path",
      "a line could get longer than 32 KiB: name what clients send less often (`$path`, `$request`, `$referer`, `$user_agent`)"
    ),
  ])
  func whatIsNoTemplate(text: String, message: String) {
    #expect(fault(text) == message)
  }

  @Test func theLongestTemplateIsBounded() {
    #expect(fault(String(repeating: "a", count: LogTemplate.bytesMax - 5) + "$time") == nil)
    #expect(fault(String(repeating: "a", count: LogTemplate.bytesMax - 4) + "$time") == "expected 1 to 2048 bytes")
  }

  @Test func formatsAreRead() throws {
    #expect(try config(log("format: json")).log.format == .json)
    #expect(try config(log("format: combined")).log.format == .combined)
    let read = try config(log("format: template, template: '$time $client', query: names, tunnels: both")).log
    #expect(read.format == .template(try template("$time $client")))
    #expect(read.query == .names && read.tellsTunnelBegin)
    #expect(try config(log("extra: [referer, user_agent]")).log.extra == [.referer, .userAgent])
  }

  @Test func syslogIsASocket() throws {
    #expect(try config(log("access: syslog")).log.access == .syslog("/dev/log"))
    #expect(try config(log("access: \"syslog:/run/log.sock\"")).log.access == .syslog("/run/log.sock"))
    #expect(try config(log("access: \"syslog:log.sock\"")).log.access == .syslog("/etc/countersign/log.sock"))
    for path in ["syslog:", "syslog:/" + String(repeating: "a", count: 107)] {
      let found = findings(log("access: \"\(path)\""))
      // A long text is shown in part.
      let expected =
        "4:16: expected the path of a unix socket, of at most 107 bytes, behind `syslog:` for `log.access`, found `"
        + path.prefix(20)
      #expect(found.count == 1 && found[0].hasPrefix(expected), "\(found)")
    }
  }

  @Test(arguments: [
    ("format: template", "4:16: `format: template` needs a `template`, such as `$time $client $status`"),
    ("template: '$time'", "4:18: `template` is only used with `format: template`"),
    ("format: template, template: '$tim'", "4:36: `log.template`: there is no variable `$tim`: did you mean `$time`?"),
    (
      "format: combined, extra: [sni]",
      "4:33: `extra` is only used with `format: json`; a template names what it has"
    ),
    (
      "format: combined, fields: [{ name: a, header: X-A }], fields_key: k.json",
      "4:34: `fields` is only used with `format: json`"
    ),
    (
      "format: combined, tunnels: both",
      "4:35: `tunnels: both` is not for `format: combined`, in which both lines would look alike"
    ),
    ("extra: [sni, sni]", "4:21: `sni` is given twice"),
    (
      "extra: [status]",
      "4:16: expected one of `protocol`, `user`, `user_agent`, `referer`, `sni`, `alpn`, `request_id`, `retries`, `queue_ms`, "
        + "`connect_ms`, `response_ms` for `log.extra[0]`, found `status`"
    ),
  ])
  func whatDoesNotFitTheFormatIsRefused(text: String, message: String) {
    #expect(findings(log(text)) == [message])
  }

  @Test(arguments: [
    "format: combined, query: none", "format: template, template: '\"$path\"\t$$ $client'",
    "extra: [sni, alpn], tunnels: both",
    "access: \"syslog:/run/log.sock\"",
  ])
  func whatIsWrittenOutReadsBack(text: String) throws {
    let one = try config(log(text))
    #expect(try config(one.resolved()).withoutPlaces == one.withoutPlaces)
  }
}
