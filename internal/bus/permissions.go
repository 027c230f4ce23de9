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
	subscribe := jwt.StringList{inboxPrefix + itsName + ".>", controlRoot + itsSite + "." + itsName + ".>"}
	for _, verb := range []string{"PING", "INFO", "STATS"} { // a * would also allow a >
		subscribe.Add("$SRV."+verb, "$SRV."+verb+".agent", "$SRV."+verb+".agent.*")
	}
	publish := agentPublish("$JS.API.", itsSite, itsName)
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

// agentPublish are the subjects that an agent of a site publishes to. The
// requests to JetStream begin with api.
func agentPublish(api, site, name string) jwt.StringList {
	jobs := "KV_" + jobsBucket
	var publish jwt.StringList
	for _, site := range []string{site, work.AnySite} {
		stream := workPrefix + site
		publish.Add(
			api+"CONSUMER.MSG.NEXT."+stream+".*",
			"$JS.ACK."+stream+".>", "$JS.ACK.*.*."+stream+".>",
			deadRoot+"work."+site+".>",
		)
	}
	publish.Add(
		"tranship.result."+site+"."+name+".>", work.BeatSubject(site, name),
		api+"STREAM.INFO."+jobs, api+"CONSUMER.CREATE."+jobs+".>", api+"CONSUMER.DELETE."+jobs+".>",
		"$JS.FC."+jobs+".>", "$JS.FC.*.*."+jobs+".>",
	)
	return publish
}

// leafPermissions let the leaf node of a site pass on what agents of that site
// publish, whatever their names, and their answers to those who ask them.
func leafPermissions(site string) jwt.Permissions {
	publish := agentPublish("$JS.API.", site, "*")
	publish.Add(agentPublish("$JS.*.API.", site, "*")...) // as they come, before the hub has dropped its domain
	// What the hub listens to as tranship.beat.*.* it does not ask of a leaf node
	// that may publish to the same with a * at its end.
	publish.Add(work.BeatSubject(site, ">"))
	for _, asker := range []string{"coordinator", "doctor", "viewer"} {
		publish.Add(inboxPrefix + asker + ".>")
	}
	publish.Add("_INBOX.>") // the nats program's
	return jwt.Permissions{Pub: jwt.Permission{Allow: publish}}
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
