// Package servers gives tests real object stores: versitygw, MinIO, gofakes3
// and fake-gcs-server, built on first use from the versions that the module
// internal/e2e/emulators pins, and Azurite, which npm installs from there.
//
// A binary is built once per machine and user, into the user's cache folder
// under a name that holds a hash of the module's go.mod and go.sum; test
// binaries that need it at the same time wait for one build.
//
// A server listens on a free port of the loopback interface, keeps its data in
// a temporary folder and has credentials made up for the occasion. There is
// one of a kind per test binary. It is stopped when the last test that asked
// for it ends (Main keeps it until the binary ends, which saves starting it
// again), and it is killed by the kernel should the test binary die.
//
// Starting a server also sets AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE
// for this process and its children, so that the URLs of S3.URL work as they
// are, in the test's process and in any program it starts. FakeGCS does the
// same with STORAGE_EMULATOR_HOST.
package servers
