package azurestore

import (
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/tranship/tranship/internal/storage"
)

// A clash is the service's word that a condition of the object to be stored was
// not met.
type clash struct{ err error }

func (c *clash) Error() string { return readable(c.err).Error() }
func (c *clash) Unwrap() error { return c.err }

// isClash reports whether err is one.
func isClash(err error) bool {
	var c *clash
	return errors.As(err, &c)
}

// under returns a condition as requests carry it.
func under(c storage.Condition) *blob.AccessConditions {
	if !c.Absent {
		return match(c.ETag)
	}
	anything := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anything}}
}

// clashed tells what a refusal of a conditional request is for. The codes for
// the source of a copy are others.
func clashed(err error, c storage.Condition) error {
	if c == (storage.Condition{}) {
		return err
	}
	switch code := codeOf(err); {
	case code == "ConditionNotMet", code == "TargetConditionNotMet", code == "BlobAlreadyExists",
		code == "" && statusOf(err) == http.StatusPreconditionFailed,
		code == "BlobNotFound" && c.ETag != "":
		return &clash{err}
	}
	return err
}
