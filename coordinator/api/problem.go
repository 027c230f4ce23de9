package api

import (
	"net/http"
	"strings"
	"time"
)

// ProblemType is the media type of errors (RFC 9457).
const ProblemType = "application/problem+json"

// A Code names a sort of error. Codes are stable; new ones may appear.
type Code string

// The codes; Codes says what each means.
const (
	BadRequest      Code = "bad_request"
	Invalid         Code = "invalid"
	BadCursor       Code = "bad_cursor"
	KeyReused       Code = "idempotency_key_reused"
	NoJob           Code = "no_job"
	NoObject        Code = "no_object"
	JobState        Code = "job_state"
	NotFound        Code = "not_found"
	NotAllowed      Code = "method_not_allowed"
	MediaType       Code = "unsupported_media_type"
	TooLarge        Code = "too_large"
	CrossOrigin     Code = "cross_origin"
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	TooManyRequests Code = "too_many_requests"
	NameTaken       Code = "name_taken"
	TooMany         Code = "too_many"
	WrongHost       Code = "wrong_host"
	TooManyStreams  Code = "too_many_streams"
	NoJoining       Code = "no_joining"
	NoInvitation    Code = "no_invitation"
	NoInvite        Code = "no_invite"
	KeyTaken        Code = "key_taken"
	NoIdentity      Code = "no_identity"
	ClockSkew       Code = "clock_skew"
	NotShutOut      Code = "not_shut_out"
	NoAgent         Code = "no_agent"
	Unavailable     Code = "unavailable"
	Internal        Code = "internal"
)

// A CodeInfo says what a code means and what to do about it.
type CodeInfo struct {
	Code   Code
	Status int
	Title  string
	Hint   string
}

