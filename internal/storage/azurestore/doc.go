// Package azurestore is the store driver for Azure Blob Storage.
//
// # What it promises
//
// Besides the contract of storage.Store: a small object is one request, and a
// big one is never in memory. A body of up to 1 MiB is read whole, compared
// with what it must add up to, and sent with its MD5, so that the service
// refuses other bytes before it touches the old object; one that can be read
// twice is not copied for that. A bigger body is
// streamed into blocks, which become the object only when the body has ended
// well, every block was confirmed and the sums are right. What a broken body
// leaves are blocks that nobody sees: they vanish with the next object stored
// under the key, or after a week.
//
// # How it speaks
//
// The Go CDK opens the container, so its URLs work (azblob://container/prefix
// with storage_account, domain, protocol, localemu, cdn) and so do its
// variables (AZURE_STORAGE_ACCOUNT, _KEY, _SAS_TOKEN, _CONNECTION_STRING,
// _DOMAIN and so on). They are read whenever a store is opened. Each secret may
// also be given for one account alone, under a name that ends in the account's
// in capitals, such as AZURE_STORAGE_KEY_MYACCOUNT: so one agent can hold two
// accounts. Where there is no secret, requests are made as the machine's or
// user's own identity. A URL may name another endpoint than the environment
// only together with a key, which is never sent; tokens are.
//
// All else goes through the SDK's client, for of the CDK's writer, escaping and
// decompression nothing may happen here (trap_test.go). Connections are shared
// by the stores of an endpoint. The SDK repeats a request twice; longer
// patience is the engine's. A request may take any time, but the network must
// not stand still for two minutes.
//
// # Keys and listings
//
// Keys are sent as they are. Those that Azure would change or refuse are refused
// here: control characters, backslashes, parts that end in a dot, more than
// 1024 characters. Pages of 5000 are asked for and handed on by 1000. A listing
// that starts at a key uses the parameter startFrom if the service is found to
// know it; otherwise it reads past all keys before, one request for every 5000.
// Some services list in the order of UTF-16, which differs from that of bytes
// for characters from U+E000 on. A listing fails when it meets keys out of
// order, and it never stops early at a bound for which the two orders differ.
//
// # Metadata
//
// Content headers and user metadata are verbatim, names in lower case. Azure
// takes names that are identifiers of C# and plain ASCII values, 8 KiB together,
// and up to ten tags; Fit names what does not fit. Meta.ModTime is kept as the user metadata mtime, in the form
// that s3store uses, and Stat and Get then give it as Info.ModTime, too. The
// class is the access tier. The service does not tell it to Get, so
// Info.Meta of Get has none; Stat and List have it. A copy without a class gets the
// account's default; a service too old for that copies only what has it already.
//
// # Checksums
//
// Azure keeps one checksum of an object, its MD5, and keeps it on trust: for an
// object made of blocks, and whenever properties are set, it is what a client
// claimed. Stat therefore vouches for an MD5 only if the object is not made of
// blocks, is no copy and was not modified since it was created, as far as the
// service's clock tells seconds apart; one more request finds that out. Put Blob
// From URL by other programs may still have carried a claim along; ours does
// not let it. Get and List vouch for none.
//
// Put and PutPart compare the checksum in the service's answer, MD5 of a whole
// object and CRC64 of a block, with that of the bytes sent, and return it. As
// the service has then confirmed that it holds the very bytes that were sent,
// their CRC32C is returned with it. Parts' tags carry both, and Commit puts them
// together to those of the whole. Nothing of this is taken from PutOptions.
// A service that tells no checksum of a block vouches for none.
//
// # Conditions
//
// PutOptions.If goes along as If-None-Match or If-Match with whatever makes an
// object: of one piece, of blocks, or a copy. Blocks that were staged in vain
// vanish as others do.
//
// # Uploads in parts
//
// Azure has no uploads, only blocks that belong to a key's name. The ID of an
// upload is the beginning of its blocks' names, all of one length; a part is a
// block, named by the upload, its number and a nonce, so that of two that were
// sent for one part Commit takes the one whose tag it is given. Several uploads
// of one key can be under way; the first that is committed, and any other
// object stored under the key, discards the blocks of all others, whose Commit
// is then NotFound.
//
// After Abort, this Store answers NotFound to PutPart and Commit. Another agent
// does not know: it may still store a block, which is discarded in the end, and
// its Commit succeeds if Abort had to leave the blocks. It leaves them where
// there is an object, blocks of others, or a policy against deletion.
//
// # Limits and probes
//
// An object has up to 50,000 blocks of up to 4000 MiB, whether it is put or goes
// in parts. A probe asks for the start of a listing and for the sort of account;
// of a target it also stores an object and a block with a made-up name, to see
// which checksums the service confirms, and removes both.
//
// A Store and all that it returns may be used by many goroutines, a body by one
// at a time.
package azurestore
