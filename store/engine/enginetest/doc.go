// Package enginetest runs the embedded engine for tests.
//
// The child process is the test binary itself. A package that uses Start needs
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// Where the engine's library is not found a test is skipped, and failed with
// CI=true. [Start], [StartEngine] and [StartIn] end the engine with the test;
// [StartShared] keeps one for all tests of a process, since a start costs
// about a second, and Main ends it. Every engine has a directory of its own and
// listens on a free port of 127.0.0.1.
package enginetest
