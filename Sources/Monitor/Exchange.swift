// One request as the routes see it, and the shapes of the answers they give. Made by the gateway, one for each request.

import FlyingFox
import Foundation

/// A request with what was found out about it.
struct Exchange: Sendable {
  let request: HTTPRequest
  /// The `{name}` segments of the route.
  let parameters: [String: String]
  let client: ClientClaim
  let body: RequestBody

  /// Where the client is; routes that decide by it do not go on without it.
  func clientAddress() throws -> NetworkAddress {
    guard let address = client.address else { throw Problem.clientAddress }
    return address
  }

  /// The `{id}` of the path.
  func id() throws -> String {
    guard let id = parameters["id"] else { throw Problem.notFound }
    return id
  }

  /// The bearer token (RFC 6750, section 2.1); nil when no Authorization field came.
  func bearerToken() throws -> Token? {
    guard let field = request.headers[.authorization] else { return nil }
    let words = field.split(separator: " ", maxSplits: 1)
    guard words.count == 2, words[0].lowercased() == "bearer", words[1].utf8.count <= 128 else {
      throw Problem.unauthorized
    }
    return Token(text: words[1].trimmingSpaces)
  }

  /// Reads a JSON body of this type.
  func json<Input: Decodable>(_ type: Input.Type, bytesMax: Int) async throws -> Input {
    guard mediaType == "application/json" else { throw Problem.mediaType }
    let data = try await body.read(bytesMax: bytesMax)
    do {
      return try JSONCoding.decode(type, from: data)
    } catch DecodingError.keyNotFound(let key, _) {
      throw Problem.invalid("\(JSONCoding.snakeCase(key.stringValue)) is needed")
    } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
      throw Problem.invalid("\(JSONCoding.path(context)) has the wrong type")
    } catch DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty {
      throw Problem.invalid("\(JSONCoding.path(context)) has a value that is not known")
    } catch {
      throw Problem.malformed("the body is not JSON")
    }
  }

  /// The content type without its parameters, in lower case.
  var mediaType: String? {
    request.headers[.contentType]?.split(separator: ";", maxSplits: 1).first.map { $0.trimmingSpaces.lowercased() }
  }
}

/// One way of writing JSON for the whole service: snake_case keys, sorted, one line, a newline at the end.
enum JSONCoding {
  static func encode(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value)
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: data)
  }

  static func path(_ context: DecodingError.Context) -> String {
    guard !context.codingPath.isEmpty else { return "the body" }
    return context.codingPath.map { snakeCase($0.stringValue) }.joined(separator: ".")
  }

  /// A property's name as clients know it, for messages.
  static func snakeCase(_ name: String) -> String {
    name.map { $0.isUppercase ? "_" + $0.lowercased() : String($0) }.joined()
  }
}

extension HTTPResponse {
  static func json(_ status: HTTPStatusCode, _ value: some Encodable) throws -> HTTPResponse {
    HTTPResponse(
      statusCode: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
      body: try JSONCoding.encode(value) + Data("\n".utf8))
  }

  static func problem(_ problem: Problem) -> HTTPResponse {
    struct Body: Encodable {
      struct Error: Encodable { let code, message: String }
      let error: Error
    }
    let body = Body(error: .init(code: problem.code, message: problem.message))
    guard var response = try? HTTPResponse.json(problem.status, body) else {
      return HTTPResponse(statusCode: problem.status)
    }
    if problem.status == .unauthorized { response.headers[HTTPHeader("WWW-Authenticate")] = "Bearer" }
    if problem.status == .upgradeRequired {
      response.headers[.upgrade] = "websocket"
      response.headers[.connection] = "upgrade"
    }
    return response
  }
}
