package bus

import (
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/tranship/tranship/internal/work"
)

// Where the name and the site of an agent stand in a template. The server fills
// them in from the JWT, letter by letter.
const (
	itsName = "{{name()}}"
	itsSite = "{{tag(site)}}"
)

// siteTag begins the tag of a JWT that names the agent's site.
const siteTag = "site:"

// maxAgentSubs bounds the subscriptions of an agent, which needs a dozen.
const maxAgentSubs = 200

// agentTemplate is the least that an agent needs; doc.go has it for people. It
// lies with the key that signs agents' credentials, so that no credential can
// say otherwise.
func agentTemplate() jwt.UserPermissionLimits {
	jobs := "KV_" + jobsBucket
	var publish jwt.StringList
	for _, site := range []string{itsSite, work.AnySite} {
		stream := workPrefix + site
		publish.Add(
			"$JS.API.CONSUMER.MSG.NEXT."+stream+".*",
			"$JS.ACK."+stream+".>", "$JS.ACK.*.*."+stream+".>",
			deadRoot+"work."+site+".>",
		)
	}
	publish.Add(
		"tranship.result."+itsSite+"."+itsName+".>", work.BeatSubject(itsSite, itsName),
		"$JS.API.STREAM.INFO."+jobs, "$JS.API.CONSUMER.CREATE."+jobs+".>", "$JS.API.CONSUMER.DELETE."+jobs+".>",
		"$JS.FC."+jobs+".>", "$JS.FC.*.*."+jobs+".>",
	)
	subscribe := jwt.StringList{inboxPrefix + itsName + ".>", controlRoot + itsSite + "." + itsName + ".>"}
	for _, verb := range []string{"PING", "INFO", "STATS"} { // a * would also allow a >
		subscribe.Add("$SRV."+verb, "$SRV."+verb+".agent", "$SRV."+verb+".agent.*")
	}
	return jwt.UserPermissionLimits{
		Permissions: jwt.Permissions{
			Pub:  jwt.Permission{Allow: publish},
			Sub:  jwt.Permission{Allow: subscribe},
			Resp: &jwt.ResponsePermission{MaxMsgs: 5, Expires: time.Minute},
		},
		Limits: jwt.Limits{NatsLimits: jwt.NatsLimits{Subs: maxAgentSubs, Data: jwt.NoLimit, Payload: 1 << 20}},
		AllowedConnectionTypes: jwt.StringList{
			jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeInProcess,
		},
	}
}

// viewerPermissions let people look at streams, consumers, buckets and services
// and change nothing: no item can be taken, acked, purged or deleted.
func viewerPermissions() jwt.Permissions {
	publish := jwt.StringList{
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
		"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
		"$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*",
		"$SRV.>",
	}
	for _, bucket := range []string{agentsBucket, jobsBucket, ledgerBucket} {
		publish.Add("$JS.API.CONSUMER.CREATE.KV_"+bucket+".>", "$JS.FC.KV_"+bucket+".>", "$JS.FC.*.*.KV_"+bucket+".>")
	}
	return jwt.Permissions{
		Pub: jwt.Permission{Allow: publish},
		// The inboxes of the nats program, and of doctor. Coordinators and agents
		// have others.
		Sub: jwt.Permission{Allow: jwt.StringList{"_INBOX.>", inboxPrefix + "viewer.>", inboxPrefix + "doctor.>"}},
	}
}
