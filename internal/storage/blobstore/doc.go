// Package blobstore makes a storage.Store of any bucket that gocloud.dev opens.
//
// It is the driver for clouds that have none of their own here, and promises
// what storage.Store asks with these means, for gocloud's portable interface
// lacks some:
//
//   - Writes go through Bucket.Upload alone. When the source fails, ends early
//     or proves wrong, the write's context is cancelled before the driver
//     learns of it, for a driver commits whatever it has when a body ends.
//   - Reads are pinned natively where a Driver knows how (GCS, Azure), and else
//     by asking for the object's attributes before the first byte and again
//     before the last is handed out. ETags are the native versions, or made of
//     size, time and MD5, for gocloud's listings have none.
//   - Keys that the driver would escape are refused with work.Unsupported.
//   - Listings must be in ascending order of bytes, or they fail. They start at
//     the range where the driver can, and else at the prefix and skip.
//   - An object that the driver would decompress on reading is refused, for its
//     bytes are not the stored ones. GCS and Azure are told not to.
//
// Checksums in the options of a Put are compared with the bytes on their way,
// before the object is committed. One request for attributes follows each Put.
package blobstore
