// Package filestore keeps objects as the files of a folder: file:///folder.
//
// # Promises
//
// A Put is atomic and durable: the bytes go to a nameless or reserved file in
// the same directory, are checked against every sum that was given, synced,
// and only then take the key's name; then the directory is synced. A reader
// gets the version it asked for or an error: the file's size, time and inode
// are compared before the first byte and after the last. A listing is in the
// order of the keys' bytes, needs no more memory for a large folder than for a
// small one, and fails with the folder's name when it cannot read it all.
//
// PutOptions.If holds when the file takes its name. A name that must be free is
// taken in one step, where the file system has such a step; of a file that is to
// be replaced, size, time and inode are compared right before, and who writes it
// within those microseconds is not seen.
//
// # Keys
//
// A key is the path below the folder, byte for byte. Keys that no path can
// hold are refused with work.Unsupported: those with an empty part ("//", a
// leading "/"), with a part ".", "..", or of more bytes than the file system
// takes, with a NUL, and those that would need one name to be both a file and
// a folder ("k" and "k/x"). Names of the form .tranship-*.tmp are ours: they
// are refused as keys and never listed. Such a file is left behind only by a
// multipart upload under way or by a crash where the file system has no
// nameless files. Beginning a multipart upload removes those of its folder that
// nobody has written to for a day, but uploads, which may belong to a job that
// is paused, only after 30 days.
//
// Where the file system takes several spellings for one name, because it ignores
// case or how accents are written, a key is refused if another spelling of it
// is there, and found only under the very name it was stored with. Whether it
// does so is tried in a hidden folder before the first change; it costs reading
// the folders on the way of every key, but only there. Keys that the file system
// would store under another name are refused.
//
// A key that ends in "/" is a marker, an empty object that stands for a
// folder: it is kept as a directory with a mark in its extended attributes.
// Folders without that mark are no objects, empty or not, unless the URL says
// empty_dirs=list: then those that hold nothing are listed as markers.
//
// # What is no file
//
// Symbolic links are never followed below the store's folder, in a listing as
// little as in a key, so that no key leads out of the folder or to the same
// file twice. A listing that meets one fails, for leaving it out could lose
// data in silence; with symlinks=skip in the URL it is left out. The same
// holds for FIFOs, sockets and devices under special=skip.
//
// # Metadata and checksums
//
// Content headers, user metadata, tags and the checksums taken while writing are
// kept in the extended attribute user.tranship, bound to the file's size and
// modification time: once the file is changed by others they no longer count.
// It is a query string, so getfattr shows it. Where the file system has no
// such attributes, Traits say that metadata is not kept. The content type of
// other files is guessed from the extension. The modification time is the
// file's own. There are no storage classes. How much metadata one file takes is
// the file system's to say; ext4 has room for 4 KiB. Parts are up to a million,
// of any size.
//
// # Probes
//
// Whether the file system has extended attributes and stable inodes is asked
// when the store is opened. For a target, a hidden folder is made and removed
// again, to try how names are taken, whether files can be without a name until
// they are whole, how exactly times are kept, and whether attributes can be set.
//
// A Store is no Copier: copy_file_range returns no checksum, and with reading the
// copy back to prove it, it took 0.7 times the CPU of streaming on ext4, 1.2 times
// on tmpfs, and there three times as long.
//
// # Concurrency
//
// A Store holds no open files, and no state but what it has found out of how the
// file system takes names; every call walks from the allowed root again, so a
// folder may be replaced or mounted over between calls.
package filestore
