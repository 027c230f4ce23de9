// Package storage is what agents know of a store: a bucket, folder or URL
// under one prefix, whose objects can be listed, read at a pinned version and
// written whole.
//
// Store is the contract that every driver owes; storagetest checks it.
// Powers that only some stores have (Copier, Multipart, Tagger, Keeper, Fitter,
// Prober) are small interfaces beside it, found by type assertion.
//
// Keys are byte strings relative to the store's prefix. A store must bring
// every key it lists back byte for byte, or refuse it with work.Unsupported;
// it must never change one. Objects are read and written as they are stored:
// no decompression, no newline or metadata escaping.
//
// Every error that leaves a store is an *Error with a work.Fault, so that
// callers decide by the fault and never by a text.
//
// All methods of a Store are safe for concurrent use.
package storage

import (
	"context"
	"io"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Store is one end of a job.
type Store interface {
	// List calls fn with the objects of the range, in strictly ascending
	// order of their key's bytes, in pages of at most a thousand. It must
	// fail rather than leave out anything it could not read, and it must
	// return fn's error as it is. A store that cannot tell whether the
	// listing is complete must fail. NotFound if the bucket or folder itself
	// is not there.
	//
	// Info.Sums and Info.Meta need not be filled in.
	List(ctx context.Context, r work.Range, fn func([]Info) error) error

	// Stat returns what the store says of an object, with every checksum it
	// vouches for and the metadata. NotFound if there is none.
	Stat(ctx context.Context, key string) (Info, error)

	// Get opens n bytes of the object from offset off; n < 0 means to the
	// end. If etag is not empty, it must fail with work.SrcChanged, now or
	// while the body is read, when the object is no longer that version. The
	// body must end in an error if fewer bytes arrive than were promised.
	// Info describes the whole object; its Meta is filled in, but for the
	// class, which some stores tell to Stat alone.
	Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, Info, error)

	// Put stores exactly size bytes of body under key, atomically: whoever
	// reads the key sees the old object or the new one. If body ends early,
	// is too long or fails, Put must leave what stood there. The sums in
	// opts, if any, are what the bytes must add up to: a store that can have
	// its server check them must do so. Info says what the store has now,
	// with the checksums it vouches for itself, and never an echo of opts.
	// Put reads body once, unless body is an io.Seeker.
	Put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (Info, error)

	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error

	// Traits says what the store can do; it never changes.
	Traits() Traits

	// Close frees what the store holds. No other call may be under way.
	Close() error
}

// A Copier copies without the bytes passing through the agent.
type Copier interface {
	// CopyFrom copies the object in of src to key. It must fail with
	// work.Unsupported, having changed nothing, when the two stores cannot
	// copy between each other; the caller then streams. It pins the source to
	// in.ETag as Get does. What is known of the object goes along as it is,
	// but for the storage class, which is opts.Meta.Class.
	CopyFrom(ctx context.Context, key string, src Store, in Info, opts PutOptions) (Info, error)
}

// A Multipart store takes one big object in parts, also from several agents.
type Multipart interface {
	// Limits says what uploads must keep to.
	Limits() Limits
	// Begin opens an upload of size bytes in parts of part bytes each but the
	// last. The metadata is given here and to Commit; a store takes it where
	// it can.
	Begin(ctx context.Context, key string, size, part int64, opts PutOptions) (Upload, error)
	// PutPart stores part number n (from 1) of exactly size bytes. Sending a
	// part again replaces it. NotFound if there is no such upload any more.
	PutPart(ctx context.Context, u Upload, n int, body io.Reader, size int64, sums Sums) (Part, error)
	// Commit puts the parts together, all of them, in order, atomically. Of
	// the sums in opts it need only check those that follow from the parts'.
	Commit(ctx context.Context, u Upload, parts []Part, opts PutOptions) (Info, error)
	// Abort gives the upload up and frees its parts. An upload that is not
	// there is no error.
	Abort(ctx context.Context, u Upload) error
	// Pending returns the unfinished uploads of this very key that hold no
	// part: what is left of a Begin whose answer was lost. Only Key and ID are
	// filled in. A store whose uploads take no room before their first part
	// returns none.
	Pending(ctx context.Context, key string) ([]Upload, error)
}

// A Tagger keeps tags with objects. What its Get and Stat say of an object
// holds the number of its tags only, because reading them is one more request.
type Tagger interface {
	// Tags returns the tags of an object, nil if it has none.
	Tags(ctx context.Context, key string) (map[string]string, error)
}

