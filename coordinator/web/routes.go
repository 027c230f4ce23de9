package web

import "github.com/tranship/tranship/internal/work"

// A route is an address, how much a caller must be allowed there, and what
// answers.
type route struct {
	method  string
	pattern string
	need    work.Scope // everybody: nobody is asked for a token
	handle  handler
}

// everybody is the scope of what needs no token.
const everybody work.Scope = ""

// brief reports whether the route asks the ledger and should not wait for it
// any longer than a client does.
func (rt route) brief() bool {
	switch rt.pattern {
	case "/healthz", "/readyz", "/metrics", "/version", "/openapi.yaml", "/openapi.json", "/problems", "/assets/{name}":
		return false
	case "/v1/doctor": // which is to say what is wrong with it
		return false
	case "/v1/events": // as long as the client listens
		return false
	case "/v1/jobs/{id}/retry", "/jobs/{id}/retry": // goes on whoever waits: there may be millions of objects
		return false
	}
	return true
}

// routes lists every address of the server. Those of the API are described in
// api/openapi.yaml; a test keeps the two lists equal.
func (s *site) routes() []route {
	return append(s.apiRoutes(), s.pageRoutes()...)
}

func (s *site) apiRoutes() []route {
	return []route{
		{"GET", "/v1/jobs", work.ScopeRead, s.listJobs},
		{"POST", "/v1/jobs", work.ScopeOperate, s.createJob},
		{"GET", "/v1/jobs/{id}", work.ScopeRead, s.getJob},
		{"POST", "/v1/jobs/{id}/pause", work.ScopeOperate, s.act(s.Commander.Pause, "paused")},
		{"POST", "/v1/jobs/{id}/resume", work.ScopeOperate, s.act(s.Commander.Resume, "resumed")},
		{"POST", "/v1/jobs/{id}/cancel", work.ScopeOperate, s.act(s.Commander.Cancel, "canceled")},
		{"POST", "/v1/jobs/{id}/retry", work.ScopeOperate, s.retryJob},
		{"POST", "/v1/jobs/{id}/priority", work.ScopeOperate, s.setPriority},
		{"GET", "/v1/jobs/{id}/failures", work.ScopeRead, s.listFailures},
		{"GET", "/v1/jobs/{id}/objects", work.ScopeRead, s.listObjects},
		{"GET", "/v1/jobs/{id}/attempts", work.ScopeRead, s.listAttempts},
		{"GET", "/v1/jobs/{id}/tallies", work.ScopeRead, s.getTallies},
		{"GET", "/v1/jobs/{id}/balance", work.ScopeRead, s.getBalance},
		{"GET", "/v1/jobs/{id}/samples", work.ScopeRead, s.listSamples},
		{"GET", "/v1/jobs/{id}/breakdown", work.ScopeRead, s.getBreakdown},
		{"GET", "/v1/jobs/{id}/events", work.ScopeRead, s.listEvents},
		{"GET", "/v1/search", work.ScopeRead, s.searchObjects},
		{"GET", "/v1/agents", work.ScopeRead, s.listAgents},
		{"GET", "/v1/autoscale", work.ScopeRead, s.autoscale},
		{"POST", "/v1/agents/{site}/{agent}/drain", work.ScopeOperate, s.drainAgent},
		{"POST", "/v1/agents/{site}/{agent}/revoke", work.ScopeAdmin, s.revokeAgent},
		{"GET", "/v1/invites", work.ScopeAdmin, s.listInvites},
		{"POST", "/v1/invites", work.ScopeAdmin, s.createInvite},
		{"POST", "/v1/invites/{id}/revoke", work.ScopeAdmin, s.revokeInvite},
		{"POST", "/v1/join", everybody, s.join},
		{"POST", "/v1/renew", everybody, s.renew},
		{"GET", "/v1/limits", work.ScopeRead, s.listLimits},
		{"PUT", "/v1/limits", work.ScopeAdmin, s.setLimit},
		{"DELETE", "/v1/limits", work.ScopeAdmin, s.removeLimit},
		{"GET", "/v1/events", work.ScopeRead, s.followEvents},
		{"POST", "/v1/doctor", work.ScopeOperate, s.examine},
		{"GET", "/v1/tokens", work.ScopeAdmin, s.listTokens},
		{"POST", "/v1/tokens", work.ScopeAdmin, s.createToken},
		{"POST", "/v1/tokens/{id}/revoke", work.ScopeAdmin, s.revokeToken},
		{"POST", "/v1/sign-in", work.ScopeRead, s.createSignIn},
		{"GET", "/v1/deliveries", work.ScopeRead, s.listDeliveries},
		{"POST", "/v1/deliveries/{id}/resend", work.ScopeAdmin, s.resendDelivery},
		{"GET", "/v1/receivers", work.ScopeRead, s.listReceivers},
		{"POST", "/v1/receivers/{name}/test", work.ScopeAdmin, s.testReceiver},
		{"GET", "/v1/audit", work.ScopeRead, s.listAudit},
		{"GET", "/healthz", everybody, s.health},
		{"GET", "/readyz", everybody, s.ready},
		{"GET", "/metrics", work.ScopeRead, s.metrics},
		{"GET", "/version", everybody, s.version},
		{"GET", "/openapi.yaml", everybody, s.specYAML},
		{"GET", "/openapi.json", everybody, s.specJSON},
	}
}

