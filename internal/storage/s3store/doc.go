// Package s3store is the store driver for S3 and what speaks its protocol.
package s3store