// Codes lists every code of the API.
func Codes() []CodeInfo {
	return []CodeInfo{
		{BadRequest, http.StatusBadRequest, "The request cannot be read", "Compare the request with /openapi.yaml."},
		{Invalid, http.StatusUnprocessableEntity, "The request is not valid", "Each entry of errors names a field and what is wrong with it."},
		{BadCursor, http.StatusBadRequest, "The cursor is not one of this listing", "Use the cursor from next as it was given, with the same filter, or begin again without one."},
		{KeyReused, http.StatusUnprocessableEntity, "The Idempotency-Key was used with another request", "Use a new key for a new request; repeat a request unchanged under its old key."},
		{NoJob, http.StatusNotFound, "There is no such job", "tranship job ls lists the jobs."},
		{NoObject, http.StatusNotFound, "The job has found no such object", "A key is meant whole, byte for byte, and relative to the source: tranship job objects lists those of a job."},
		{JobState, http.StatusConflict, "The job's state does not allow this", "Look at the job's state: only running jobs can be paused, only paused ones resumed, only open ones canceled."},
		{NotFound, http.StatusNotFound, "There is nothing here", "/openapi.yaml lists every address of the API; the status page begins at /."},
		{NotAllowed, http.StatusMethodNotAllowed, "This method is not possible here", "The Allow header names those that are."},
		{MediaType, http.StatusUnsupportedMediaType, "The body must be JSON", "Send Content-Type: application/json."},
		{TooLarge, http.StatusRequestEntityTooLarge, "The body is too large", "A request may hold up to 1 MiB."},
		{CrossOrigin, http.StatusForbidden, "A page of another origin may not do this", "Use the status page at its own address, the CLI, or a client that is no browser."},
		{Unauthenticated, http.StatusUnauthorized, "Only those with a token may do this", "Show one that was not revoked and has not expired, as Authorization: Bearer tsp_… or to the command line in TRANSHIP_TOKEN; tranship token create makes one."},
		{Forbidden, http.StatusForbidden, "The token does not allow this", "Use a token with a larger scope: read, operate or admin. tranship token create makes one."},
		{TooManyRequests, http.StatusTooManyRequests, "Too many requests", "Wait for as many seconds as the Retry-After header says."},
		{NameTaken, http.StatusConflict, "The name is taken", "Choose another name, or revoke what bears it first."},
		{TooMany, http.StatusConflict, "There are as many of these as there may be", "Revoke tokens or invitations that nobody needs; sign-in links expire within 10 minutes. tranship token ls and tranship fleet invites list them."},
		{WrongHost, http.StatusMisdirectedRequest, "The server does not go by this name", "Reach it as localhost, by its address or at http.url; a proxy in front must send one of these as Host."},
		{TooManyStreams, http.StatusServiceUnavailable, "Too many live streams are open", "Close a page or a watch, or try again later."},
		{NoJoining, http.StatusConflict, "Agents cannot join by invitation here", "With an embedded NATS server set nats.auth to keys; with others set nats.account and nats.signing_key, which tranship fleet keys makes."},
		{NoInvitation, http.StatusForbidden, "The invitation is not one that counts", "Invitations work once and for a short time: tranship fleet invite makes a new one."},
		{NoInvite, http.StatusNotFound, "There is no such open invitation", "tranship fleet invites lists those that may still be used."},
		{KeyTaken, http.StatusConflict, "The key is that of another agent, or of one that was revoked", "Remove the agent's identity.json, so that it makes a new key. The invitation may still be used."},
		{NoIdentity, http.StatusForbidden, "This agent is not one of the fleet, or not any more", "If it should be, invite it again with tranship fleet invite."},
		{ClockSkew, http.StatusUnprocessableEntity, "The clocks of the agent and the coordinator differ by more than 5 minutes", "Set the clock of the machine that is wrong; have it kept right by NTP."},
		{NotShutOut, http.StatusBadGateway, "The agent is revoked, but the servers were not told", "Set nats.system_credentials, by which a coordinator tells them; or stop the agent, or revoke its key at the servers."},
		{NoAgent, http.StatusNotFound, "There is no such agent", "tranship fleet ls lists them. One that has no identity of its own connects by credentials of NATS: revoke these there."},
		{Unavailable, http.StatusServiceUnavailable, "The ledger or the queue cannot be used now", "Try again shortly; /readyz says which part is failing, the coordinator's log says why."},
		{Internal, http.StatusInternalServerError, "Something went wrong inside the server", "The coordinator's log has the reason beside this request id."},
	}
}

// Info returns what is known of the code; an unknown one is Internal's.
func (c Code) Info() CodeInfo {
	var last CodeInfo
	for _, last = range Codes() {
		if last.Code == c {
			return last
		}
	}
	return last
}

// A FieldError says what is wrong with one part of a request. One of Pointer,
// Parameter and Header says which.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty"`   // JSON pointer into the body
	Parameter string `json:"parameter,omitempty"` // of the query
	Header    string `json:"header,omitempty"`
	Detail    string `json:"detail"`
}

// where returns which part is wrong.
func (f FieldError) where() string { return f.Pointer + f.Parameter + f.Header }

// A Problem is an error of the API as it travels.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Code      Code         `json:"code"`
	Detail    string       `json:"detail,omitempty"`
	Hint      string       `json:"hint,omitempty"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`

	// RetryAfter is how long the server asks to wait; it travels as a header.
	RetryAfter time.Duration `json:"-"`
}

// NewProblem returns a problem with what the code says of itself.
func NewProblem(code Code, detail string, fields ...FieldError) *Problem {
	i := code.Info()
	return &Problem{Type: "/problems#" + string(i.Code), Title: i.Title, Status: i.Status, Code: i.Code,
		Detail: detail, Hint: i.Hint, Errors: fields}
}

// Error says what is wrong, field by field; the hint is apart.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for i, f := range p.Errors {
		if i == 0 {
			text += ": "
		} else {
			text += "; "
		}
		text += strings.TrimPrefix(f.where(), "/") + ": " + f.Detail
	}
	if p.RequestID != "" && p.Status >= http.StatusInternalServerError {
		text += " (request " + p.RequestID + ")"
	}
	return text
}
