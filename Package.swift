// swift-tools-version: 6.2
// The modules of Countersign, each a target, in a straight chain: a module sees only those above it.
// docs/ARCHITECTURE.md says what each owns.
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]
/// The program's own modules. In release the optimizer is told how often each part of them runs, as bench/profile/run has measured it
/// (docs/decisions/0030-profile.md); for that measurement the program is built with counters instead.
let measuresProfile = Context.environment["COUNTERSIGN_PROFILE"] == "measure"
let profiled: [SwiftSetting] =
  strict + [
    measuresProfile
      ? .unsafeFlags(["-Xfrontend", "-ir-profile-generate"])
      : .unsafeFlags(
        ["-Xfrontend", "-ir-profile-use=\(Context.packageDirectory)/bench/profile/countersign.profdata"],
        .when(configuration: .release))
  ]
/// The sample backend is an ordinary application; it keeps the language mode and the warnings.
let ordinary: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
/// Tests that compute little themselves: what they test is optimized, and their own code takes minutes to optimize.
let unoptimized: [SwiftSetting] = ordinary + [.unsafeFlags(["-Onone"])]

/// The program runs on hosts without the toolchain: Swift's libraries and C++'s are linked into it. Only linking differs, so
/// nothing is compiled twice: what the tests run is what is installed.
let standalone: [LinkerSetting] = [
  .unsafeFlags([
    "-static-stdlib", "-Xclang-linker", "-static-libgcc", "-L\(Context.packageDirectory)/packaging/link",
    // FoundationEssentials' own parts, which only code compiled for static linking asks for by itself.
    "-l_FoundationCollections", "-l_FoundationCShims",
  ])
]

/// The runtime that writes the counters down.
let counted: [LinkerSetting] = measuresProfile ? [.unsafeFlags(["-Xclang-linker", "-fprofile-generate"])] : []

let package = Package(
  name: "countersign",
  products: [
    .executable(name: "countersign", targets: ["countersign"]),
    .executable(name: "printer-monitor", targets: ["printer-monitor"]),
    // Preloaded into the real binary by a test that counts its allocations.
    .library(name: "AllocationCounter", type: .dynamic, targets: ["AllocationCounter"]),
    // Preloaded into the real binary by tests that set its clock.
    .library(name: "SettableClock", type: .dynamic, targets: ["SettableClock"]),
    // Runs the engine against a simulated kernel; see Tests/Simulation.
    .executable(name: "simulate", targets: ["simulate"]),
    // Measures the steps of a request's path; built by bench/micro/run alone.
    .executable(name: "countersign-micro", targets: ["micro"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
  ],
  targets: [
    .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CYAML", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "Wire", swiftSettings: profiled),
    .target(
      name: "Platform", dependencies: ["Wire", "CCrypt", "CLinux", "COpenSSL", "CPCRE2", "CYAML", "CZlib", "CNGHTTP2"],
      swiftSettings: profiled),
    .target(name: "Policy", dependencies: ["Wire", "Platform"], swiftSettings: profiled),
    .target(
      name: "Proxy", dependencies: ["Wire", "Platform", "Policy", .product(name: "Logging", package: "swift-log")],
      swiftSettings: profiled),
    .target(name: "Audit", dependencies: ["Wire", "Platform"], swiftSettings: strict),
    .executableTarget(
      name: "countersign",
      dependencies: [
        "Wire", "Platform", "Policy", "Proxy", "Audit",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: profiled,
      linkerSettings: standalone + counted),
    .target(
      name: "Monitor",
      dependencies: [
        "COpenSSL", "FlyingFox", .product(name: "FlyingSocks", package: "FlyingFox"),
        .product(name: "GRDB", package: "GRDB.swift"),
      ], swiftSettings: ordinary),
    .executableTarget(
      name: "printer-monitor",
      dependencies: ["Monitor", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: ordinary),
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .target(name: "TestSupport", dependencies: ["CZlib"], path: "Tests/TestSupport", swiftSettings: ordinary),
    .target(name: "SettableClock", path: "Tests/SettableClock"),
    .executableTarget(
      name: "micro",
      dependencies: [
        "Wire", "Platform", "Policy", "Proxy", "AllocationCounter",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/micro", exclude: ["run"], swiftSettings: strict),
    .target(name: "SimulatedCalls", path: "Tests/Simulation/Calls"),
    .executableTarget(
      name: "simulate",
      dependencies: [
        "Wire", "Platform", "Policy", "Proxy", "SimulatedCalls", "TestSupport", "CNGHTTP2",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "Tests/Simulation", exclude: ["Calls", "mutants", "run"], swiftSettings: ordinary),
    .testTarget(name: "WireTests", dependencies: ["Wire", "TestSupport"], swiftSettings: ordinary),
    .testTarget(
      name: "PlatformTests", dependencies: ["Wire", "Platform", "COpenSSL", "TestSupport"], swiftSettings: unoptimized),
    .testTarget(
      name: "PolicyTests", dependencies: ["Wire", "Platform", "Policy", "TestSupport"], resources: [.copy("Vectors")],
      swiftSettings: ordinary),
    .testTarget(
      name: "ProxyTests", dependencies: ["Wire", "Platform", "Policy", "Proxy", "TestSupport"],
      swiftSettings: unoptimized),
    .testTarget(
      name: "AuditTests", dependencies: ["Wire", "Platform", "Audit", "TestSupport"], swiftSettings: unoptimized),
    .testTarget(name: "MonitorTests", dependencies: ["Monitor"], swiftSettings: unoptimized),
    .testTarget(
      name: "EndToEndTests", dependencies: ["TestSupport"], exclude: ["GRPC"], swiftSettings: unoptimized),
  ]
)
