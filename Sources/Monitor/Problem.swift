// The one list of ways a request can fail: the status, the code a program reads, the sentence a person reads.

import FlyingFox

/// Why a request was not done.
package struct Problem: Error, Sendable {
  package let status: HTTPStatusCode
  package let code: String
  package let message: String

  static func invalid(_ message: String) -> Problem {
    Problem(status: .unprocessableContent, code: "invalid", message: message)
  }

  static func malformed(_ message: String) -> Problem {
    Problem(status: .badRequest, code: "malformed", message: message)
  }

  static let clientAddress = Problem(
    status: .badRequest, code: "client-address", message: "X-Forwarded-For does not begin with an address")
  static let unauthorized = Problem(
    status: .unauthorized, code: "unauthorized", message: "a valid bearer token is needed")
  static let forbidden = Problem(
    status: .forbidden, code: "forbidden", message: "this token is not for this")
  static let notFound = Problem(status: .notFound, code: "not-found", message: "there is no such thing")
  static let methodNotAllowed = Problem(
    status: .methodNotAllowed, code: "method-not-allowed", message: "see the Allow field")
  static let conflict = Problem(
    status: .conflict, code: "not-ready", message: "the printer's state does not allow this")
  static let bodyTimeout = Problem(
    status: .requestTimeout, code: "body-timeout", message: "the body did not arrive in time")
  static let bodyTooLarge = Problem(
    status: .payloadTooLarge, code: "body-too-large", message: "the body is larger than allowed")
  static let mediaType = Problem(
    status: .unsupportedMediaType, code: "media-type", message: "this content type is not taken here")
  static let upgradeRequired = Problem(
    status: .upgradeRequired, code: "upgrade-required", message: "this is a WebSocket")
  static let tooManyStreams = Problem(
    status: .tooManyRequests, code: "too-many-streams", message: "this printer has too many event streams")
  static let unavailable = Problem(
    status: .serviceUnavailable, code: "unavailable", message: "the database does not answer")
  static let fault = Problem(
    status: .internalServerError, code: "fault", message: "something went wrong here")
}
