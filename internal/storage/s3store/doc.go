// Package s3store is the store driver for Amazon S3 and whatever else speaks
// its protocol.
//
// # What it promises
//
// Besides the contract of storage.Store: one request moves one object. A body
// is streamed, never buffered here, and no byte of it is hashed that does not
// have to be. What the source vouches for travels as a header, so that the
// server refuses other bytes. A broken body never replaces a good object: the
// last byte is held back until the body has ended well, and where nothing is
// known of the bytes they carry a checksum behind them, because some servers
// take what arrived before a connection broke for all there is.
//
// # How it speaks
//
// Configuration, credentials, endpoints and signatures are those of the AWS
// SDK. The requests are our own: of the time that the SDK takes for a small
// object, more than half is middleware that has nothing to do here, and a page
// of a listing takes it twenty times as long (see page.go). Own requests also
// leave nothing to be switched off: bodies are unsigned and unframed, headers
// are as written here, and one classifier (errors.go) turns every failure into
// a work.Fault.
//
// A request is repeated twice after passing errors if its body can be read
// again; longer patience is the engine's. There is no limit on the time of a
// request but one on standing still: a watchdog cuts it when the network keeps
// it waiting for a minute.
//
// # Keys
//
// Servers differ in which keys they keep. A key is sent as it is; one of the
// sorts that servers are known to change in silence (keys.go) is stored only
// after the server has shown, on a made-up key, that it leaves them alone.
// Such a key is also looked up in the listing before it is read or deleted, as
// the server may answer for another. Other odd keys are the server's to
// refuse. Servers that ignore encoding-type=url cannot list control
// characters; they list U+FFFD instead, and reading that key then fails.
//
// # Metadata
//
// Content headers and user metadata are verbatim, their names in lower case.
// Meta.ModTime is kept as the user metadata mtime, as rclone and others do:
// written when the source knows a time and has no mtime of its own, and read
// back into Meta.ModTime and out of Meta.User if it is in the form that we
// write. Copies between S3 stores therefore change nothing. Amazon's server
// takes headers for Latin-1 unless they are coded for mail, and hands them out
// so; there, values that are not ASCII are coded, and everywhere decoded if
// they are in a form that servers are known to use.
//
// Meta.Class is the storage class by S3's name for it: STANDARD where the
// server says none, as it does for that one. Fit leaves out what S3 never
// holds: odd names, more than ten tags, more user metadata than a request
// carries. What only the server can know, such as a class that it does not
// have, is an error that names the field; a class is not tried twice, nor are
// tags that are not ASCII after some were refused. Some servers, such as
// versitygw, take any class and keep none; others, such as MinIO, keep the
// source's in a copy unless told another, so they are told STANDARD.
//
// An object in an archive without a copy that was restored is Archived, by
// Stat and, on Amazon's service, in listings.
//
// What is stored is encrypted as the URL's ssetype and kmskeyid say, which
// have the Go CDK's meaning, or else by the bucket's own rule.
//
// # Checksums
//
// Info.Sums holds what the server says of the whole object; checksums of
// checksums (COMPOSITE) are left out, and the ETag counts as the MD5 if it has
// the form of one and the object is not encrypted with a key of KMS. An upload
// in parts goes by CRC32C: every part has its own behind its body, the server
// checks it, and puts them together to that of the whole, which Commit
// compares. A checksum behind a body comes in a frame of chunks, which is made
// while the body is read.
//
// Where the answer to the end of an upload, or to a copy, names no checksum
// that tells what the object is, one more request asks for its size. An upload
// whose ETag has the usual form and is not that of its parts is Corrupt, but
// not if KMS encrypts it.
//
// # Uploads in parts
//
// Abort goes on until the server knows nothing of the upload, because a part
// that was under way may come after. Where the connection breaks under a part,
// the server is asked whether the upload is still there: some hang up on
// uploads that they do not know before they are heard. Pending finds uploads
// without parts, as far as the server says.
//
// # Conditions
//
// PutOptions.If goes along as If-None-Match or If-Match, of a copy and of the end
// of an upload too, and costs no request. A server that refuses one of the two
// headers is asked without that one from then on, in that way of storing; one that
// ignores it cannot be told from one that keeps it but by a probe. versitygw and
// MinIO keep conditions of a Put and of the end of an upload, and ignore those of a
// copy. Where a conditional request breaks off, one more finds out whether the
// condition was why. What was stored by a request whose answer was lost clashes
// with its repeat.
//
// # Limits and probes
//
// One request stores up to 5 GiB; an upload takes 10,000 parts of 5 MiB to
// 5 GiB, of an object of up to 5 TiB, or 48 TiB at Amazon. A key has up to 1024
// bytes of UTF-8 with the prefix. A probe lists one key. Of a target that is not
// Amazon's it also tries, with made-up objects that it removes, whether the
// server checks a checksum behind a body, whether it keeps If-None-Match, and
// whether the bucket keeps versions.
//
// # Credentials
//
// An error because credentials have expired says so. The next request reads
// the configuration anew, where an operator may have put fresh ones.
//
// A Store and all that it returns may be used by many goroutines, a body by
// one at a time. Stores with the same options share connections.
package s3store
