// Package gcsstore is the store driver for Google Cloud Storage.
//
// # What it promises
//
// Besides the contract of storage.Store: one request stores one object, and no
// byte of it is buffered here. What the source vouches for goes before the
// content, so that the service refuses other bytes; sums that the service does
// not know are compared on the way. The last byte is held back until the body
// has ended well, and the length of every request is known, so a broken body
// never replaces a good object.
//
// # How it speaks
//
// The Go CDK's gcsblob reads the URL and opens the bucket; credentials are
// Google's default ones, and STORAGE_EMULATOR_HOST names an emulator. Google's
// client, taken from the bucket, lists, describes, removes, copies and composes
// objects. Their content and uploads in parts go by requests of our own on the
// same connections, because the client copies each body through a pipe, cannot
// say its length, and knows nothing of the XML API's uploads.
//
// A request is repeated twice after passing errors if its body can be read
// again; longer patience is the engine's. To store an object again after an
// answer was lost gives it another version of the same content, as for any
// store, or clashes with PutOptions.If. There is no limit on the time of a request but
// one on standing still (steady.go).
//
// # Versions
//
// An ETag is a generation. Reads and copies are pinned to it; in a bucket that
// keeps old generations a Get fails all the same once there is a newer one.
// Content is read as it is stored, also that which the service would unpack.
//
// PutOptions.If goes along as ifGenerationMatch, of a copy and of parts that are
// composed too. The XML API knows no conditions for uploads: before the end of
// one the object is looked at. fake-gcs-server keeps conditions of a Put alone.
//
// # Metadata
//
// Content headers and user metadata are verbatim, and nothing is guessed that
// was not given. Names of user metadata are read in lower case unless two would
// fall together. Meta.ModTime is kept as the user metadata mtime, as rclone and
// others do, and Stat and Get then say it in Info.ModTime as well; listings,
// which do not ask for metadata, have the time of the last change. Objects of
// class ARCHIVE are read like all others. A copy without a class keeps what the
// service keeps, and gets the class that is the bucket's default. There are no
// tags. Fit leaves out classes that are not Google's, values that are not UTF-8
// or hold control characters, names that no header can have, and user metadata
// beyond 8 KiB.
//
// # Limits and probes
//
// An object has up to 5 TiB, in one request or in 10,000 parts of 5 MiB to
// 5 GiB; a name has up to 1024 bytes of UTF-8 with the prefix. A probe lists one
// object; of a target it also begins an upload of the XML API and stores an
// empty object twice, to see whether conditions are kept, and removes both.
//
// # Uploads in parts
//
// There are two ways, and an upload's ID says which is its own:
//
//	xml/<id>      an upload of the XML API: initiate, parts, complete
//	compose/<id>  parts as objects in a folder that listings hide, put together
//	              by compose requests, 32 at a time, and copied to their name
//
// The second is for servers that do not know the first, which are emulators,
// and for metadata that headers cannot carry. Whether the server knows the
// first is found out once a store. Both check every part and the whole by
// CRC32C. A Commit can be repeated: what is done is known by its CRC32C.
//
// A folder for parts is called .tranship-upload- with a hash and 26 letters
// behind, and lies in the store's prefix. Keys in such folders are refused and
// not listed. Should an upload never be finished nor aborted, the folder can be
// removed by hand; the XML API's are removed by a lifecycle rule
// (AbortIncompleteMultipartUpload).
//
// # Permissions
//
// A source needs storage.objects.get and list; a target those of
// roles/storage.objectUser, which include uploads in parts.
//
// A Store and all that it returns may be used by many goroutines, a body by
// one at a time. Stores with the same options share connections and the token.
package gcsstore
