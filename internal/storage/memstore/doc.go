// Package memstore keeps objects in the memory of this process, for tests and
// trials: mem://name/prefix names the same store wherever it is opened.
//
// It promises everything that storage.Store asks and refuses no key but the
// empty one. An ETag is the MD5 of the content; every Put is checked against
// all the sums it is given; a store copies from other memory stores without
// moving bytes, and takes parts, 10,000 of up to 1 GiB. Conditions are
// kept by whatever stores an object. It keeps all metadata
// as it is given: content headers, user metadata, tags, the time of
// modification, which becomes the object's own, and any storage class; an
// object of the class ARCHIVE is listed as archived and cannot be read, so that
// there is something to test archives with. A probe tries nothing.
//
// Stored objects are never changed in place: an overwrite puts another object
// under the key. A reader therefore goes on reading the version it opened.
package memstore
