// Package pgserver runs a private PostgreSQL server on a folder, from the
// binaries that are installed on the machine.
//
// It promises a server that nobody else can reach and that never outlives its
// owner for long:
//
//   - it listens on a Unix socket alone, in a folder that only its own user may
//     enter; that permission is the authentication;
//   - a second owner of the folder is refused (a lock on the folder decides);
//   - when the owner dies, however it dies, the server is told to shut down;
//     whatever it leaves behind is stopped and recovered by the next Start;
//   - what was committed is there after any crash (unless NoSync asks for speed).
//
// PostgreSQL refuses to run as root. A root owner therefore runs it in a user
// namespace of its own, in which root has another number, or, where namespaces
// are forbidden, as the user postgres or nobody. The data belongs to whoever
// the server really runs as, and the choice follows the data: a folder made by
// a user is served as that user.
//
// The folder belongs to this package whole:
//
//	lock          held by the owner while it lives; holds its process id
//	data/         the cluster; it appears by a rename, so it is never half made
//	data.new/     a cluster being made; left-overs are thrown away
//	socket/       the socket, unless the path is too long for one
//	socket.path   where the socket is instead
//	postgres.log  what the server has to say
//
// A Server is safe for concurrent use. Linux is where all promises hold; on
// other systems a server whose owner was killed runs on until the next Start.
package pgserver