// A Keeper can say beforehand which keys it holds.
type Keeper interface {
	// Keeps returns nil if the store can hold an object under the key, byte
	// for byte, and an *Error with work.Unsupported and work.FieldKeys if not.
	// Any other error is no answer. It may ask the server, but not for every
	// key anew. What depends on other objects, such as a file that stands where
	// a folder is needed, is found out by Put.
	Keeps(ctx context.Context, key string) error
}

// A Fitter is particular about metadata beyond what its Traits say.
type Fitter interface {
	// Fit returns what of m the store can hold and what it cannot: fields of m
	// or single names within them. It asks nobody.
	Fit(m Meta) (Meta, []Misfit)
}

// A Misfit is something of an object's metadata that a store cannot hold.
type Misfit struct {
	Field work.Field
	Name  string // of user metadata or a tag; empty: the field as a whole
	Why   string
}

// ConditionsFact is the name of what a Prober says of PutOptions.If; where it is
// kept the text begins with ConditionsKept.
const (
	ConditionsFact = "conditional writes"
	ConditionsKept = "kept"
)

// A Prober finds out what its server can do.
type Prober interface {
	// Probe asks the server, once per store, and returns what decides how it is
	// used: its checksums, its rules for parts, conditional writes and so on. If
	// write is true the store is a job's target, and the probe may write an
	// object of its own and remove it. It fails as every request would if the
	// store cannot be used at all.
	Probe(ctx context.Context, write bool) ([]work.Fact, error)
}

// An Info is what a store says of an object.
type Info struct {
	Key     string
	Size    int64     // bytes as stored
	ETag    string    // names this version of the content; unquoted
	ModTime time.Time // zero if unknown
	Sums    Sums      // of the whole object, vouched for by the store
	Meta    Meta

	// TagCount is how many tags the object has, as far as the store said.
	TagCount int
	// Archived says that the object must be restored before it can be read.
	Archived bool
}

// Sums are checksums in their raw big-endian bytes; nil where unknown.
type Sums struct {
	MD5, SHA256, CRC32, CRC32C, CRC64NVME []byte
}

// Meta is what travels with an object besides its bytes, verbatim.
type Meta struct {
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string
	User               map[string]string // user metadata; lower-case names
	Tags               map[string]string // verbatim; see Tagger
	Class              string            // storage class, in the store's own words; empty: its default
	ModTime            time.Time         // of the source's content, where it is known
}

// PutOptions say how an object is stored.
type PutOptions struct {
	Meta Meta
	Sums Sums // what the bytes must add up to, as vouched for by the source

	// If says what must stand under the key for the object to be stored. It
	// holds at the moment of storing, as far as the store can see to that.
	If Condition
}

// A Condition is what must stand under a key for it to be written: nothing,
// or a certain version. The zero Condition is always met. Where it is not, the
// error is Transient with Clash set, and nothing has changed. A store whose
// server knows no conditions writes without them; Probe tells.
//
// What was stored by a request whose answer was lost clashes with the repeat of
// that request: whoever is told of a clash looks what stands there before he
// takes it for somebody else's.
//
// A version can come back: many ETags are made of the content alone. Only of
// nothing can it be said that it was not replaced since it was looked at.
type Condition struct {
	Absent bool
	ETag   string // as Stat names it
}

// Traits are what a store can and cannot do.
type Traits struct {
	// Name is the driver's: s3, file, mem, …
	Name string
	// ETagIsMD5 says that an ETag of 32 hex digits is the MD5 of the content.
	ETagIsMD5 bool
	// Meta says which metadata the store keeps.
	Meta MetaTraits
	// MaxPut is the largest object that one Put may carry; 0 means any.
	MaxPut int64
	// Fences says that Put keeps Condition.Absent to the last moment, so that
	// nothing is ever replaced, however late a body or its request arrives.
	Fences bool
}

// MetaTraits are the kinds of metadata that a store keeps with an object.
type MetaTraits struct {
	Headers bool // content type, encoding, language, disposition, cache control
	User    bool
	Tags    bool
	Class   bool
	ModTime bool // as the object's own, or as the user metadata mtime
}

// Limits of a store's multipart uploads, in bytes but for MaxParts.
type Limits struct {
	MinPart, MaxPart, MaxObject int64
	MaxParts                    int
}

// An Upload is a multipart upload under way.
type Upload struct {
	Key  string `json:"key"`
	ID   string `json:"id"`
	Size int64  `json:"size"`
	Part int64  `json:"part"` // size of every part but the last
}

// A Part is a part that was stored.
type Part struct {
	N    int    `json:"n"`
	Size int64  `json:"size"`
	Tag  string `json:"tag"`
	Sums Sums   `json:"sums"` // vouched for by the store
}
