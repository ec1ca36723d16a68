// What is wrong with a key file, which key it is about, and what to do about it. Never holds any part of a secret.

import Platform

package struct KeySetError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file, or what else the keys came from.
  package let source: String
  /// `key "k1"` or `key 2` (from 1, where it has no usable name); nil when it is about the whole file.
  package let key: String?
  package let problem: String
  /// What to do about it.
  package let suggestion: String?

  package init(source: String, key: String? = nil, problem: String, suggestion: String? = nil) {
    self.source = source
    self.key = key
    self.problem = problem
    self.suggestion = suggestion
  }

  package var description: String {
    "\(source): " + (key.map { "\($0): " } ?? "") + problem + (suggestion.map { "; \($0)" } ?? "")
  }
}

extension KeySetError {
  init(file: String, _ error: KeyFileError) {
    let (problem, suggestion): (String, String?) =
      switch error {
      case .open(let code): (SystemError("open", code: code).reason, nil)
      case .isLink:
        ("is a symbolic link, which is not followed", "name the file itself")
      case .isNotRegular: ("is not a regular file", nil)
      case .owner(let user):
        ("belongs to user \(user), not to root or to the user that runs this", "chown it and look who could change it")
      case .mode(let mode):
        ("has mode 0\(String(mode, radix: 8)), so others than its owner can use it", "chmod 600 \(file)")
      case .group(let id, let allowed):
        (
          "can be read by group \(id), which is not the configured group \(allowed ?? "")",
          "chgrp \(allowed ?? "GROUP") \(file), or chmod 600 \(file)"
        )
      case .groupUnknown(let name): ("the configured group \(name) does not exist", nil)
      case .tooLarge(let bytes):
        ("has \(bytes) bytes; a key set has at most \(KeyFile.bytesMax)", nil)
      case .read(let code): ("cannot be read: \(SystemError.text(code))", nil)
      }
    self.init(source: file, problem: problem, suggestion: suggestion)
  }

  init(source: String, key: String? = nil, _ error: CryptoError) {
    self.init(source: source, key: key, problem: "\(error)")
  }
}
