// Request lines: methods, the four forms of a target, versions, and what is none of them.

import TestSupport
import Testing
import Wire

@Suite struct HTTPRequestLineTests {
  static let documents = Document.parse(
    #"""
    # path and query are the bytes as they came
    GET /a/../b//%2e%2E/;p=1/c?x=1&y=%20?/?{}|^`[] HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/a/../b//%2e%2E/;p=1/c query=?x=1&y=%20?/?{}|^`[]

    # an empty query is not no query
    GET /a? HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/a query=?

    # the query may begin at once after two slashes
    GET //?x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=// query=?x

    # one empty line before a request is skipped
    \r\n
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete target=/ length=29

    # two are not
    \r\n
    \r\n
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # nor one that ends in a line feed only
    \n
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused line-ending

    # an unknown method is forwarded
    M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete method=other method=M-SEARCH!#$%&'*+.^_`|~

    # methods are case-sensitive
    get / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete method=other

    # a method of 32 bytes
    ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete method=other

    # a method of 33 bytes
    ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # OPTIONS for the whole server
    OPTIONS * HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete method=options path=* query=

    # an asterisk for another method
    GET * HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # an asterisk and more
    OPTIONS *? HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # absolute form that agrees with Host
    GET http://Example.com:8080/a?b HTTP/1.1\r\n
    Host: eXample.com:8080\r\n
    \r\n
    --> complete path=/a query=?b authority=eXample.com:8080 identity=absolute-form

    # absolute form without a path
    GET HTTPS://a HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete identity=absolute-form path=/ query=

    # absolute form with a query and no path, and a slash in the query
    GET http://a?x/y HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete identity=absolute-form path=/ query=?x/y

    # absolute form of OPTIONS without a path means an asterisk
    OPTIONS http://a HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # absolute form that disagrees with Host
    GET http://a/ HTTP/1.1\r\n
    Host: b\r\n
    \r\n
    --> refused absolute-form

    # absolute form with another port
    GET http://a:80/ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused absolute-form

    # absolute form with user information
    GET http://u@a/ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused absolute-form

    # absolute form without an authority
    GET http:///x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused absolute-form

    # another scheme
    GET ftp://a/ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # authority form without CONNECT
    GET a:443 HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a target without its slash
    GET x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a fragment
    GET /#x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a backslash
    GET /a\\b HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # bytes that are not ASCII
    GET /\xc3\xbc HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a NUL in the target
    GET /\0 HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a tab in the target
    GET /a\tHTTP/1.1 HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # DEL in the target
    GET /a\x7f HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a percent sign with one digit
    GET /%2 HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/%2 query=

    # a percent sign with none
    GET /%zz/% HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/%zz/%

    # a percent sign at the end, in the query
    GET /?100% HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/ query=?100%

    # a backslash in the query
    GET /a?p=C:\\x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/a query=?p=C:\x

    # everything that may stand in a query
    GET /a?!"$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/a query=?!"$%&'()*+,-./09:;<=>?@AZ[\]^_`az{|}~

    # everything that may stand in a path
    GET /!"$%&'()*+,-./09:;<=>@AZ[]^_`az{|}~ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete path=/!"$%&'()*+,-./09:;<=>@AZ[]^_`az{|}~ query=

    # absolute form with both
    GET http://a/%?\\% HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete identity=absolute-form path=/% query=?\%

    # absolute form without a path, and a backslash in the query
    GET http://a?\\x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete identity=absolute-form path=/ query=?\x

    # a backslash for the slash behind an authority
    GET http://a\\x?y HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a percent sign in an authority
    GET http://a%2/ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused absolute-form

    # a fragment in the query
    GET /?a#b HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a NUL in the query
    GET /?a\0 HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a tab in the query
    GET /?a\tb HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # a carriage return in the query
    GET /?a\rb HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused line-ending

    # bytes that are not ASCII in the query
    GET /?\xc3\xbc HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # TRACE
    TRACE / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused method-refused

    # CONNECT
    CONNECT a:443 HTTP/1.1\r\n
    Host: a:443\r\n
    \r\n
    --> refused method-refused

    # CONNECT with a path
    CONNECT /x HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused target-form

    # HTTP/0.9
    GET /\r\n
    --> refused request-line

    # two spaces
    GET  / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a tab for a space
    GET\t/ HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a space before the method
    \sGET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a space after the version
    GET / HTTP/1.1 \r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a third word before the version
    GET / / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a method with a control byte
    GE\x01T / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # a method and nothing else
    GET\r\n
    \r\n
    --> refused request-line

    # TLS on a plain port
    \x16\x03\x01\x02\0\x01\0\x01
    --> refused request-line

    # a PROXY header where HTTP was due
    PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n
    GET / HTTP/1.1\r\n
    --> refused request-line

    # a version 2 PROXY header where HTTP was due
    \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c
    --> refused request-line

    # HTTP/2 by prior knowledge
    PRI * HTTP/2.0\r\n
    \r\n
    SM\r\n
    \r\n
    --> refused version

    # HTTP/1.2
    GET / HTTP/1.2\r\n
    Host: a\r\n
    \r\n
    --> refused version

    # HTTP/1
    GET / HTTP/1\r\n
    Host: a\r\n
    \r\n
    --> refused version

    # HTTP/1.11
    GET / HTTP/1.11\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # the protocol's name is in capitals
    GET / http/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused request-line

    # ICAP
    GET / ICAP/1.0\r\n
    Host: a\r\n
    \r\n
    --> refused request-line
    """#)

  @Test(arguments: documents) func reads(_ document: Document) {
    let reader = RequestReader()
    check(document, parse: reader.parse, summary: reader.summary)
  }

  @Test(arguments: [
    (#"/a\\b"#, TargetFault.backslash), ("/#x", .fragment), (#"/\xc3\xbc"#, .notASCII), (#"/a\x7f"#, .control),
    (#"/a\t"#, .control), ("x", .form), ("*", .form), ("ftp://a/", .form),
  ]) func saysWhatIsWrongWithATarget(_ target: String, _ fault: TargetFault) {
    let reader = RequestReader()
    let bytes = Document.bytes("GET " + target + #" HTTP/1.1\r\nHost: a\r\n\r\n"#)
    #expect(reader.parse(bytes, 0) == .refused(.targetForm))
    #expect(reader.head.targetFault == fault)
  }
}
