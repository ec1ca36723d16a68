// Requests that two readers could divide in two ways, as HTTP/1 has them. WireTests reads them as they are and field by field;
// EndToEndTests sends them by HTTP/2 as far as that can say them.

extension Document {
  public static let smuggling = Document.parse(
    #"""
    # CL.TE
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 6\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    0\r\n\r\nG
    --> refused framing-te-cl

    # TE.CL
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked\r\n
    Content-Length: 3\r\n
    \r\n
    8\r\nSMUGGLED\r\n0\r\n\r\n
    --> refused framing-te-cl

    # TE.TE, one of them strange
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked\r\n
    Transfer-Encoding: x\r\n
    \r\n
    --> refused framing-te

    # chunked twice on two lines
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked\r\n
    Transfer-encoding: chunked\r\n
    \r\n
    --> refused framing-te

    # chunked twice in a list
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked, chunked\r\n
    \r\n
    --> refused framing-te

    # another coding before chunked
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: gzip, chunked\r\n
    \r\n
    --> refused framing-te

    # chunked and then another
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked, identity\r\n
    \r\n
    --> refused framing-te

    # a comma before
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: ,chunked\r\n
    \r\n
    --> refused framing-te

    # a comma after
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked,\r\n
    \r\n
    --> refused framing-te

    # identity
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: identity\r\n
    \r\n
    --> refused framing-te

    # xchunked
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: xchunked\r\n
    \r\n
    --> refused framing-te

    # chunkedx
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunkedx\r\n
    \r\n
    --> refused framing-te

    # quoted
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: "chunked"\r\n
    \r\n
    --> refused framing-te

    # with a parameter
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: chunked;q=1\r\n
    \r\n
    --> refused framing-te

    # empty
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding:\r\n
    \r\n
    --> refused framing-te

    # a byte over ASCII that another reader may trim
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: \xa0chunked\r\n
    \r\n
    --> refused framing-te

    # a vertical tab that another reader may trim
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding: \x0bchunked\r\n
    \r\n
    --> refused value-invalid

    # chunked in HTTP/1.0
    POST / HTTP/1.0\r\n
    Host: a\r\n
    Transfer-Encoding: chunked\r\n
    \r\n
    --> refused framing-te

    # case and whitespace around it do not matter
    POST / HTTP/1.1\r\n
    Host: a\r\n
    tRANSFER-eNCODING:\t ChunKed \t\r\n
    \r\n
    --> complete framing=chunked

    # a space before the colon
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding : chunked\r\n
    \r\n
    --> refused name-space

    # a tab before the colon
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding\t: chunked\r\n
    \r\n
    --> refused name-space

    # a space before the name continues the line before
    POST / HTTP/1.1\r\n
    Host: a\r\n
    \sTransfer-Encoding: chunked\r\n
    \r\n
    --> refused obs-fold

    # folded before its value
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding:\r\n
    \schunked\r\n
    \r\n
    --> refused obs-fold

    # folded with a tab
    POST / HTTP/1.1\r\n
    Host: a\r\n
    X: y\r\n
    \tTransfer-Encoding: chunked\r\n
    \r\n
    --> refused obs-fold

    # whitespace before the first field
    POST / HTTP/1.1\r\n
    \sHost: a\r\n
    \r\n
    --> refused obs-fold

    # a line of blanks is not the empty line
    POST / HTTP/1.1\r\n
    Host: a\r\n
    \s\r\n
    \r\n
    --> refused obs-fold

    # a NUL after the name
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding\0: chunked\r\n
    \r\n
    --> refused name-token

    # a line without a colon
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Transfer-Encoding\r\n
    \r\n
    --> refused name-token

    # no name
    POST / HTTP/1.1\r\n
    Host: a\r\n
    : chunked\r\n
    \r\n
    --> refused name-token

    # a name that is not ASCII
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Tr\xc3\xa4nsfer: chunked\r\n
    \r\n
    --> refused name-token

    # a name in parentheses
    POST / HTTP/1.1\r\n
    Host: a\r\n
    (Transfer-Encoding): chunked\r\n
    \r\n
    --> refused name-token

    # an underscore in the framing's name: for an edge to remove, for a validator to refuse
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content_Length: 5\r\n
    Transfer_Encoding: chunked\r\n
    \r\n
    --> complete framing=none kinds=host,alias,alias identity=name-alias

    # a bare LF ends the request line
    GET / HTTP/1.1\n
    Host: a\r\n
    \r\n
    --> refused line-ending

    # a bare LF ends a field
    GET / HTTP/1.1\r\n
    Host: a\n
    Content-Length: 5\r\n
    \r\n
    --> refused line-ending

    # a bare LF ends the head
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \n
    --> refused line-ending

    # a bare LF inside a name
    GET / HTTP/1.1\r\n
    Ho\nst: a\r\n
    \r\n
    --> refused line-ending

    # a bare CR inside a value
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X: y\rContent-Length: 5\r\n
    \r\n
    --> refused line-ending

    # two CRs before the LF
    GET / HTTP/1.1\r\n
    Host: a\r\r\n
    \r\n
    --> refused line-ending

    # a bare CR inside a name
    GET / HTTP/1.1\r\n
    Ho\rst: a\r\n
    \r\n
    --> refused line-ending

    # a bare CR inside the target
    GET /\rx HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> refused line-ending

    # a bare CR after the version
    GET / HTTP/1.1\rHost: a\r\n
    \r\n
    --> refused line-ending

    # a bare CR where the head should end
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \rX
    --> refused line-ending

    # a NUL in a value
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X: a\0b\r\n
    \r\n
    --> refused value-invalid

    # DEL in a value
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X: \x7f\r\n
    \r\n
    --> refused value-invalid

    # two lengths that differ
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5\r\n
    Content-Length: 6\r\n
    \r\n
    --> refused framing-length

    # two lengths that agree
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5\r\n
    content-length: 5\r\n
    \r\n
    --> refused framing-length

    # a list of lengths
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5, 5\r\n
    \r\n
    --> refused framing-length

    # a length with a comma
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5,\r\n
    \r\n
    --> refused framing-length

    # a signed length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: +5\r\n
    \r\n
    --> refused framing-length

    # a negative length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: -0\r\n
    \r\n
    --> refused framing-length

    # a hexadecimal length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 0x5\r\n
    \r\n
    --> refused framing-length

    # a fraction
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5.0\r\n
    \r\n
    --> refused framing-length

    # a length with a space in it
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 5 6\r\n
    \r\n
    --> refused framing-length

    # an underscore in the digits
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 1_0\r\n
    \r\n
    --> refused framing-length

    # digits of another script
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: \xd9\xa5\r\n
    \r\n
    --> refused framing-length

    # an empty length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length:\r\n
    \r\n
    --> refused framing-length

    # the greatest length
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 9223372036854775807\r\n
    \r\n
    --> complete framing=9223372036854775807

    # one more
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 9223372036854775808\r\n
    \r\n
    --> refused framing-length

    # a length that overflows into a small one
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 18446744073709551621\r\n
    \r\n
    --> refused framing-length

    # twenty digits
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 00000000000000000005\r\n
    \r\n
    --> refused framing-length

    # no content
    POST / HTTP/1.1\r\n
    Host: a\r\n
    Content-Length: 0\r\n
    \r\n
    --> complete framing=0

    # the Host of another request after a fold
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \sb\r\n
    \r\n
    --> refused obs-fold

    # a second Host behind a bare CR
    GET / HTTP/1.1\r\n
    Host: a\r\n
    X: y\rHost: b\r\n
    \r\n
    --> refused line-ending
    """#)
}
