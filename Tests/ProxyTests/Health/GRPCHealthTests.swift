// The messages of gRPC's health service, byte by byte, and what an answer means.

import Proxy
import Testing

@Suite struct GRPCHealthTests {
  @Test func aRequestNamesItsService() {
    #expect(GRPCHealth.request("") == [0, 0, 0, 0, 0])
    #expect(GRPCHealth.request("a.B") == [0, 0, 0, 0, 5, 0x0a, 3, 0x61, 0x2e, 0x42])
    // A length over 127 has two bytes.
    let long = GRPCHealth.request(String(repeating: "x", count: 200))
    #expect(Array(long.prefix(8)) == [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01] && long.count == 5 + 203)
  }

  private func framed(_ message: [UInt8]) -> [UInt8] { [0, 0, 0, 0, UInt8(message.count)] + message }

  @Test func aResponseSaysWhetherItServes() {
    #expect(GRPCHealth.serving(framed([])) == 0)
    #expect(GRPCHealth.serving(framed([8, 0])) == 0)
    #expect(GRPCHealth.serving(framed([8, 1])) == 1)
    #expect(GRPCHealth.serving(framed([8, 2])) == 2)
    #expect(GRPCHealth.serving(framed([8, 0x80, 0x01])) == 128)
    // The last one counts, and fields that are not known are passed over: numbers, bytes, 32 and 64 bits.
    #expect(GRPCHealth.serving(framed([8, 2, 8, 1])) == 1)
    #expect(GRPCHealth.serving(framed([0x10, 5, 0x1a, 2, 8, 2, 8, 1])) == 1)
    #expect(GRPCHealth.serving(framed([0x25, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1])) == 1)
  }

  @Test(
    arguments: [
      [], [0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 2, 8, 1], [0, 0, 0, 0, 1, 8, 1], [0, 0, 0, 0, 3, 8, 1],
      [0, 0xff, 0xff, 0xff, 0xff, 8, 1], [0, 0, 0, 0, 1, 8], [0, 0, 0, 0, 1, 0x80], [0, 0, 0, 0, 2, 0, 1],
      [0, 0, 0, 0, 2, 0x12, 9], [0, 0, 0, 0, 2, 0x0b, 1], [0, 0, 0, 0, 3, 0x25, 0, 0],
      // A number of eleven bytes, one over 64 bits, and a length that no memory has.
      [0, 0, 0, 0, 12, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      [0, 0, 0, 0, 11, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
      [0, 0, 0, 0, 11, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ] as [[UInt8]])
  func whatIsNoResponseIsNone(_ body: [UInt8]) { #expect(GRPCHealth.serving(body) == nil) }

  @Test func onlyServingPasses() {
    let ok = GRPCStatus(code: 0, message: "")
    #expect(GRPCHealth.judge(framed([8, 1]), ok) == .passed)
    let failures: [([UInt8], GRPCStatus?, String)] = [
      (framed([]), ok, "the service is UNKNOWN"),
      (framed([8, 2]), ok, "the service is NOT_SERVING"),
      (framed([8, 3]), ok, "the service is SERVICE_UNKNOWN"),
      (framed([8, 9]), ok, "the service has the status 9"),
      ([], ok, "the answer is no HealthCheckResponse"),
      (framed([8, 1]), nil, "status 200 without grpc-status: no server of gRPC is there"),
      (framed([8, 1]), GRPCStatus(code: 5, message: "unknown service"), "grpc-status NOT_FOUND (unknown service)"),
      ([], GRPCStatus(code: 12, message: ""), "grpc-status UNIMPLEMENTED"),
      ([], GRPCStatus(code: 99, message: "\u{7}odd\n"), "grpc-status 99 (odd)"),
    ]
    for (body, status, why) in failures { #expect(GRPCHealth.judge(body, status) == .failed(why)) }
  }

  @Test func aStatusIsReadFromAHeadOrFromTrailers() {
    func read(_ text: String) -> GRPCStatus? { GRPCStatus(Array(text.utf8).span) }
    #expect(read("grpc-status: 0\r\n\r\n") == GRPCStatus(code: 0, message: ""))
    #expect(
      read(
        "HTTP/1.1 200 \r\ncontent-type: application/grpc\r\ngrpc-status: 12\r\ngrpc-message: no%20such: thing\r\n\r\n")
        == GRPCStatus(code: 12, message: "no%20such: thing"))
    let long = String(repeating: "x", count: 500)
    #expect(read("grpc-message: \(long)\r\ngrpc-status: 2\r\n")?.message.count == 80)
    for text in ["", "HTTP/1.1 200 \r\n\r\n", "grpc-status: x\r\n", "grpc-status: -1\r\n", "grpc-status: 9999\r\n"] {
      #expect(read(text) == nil, "\(text)")
    }
    #expect(read("grpc-status: 0\r\ngrpc-status: 0\r\n") == nil, "twice")
  }
}
