// Package api is the HTTP interface as both of its ends see it: the OpenAPI
// file, the types of the wire, the errors and a client.
//
// The rule that keeps the three in step: openapi.yaml is the contract, and the
// server's tests check every answer of every route against it. Fields may be
// added within /v1; none changes its meaning or goes away.
//
// Keys of objects are bytes. One that is text travels as "key"; one that JSON
// cannot hold travels base64-coded as "key64" (see work.Object).
//
// Errors travel as application/problem+json and come back as *Problem. Its
// Code is stable and is what programs decide on; the texts are for people.
//
// A Client is safe for concurrent use. The other types are plain data.
package api