func (s *site) pageRoutes() []route {
	return []route{
		{"GET", "/{$}", work.ScopeRead, s.overviewPage},
		{"GET", "/jobs", work.ScopeRead, s.jobsPage},
		{"GET", "/jobs/{id}", work.ScopeRead, s.jobPage},
		{"GET", "/jobs/{id}/failures", work.ScopeRead, s.failuresPage},
		{"GET", "/jobs/{id}/objects", work.ScopeRead, s.objectsPage},
		{"GET", "/jobs/{id}/attempts", work.ScopeRead, s.attemptsPage},
		{"POST", "/jobs/{id}/pause", work.ScopeOperate, s.press(s.Commander.Pause, "paused")},
		{"POST", "/jobs/{id}/resume", work.ScopeOperate, s.press(s.Commander.Resume, "resumed")},
		{"POST", "/jobs/{id}/cancel", work.ScopeOperate, s.press(s.Commander.Cancel, "canceled")},
		{"POST", "/jobs/{id}/retry", work.ScopeOperate, s.pressRetry},
		{"GET", "/agents", work.ScopeRead, s.agentsPage},
		{"GET", "/agents/{site}/{agent}", work.ScopeRead, s.agentPage},
		{"GET", "/search", work.ScopeRead, s.searchPage},
		{"POST", "/agents/{site}/{agent}/drain", work.ScopeOperate, s.pressDrain},
		{"POST", "/agents/{site}/{agent}/revoke", work.ScopeAdmin, s.pressRevokeAgent},
		{"POST", "/jobs/{id}/priority", work.ScopeOperate, s.pressPriority},
		{"GET", "/settings", work.ScopeRead, s.settingsPage},
		{"GET", "/settings/audit", work.ScopeRead, s.auditPage},
		{"POST", "/settings/tokens", work.ScopeAdmin, s.pressCreateToken},
		{"POST", "/settings/tokens/{id}/revoke", work.ScopeAdmin, s.pressRevokeToken},
		{"POST", "/settings/invites", work.ScopeAdmin, s.pressInvite},
		{"POST", "/settings/invites/{id}/revoke", work.ScopeAdmin, s.pressUninvite},
		{"POST", "/settings/limits", work.ScopeAdmin, s.pressSetLimit},
		{"POST", "/settings/limits/remove", work.ScopeAdmin, s.pressRemoveLimit},
		{"POST", "/settings/receivers/{name}/test", work.ScopeAdmin, s.pressTest},
		{"POST", "/settings/deliveries/{id}/resend", work.ScopeAdmin, s.pressResend},
		{"GET", "/login", everybody, s.loginPage},
		{"POST", "/login", everybody, s.login},
		{"POST", "/logout", everybody, s.logout},
		{"GET", "/problems", everybody, s.problemsPage},
		{"GET", "/assets/{name}", everybody, s.asset},
	}
}
