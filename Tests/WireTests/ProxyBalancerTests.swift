import Testing
import Wire

/// What load balancers send, and what is refused of them.
@Suite struct ProxyBalancerTests {
  private typealias B = ProxyBytes

  // MARK: Captured headers

  static let captured: [(sender: String, bytes: [UInt8], expected: String)] = [
    (
      "AWS NLB, VPC endpoint (elastic-load-balancing-tools)",
      ProxyBytes.hex(
        """
        0d0a0d0a000d0a515549540a 2111 0054 ac1f0771 ac1f0a1f c8f2 0050 030004 e8d6892d
        ea0017 01 767063652d3038643262663135666163353030316339 040024
        """) + [UInt8](repeating: 0, count: 36),
      "v2 172.31.7.113 51442 > 172.31.10.31 80 crc"
    ),
    (
      "AWS NLB, VPC endpoint (go-proxyproto)",
      ProxyBytes.hex(
        """
        0d0a0d0a000d0a515549540a 2111 0054 c0a82c0a c0a82c07 cc3e 241b 030004 b9286fa6
        ea0017 01 767063652d3030656166633435386563393762383333 040024
        """) + [UInt8](repeating: 0, count: 36),
      "v2 192.168.44.10 52286 > 192.168.44.7 9243 crc"
    ),
    (
      "HAProxy send-proxy-v2-ssl-cn (go-proxyproto)",
      ProxyBytes.hex(
        """
        0d0a0d0a000d0a515549540a 2111 0040 7f000001 7f000001 cc8a 232e
        200031 07 00000000 210007 544c5376312e33
        22001f 4578616d706c6520436f6d6d6f6e204e616d6520436c69656e742043657274
        """),
      "v2 127.0.0.1 52362 > 127.0.0.1 9006 ssl:client certificate"
    ),
    (
      "HAProxy send-proxy-v2-ssl, IPv4 in mapped form (go-proxyproto)",
      ProxyBytes.hex(
        """
        0d0a0d0a000d0a515549540a 2121 004f
        00000000000000000000ffff0a015b0e 00000000000000000000ffff0a01019f f47c 01bb
        200028 01 00000000 210007 544c5376312e33 230016 544c535f4145535f3235365f47434d5f534841333834
        """),
      "v2 10.1.91.14 62588 > 10.1.1.159 443 ssl:client"
    ),
    (
      "GCP Private Service Connect: 0xE0 with the 8-byte connection id",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0xe0, [255, 255, 255, 255, 0xc0, 0xa8, 0x64, 2])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443"
    ),
    (
      "Azure Private Link: 0xEE with subtype 1 and the LinkID",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0xee, [1, 0xc1, 0x45, 0, 0x21])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443"
    ),
    (
      "Teleport: 0xE4 with a JWT, IPv6",
      ProxyBytes.v2(0x21, 0x21, ProxyBytes.v6, ProxyBytes.tlv(0xe4, Array("eyJhbGciOi".utf8) + [1])),
      "v2 2001:db8::7 51325 > 2001:db8::1 443"
    ),
    (
      "HAProxy with proxy-v2-options ssl,cert-cn,crc32c,unique-id,authority and ALPN",
      ProxyBytes.sealed(
        ProxyBytes.v2(
          0x21, 0x11, ProxyBytes.v4,
          ProxyBytes.crcPlace + ProxyBytes.tlv(0x01, Array("h2".utf8))
            + ProxyBytes.tlv(0x02, Array("www.example.com".utf8))
            + ProxyBytes.tlv(0x05, Array("C0000207:C87C_C6336401:01BB_0001".utf8))
            + ProxyBytes.tlv(
              0x20,
              [7, 0, 0, 0, 0] + ProxyBytes.tlv(0x21, Array("TLSv1.3".utf8)) + ProxyBytes.tlv(0x22, Array("c".utf8))
                + ProxyBytes.tlv(0x25, Array("RSA2048".utf8)) + ProxyBytes.tlv(0x24, Array("SHA256".utf8))
                + ProxyBytes.tlv(0x23, Array("TLS_AES_128_GCM_SHA256".utf8)))
            + ProxyBytes.tlv(0x30, Array("blue".utf8)))),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 alpn authority ssl:client certificate id crc"
    ),
    ("plain v2", ProxyBytes.v2(), "v2 192.0.2.7 51324 > 198.51.100.1 443"),
    (
      "an SSL TLV of a client without TLS",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0x20, [0, 0, 0, 0, 1])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 ssl"
    ),
    (
      "several NOOPs",
      ProxyBytes.v2(
        0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(4, []) + ProxyBytes.tlv(4, [9]) + ProxyBytes.tlv(4, [0, 0])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443"
    ),
    (
      "our own attestation is a custom TLV like another here, and not looked into",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0xec, [1, 2, 3]) + ProxyBytes.tlv(0xe5, [])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 attestation"
    ),
  ]

  @Test(arguments: captured) func takesWhatBalancersSend(sender: String, bytes: [UInt8], expected: String) {
    #expect(B.outcomeAtEverySplit(bytes, .balancer) == expected, "\(sender)")
  }

  // MARK: Version 1

  @Test(arguments: [
    ("PROXY TCP4 192.0.2.7 198.51.100.1 51324 443\r\n", "v1 192.0.2.7 51324 > 198.51.100.1 443"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", "v1 1.1.1.1 0 > 2.2.2.2 0"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 65535 65535\r\n", "v1 1.1.1.1 65535 > 2.2.2.2 65535"),
    ("PROXY TCP6 2001:db8::7 2001:db8::1 51325 443\r\n", "v1 2001:db8::7 51325 > 2001:db8::1 443"),
    ("PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", "v1 2001:db8::7 1 > ::1 2"),
    ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n", "v1 192.0.2.7 1 > 198.51.100.1 2"),
    (
      "PROXY TCP6 2001:0db8:1111:2222:3333:4444:5555:6666 2001:0db8:1111:2222:3333:4444:5555:7777 65535 65535\r\n",
      "v1 2001:db8:1111:2222:3333:4444:5555:6666 65535 > 2001:db8:1111:2222:3333:4444:5555:7777 65535"
    ),

    // No header at all: known at the first byte that differs.
    ("GET / HTTP/1.1\r\n", "refused proxy-missing"),
    ("POST / HTTP/1.1\r\n", "refused proxy-missing"),
    ("PROPFIND / HTTP/1.1\r\n", "refused proxy-missing"),
    ("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-missing"),
    ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-missing"),
    (" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-missing"),
    ("\r\nPROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-missing"),
    ("\u{16}\u{3}\u{1}\u{2}\u{0}", "refused proxy-missing"),

    // Nobody is named, or not over TCP.
    ("PROXY UNKNOWN\r\n", "refused proxy-family"),
    ("PROXY UNKNOWN 192.0.2.7 198.51.100.1 51324 443\r\n", "refused proxy-family"),
    ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-family"),
    ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-family"),
    ("PROXY TCP 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-family"),

    // Not the one exact form.
    ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2  1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", "refused proxy-malformed"),
    ("PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 1 123456\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1111.1111.1111.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 1111111111111111 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP4 ::1 ::2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP6 2001:db8::7 1.1.1.1 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP6 [::1] ::2 1 2\r\n", "refused proxy-malformed"),
    ("PROXY TCP6 0000:0000:0000:0000:0000:ffff:192.168.100.100 ::2 1 2\r\n", "refused proxy-malformed"),

    // Not a client.
    ("PROXY TCP4 0.0.0.0 2.2.2.2 1 2\r\n", "refused proxy-address"),
    ("PROXY TCP4 255.255.255.255 2.2.2.2 1 2\r\n", "refused proxy-address"),
    ("PROXY TCP4 224.0.0.1 2.2.2.2 1 2\r\n", "refused proxy-address"),
    ("PROXY TCP6 :: ::2 1 2\r\n", "refused proxy-address"),
    ("PROXY TCP6 ff02::1 ::2 1 2\r\n", "refused proxy-address"),
    ("PROXY TCP6 ::ffff:0.0.0.0 ::2 1 2\r\n", "refused proxy-address"),

    ("", "incomplete"), ("P", "incomplete"), ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r", "incomplete"),
  ]) func readsVersion1(line: String, expected: String) {
    #expect(B.outcomeAtEverySplit(Array(line.utf8), .balancer) == expected, "\(line)")
  }

  @Test func aLineOverTheLimitIsRefusedBeforeItEnds() {
    let line = Array("PROXY TCP4 192.0.2.7 198.51.100.1 51324 443\r\n".utf8)
    #expect(B.outcomeAtEverySplit(line, .balancer, limit: 45).hasPrefix("v1"))
    #expect(B.outcomeAtEverySplit(line, .balancer, limit: 44) == "refused proxy-length")
    #expect(B.outcome(Array(line[..<30]), .balancer, limit: 30) == "refused proxy-length")
  }

  // MARK: Version 2, structure

  static let structure: [(what: String, bytes: [UInt8], expected: String)] = [
    ("a byte of the signature differs", ProxyBytes.hex("0d0a0d0a000d0a515549540b21110000"), "refused proxy-missing"),
    ("an empty line first", Array("\r\n\r\nGET / HTTP/1.1\r\n".utf8), "refused proxy-missing"),
    ("version 1 in binary", ProxyBytes.v2(0x11), "refused proxy-version"),
    ("version 3", ProxyBytes.v2(0x31), "refused proxy-version"),
    ("command 2", ProxyBytes.v2(0x22), "refused proxy-command"),
    ("command 15", ProxyBytes.v2(0x2f), "refused proxy-command"),
    ("LOCAL", ProxyBytes.v2(0x20), "refused proxy-local"),
    ("LOCAL, UNSPEC", ProxyBytes.v2(0x20, 0x00, []), "refused proxy-local"),
    ("UNSPEC", ProxyBytes.v2(0x21, 0x00, []), "refused proxy-family"),
    ("UDP over IPv4", ProxyBytes.v2(0x21, 0x12), "refused proxy-family"),
    ("UDP over IPv6", ProxyBytes.v2(0x21, 0x22, ProxyBytes.v6), "refused proxy-family"),
    ("unix stream", ProxyBytes.v2(0x21, 0x31, [UInt8](repeating: 0x61, count: 216)), "refused proxy-family"),
    ("unix datagram", ProxyBytes.v2(0x21, 0x32, [UInt8](repeating: 0x61, count: 216)), "refused proxy-family"),
    ("IPv4 with no transport", ProxyBytes.v2(0x21, 0x10), "refused proxy-family"),
    ("a family that does not exist", ProxyBytes.v2(0x21, 0x41), "refused proxy-family"),
    ("too short for its addresses", ProxyBytes.v2(0x21, 0x21, ProxyBytes.v4), "refused proxy-length"),
    ("no addresses", ProxyBytes.v2(0x21, 0x11, []), "refused proxy-length"),
    (
      "1025 bytes in all", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(4, .init(repeating: 0, count: 994))),
      "refused proxy-length"
    ),
    (
      "1024 bytes in all", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(4, .init(repeating: 0, count: 993))),
      "v2 192.0.2.7 51324 > 198.51.100.1 443"
    ),
    ("64 KiB announced", ProxyBytes.signature + [0x21, 0x11, 0xff, 0xff], "refused proxy-length"),
    ("one byte after the addresses", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, [4]), "refused proxy-length"),
    ("half a TLV's head", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, [4, 0]), "refused proxy-length"),
    ("a TLV past the end", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, [4, 0, 1]), "refused proxy-length"),
    (
      "a TLV far past the end", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, [0xe0, 0xff, 0xff, 1]), "refused proxy-length"
    ),
    (
      "two ALPNs", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(1, [0x61]) + ProxyBytes.tlv(1, [0x61])),
      "refused proxy-tlv"
    ),
    (
      "two of a custom type",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0xea, [1]) + ProxyBytes.tlv(0xea, [2])),
      "refused proxy-tlv"
    ),
    (
      "an SSL subtype at top level", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0x22, [0x61])),
      "refused proxy-tlv"
    ),
    (
      "SSL of four bytes", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0x20, [1, 0, 0, 0])),
      "refused proxy-tlv"
    ),
    (
      "SSL with half a subtype",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0x20, [1, 0, 0, 0, 0, 0x21, 0])), "refused proxy-tlv"
    ),
    (
      "SSL with a subtype past its end",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(0x20, [1, 0, 0, 0, 0, 0x21, 0, 1])), "refused proxy-tlv"
    ),
    (
      "SSL with a subtype twice",
      ProxyBytes.v2(
        0x21, 0x11, ProxyBytes.v4,
        ProxyBytes.tlv(0x20, [1, 0, 0, 0, 0] + ProxyBytes.tlv(0x22, [0x61]) + ProxyBytes.tlv(0x22, [0x62]))),
      "refused proxy-tlv"
    ),
    (
      "a checksum of three bytes", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(3, [0, 0, 0])),
      "refused proxy-crc"
    ),
    ("a checksum that is wrong", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.crcPlace), "refused proxy-crc"),
    (
      "two checksums", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.crcPlace + ProxyBytes.crcPlace),
      "refused proxy-tlv"
    ),
    (
      "a UNIQUE_ID of 129 bytes",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.tlv(5, .init(repeating: 1, count: 129))),
      "refused proxy-unique-id"
    ),
    ("from 0.0.0.0", ProxyBytes.v2(0x21, 0x11, ProxyBytes.hex("00000000 c6336401 c87c 01bb")), "refused proxy-address"),
    ("from a group", ProxyBytes.v2(0x21, 0x11, ProxyBytes.hex("e0000001 c6336401 c87c 01bb")), "refused proxy-address"),
    (
      "from broadcast", ProxyBytes.v2(0x21, 0x11, ProxyBytes.hex("ffffffff c6336401 c87c 01bb")),
      "refused proxy-address"
    ),
    (
      "from ::",
      ProxyBytes.v2(0x21, 0x21, [UInt8](repeating: 0, count: 16) + ProxyBytes.v6[16...]), "refused proxy-address"
    ),
    (
      "from mapped 0.0.0.0",
      ProxyBytes.v2(0x21, 0x21, ProxyBytes.hex("00000000000000000000ffff00000000") + ProxyBytes.v6[16...]),
      "refused proxy-address"
    ),
    (
      "mapped source, IPv6 destination",
      ProxyBytes.v2(0x21, 0x21, ProxyBytes.hex("00000000000000000000ffffc0000207") + ProxyBytes.v6[16...]),
      "v2 192.0.2.7 51325 > 2001:db8::1 443"
    ),
    ("the signature alone", ProxyBytes.signature, "incomplete"),
    ("a header without its last byte", Array(ProxyBytes.v2().dropLast()), "incomplete"),
  ]

  @Test(arguments: structure) func readsVersion2(what: String, bytes: [UInt8], expected: String) {
    #expect(B.outcomeAtEverySplit(bytes, .balancer) == expected, "\(what)")
  }

  @Test func theLimitIsJudgedFromTheLengthAlone() {
    let announced = B.signature + [0x21, 0x11, 0x03, 0xf0]
    #expect(B.outcome(announced, .balancer) == "incomplete")
    #expect(B.outcome(announced, .balancer, limit: 1023) == "refused proxy-length")
    #expect(B.outcome(B.signature + [0x21, 0x11, 0x04], .balancer) == "refused proxy-length")
  }
}
